"""The order of a slate: the best by score, and what chance puts into its slot."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vertex.api.policy import EXPLORE_SLOT, Exploration
from vertex.api.ranking import PARTS


class Entry(msgspec.Struct):
    """One item of a slate, for a reader who may not see the profile."""

    id: str
    position: int
    propensity: float


class Shown(msgspec.Struct):
    """One item of a slate. `parts` are weighted terms, which sum to `score`."""

    id: str
    score: float
    parts: dict[str, float]
    source: str
    position: int
    propensity: float

    def entry(self) -> Entry:
        """The item without its reasons: scores, parts and sources follow from the visitor's
        profile.
        """
        return Entry(self.id, self.position, self.propensity)


def arrange(
    ids: Sequence[str],
    sources: Sequence[str],
    parts: NDArray[np.float64],
    k: int,
    exploration: Exploration,
) -> list[Shown]:
    """The best `k` in order of score (ties in the order found), the drawn item in its slot instead
    of what was there.

    Args:
        ids: of the `n` candidates; the drawn item, if any, is the last.
        sources: where each was found.
        parts: the terms of their scores `(n, 4)`.
        k: how many to show.
        exploration: what chance does. Every other slot is certain: propensity 1.
    """
    scores = parts.sum(axis=1)
    last = len(ids) - (exploration.drawn is not None)
    order = [int(index) for index in np.argsort(-scores[:last], kind="stable")[:k]]
    if exploration.drawn is not None:
        order[EXPLORE_SLOT] = last
    shown = [
        Shown(
            id=ids[index],
            score=round(float(scores[index]), 6),
            parts=dict(zip(PARTS, parts[index].tolist(), strict=True)),
            source=sources[index],
            position=position,
            propensity=1.0,
        )
        for position, index in enumerate(order)
    ]
    if len(shown) > EXPLORE_SLOT:
        shown[EXPLORE_SLOT].propensity = exploration.propensity
    return shown


def arrange_trending(ids: Sequence[str], scores: dict[str, float]) -> list[Shown]:
    """Trending items in this order, the same for everybody; one without a score has 0."""
    shown = []
    for position, item_id in enumerate(ids):
        score = round(scores.get(item_id, 0.0), 6)
        parts = {**dict.fromkeys(PARTS, 0.0), "popularity": score}
        shown.append(Shown(item_id, score, parts, "trending", position, 1.0))
    return shown
