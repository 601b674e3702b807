"""Examples for the ranker: each slate with the features of the moment it was asked for, and what
was clicked.

The log is replayed in order of event time. A slate asked for at time t is described by events
before t alone: strictly before, so that events of the same millisecond, whose order is not known,
stay out.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.catalog import Item
from pipeline.core.context import context_of
from pipeline.core.events import Event
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.ranking import FEATURE_NAMES
from pipeline.core.features.ranking_inputs import Matrix, RankingContext
from pipeline.core.text_vectors import TextEncoder
from pipeline.core.vectors import VectorIndex
from vertex.data.negatives import Offers, choice
from vertex.data.progress import Say, told
from vertex.data.replay import World
from vertex.data.slates import LoggedSlate

IMPRESSIONS, VIEWS = "impressions", "views"
# The newest are kept: enough to learn from, and a bound on time and memory.
MAX_SLATES = 20_000


@dataclass(frozen=True, slots=True)
class VectorsFrom:
    """Vectors that may be used from `time_ms` on, because they were learnt from events before
    it."""

    time_ms: int
    vectors: VectorIndex


@dataclass(frozen=True)
class Dataset:
    """Slates in order of time: row `i` of `matrix` belongs to slate `slate_of[i]`.

    Shapes: `matrix` (n, d) float32 in the order of `FEATURE_NAMES`, `labels` (n,) 0 or 1,
    `slate_of` (n,), `times_ms` (n_slates,), when each was asked for.
    """

    source: str
    matrix: Matrix
    labels: NDArray[np.int8]
    slate_of: NDArray[np.int64]
    times_ms: NDArray[np.int64]

    def between(self, first: int, last: int) -> Dataset:
        """The slates numbered `first` up to, but not with, `last`."""
        rows = (self.slate_of >= first) & (self.slate_of < last)
        return Dataset(
            self.source,
            self.matrix[rows],
            self.labels[rows],
            self.slate_of[rows] - first,
            self.times_ms[first:last],
        )

    @property
    def clicked_slates(self) -> int:
        """Slates with at least one click."""
        return len(np.unique(self.slate_of[self.labels == 1]))


def examples(
    events: Sequence[Event],
    slates: Sequence[LoggedSlate],
    catalog: Mapping[str, Item],
    vectors: Sequence[VectorsFrom] = (),
    seed: int = 0,
    say: Say = lambda line: None,
    encoder: TextEncoder | None = None,
) -> Dataset:
    """Replay the log and describe each slate by what was known when it was asked for.

    Args:
        events: the log, as `in_order` gives it.
        slates: in order of time, all of one kind.
        vectors: in order of time; a slate uses the last that it may.
        seed: for the candidates drawn where nothing was shown.
        say: gets a line of progress every few seconds.
        encoder: of the items' texts.
    """
    log = Log(events, catalog, encoder)
    rng = random.Random(seed)
    blocks: list[Matrix] = []
    labels: list[list[int]] = []
    times_ms: list[int] = []
    for slate in told(slates, len(slates), "replaying slates", say):
        log.forward(slate.time_ms)
        known = vectors_at(vectors, slate.time_ms)
        items = slate.items or log.choice(slate, known, rng)
        if not items:
            continue
        blocks.append(log.matrix(slate, items, known))
        labels.append([int(item_id in slate.clicked) for item_id in items])
        times_ms.append(slate.time_ms)
    source = VIEWS if slates and not slates[0].items else IMPRESSIONS
    return _dataset(source, blocks, labels, times_ms)


def vectors_at(vectors: Sequence[VectorsFrom], time_ms: int) -> VectorIndex:
    """The vectors of the last entry that may be used at `time_ms`; none before the first."""
    usable = [entry.vectors for entry in vectors if entry.time_ms <= time_ms]
    if not usable:
        return VectorIndex.empty()
    return usable[-1]


class Log:
    """A position in the log, and the world as it was there."""

    def __init__(
        self,
        events: Sequence[Event],
        catalog: Mapping[str, Item],
        encoder: TextEncoder | None = None,
    ) -> None:
        self.world = World(catalog, encoder=encoder)
        self._events = events
        self._times_ms = [event.time_ms for event in events]
        self._next = 0
        self._offers = Offers(self.world)

    def forward(self, time_ms: int) -> None:
        """Fold every event before `time_ms`, and none at it."""
        until = bisect_left(self._times_ms, time_ms, lo=self._next)
        for event in self._events[self._next : until]:
            self.world.add(event)
            if event.product_id is not None:
                self._offers.add(event, self.world.item(event.product_id))
        self._next = max(self._next, until)

    def matrix(self, slate: LoggedSlate, items: Sequence[str], vectors: VectorIndex) -> Matrix:
        """The features of the items for the slate's visitor at its time, `(len(items), d)`."""
        moment = self.world.moment(slate.asked_by, vectors, slate.time_ms)
        context = RankingContext(
            placement=slate.asked_by.text("placement") or "home",
            positions=slate.positions,
            priors=self.world.priors(),
            request=context_of(slate.asked_by),
        )
        return feature_matrix(moment, self.world.rows(items), context)

    def choice(
        self, slate: LoggedSlate, vectors: VectorIndex, rng: random.Random
    ) -> list[str] | None:
        """The viewed item among others that could have been offered; None when it could not have
        been.
        """
        (viewed,) = slate.clicked
        moment = self.world.moment(slate.asked_by, vectors, slate.time_ms)
        return choice(viewed, self._offers.at(moment), rng)


def _dataset(
    source: str, blocks: list[Matrix], labels: list[list[int]], times_ms: list[int]
) -> Dataset:
    sizes = [len(block) for block in blocks]
    nothing = np.zeros((0, len(FEATURE_NAMES)), np.float32)
    return Dataset(
        source=source,
        matrix=np.concatenate([nothing, *blocks]),
        labels=np.array([label for slate in labels for label in slate], np.int8),
        slate_of=np.repeat(np.arange(len(sizes), dtype=np.int64), sizes),
        times_ms=np.array(times_ms, np.int64),
    )
