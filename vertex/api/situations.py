"""Inputs of the sources of candidates, read where memory lacks them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from pipeline.core.catalog import Item
from pipeline.core.columns import Rows
from pipeline.core.events import Event
from pipeline.core.features.moment import RECENT_SEEDS, Moment
from pipeline.core.item_columns import ItemColumns
from pipeline.core.profile import UserProfile
from pipeline.store.layout import GLOBAL_SCOPE, STUB_SCOPE, category_scope
from vertex.api.asks import Asker
from vertex.api.breaker import Unavailable
from vertex.api.deadline import Deadline
from vertex.api.items import SEED_HARD_S, SEED_SOFT_S, ItemCache
from vertex.api.trending import MAX_SCOPES, Ranked, TrendingCache
from vertex.candidates import Situation, top_categories
from vertex.models.registry import Model

log = logging.getLogger(__name__)


class _RowsIn(NamedTuple):
    """The rows of a scope's items, and of what they are."""

    ranked: Ranked
    columns: ItemColumns
    version: int
    rows: Rows


class Situations:
    """Situations of visitors, and of those who viewed just some items.

    Args:
        items, trending: what is known of items.
        model: the in-process model of the moment, for its vectors.
        recommend_stubs: show items that only events name also beside a catalog.
    """

    def __init__(
        self,
        items: ItemCache,
        trending: TrendingCache,
        model: Callable[[], Model],
        recommend_stubs: bool,
    ) -> None:
        self._items = items
        self._trending = trending
        self._model = model
        self._recommend_stubs = recommend_stubs
        self._rows_in: dict[str, _RowsIn] = {}

    async def of(self, profile: UserProfile, asker: Asker) -> Situation:
        """All that the sources look at for this profile; reads what memory lacks."""
        now_ms = asker.now_ms
        recent = [item_id for item_id, _ in profile.recent_items(now_ms, RECENT_SEEDS)]
        seeds = list(dict.fromkeys([*recent, *profile.in_cart()]))
        categories = top_categories(profile)
        scopes = [category_scope(name) for name in categories if name in self._items.categories]
        of_all = self.scope_of_all()
        ranked, _ = await asyncio.gather(
            self.trends([of_all, *scopes], asker.deadline), self._fetch(seeds, asker.deadline)
        )
        return Situation(
            Moment(profile, self._columns(), now_ms, self._items.seeds(seeds)),
            contexts=self._items.shelves.contexts,
            texts=self._items.shelves.texts,
            encoded=self._items.encoded,
            trending=self._rows_of(of_all, ranked[of_all]),
            trending_in=self._trending_in(categories, ranked, ranked[of_all]),
            popular=self._items.shelves.popular,
            shelves=self._items.shelves.by_category,
            arrivals=self._items.shelves.arrivals,
        )

    async def about(self, ids: Sequence[str], asker: Asker) -> Situation | None:
        """The situation of one who viewed just these items; None where there are none."""
        if not ids:
            return None
        await self._fetch(ids, asker.deadline)
        profile = profile_of_views(filter(None, map(self._items.item, ids)), asker.now_ms)
        return await self.of(profile, asker)

    def _columns(self) -> ItemColumns:
        """The items in memory, with the vectors of the model of the moment."""
        self._items.columns.use_vectors(self._model().vectors)
        return self._items.columns

    def _trending_in(
        self, categories: Iterable[str], ranked: Mapping[str, Ranked], overall: Ranked
    ) -> dict[str, Rows]:
        """Trending items of each category: its scope, or, without a catalog, its items of those
        trending overall.
        """
        if self._items.has_catalog:
            return {
                name: self._rows_of(scope, ranked[scope])
                for name in categories
                if (scope := category_scope(name)) in ranked
            }
        rows, column = self._items.rows(overall), self._items.columns.category
        return {name: rows[column.is_one_of(rows, [name])] for name in categories}

    def _rows_of(self, scope: str, ranked: Ranked) -> Rows:
        """The rows of a scope's items, found anew where these are others, or items have come."""
        columns, known = self._items.columns, self._rows_in.get(scope)
        if (
            known is None
            or known.ranked is not ranked
            or known.columns is not columns
            or known.version != columns.version
        ):
            if len(self._rows_in) >= MAX_SCOPES:
                self._rows_in.clear()
            rows = self._items.rows(ranked)
            known = self._rows_in[scope] = _RowsIn(ranked, columns, columns.version, rows)
        return known.rows

    async def trends(self, scopes: Sequence[str], deadline: Deadline) -> dict[str, Ranked]:
        """Read what is trending in the scopes, as last known where the deadline passes."""
        try:
            return await deadline.within(self._trending.top(scopes))
        except Unavailable:
            return {scope: self._trending.known(scope) for scope in scopes}

    async def _fetch(self, seeds: Sequence[str], deadline: Deadline) -> None:
        try:
            await deadline.within(self._items.ensure(seeds, SEED_SOFT_S, SEED_HARD_S))
        except Unavailable as error:
            log.debug("recent items stay as they are: %s", error)

    def scope_of_all(self) -> str:
        """The scope of what is trending overall: made-up products are ranked apart, so that they
        displace nothing.
        """
        if self.shows_stubs:
            return STUB_SCOPE
        return GLOBAL_SCOPE

    @property
    def shows_stubs(self) -> bool:
        """True where items are shown that only events name."""
        return self._recommend_stubs or not self._items.has_catalog


def profile_of_views(items: Iterable[Item], now_ms: int) -> UserProfile:
    """The profile of one who viewed just these items, the first of them last: with it the sources
    find what goes with the items.
    """
    profile = UserProfile()
    for place, item in enumerate(items):
        view = Event(
            event_id=f"view-{place}",
            event="view_product",
            timestamp=datetime.fromtimestamp(now_ms / 1000 - place, UTC),
            product_id=item.item_id,
        )
        profile.add(view, item)
    return profile
