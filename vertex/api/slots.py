"""Fills the slots of a slate, best first, within the limits that rules set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import UNKNOWN
from vertex.api.rules import Scores

Likeness = Callable[[int], Scores]
"""Likeness `(n,)` in [0, 1] of the candidates to one of them."""


class Window(msgspec.Struct, frozen=True):
    """At most `n` of one code in any `within` slots in a row; `codes` `(n,)` of the candidates, 0:
    unknown, which does not count.
    """

    rule: str
    codes: Sequence[int]
    n: int
    within: int


class Quota(msgspec.Struct, frozen=True):
    """Members `(n,)`: at least `low` of the first slots, of any number, and at most `most` in
    all.
    """

    rule: str
    members: Sequence[bool]
    low: float
    most: int


class Limits(msgspec.Struct, frozen=True):
    """Limits on the choice for slots.

    Attributes:
        pins: slot -> candidate that stands there.
        pinned_by: slot -> rule, for explanations.
        windows, quotas: of rules.
        diversity: lambda of MMR in [0, 1]; 1 goes by score alone.
        likeness: needed where diversity is below 1.
    """

    pins: Mapping[int, int] = {}
    pinned_by: Mapping[int, str] = {}
    windows: Sequence[Window] = ()
    quotas: Sequence[Quota] = ()
    diversity: float = 1.0
    likeness: Likeness | None = None

    @property
    def bind_nothing(self) -> bool:
        """True where the slots go by score alone."""
        return self.diversity == 1.0 and not (self.pins or self.windows or self.quotas)


class Choice(msgspec.Struct):
    """The candidates in order of slots, and what rules did: `placed`, slot -> rule that chose;
    `passed`, candidate -> rules that kept it from a slot.
    """

    order: list[int]
    placed: dict[int, str]
    passed: dict[int, set[str]]


def fill(scores: Scores, k: int, limits: Limits) -> Choice:
    """The candidates for up to `k` slots.

    Each slot takes the pinned candidate, else the best that windows and quotas let pass, else the
    best of all that is left: a limit leaves no slot empty. The best is that of the greatest
    lambda x score - (1 - lambda) x likeness to the most alike that stands before it (maximal
    marginal relevance, Carbonell and Goldstein, SIGIR 1998), scores as shares of the best; ties in
    the order given.

    Args:
        scores: `(n,)`.
        k: slots.
        limits: what binds the choice.
    """
    if limits.bind_nothing:
        return Choice(np.argsort(-scores, kind="stable")[:k].tolist(), {}, {})
    return _Filling(scores, limits).fill(min(k, len(scores)))


class _Filling:
    """The state while slots are filled."""

    def __init__(self, scores: Scores, limits: Limits) -> None:
        self._limits = limits
        self._left: list[int] = np.argsort(-scores, kind="stable").tolist()
        self._values = limits.diversity * _shares_of_best(scores)  # -inf once taken
        self._likeness = np.zeros(len(scores))
        self._slots: list[dict[int, list[int]]] = [{} for _ in limits.windows]
        self._members = [0 for _ in limits.quotas]
        self._choice = Choice([], {}, {})

    def fill(self, k: int) -> Choice:
        """Fill `k` slots."""
        pins = {slot: index for slot, index in self._limits.pins.items() if slot < k}
        for slot, index in pins.items():
            self._hold(slot, index)
        for slot in range(k):
            if slot in pins:
                index = pins[slot]
                self._choice.placed[slot] = self._limits.pinned_by[slot]
            else:
                index = self._next(slot)
                self._hold(slot, index)
            self._take(index)
        return self._choice

    def _hold(self, slot: int, index: int) -> None:
        """Keep a candidate for a slot."""
        self._left.remove(index)
        self._values[index] = -np.inf
        for window, slots in zip(self._limits.windows, self._slots, strict=True):
            code = window.codes[index]
            if code != UNKNOWN:
                slots.setdefault(code, []).append(slot)
        for place, quota in enumerate(self._limits.quotas):
            self._members[place] += quota.members[index]

    def _take(self, index: int) -> None:
        self._choice.order.append(index)
        if self._limits.diversity < 1.0 and self._limits.likeness is not None:
            np.maximum(self._likeness, self._limits.likeness(index), out=self._likeness)

    def _next(self, slot: int) -> int:
        """The candidate for a slot that no pin holds."""
        bans = self._bans(slot)
        for quota, members in zip(self._limits.quotas, self._members, strict=True):
            if members < int(quota.low * (slot + 1) + 1e-9):
                wanted = (each for each in self._best_first() if quota.members[each])
                index = self._first(wanted, bans)
                if index is not None:
                    self._choice.placed[slot] = quota.rule
                    return index
        index = self._first(self._best_first(), bans)
        return next(self._best_first()) if index is None else index

    def _best_first(self) -> Iterator[int]:
        """The candidates that are left."""
        if self._limits.diversity == 1.0:
            return iter(self._left)
        values = self._values - (1.0 - self._limits.diversity) * self._likeness
        return _descending(values, len(self._left))

    def _bans(self, slot: int) -> list[_Ban]:
        """The candidates that limits keep from a slot."""
        windows = [
            _Ban(window.rule, window.codes, _full(taken, slot, window))
            for window, taken in zip(self._limits.windows, self._slots, strict=True)
        ]
        quotas = [
            _Ban(quota.rule, quota.members, {True})
            for quota, members in zip(self._limits.quotas, self._members, strict=True)
            if members >= quota.most
        ]
        return [ban for ban in (*windows, *quotas) if ban.banned]

    def _first(self, indexes: Iterable[int], bans: Sequence[_Ban]) -> int | None:
        """The first that no limit keeps from the slot."""
        for index in indexes:
            rule = next((ban.rule for ban in bans if ban.codes[index] in ban.banned), None)
            if rule is None:
                return index
            self._choice.passed.setdefault(index, set()).add(rule)
        return None


class _Ban(NamedTuple):
    """Codes that a rule keeps from a slot, beside those of the candidates."""

    rule: str
    codes: Sequence[int]
    banned: set[int]


def _full(taken: Mapping[int, Sequence[int]], slot: int, window: Window) -> set[int]:
    """The codes of which there are `n` in some window around a slot, by the slots taken."""
    return {
        code
        for code, slots in taken.items()
        if len(slots) >= window.n and _overflows(slots, slot, window)
    }


def _overflows(taken: Sequence[int], slot: int, window: Window) -> bool:
    """True where one more at `slot` would make more than `n` in some window."""
    near = sorted([slot, *(each for each in taken if abs(each - slot) < window.within)])
    last = len(near) - window.n
    return any(near[at + window.n] - near[at] < window.within for at in range(last))


def _descending(values: Scores, n: int) -> Iterator[int]:
    """The places of the `n` greatest values, greatest first; mostly the first alone is asked
    for.
    """
    yield int(values.argmax())
    yield from np.argsort(-values, kind="stable")[1:n].tolist()


def _shares_of_best(scores: Scores) -> Scores:
    """The scores as shares of the best."""
    best = float(scores.max(initial=0.0))
    return scores / best if best > 0 else scores


def likeness_of(
    categories: NDArray[np.int32], brands: NDArray[np.int32], units: NDArray[np.float32]
) -> Likeness:
    """Likeness by category (half), brand (a quarter) and vectors (a quarter of the cosine, at least
    0).

    Args:
        categories, brands: codes `(n,)`, 0: unknown, which is like nothing.
        units: unit vectors `(n, d)`; zeros where there is none.
    """

    def likeness(index: int) -> Scores:
        category, brand = categories[index], brands[index]
        same_category = (categories == category) & (category != UNKNOWN)
        same_brand = (brands == brand) & (brand != UNKNOWN)
        cosines = np.maximum(units @ units[index], np.float32(0.0))
        likeness: Scores = 0.5 * same_category + 0.25 * same_brand + 0.25 * cosines
        return likeness

    return likeness


def best_of_each(scores: Scores, codes: NDArray[np.int32]) -> list[int]:
    """The places of the best of each code but the unknown, best first: a category or a brand in
    place of its items.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[codes[order] != UNKNOWN]
    _, firsts = np.unique(codes[order], return_index=True)
    places: list[int] = order[np.sort(firsts)].tolist()
    return places
