"""A small shop in memory, and hand-written stand-ins for what the API asks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.events import Event
from pipeline.core.features.ranking import FEATURE_NAMES
from pipeline.core.items import TOUCHED, ItemRow, ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.queries import TopQueries
from pipeline.store.layout import GLOBAL_SCOPE, STUB_SCOPE
from vertex.api.breaker import Unavailable
from vertex.api.config import Config
from vertex.api.experiments_file import NO_TRIALS, Trials
from vertex.api.items import ItemCache
from vertex.api.placements import Placements, built_in
from vertex.api.rank import ListRanker
from vertex.api.ranking import Prediction, Ranker
from vertex.api.recommend import Recommender
from vertex.api.similar import SimilarItems
from vertex.api.situations import Situations
from vertex.api.slates import Slates
from vertex.api.tally import Tally
from vertex.api.trending import TrendingCache
from vertex.api.trials import TriedPlacements
from vertex.api.visitor import Visitors
from vertex.models.registry import Model, prior_model

NOW_MS = 1_750_000_000_000


def event(name: str, product_id: str | None = None, ago_s: float = 0.0, **fields: Any) -> Event:
    """Something visitor u1 did `ago_s` seconds before `NOW_MS`, in session s1 unless said."""
    time_ms = NOW_MS - round(ago_s * 1000)
    known = {
        "event_id": f"{name}-{product_id}-{time_ms}",
        "user_id": "u1",
        "session_id": "s1",
        **fields,
    }
    return Event(
        event=name,
        product_id=product_id,
        timestamp=datetime.fromtimestamp(time_ms / 1000, UTC),
        **known,
    )


def wire(
    name: str, product_id: str | None = None, ago_s: float = 0.0, **fields: Any
) -> dict[str, Any]:
    """The same as a client sends it, without the ids of visitor and session."""
    made = event(name, product_id, ago_s)
    time = made.timestamp.isoformat()
    return {
        "event_id": made.event_id,
        "event": name,
        "product_id": product_id,
        "timestamp": time,
        **fields,
    }


def visitor(*events: Event, items: Iterable[Item] = ()) -> UserProfile:
    """A profile of these events."""
    catalog = {item.item_id: item for item in items}
    profile = UserProfile()
    for each in events:
        profile.add(each, catalog.get(each.product_id or ""))
    return profile


def item(index: int, category: str = "", **fields: Any) -> Item:
    """Item `p<index>`; its category is one of c0 to c3 unless said."""
    return Item(
        f"p{index}",
        f"Product {index}",
        category or f"c{index % 4}",
        "brand",
        10.0 + index,
        **fields,
    )


def row(of: Item, views: int = 0, neighbours: Sequence[str] = (), impressions: int = 0) -> ItemRow:
    """The item with views, impressions and neighbours, of which the first is the strongest."""
    stats = ItemStats()
    for _ in range(views):
        stats.add(event("view_product", of.item_id, 60))
    for _ in range(impressions):
        stats.add(event("impression", of.item_id, 60))
    for rank, other in enumerate(neighbours):
        stats.link(other, TOUCHED, float(len(neighbours) - rank), NOW_MS - 60_000)
    return ItemRow(of, stats)


def trending_of(*ids: str) -> Trending:
    """Trending in this order."""
    trending = Trending(newest_ms=NOW_MS - 60_000)
    for rank, item_id in enumerate(ids):
        viewed = row(Item(item_id), views=len(ids) - rank).stats
        popularity = viewed.log2_popularity()
        assert popularity is not None
        trending.rank(item_id, popularity)
    return trending


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeReader:
    """Bigtable in memory, which can be taken down; counts what is read."""

    def __init__(
        self, rows: Iterable[ItemRow] = (), profiles: dict[str, UserProfile] | None = None
    ) -> None:
        self.rows = {row.item.item_id: row for row in rows}
        self.changed: list[str] = []  # ids that `written_since` gives
        self.profiles = profiles or {}
        self.scopes: dict[str, Trending] = {}
        self.top = TopQueries()
        self.is_up = True
        self.read: list[str] = []

    async def profile(self, key: str) -> UserProfile | None:
        await self._reading("profile")
        return self.profiles[key].copy() if key in self.profiles else None

    async def items(self, ids: Sequence[str], background: bool = False) -> dict[str, ItemRow]:
        await self._reading(*ids)
        return {item_id: self.rows[item_id] for item_id in ids if item_id in self.rows}

    async def trending(self, scope: str) -> Trending:
        await self._reading(scope)
        total = Trending()
        for each in [GLOBAL_SCOPE, STUB_SCOPE] if scope == STUB_SCOPE else [scope]:
            total.merge(self.scopes.get(each, Trending()))
        return total

    async def top_queries(self) -> TopQueries:
        await self._reading("top queries")
        return self.top

    async def scan(self, take: Callable[[ItemRow], bool], with_stubs: bool) -> int:
        await self._reading("scan")
        for each in self.rows.values():
            if (with_stubs or not each.item.stub) and not take(each):
                break
        return 0

    async def written_since(self, since_ms: int, take: Callable[[ItemRow], bool]) -> None:
        await self._reading(f"written since {since_ms}")
        for item_id in self.changed:
            take(self.rows[item_id])

    async def _reading(self, *what: str) -> None:
        await asyncio.sleep(0)
        if not self.is_up:
            raise Unavailable("bigtable: taken down by the test")
        self.read += what


class FakeRanker(Ranker):
    """Ranks by the prior, calls itself Vertex, and keeps the matrices it was asked about."""

    def __init__(self) -> None:
        super().__init__(None, prior_model, 1.0)
        self.matrices: list[np.ndarray[Any, Any]] = []

    async def predict(
        self, matrix: np.ndarray[Any, Any], deadline_s: float | None = None
    ) -> Prediction:
        self.matrices.append(matrix)
        return Prediction(prior_model().score(matrix, FEATURE_NAMES), "vertex", "fake")


class Service:
    """A recommender and a ranker of lists over a fake Bigtable, at `NOW_MS`, unless said without
    exploration and with its reasons.
    """

    def __init__(
        self,
        reader: FakeReader,
        ranker: Ranker | None = None,
        model: Model | None = None,
        placements: Placements | None = None,
        trials: Trials = NO_TRIALS,
        **config: Any,
    ) -> None:
        self.reader = reader
        settings: dict[str, Any] = {
            "project": "demo-project",
            "instance": "freshet",
            "explore_rate": 0.0,
            "profile_view": True,
        } | config
        self.items = ItemCache(self.reader, 1_000)
        self.ranker = ranker or FakeRanker()
        self.tally = Tally()
        served, made = model or prior_model(), Config(**settings)
        placements = built_in(made) if placements is None else placements
        tried = TriedPlacements(made, placements, trials)
        visitors = Visitors(self.reader, self.items, made.privacy)
        self.list_ranker = ListRanker(
            tried,
            visitors,
            self.items,
            self.ranker,
            lambda: served,
            lambda: NOW_MS,
            self.tally,
        )
        trending = TrendingCache(self.reader)
        situations = Situations(self.items, trending, lambda: served, made.recommend_stubs)
        slates = Slates(
            placements, self.items, situations, self.ranker, lambda: served, random.Random(7)
        )
        self.similar_items = SimilarItems(placements, self.items, slates, lambda: NOW_MS)
        self.recommender = Recommender(
            made,
            tried,
            visitors,
            self.items,
            slates,
            lambda: NOW_MS,
            self.tally,
        )


def local_ranker() -> Ranker:
    """A ranker with no endpoint."""
    model = prior_model()
    return Ranker(None, lambda: model, 0.05)


def shop(items: int = 60, profiles: dict[str, UserProfile] | None = None) -> FakeReader:
    """Items p0 to p<items>, each seen together with the next five, the lower ones trending."""
    ids = [f"p{index}" for index in range(items)]
    rows = [
        row(
            item(index),
            views=5,
            neighbours=[ids[(index + step) % items] for step in range(1, 6)],
            impressions=50,
        )
        for index in range(items)
    ]
    reader = FakeReader(rows, profiles)
    reader.scopes[GLOBAL_SCOPE] = trending_of(*ids[:20])
    return reader
