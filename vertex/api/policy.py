"""The policy of a slate: at which slot chance may show a new item, and with which propensity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from vertex.api.shelves import Shelves
from vertex.candidates import NO_ROWS, Allowed

# Exploration takes this slot: a new item is seen there, and a good one is not missed much.
EXPLORE_SLOT = 5


@dataclass(frozen=True)
class Exploration:
    """Exploration of one slot: the row of the new item drawn, if any, and the propensity of what is
    shown there.
    """

    drawn: int | None = None
    propensity: float = 1.0


def explore(
    shelves: Shelves, categories: Sequence[str], is_eligible: Allowed, rate: float, rng: Random
) -> Exploration:
    """With the chance `rate`, one new eligible item, drawn evenly.

    It is of the visitor's `categories` where one is new there, else any.
    """
    near = [shelves.new_by_category.get(name, NO_ROWS) for name in categories]
    for shelf in (np.concatenate([NO_ROWS, *near]), shelves.new):
        pool = shelf[is_eligible(shelf)].tolist()
        if pool and rng.random() < rate:
            return Exploration(rng.choice(pool), rate / len(pool))
        if pool:
            return Exploration(None, 1.0 - rate)
    return Exploration()
