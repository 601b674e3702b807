"""The policy of a slate: at which slot chance may show a new item, and with which propensity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random

from vertex.api.shelves import Shelves

# Exploration takes this slot: a new item is seen there, and a good one is not missed much.
EXPLORE_SLOT = 5


@dataclass(frozen=True)
class Exploration:
    """Exploration of one slot: the new item drawn, if any, and the propensity of what is shown
    there.
    """

    drawn: str | None = None
    propensity: float = 1.0


def explore(
    shelves: Shelves,
    categories: Sequence[str],
    is_eligible: Callable[[str], bool],
    rate: float,
    rng: Random,
) -> Exploration:
    """With the chance `rate`, one new eligible item, drawn evenly.

    It is of the visitor's `categories` where one is new there, else any.
    """
    near = [shelves.new_by_category.get(name, []) for name in categories]
    for shelf in (chain.from_iterable(near), shelves.new):
        pool = [item_id for item_id in shelf if is_eligible(item_id)]
        if pool and rng.random() < rate:
            return Exploration(rng.choice(pool), rate / len(pool))
        if pool:
            return Exploration(None, 1.0 - rate)
    return Exploration()
