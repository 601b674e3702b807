"""A visitor at a moment, among the items in memory: what the last items lead to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Mask, Rows
from pipeline.core.embedding import CONTEXT_DIM
from pipeline.core.item_columns import ItemColumns, Seed
from pipeline.core.profile import UserProfile

Vector = NDArray[np.float32]
Numbers = NDArray[np.float64]
RECENT_SEEDS = 10


class Links(NamedTuple):
    """Recent items, newest first, and what each leads to: `m` links in all.

    Attributes:
        rows: `(m,)`, the items led to, those of one recent item after those of another; the first
            of each is the recent item itself, for people come back: `NO_ROW` where it is not in
            memory.
        strengths: `(m,)` in [0, 1].
        counts: `(r,)`, the links of each recent item.
        ages_ms: `(r,)`.
        weights: `(r,)`, 2^(-rank / 3).
    """

    rows: Rows
    strengths: Numbers
    counts: NDArray[np.int64]
    ages_ms: Numbers
    weights: Numbers

    @property
    def weighted(self) -> Numbers:
        """The strengths by the weights of their recent items `(m,)`."""
        return self.strengths * np.repeat(self.weights, self.counts)

    @property
    def is_to_another(self) -> Mask:
        """False for a recent item's link to itself `(m,)`."""
        mask = np.ones(len(self.rows), np.bool_)
        mask[np.cumsum(self.counts) - self.counts] = False
        return mask


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
    def recent_rows(self) -> Rows:
        """The rows of `recent`, `NO_ROW` for those that are not in memory."""
        return np.array([self.items.row(item_id) for item_id, _ in self.recent], np.int32)

    @cached_property
    def links(self) -> Links:
        """The last 10 items and what each leads to (strength 1 for its strongest neighbour)."""
        recent = self.recent[:RECENT_SEEDS]
        rows, strengths, counts = [_NO_ROWS], [_NO_STRENGTHS], []
        for rank, (item_id, _) in enumerate(recent):
            seed = self.seeds.get(item_id)
            others, shares = (_NO_ROWS, _NO_STRENGTHS)
            if seed is not None:
                others, shares = seed.touched.known(self.items)
            rows += [self.recent_rows[rank : rank + 1], others]
            strengths += [_ITSELF, shares]
            counts.append(1 + len(others))
        return Links(
            np.concatenate(rows),
            np.concatenate(strengths),
            np.array(counts, np.int64),
            self.now_ms - np.array([time_ms for _, time_ms in recent], np.float64),
            2.0 ** (-np.arange(len(recent)) / 3),
        )

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
        rows = self.recent_rows[:RECENT_SEEDS]
        weights = 2.0 ** (-np.arange(len(rows)) / 3)
        is_known = rows >= 0
        total = weights[is_known] @ self.items.text.get(rows[is_known])
        norm = float(np.sqrt(total @ total))
        return (total / norm).astype(np.float32) if norm > 0 else None


_ITSELF = np.ones(1)
_NO_ROWS: Rows = np.zeros(0, np.int32)
_NO_STRENGTHS = np.zeros(0)
