"""Experiments: which variant a visitor, an account or a session is in, by a hash alone.

The slot of a unit is the first 13 hexadecimal digits of the SHA-256 of `salt.unit` in UTF-8, as a
number, modulo 10,000. Nothing is stored: the same unit is in the same slot wherever it is computed,
in SQL and in a browser too, and stays there while traffic grows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from typing import Literal, get_args

SLOTS = 10_000
"""A share of traffic is a number of slots."""
HOLDOUT = "holdout"
"""The salt of the global holdout, and its name in answers."""

Unit = Literal["visitor", "account", "session"]
UNITS: tuple[str, ...] = get_args(Unit)

# 13 hexadecimal digits are 52 bits: whole in a double too.
_BYTES, _BITS_TOO_MANY = 7, 4


def slot_of(salt: str, unit: str) -> int:
    """The slot of a unit's id, in [0, `SLOTS`)."""
    digest = sha256(f"{salt}.{unit}".encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:_BYTES], "big") >> _BITS_TOO_MANY) % SLOTS


@dataclass(frozen=True)
class Variant:
    """One variant: its slots, `slots` of them, and whether it shows what is popular alone."""

    name: str
    slots: int
    is_popular: bool = False


@dataclass(frozen=True)
class Units:
    """Ids of who asks; empty: unknown.

    `visitor` is the browser's id, and the account's where there is none: a login on a browser
    changes no variant.
    """

    visitor: str = ""
    account: str = ""
    session: str = ""

    @staticmethod
    def of(user_id: str | None, anonymous_id: str | None, session_id: str | None) -> Units:
        """Of the ids of an event or a request."""
        return Units(anonymous_id or user_id or "", user_id or "", session_id or "")


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
        name: its own.
        variants: whose slots are `SLOTS` together.
        unit: whose ids are assigned.
        layer: experiments of one layer exclude each other by their parts of it.
        first_slot, traffic_slots: its part of the layer: so many slots from there.
        salt: of the hash; another one assigns anew.
        start_ms, end_ms: it runs from the one to before the other; None: always.
        forced: unit id -> variant, for those who try one out.
    """

    name: str
    variants: tuple[Variant, ...]
    unit: Unit = "visitor"
    layer: str = ""
    first_slot: int = 0
    traffic_slots: int = SLOTS
    salt: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    forced: Mapping[str, str] = field(default_factory=dict)

    def runs_at(self, now_ms: int) -> bool:
        """True from its start to before its end."""
        has_begun = self.start_ms is None or now_ms >= self.start_ms
        return has_begun and (self.end_ms is None or now_ms < self.end_ms)

    def variant_of(self, units: Units) -> Variant | None:
        """The variant of a unit; None for one that takes no part."""
        unit: str = getattr(units, self.unit)
        if not unit:
            return None
        if unit in self.forced:
            return next(each for each in self.variants if each.name == self.forced[unit])
        if not self._takes_part(unit):
            return None
        slot = slot_of(f"{self.name}.{self.salt}", unit)
        return self.variants[bisect_right(self._ends, slot)]

    def _takes_part(self, unit: str) -> bool:
        if self.traffic_slots == SLOTS:
            return True
        slot = slot_of(self.layer or self.name, unit)
        return self.first_slot <= slot < self.first_slot + self.traffic_slots

    @cached_property
    def _ends(self) -> list[int]:
        """The slot after the last of each variant's."""
        return list(accumulate(variant.slots for variant in self.variants))


@dataclass(frozen=True)
class Assigned:
    """A unit's variant of an experiment."""

    experiment: str
    unit: Unit
    variant: Variant


Targets = Callable[[Experiment], bool]
"""Says whether an experiment is meant for who asks."""


@dataclass(frozen=True)
class Experiments:
    """All experiments, and the global holdout: `holdout_slots` of the visitors are in none of them,
    and are shown what is popular.
    """

    experiments: tuple[Experiment, ...] = ()
    holdout_slots: int = 0

    def assigned(
        self, units: Units, now_ms: int, targets: Targets = lambda _: True
    ) -> list[Assigned]:
        """The unit's variants of those that run and are meant for it; of one in the holdout that
        alone.
        """
        if self._is_held_out(units.visitor):
            return [Assigned(HOLDOUT, "visitor", Variant(HOLDOUT, self.holdout_slots, True))]
        return list(self._assigned(units, now_ms, targets))

    def _is_held_out(self, visitor: str) -> bool:
        if not visitor or not self.holdout_slots:
            return False
        return slot_of(HOLDOUT, visitor) < self.holdout_slots

    def _assigned(self, units: Units, now_ms: int, targets: Targets) -> Iterable[Assigned]:
        for experiment in self.experiments:
            if not experiment.runs_at(now_ms) or not targets(experiment):
                continue
            variant = experiment.variant_of(units)
            if variant is not None:
                yield Assigned(experiment.name, experiment.unit, variant)
