"""The folds: visitors' facts into profiles, new facts into items, items into what is trending."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.core.catalog import encode_item
from pipeline.core.decay import DAY_MS
from pipeline.core.fold import Folded, catalog_category, item_sums
from pipeline.core.items import ItemStats, Trending
from pipeline.core.trust import NewFacts, stubs_of
from pipeline.steps.keyed_state import FoldPartials, KeyedState, StateOptions
from pipeline.store import layout, versions

RANKS = "ranks"

_GLOBAL = (GlobalWindow(),)  # made once: making it costs more than a row


ItemPartial = tuple[bytes, bytes]
"""Encoded partial statistics of an item, and its encoded stub, empty where the catalog holds it."""


@dataclass(slots=True)
class Partials:
    """Sums of some facts, for the folds.

    Attributes:
        items: by item id.
        scopes: encoded partial counts, by the scope's row.
    """

    items: list[tuple[str, ItemPartial]]
    scopes: list[tuple[str, bytes]]


def partials(folded: Iterable[Folded], shards: int) -> Partials:
    """The sums of some messages' new facts, in stream and backfill alike."""
    folded = list(folded)
    items, scopes = sums(folded, shards)
    stubs = stubs_of(fact for found in folded for fact in found.new)
    return Partials(
        [
            (item_id, (stats.encode(), encode_item(stubs[item_id]) if item_id in stubs else b""))
            for item_id, stats in items.items()
        ],
        [(row, scope.encode()) for row, scope in scopes.items()],
    )


class ItemFold:
    """Partial statistics into items; their popularity is summed by scope until it is taken."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._ranks: dict[str, Trending] = {}

    def add(self, item_id: str, total: ItemStats, addition: bytes) -> bool:
        """Fold a partial into the item's statistics, in place.

        Returns:
            True where the item's stub is to be written: Bigtable forgets it by its cell's time, so
            it is written anew on each day that the item is seen.
        """
        unseen = not total.counts.totals  # there may be neighbours: bundles of a session overtake
        day = total.newest_ms // DAY_MS
        total.merge(versions.decode(ItemStats, addition))
        self.rank(item_id, total)
        return bool(total.counts.totals) and (unseen or total.newest_ms // DAY_MS > day)

    def rank(self, item_id: str, stats: ItemStats) -> None:
        """Note an item's popularity in the scopes that it belongs to."""
        add_rank(self._ranks, item_id, stats, self._shards)

    def take_ranks(self) -> list[tuple[str, bytes]]:
        """The popularity noted since it was taken last: encoded, by the scope's row."""
        ranks, self._ranks = self._ranks, {}
        return [(row, scope.encode()) for row, scope in ranks.items()]


@beam.typehints.with_output_types(tuple[str, Any])
class SumByItem(beam.DoFn):
    """A bundle's new facts, summed by item and by scope: a hot item costs one element a bundle, not
    one an event.
    """

    def __init__(self, trending_shards: int) -> None:
        self._shards = trending_shards
        self._pending: list[Folded] = []

    def start_bundle(self) -> None:
        self._pending = []

    def process(self, element: tuple[str, NewFacts]) -> None:
        _, new = element
        if new.trusted:
            self._pending.append(Folded(new.facts, new.pairs))

    def finish_bundle(self) -> Iterator[Any]:
        found, now = partials(self._pending, self._shards), Timestamp(time.time())
        for item in found.items:
            yield WindowedValue(item, now, _GLOBAL)
        for scope in found.scopes:
            yield TaggedOutput(RANKS, WindowedValue(scope, now, _GLOBAL))


class FoldItemRows(KeyedState):
    """`ItemFold` on state that is kept by item."""

    def __init__(self, state_options: StateOptions, trending_shards: int) -> None:
        super().__init__(state_options, "items")
        self._shards = trending_shards
        self._fold = ItemFold(trending_shards)

    def start_bundle(self) -> None:
        super().start_bundle()
        self._fold = ItemFold(self._shards)

    def process(
        self,
        element: tuple[str, ItemPartial],
        state: Any = beam.DoFn.StateParam(KeyedState.STATE),
        flush: Any = beam.DoFn.TimerParam(KeyedState.FLUSH),
        expiry: Any = beam.DoFn.TimerParam(KeyedState.EXPIRY),
    ) -> Iterator[Any]:
        item_id, (addition, stub) = element
        kept = self._load(layout.STATS, item_id, state)
        total = self._decode(ItemStats, kept)
        if total is None:
            return
        is_stub_due = self._fold.add(item_id, total, addition)
        yield from self._keep(kept, total.encode(), total.newest_ms, state, flush, expiry)
        if stub and is_stub_due:
            yield layout.STUB, item_id, self._first_stub(item_id, stub), kept.revision

    def finish_bundle(self) -> Iterator[Any]:
        now = Timestamp(time.time())
        for rank in self._fold.take_ranks():
            yield TaggedOutput(RANKS, WindowedValue(rank, now, _GLOBAL))

    def _first_stub(self, item_id: str, stub: bytes) -> bytes:
        """The stub that is stored, else this one: later events do not rename an item."""
        stored = self._options.source.store().read(layout.STUB, item_id)
        return stub if stored is None else stored[0]


def sums(folded: Iterable[Folded], shards: int) -> tuple[dict[str, ItemStats], dict[str, Trending]]:
    """Partial statistics by item, and partial counts by scope's row, of some messages' new
    facts."""
    folded = list(folded)
    items = item_sums(folded)
    return items, scope_counts(folded, items, shards)


def scope_counts(
    folded: Iterable[Folded], items: dict[str, ItemStats], shards: int
) -> dict[str, Trending]:
    """Counts by scope's row: each item's partial counts where its facts are of one category, else
    fact by fact.

    Categories are the catalog's: there are as many scopes as it has categories, and events add
    none. What the catalog does not hold counts in one scope of its own.
    """
    categories: dict[str, set[str | None]] = {}
    for new, *_ in folded:
        for fact in new:
            if fact[0].product_id is not None:
                categories.setdefault(fact[0].product_id, set()).add(catalog_category(fact))
    by_category: dict[tuple[str | None, int], Trending] = {}

    def scope(category: str | None, item_id: str) -> Trending:
        return by_category.setdefault((category, shard_of(item_id, shards)), Trending())

    mixed = {item_id for item_id, found in categories.items() if len(found) > 1}
    for item_id, found in categories.items():
        if item_id not in mixed:
            [category] = found
            _count(scope(category, item_id), items[item_id])
    for new, *_ in folded if mixed else ():
        for fact in new:
            item_id = fact[0].product_id or ""
            if item_id in mixed:
                alone = ItemStats()
                alone.add(fact[0])
                _count(scope(catalog_category(fact), item_id), alone)
    return _by_row(by_category)


def _count(scope: Trending, stats: ItemStats) -> None:
    scope.counts.merge(stats.counts)
    scope.newest_ms = max(scope.newest_ms, stats.newest_ms)


def _by_row(by_category: dict[tuple[str | None, int], Trending]) -> dict[str, Trending]:
    """By scope's row. What counted nothing is left out."""
    rows: dict[str, Trending] = {}
    for (category, shard), partial in by_category.items():
        if partial.counts.totals:
            for scope in _scopes(category):
                rows.setdefault(layout.trending_key(scope, shard), Trending()).merge(partial)
    return rows


def _scopes(category: str | None) -> list[str]:
    """The scopes of an item of this category; None is an item that the catalog does not hold."""
    if category is None:
        return [layout.STUB_SCOPE]
    return [layout.GLOBAL_SCOPE, *([layout.category_scope(category)] if category else [])]


def add_rank(ranks: dict[str, Trending], item_id: str, stats: ItemStats, shards: int) -> None:
    """Note an item's popularity, from all of its history, in the rows of its scopes.

    Made-up products would fill the catalog's scope, whose shards keep 300 each: they have another.
    An item that the catalog comes to hold moves at its next event, with its whole popularity, and
    grows no more where it was.
    """
    popularity = stats.log2_popularity()
    if popularity is None:
        return
    for scope in _scopes(stats.category if stats.in_catalog else None):
        row = layout.trending_key(scope, shard_of(item_id, shards))
        total = ranks.setdefault(row, Trending())
        total.newest_ms = max(total.newest_ms, stats.newest_ms)
        total.rank(item_id, popularity)


def shard_of(item_id: str, shards: int) -> int:
    """The shard of its scopes that an item is counted in."""
    return crc32(item_id.encode("utf-8", "surrogatepass")) % shards


class FoldItems(beam.PTransform):
    """Fold new, trusted events into item stats and trending scopes; yield Bigtable writes.

    A bundle's events are first summed by row, so a hot item costs one element a bundle and worker,
    not one an event. Then two keyed folds, global window: items, and, with each item's whole
    popularity, the scopes it belongs to (`trending_shards` rows each, by item). State is the
    encoded monoid, warm-started, forgotten and written as in `FoldProfiles`. An item that the
    catalog does not hold gets a stub, which a later catalog load overwrites.

    These states hold no event ids: each new event counts once because `FoldProfiles` hands it on
    once, and the runner keeps what is between steps exactly once. Where it does not, they are only
    nearly exact: Dataflow's at-least-once mode may count an event twice; a job that is killed or
    cancelled, not drained, leaves out events whose profile was stored already, for a replay finds
    them duplicate. Profiles are exact in both cases, and a backfill mends items.
    """

    def __init__(self, state_options: StateOptions, trending_shards: int = 1) -> None:
        super().__init__()
        self._options, self._shards = state_options, trending_shards

    def expand(self, new: PCollection) -> Any:
        partial = new | "SumByItem" >> beam.ParDo(SumByItem(self._shards)).with_outputs(
            RANKS, main="items"
        )
        fold = beam.ParDo(FoldItemRows(self._options, self._shards))
        items = partial["items"] | "FoldItemRows" >> fold.with_outputs(RANKS, main="writes")
        fold_scopes = FoldPartials(self._options, "scopes", layout.TRENDING, Trending)
        scopes = (
            (partial[RANKS], items[RANKS])
            | "Scopes" >> beam.Flatten()
            | "FoldScopes" >> beam.ParDo(fold_scopes)
        )
        return (items["writes"], scopes) | "Both" >> beam.Flatten()
