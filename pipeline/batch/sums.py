"""Partial states of items and scopes, merged by key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from pipeline.core.items import ItemStats, Trending
from pipeline.core.queries import QueryStats, TopQueries

ItemSum = tuple[bytes, bytes]  # encoded statistics, and the encoded stub or nothing


class CombineRows(beam.PTransform):
    """Merge partial states by key: the monoid's own `merge`, before the shuffle and after it."""

    def __init__(self, sum_: type[beam.CombineFn]) -> None:
        super().__init__()
        self._sum = sum_()

    def expand(self, partials: PCollection) -> Any:
        return partials | beam.CombinePerKey(self._sum)


class ItemStatsSum(beam.CombineFn):
    """Merges `(encoded ItemStats, encoded stub or empty)`; of several stubs the greatest, in any
    order.

    Most items have one partial alone, which is not decoded.
    """

    def create_accumulator(self) -> ItemSum | None:
        return None

    def add_input(self, total: ItemSum | None, element: ItemSum) -> ItemSum:
        if total is None:
            return element
        stats = ItemStats.decode(total[0])
        stats.merge(ItemStats.decode(element[0]))
        return stats.encode(), max(total[1], element[1])

    def merge_accumulators(self, totals: Iterable[ItemSum | None]) -> ItemSum | None:
        merged = None
        for total in totals:
            merged = self.add_input(merged, total) if total is not None else merged
        return merged

    def extract_output(self, total: ItemSum | None) -> ItemSum:
        return total or (ItemStats().encode(), b"")


class StateSum(beam.CombineFn):
    """Merges encoded states of one form."""

    form: type[Trending] | type[QueryStats] | type[TopQueries]

    def create_accumulator(self) -> bytes:
        return b""

    def add_input(self, total: bytes, element: bytes) -> bytes:
        return self.merge_accumulators([total, element])

    def merge_accumulators(self, totals: Iterable[bytes]) -> bytes:
        partials = [total for total in totals if total]
        if len(partials) == 1:
            return partials[0]
        merged: Any = self.form()
        for partial in partials:
            merged.merge(self.form.decode(partial))
        encoded: bytes = merged.encode()
        return encoded

    def extract_output(self, total: bytes) -> bytes:
        return total


class TrendingSum(StateSum):
    """Merges encoded `Trending`."""

    form = Trending


class QueryStatsSum(StateSum):
    """Merges encoded `QueryStats`."""

    form = QueryStats


class TopQueriesSum(StateSum):
    """Merges encoded `TopQueries`."""

    form = TopQueries
