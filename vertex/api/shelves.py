"""The sellable items in order, and what all say together: priors of rates, context vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.core.columns import Rows
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import VIEW
from pipeline.core.rate_priors import RatePriors, fitted_priors
from pipeline.core.vectors import greatest
from vertex.candidates import NO_ROWS, Units

# An item shown less often than this is new: exploration may give it a slot.
NEW_IMPRESSIONS = 20
# Of each shelf so many are kept: no visitor is shown more.
SHELF = 300
# Of so many items, those touched last, the context vectors are searched: 256 bytes each, and some
# 0.1 ms a question for every 5,000 of them.
MAX_CONTEXTS = 20_000
# The same for text vectors, of the items that are newest.
MAX_TEXTS = 10_000


@dataclass(frozen=True)
class Shelves:
    """The sellable items in order: by decayed views, all and by category, and those that few have
    seen.

    `arrivals` are those that came last: by the time of publication, then those that few have seen.
    `priors` are fitted to all items: what an item's rates are before it has data of its own.
    `contexts` holds the context vectors of those in stock, of the `MAX_CONTEXTS` touched last;
    `texts` the text vectors of the `MAX_TEXTS` shown least.
    """

    popular: Rows = field(default_factory=lambda: NO_ROWS)
    by_category: Mapping[str, Rows] = field(default_factory=dict)
    new: Rows = field(default_factory=lambda: NO_ROWS)
    new_by_category: Mapping[str, Rows] = field(default_factory=dict)
    arrivals: Rows = field(default_factory=lambda: NO_ROWS)
    priors: RatePriors = field(default_factory=RatePriors)
    contexts: Units = field(default_factory=Units)
    texts: Units = field(default_factory=Units)


def build_shelves(items: ItemColumns, shows_stubs: bool, at_ms: int) -> Shelves:
    """Put the items on shelves: those of the catalog, or the stubs.

    `at_ms` is the moment at which they may be shown, and to which the views decay.
    """
    every = items.all_rows()
    every = every[items.stub.get(every) == shows_stubs]
    shown = every[items.is_sellable(every, at_ms)]
    views = items.counts.get(shown, VIEW, at_ms)
    shown = shown[np.lexsort((shown, -views))]
    new = shown[items.impressions[shown] < NEW_IMPRESSIONS]
    return Shelves(
        popular=shown[:SHELF],
        by_category=_by_category(items, shown),
        new=new[:SHELF],
        new_by_category=_by_category(items, new),
        arrivals=_arrivals(items, shown, new),
        priors=fitted_priors(items, every),
        contexts=build_contexts(items, shown),
        texts=build_texts(items, shown),
    )


def _arrivals(items: ItemColumns, shown: Rows, new: Rows) -> Rows:
    """The first `SHELF` of the rows by time of publication, newest first, then of the new ones."""
    published_ms = items.published_ms.get(shown)
    dated = shown[~np.isnan(published_ms)]
    newest = dated[greatest(items.published_ms.get(dated), SHELF)]
    undated = new[np.isnan(items.published_ms.get(new))]
    return np.append(newest, undated)[:SHELF]


def build_contexts(items: ItemColumns, rows: Rows, limit: int = MAX_CONTEXTS) -> Units:
    """The context vectors of the `limit` of the rows touched last; items without one stay out."""
    newest = rows[greatest(items.newest_ms[rows].astype(np.float64), limit)]
    units = items.context[newest].astype(np.float32)
    has_one = units.any(axis=1)
    return Units(newest[has_one], units[has_one])


def build_texts(items: ItemColumns, rows: Rows, limit: int = MAX_TEXTS) -> Units:
    """The text vectors of the `limit` of the rows shown least: what has no clicks that it could be
    found by. Items without one stay out.
    """
    known = rows[items.text.known(rows)]
    least = known[greatest(-items.impressions[known].astype(np.float64), limit)]
    return Units(least, items.text.get(least))


def _by_category(items: ItemColumns, rows: Rows) -> dict[str, Rows]:
    """The first `SHELF` of the rows of each category."""
    codes = items.category.get(rows)
    grouped = rows[np.argsort(codes, kind="stable")]
    found, firsts = np.unique(items.category.get(grouped), return_index=True)
    ends = np.minimum(np.append(firsts, len(grouped))[1:], firsts + SHELF)
    return {
        items.category.dictionary.text(code): grouped[first:end].copy()
        for code, first, end in zip(found.tolist(), firsts, ends, strict=True)
    }
