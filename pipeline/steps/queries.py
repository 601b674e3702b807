"""The fold of searches: new facts into statistics by query, public queries into the top ones."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.core.fold import Folded
from pipeline.core.queries import QueryStats, TopQueries, query_sums
from pipeline.core.trust import NewFacts
from pipeline.steps.keyed_state import FoldPartials, KeyedState, StateOptions
from pipeline.store import layout, versions

TOP = "top"

_GLOBAL = (GlobalWindow(),)


def query_partials(folded: Iterable[Folded]) -> list[tuple[str, bytes]]:
    """Encoded partial statistics by query of some messages, in stream and backfill alike."""
    folded = list(folded)
    sums = query_sums(
        (event for found in folded for event, _ in found.new),
        (click for found in folded for click in found.clicks),
    )
    return [(query, stats.encode()) for query, stats in sums.items()]


def top_partial(query: str, stats: QueryStats, revision: int) -> tuple[str, bytes] | None:
    """A public query for the row of top queries that it has its place in; None for a private one.

    `revision` is that of the query's own row, in ms.
    """
    found = stats.top(revision)
    if found is None:
        return None
    return layout.top_queries_row(query), TopQueries(stats.newest_ms, {query: found}).encode()


@beam.typehints.with_output_types(tuple[str, bytes])
class SumByQuery(beam.DoFn):
    """A bundle's new facts, summed by query: most of them are no searches and end here."""

    def __init__(self) -> None:
        self._pending: list[Folded] = []

    def start_bundle(self) -> None:
        self._pending = []

    def process(self, element: tuple[str, NewFacts]) -> None:
        _, new = element
        if new.trusted:
            self._pending.append(Folded(new.facts, [], new.clicks))

    def finish_bundle(self) -> Iterator[Any]:
        now = Timestamp(time.time())
        for partial in query_partials(self._pending):
            yield WindowedValue(partial, now, _GLOBAL)


class FoldQueryRows(KeyedState):
    """Partial statistics into each query's row; a public query goes on to the top ones."""

    def __init__(self, state_options: StateOptions) -> None:
        super().__init__(state_options, "queries")

    def process(
        self,
        element: tuple[str, bytes],
        state: Any = beam.DoFn.StateParam(KeyedState.STATE),
        flush: Any = beam.DoFn.TimerParam(KeyedState.FLUSH),
        expiry: Any = beam.DoFn.TimerParam(KeyedState.EXPIRY),
    ) -> Iterator[Any]:
        query, addition = element
        kept = self._load(layout.QUERY, layout.query_row(query), state)
        total = self._decode(QueryStats, kept)
        if total is None:
            return
        total.merge(versions.decode(QueryStats, addition))
        yield from self._keep(kept, total.encode(), total.newest_ms, state, flush, expiry)
        top = top_partial(query, total, kept.revision)
        if top is not None:
            yield TaggedOutput(TOP, top)


class FoldQueries(beam.PTransform):
    """Fold new, trusted events into statistics of what was searched for; yield Bigtable writes.

    Keying, state, expiry and delivery are those of `FoldItems`: a bundle is summed by query first,
    then two keyed folds in the global window, of queries and of the `layout.QUERY_SHARDS` rows of
    top queries. The words of a query stand in Bigtable only once it is public.
    """

    def __init__(self, state_options: StateOptions) -> None:
        super().__init__()
        self._options = state_options

    def expand(self, new: PCollection) -> Any:
        fold = beam.ParDo(FoldQueryRows(self._options))
        queries = (
            new
            | "SumByQuery" >> beam.ParDo(SumByQuery())
            | "FoldQueryRows" >> fold.with_outputs(TOP, main="writes")
        )
        fold_top = FoldPartials(self._options, "top_queries", layout.TOP_QUERIES, TopQueries)
        top = queries[TOP] | "FoldTopQueries" >> beam.ParDo(fold_top)
        return (queries["writes"], top) | "Both" >> beam.Flatten()
