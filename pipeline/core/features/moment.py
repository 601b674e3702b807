"""A visitor at a moment, among the items in memory: what the last items lead to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Rows
from pipeline.core.embedding import CONTEXT_DIM
from pipeline.core.item_columns import ItemColumns, Seed
from pipeline.core.profile import UserProfile

Vector = NDArray[np.float32]
Numbers = NDArray[np.float64]
RECENT_SEEDS = 10


class Link(NamedTuple):
    """One recent item: its age in ms, its weight 2^(-rank / 3), and the strengths `(k,)` in [0, 1]
    by which it leads to the items of `rows` `(k,)`, the first of them itself where it is in memory,
    for people come back.
    """

    age_ms: int
    weight: float
    rows: Rows
    strengths: Numbers


class Moment:
    """A visitor at a moment; what candidates and features share is computed when first asked for.

    Args:
        profile: the visitor's state; an empty one for an unknown visitor.
        items: the items in memory, their trained vectors among them.
        now_ms: the time of reading, ms since the Unix epoch.
        seeds: what the visitor's recent items lead to, by id.
    """

    def __init__(
        self,
        profile: UserProfile,
        items: ItemColumns,
        now_ms: int,
        seeds: Mapping[str, Seed] | None = None,
    ) -> None:
        self.profile, self.items, self.now_ms = profile, items, now_ms
        self.seeds = seeds or {}

    @cached_property
    def recent(self) -> list[tuple[str, int]]:
        """The items touched last, newest first, as (item id, time in ms)."""
        return self.profile.recent_items(self.now_ms)

    @cached_property
    def links(self) -> list[Link]:
        """The last 10 items and what each leads to (strength 1 for its strongest neighbour), newest
        first.
        """
        found = []
        for rank, (item_id, time_ms) in enumerate(self.recent[:RECENT_SEEDS]):
            own = self.items.row(item_id)
            parts, strengths = [np.array([own], np.int32)], [_ITSELF]
            seed = self.seeds.get(item_id)
            if seed is not None:
                others, shares = seed.touched.known(self.items)
                parts, strengths = [*parts, others], [*strengths, shares]
            found.append(
                Link(
                    age_ms=self.now_ms - time_ms,
                    weight=2.0 ** (-rank / 3),
                    rows=np.concatenate(parts),
                    strengths=np.concatenate(strengths),
                )
            )
        return found

    @cached_property
    def session_vector(self) -> Vector | None:
        """The unit vector `(dim,)` of the last items: their trained vectors weighted by 2^(-rank /
        3).
        """
        vectors = self.items.vectors
        known = [
            (2.0 ** (-rank / 3), vectors[item_id])
            for rank, (item_id, _) in enumerate(self.recent[:RECENT_SEEDS])
            if item_id in vectors
        ]
        if not known:
            return None
        total: Vector = np.sum([weight * vector for weight, vector in known], axis=0)
        norm = float(np.sqrt(total @ total))
        if norm == 0:
            return None
        unit: Vector = (total / norm).astype(np.float32)
        return unit

    @cached_property
    def context_vector(self) -> Vector | None:
        """The unit vector `(CONTEXT_DIM,)` of the items seen with the last ones, weighted by
        2^(-rank / 3).
        """
        total = np.zeros(CONTEXT_DIM)
        for rank, (item_id, _) in enumerate(self.recent[:RECENT_SEEDS]):
            seed = self.seeds.get(item_id)
            if seed is not None and seed.context is not None:
                total += 2.0 ** (-rank / 3) * seed.context
        norm = float(np.sqrt(total @ total))
        return (total / norm).astype(np.float32) if norm > 0 else None

    @cached_property
    def text_vector(self) -> Vector | None:
        """The unit vector `(TEXT_DIM,)` of the last items: their text vectors weighted by 2^(-rank
        / 3).
        """
        ids = [item_id for item_id, _ in self.recent[:RECENT_SEEDS]]
        rows = np.array([self.items.row(item_id) for item_id in ids], np.int32)
        weights = 2.0 ** (-np.arange(len(rows)) / 3)
        is_known = rows >= 0
        total = weights[is_known] @ self.items.text.get(rows[is_known])
        norm = float(np.sqrt(total @ total))
        return (total / norm).astype(np.float32) if norm > 0 else None


_ITSELF = np.ones(1)
