"""Business rules of a placement: multipliers of scores, and limits on what stands in which slot.

A rule is data; a masked one names its items by an expression. All are pure functions of the
candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Mask, Rows
from pipeline.core.expressions.compiler import Expression
from pipeline.core.expressions.fields import Scalar, Texts
from pipeline.core.item_columns import ItemColumns
from pipeline.core.profile import UserProfile

Scores = NDArray[np.float64]
"""`(n,)`, at least 0."""
DEPARTMENT = "department"
"""A dimension that is no field: the first part of the category."""


class Candidates(msgspec.Struct, frozen=True):
    """Inputs of rules: the rows `(n,)` that may be shown, who asks, and when.

    `scalars` are the values of visitor and context that expressions may name.
    """

    items: ItemColumns
    rows: Rows
    profile: UserProfile
    now_ms: int
    scalars: Mapping[str, Scalar] = {}

    def mask(self, where: Expression) -> Mask:
        """True for the candidates that the expression accepts."""
        return where.mask(self.items.fields, self.rows, self.scalars)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule, by the name that an explanation gives it; it holds from `from_ms` up to `until_ms`,
    ms since the Unix epoch.
    """

    name: str
    from_ms: int | None = None
    until_ms: int | None = None

    def holds_at(self, now_ms: int) -> bool:
        """True within its time."""
        begun = self.from_ms is None or self.from_ms <= now_ms
        return begun and (self.until_ms is None or now_ms < self.until_ms)


class Boost(Rule, frozen=True, kw_only=True):
    """Multiplies the scores of the items that `where` accepts by `factor`; below 1 buries them."""

    factor: float
    where: Expression

    def multiplier(self, candidates: Candidates) -> Scores:
        """`(n,)`: the factor, or 1."""
        return np.where(candidates.mask(self.where), self.factor, 1.0)


class Repeats(Rule, frozen=True, kw_only=True):
    """Sinks what was shown and not touched: score x factor^(impressions of the newest 24, half-life
    1 d).
    """

    factor: float

    def multiplier(self, candidates: Candidates) -> Scores:
        """`(n,)`: in (0, 1]."""
        items, rows, profile = candidates.items, candidates.rows, candidates.profile
        multipliers = np.ones(len(rows))
        shown = profile.shown(candidates.now_ms)
        hashes = items.hash[rows].tolist()
        for place in [place for place, each in enumerate(hashes) if each in shown]:
            if items.id(int(rows[place])) not in profile.recent:
                multipliers[place] = self.factor ** shown[hashes[place]]
        return multipliers


class Freshness(Rule, frozen=True, kw_only=True):
    """Lifts what was published lately: score x (1 + weight x 2^(-age / half-life)). An unknown time
    changes nothing.
    """

    weight: float
    half_life_ms: int

    def multiplier(self, candidates: Candidates) -> Scores:
        """`(n,)`: from 1 to 1 + weight."""
        published_ms = candidates.items.published_ms.get(candidates.rows)
        ages = np.maximum(candidates.now_ms - published_ms, 0.0) / self.half_life_ms
        freshness = np.exp2(-ages)
        freshness[np.isnan(ages)] = 0.0
        return np.asarray(1.0 + self.weight * freshness)


class Pin(Rule, frozen=True, kw_only=True):
    """Puts an item into a slot, counted from 0, where it may be shown at all."""

    item_id: str
    slot: int


def pinned(rules: Iterable[Rule], now_ms: int) -> list[str]:
    """The ids of the items that rules pin now."""
    return [rule.item_id for rule in rules if isinstance(rule, Pin) and rule.holds_at(now_ms)]


class AtMost(Rule, frozen=True, kw_only=True):
    """At most `n` items of one category, brand or value of another text (`of`) in any `within`
    slots in a row, while there are others. Items of an unknown one do not count.
    """

    n: int
    of: str
    within: int


class Share(Rule, frozen=True, kw_only=True):
    """The share of the slots for items that `where` accepts: at least `low` of the first ones, of
    any number; at most `high` of all.
    """

    where: Expression
    low: float = 0.0
    high: float = 1.0


Multiplying = Boost | Repeats | Freshness


class Effect(msgspec.Struct, frozen=True):
    """The effect of a rule on the scores: it multiplied them by these `(n,)`."""

    rule: str
    multipliers: Scores


def multiply(
    scores: Scores, rules: Sequence[Rule], candidates: Candidates
) -> tuple[Scores, list[Effect]]:
    """The scores after the rules that multiply, and the effect of each."""
    effects = [
        Effect(rule.name, rule.multiplier(candidates))
        for rule in rules
        if isinstance(rule, Multiplying)
    ]
    for effect in effects:
        scores = scores * effect.multipliers
    return scores, effects


def texts_of(items: ItemColumns, of: str) -> Texts:
    """The column of a text: a field of the items, or their department."""
    return items.department if of == DEPARTMENT else items.fields.texts(of)
