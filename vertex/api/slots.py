"""Fills the slots of a slate, best first, within the limits that rules set."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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
        self._windows = [_Counted(window) for window in limits.windows]
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
        for counted in self._windows:
            counted.add(index, slot)
        for place, quota in enumerate(self._limits.quotas):
            self._members[place] += quota.members[index]

    def _take(self, index: int) -> None:
        self._choice.order.append(index)
        if self._limits.diversity < 1.0 and self._limits.likeness is not None:
            np.maximum(self._likeness, self._limits.likeness(index), out=self._likeness)

    def _next(self, slot: int) -> int:
        """The candidate for a slot that no pin holds."""
        for quota, members in zip(self._limits.quotas, self._members, strict=True):
            if members < int(quota.low * (slot + 1) + 1e-9):
                wanted = (each for each in self._best_first() if quota.members[each])
                index = self._first(wanted, slot)
                if index is not None:
                    self._choice.placed[slot] = quota.rule
                    return index
        index = self._first(self._best_first(), slot)
        return next(self._best_first()) if index is None else index

    def _best_first(self) -> Iterator[int]:
        """The candidates that are left."""
        if self._limits.diversity == 1.0:
            return iter(self._left)
        values = self._values - (1.0 - self._limits.diversity) * self._likeness
        return _descending(values, len(self._left))

    def _first(self, indexes: Iterable[int], slot: int) -> int | None:
        """The first that no limit keeps from the slot."""
        for index in indexes:
            rule = self._held_back_by(index, slot)
            if rule is None:
                return index
            self._choice.passed.setdefault(index, set()).add(rule)
        return None

    def _held_back_by(self, index: int, slot: int) -> str | None:
        """The limit that keeps a candidate from a slot, None where none does."""
        for counted in self._windows:
            if counted.is_full(index, slot):
                return counted.rule
        for quota, members in zip(self._limits.quotas, self._members, strict=True):
            if members >= quota.most and quota.members[index]:
                return quota.rule
        return None


class _Counted:
    """The slots that each code of a window has taken, ascending."""

    def __init__(self, window: Window) -> None:
        self.rule = window.rule
        self._window = window
        self._slots: dict[int, list[int]] = {}
        self._slot = -1
        self._full: dict[int, bool] = {}  # of the codes that were asked about for this slot

    def add(self, index: int, slot: int) -> None:
        """Count a candidate in a slot."""
        code = self._window.codes[index]
        if code != UNKNOWN:
            insort(self._slots.setdefault(code, []), slot)

    def is_full(self, index: int, slot: int) -> bool:
        """True where the candidate at `slot` would be one too many."""
        code = self._window.codes[index]
        slots = self._slots.get(code, ())
        if len(slots) < self._window.n:
            return False
        if slot != self._slot:
            self._slot, self._full = slot, {}
        full = self._full.get(code)
        if full is None:
            full = self._full[code] = _overflows(slots, slot, self._window)
        return full


def _overflows(taken: Sequence[int], slot: int, window: Window) -> bool:
    """True where one more at `slot` would make more than `n` in some window; `taken` ascending."""
    before = bisect_left(taken, slot)
    firsts = range(max(before - window.n, 0), min(before, len(taken) - window.n) + 1)
    return any(
        max(taken[first + window.n - 1], slot) - min(taken[first], slot) < window.within
        for first in firsts
    )


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

    of_categories = _AlikeByCode(categories, 0.5)
    of_brands = _AlikeByCode(brands, 0.25)
    quarters = np.float32(0.25) * units

    def likeness(index: int) -> Scores:
        likeness: Scores = of_categories.to(index) + of_brands.to(index)
        likeness += np.maximum(quarters @ units[index], np.float32(0.0))
        return likeness

    return likeness


class _AlikeByCode:
    """Likeness of candidates by a code: `weight` for the same one; computed once for each code."""

    def __init__(self, codes: NDArray[np.int32], weight: float) -> None:
        self._codes, self._weight = codes, weight
        self._found: dict[int, Scores] = {UNKNOWN: np.zeros(len(codes))}

    def to(self, index: int) -> Scores:
        """`(n,)`: likeness to one of them."""
        code = int(self._codes[index])
        found = self._found.get(code)
        if found is None:
            found = self._found[code] = self._weight * (self._codes == code)
        return found


def best_of_each(scores: Scores, codes: NDArray[np.int32]) -> list[int]:
    """The places of the best of each code but the unknown, best first: a category or a brand in
    place of its items.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[codes[order] != UNKNOWN]
    _, firsts = np.unique(codes[order], return_index=True)
    places: list[int] = order[np.sort(firsts)].tolist()
    return places
