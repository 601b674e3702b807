"""The items in stock in order, and what all say together: priors of rates, context vectors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nlargest

import numpy as np

from pipeline.core.embedding import CONTEXT_DIM
from pipeline.core.items import IMPRESSION, ItemRow, RatePriors, fitted_priors
from pipeline.core.vectors import VectorIndex

# An item shown less often than this is new: exploration may give it a slot.
NEW_IMPRESSIONS = 20
# Of each shelf so many are kept: no visitor is shown more.
SHELF = 300
# Of so many items, those touched last, the context vectors are searched: 256 bytes each, and some
# 0.1 ms a question for every 5,000 of them.
MAX_CONTEXTS = 20_000


@dataclass(frozen=True)
class Shelves:
    """The items in stock in order: by decayed views, all and by category, and those that few have
    seen.

    `priors` are fitted to all items: what an item's rates are before it has data of its own.
    `contexts` holds the unit vectors `(CONTEXT_DIM,)` of the items seen with those in stock, of the
    newest `MAX_CONTEXTS`.
    """

    popular: list[str] = field(default_factory=list)
    by_category: dict[str, list[str]] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    new_by_category: dict[str, list[str]] = field(default_factory=dict)
    priors: RatePriors = field(default_factory=RatePriors)
    contexts: VectorIndex = field(default_factory=VectorIndex.empty)


def build_shelves(rows: Iterable[ItemRow], at_ms: int) -> Shelves:
    """Put the rows on shelves.

    `at_ms` is the moment to which the views decay; it changes the numbers, not their order.
    """
    rows = list(rows)
    shown = [row for row in rows if row.item.in_stock]
    shown.sort(key=lambda row: (-row.stats.views(at_ms), row.item.item_id))
    shelves = Shelves(priors=fitted_priors(rows), contexts=build_contexts(shown))
    for row in shown:
        _append(shelves.popular, row)
        _append(shelves.by_category.setdefault(row.item.category, []), row)
        if row.stats.counts.totals.get(IMPRESSION, 0) < NEW_IMPRESSIONS:
            _append(shelves.new, row)
            _append(shelves.new_by_category.setdefault(row.item.category, []), row)
    return shelves


def build_contexts(rows: Iterable[ItemRow], limit: int = MAX_CONTEXTS) -> VectorIndex:
    """The directions of the rows' context vectors, of the `limit` touched last; items without one
    stay out.
    """
    known = [row for row in rows if row.stats.context.values]
    newest = nlargest(limit, known, key=lambda row: row.stats.newest_ms)
    sums = np.frombuffer(b"".join(row.stats.context.values for row in newest)).reshape(
        -1, CONTEXT_DIM
    )
    lengths = np.sqrt((sums * sums).sum(axis=1))
    usable = lengths > 0  # a pair that was taken back leaves nothing
    units = (sums[usable] / lengths[usable, None]).astype(np.float32)  # (n, CONTEXT_DIM)
    return VectorIndex(
        [row.item.item_id for row, is_usable in zip(newest, usable, strict=True) if is_usable],
        units,
    )


def _append(shelf: list[str], row: ItemRow) -> None:
    if len(shelf) < SHELF:
        shelf.append(row.item.item_id)
