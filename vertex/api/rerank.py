"""The order of a slate: the best by score within the placement's rules, and what chance puts into
its slot.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from pipeline.core.features.ranking import FEATURE_NAMES
from pipeline.core.features.ranking_inputs import Matrix
from vertex.api.placements import Placement
from vertex.api.policy import EXPLORE_SLOT, Exploration
from vertex.api.ranking import PARTS, Parts
from vertex.api.rules import (
    AtMost,
    Candidates,
    Effect,
    Pin,
    Rule,
    Scores,
    Share,
    multiply,
    texts_of,
)
from vertex.api.slots import Choice, Limits, Quota, Window, best_of_each, fill, likeness_of


class Entry(msgspec.Struct):
    """One item of a slate, for a reader who may not see the profile."""

    id: str
    position: int
    propensity: float


class RuleEffect(msgspec.Struct, omit_defaults=True):
    """A rule's effect on an item: it multiplied its score, put it into a slot, or held it back from
    one further up.
    """

    rule: str
    multiplied: float = 1.0
    placed: bool = False
    held_back: bool = False


class Explanation(msgspec.Struct):
    """Grounds of an item's place: `rank` is its place by score, from 0, None for what chance
    drew.
    """

    rank: int | None
    features: dict[str, float]
    rules: list[RuleEffect]


class Shown(msgspec.Struct):
    """One item of a slate. `parts` are weighted terms, which sum to `score`; `rules` among them is
    what the rules added.
    """

    id: str
    score: float
    parts: dict[str, float]
    source: str
    position: int
    propensity: float
    explanation: Explanation | UnsetType = UNSET

    def entry(self) -> Entry:
        """The item without its reasons: scores, parts and sources follow from the visitor's
        profile.
        """
        return Entry(self.id, self.position, self.propensity)


class Ranked(msgspec.Struct, frozen=True):
    """`n` candidates and the parts of their scores; the item that chance drew, if any, is the last.

    Attributes:
        ids, sources: of the candidates: where each was found.
        parts: of their scores.
        candidates: what rules look at.
        matrix: the features `(n, d)`; None where nothing was ranked.
    """

    ids: Sequence[str]
    sources: Sequence[str]
    parts: Parts
    candidates: Candidates
    matrix: Matrix | None = None


def arrange(
    ranked: Ranked,
    placement: Placement,
    k: int,
    exploration: Exploration,
    explain: bool = False,
) -> list[Shown]:
    """The best `k` in order of score (ties in the order found) within the rules, the drawn item in
    its slot instead of what was there.

    What chance does follows from no rule, so that its propensity is the one that is logged: the
    others take their slots as if it had drawn nothing. Every other slot is certain: propensity 1.
    """
    rules = [rule for rule in placement.rules if rule.holds_at(ranked.candidates.now_ms)]
    base = ranked.parts.terms.sum(axis=1)
    scores, effects = multiply(base, rules, ranked.candidates)
    last = len(ranked.ids) - (exploration.drawn is not None)
    choice = _choose(ranked, scores[:last], placement, rules, k)
    order = choice.order
    if exploration.drawn is not None and len(order) > EXPLORE_SLOT:
        order[EXPLORE_SLOT] = last
    shown = [
        Shown(
            id=ranked.ids[index],
            score=round(float(scores[index]), 6),
            parts=_parts(ranked.parts, index, float(scores[index] - base[index])),
            source=ranked.sources[index],
            position=position,
            propensity=1.0,
        )
        for position, index in enumerate(order)
    ]
    if len(shown) > EXPLORE_SLOT:
        shown[EXPLORE_SLOT].propensity = exploration.propensity
    if explain:
        _explain(shown, ranked, scores[:last], effects, choice)
    return shown


def arrange_groups(ranked: Ranked, placement: Placement, k: int) -> list[Shown]:
    """Categories or brands in place of items, each with the score of its best item, best first."""
    candidates = ranked.candidates
    rules = [rule for rule in placement.rules if rule.holds_at(candidates.now_ms)]
    base = ranked.parts.terms.sum(axis=1)
    scores, _ = multiply(base, rules, candidates)
    of = placement.kind.group
    names = texts_of(candidates.items, of)
    codes = names.get(candidates.rows)
    best = best_of_each(scores, codes)[:k]
    return [
        Shown(
            id=names.dictionary.text(int(codes[index])),
            score=round(float(scores[index]), 6),
            parts=_parts(ranked.parts, index, float(scores[index] - base[index])),
            source=ranked.sources[index],
            position=position,
            propensity=1.0,
        )
        for position, index in enumerate(best)
    ]


def arrange_trending(ids: Sequence[str], scores: dict[str, float]) -> list[Shown]:
    """Trending items in this order, the same for everybody; one without a score has 0."""
    shown = []
    for position, item_id in enumerate(ids):
        score = round(scores.get(item_id, 0.0), 6)
        parts = {**dict.fromkeys(PARTS, 0.0), "popularity": score}
        shown.append(Shown(item_id, score, parts, "trending", position, 1.0))
    return shown


def _choose(
    ranked: Ranked, scores: Scores, placement: Placement, rules: Sequence[Rule], k: int
) -> Choice:
    """Candidates for the slots."""
    candidates = ranked.candidates
    items, rows = candidates.items, candidates.rows[: len(scores)]
    pins = {
        rule.slot: (place, rule.name)
        for rule in rules
        if isinstance(rule, Pin) and (place := _place(ranked.ids, rule.item_id)) >= 0
    }
    windows = [
        Window(rule.name, texts_of(items, rule.of).get(rows).tolist(), rule.n, rule.within)
        for rule in rules
        if isinstance(rule, AtMost)
    ]
    quotas = [
        Quota(
            rule.name,
            candidates.mask(rule.where)[: len(scores)].tolist(),
            rule.low,
            int(rule.high * k + 1e-9),
        )
        for rule in rules
        if isinstance(rule, Share)
    ]
    likeness = None
    if placement.diversity < 1.0:
        likeness = likeness_of(
            items.category.get(rows), items.brand.get(rows), items.context[rows].astype(np.float32)
        )
    return fill(
        scores,
        k,
        Limits(
            pins={slot: place for slot, (place, _) in pins.items()},
            pinned_by={slot: name for slot, (_, name) in pins.items()},
            windows=windows,
            quotas=quotas,
            diversity=placement.diversity,
            likeness=likeness,
        ),
    )


def _place(ids: Sequence[str], item_id: str) -> int:
    return ids.index(item_id) if item_id in ids else -1


def _parts(parts: Parts, index: int, by_rules: float) -> dict[str, float]:
    found: dict[str, float] = dict(zip(parts.names, parts.terms[index].tolist(), strict=True))
    if by_rules:
        found["rules"] = round(by_rules, 6)
    return found


def _explain(
    shown: Sequence[Shown],
    ranked: Ranked,
    scores: Scores,
    effects: Sequence[Effect],
    choice: Choice,
) -> None:
    """Add the grounds of each item's place."""
    ranks = {int(index): rank for rank, index in enumerate(np.argsort(-scores, kind="stable"))}
    for slot, (item, index) in enumerate(zip(shown, choice.order, strict=True)):
        rules = [
            RuleEffect(effect.rule, multiplied=float(effect.multipliers[index]))
            for effect in effects
            if effect.multipliers[index] != 1.0
        ]
        if slot in choice.placed and index in ranks:
            rules.append(RuleEffect(choice.placed[slot], placed=True))
        rules += [RuleEffect(rule, held_back=True) for rule in sorted(choice.passed.get(index, ()))]
        item.explanation = Explanation(ranks.get(index), _features(ranked.matrix, index), rules)


def _features(matrix: Matrix | None, index: int) -> dict[str, float]:
    if matrix is None:
        return {}
    return {
        name: round(float(value), 6)
        for name, value in zip(FEATURE_NAMES, matrix[index], strict=True)
    }
