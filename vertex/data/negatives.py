"""Negatives of a log without slates: the next item viewed, among those that could have been offered
instead.
"""

from __future__ import annotations

import random

import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.columns import Mask, Rows
from pipeline.core.events import Event
from pipeline.core.features.moment import Moment
from pipeline.core.fold import category_of
from pipeline.core.items import Trending
from vertex.candidates import Situation, gather, top_categories
from vertex.data.replay import World

NEGATIVES = 20
_TRENDING = 50
# Trending changes slowly, and sorting it at every view would cost more than all the rest.
_REFRESH_EVENTS = 200
_OF_ALL = ""


class Offers:
    """Items that could have been offered at a moment of the log, found by the sources that serve.

    So the model learns among what it will have to rank. Some inputs of the sources are not known of
    the past, and stay empty: the items' context vectors, what was new, and the shelves of items in
    stock.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._trending: dict[str, Trending] = {}  # by category
        self._top: dict[str, Rows] = {}
        self._added = 0

    def add(self, event: Event, item: Item) -> None:
        """Count one event of an item, which the world has folded already, for what is trending."""
        popularity = self._world.log2_popularity(item.item_id)
        if popularity is not None and self._is_offered(item.item_id):
            for scope in {_OF_ALL, category_of((event, item))}:
                self._trending.setdefault(scope, Trending()).rank(item.item_id, popularity)
        self._added += 1
        if self._added % _REFRESH_EVENTS == 0:
            self._top.clear()

    def at(self, moment: Moment) -> list[str]:
        """Item ids, each once, in a fixed order."""
        categories = top_categories(moment.profile)
        situation = Situation(
            moment,
            trending=self._trending_in(_OF_ALL, moment.now_ms),
            trending_in={name: self._trending_in(name, moment.now_ms) for name in categories},
        )
        return moment.items.ids(gather(situation, self._are_offered).rows)

    def _is_offered(self, item_id: str) -> bool:
        """Beside a catalog, no product that only events name."""
        return not (self._world.has_catalog and self._world.item(item_id).stub)

    def _are_offered(self, rows: Rows) -> Mask:
        if not self._world.has_catalog:
            return np.ones(len(rows), np.bool_)
        return ~self._world.columns.stub.get(rows)

    def _trending_in(self, category: str, now_ms: int) -> Rows:
        if category not in self._top:
            trending = self._trending.get(category, Trending())
            top = trending.top(now_ms, _TRENDING)
            self._top[category] = self._world.columns.rows(item_id for item_id, _ in top)
        return self._top[category]


def choice(viewed: str, offered: list[str], rng: random.Random) -> list[str] | None:
    """The viewed item and up to `NEGATIVES` others of those offered, or None when it was not among
    them.

    An item that could not have been offered teaches nothing about ranking: it would only teach that
    items with no link to the visitor get viewed.
    """
    if viewed not in offered:
        return None
    others = [item_id for item_id in offered if item_id != viewed]
    if not others:
        return None
    chosen = [viewed, *rng.sample(others, min(NEGATIVES, len(others)))]
    rng.shuffle(chosen)
    return chosen
