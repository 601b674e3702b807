"""Examples from a log without slates: the next item viewed, among what could have been offered
instead.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from pipeline.core.catalog import Item
from pipeline.core.events import Event
from pipeline.core.features.candidates import RECENT_SEEDS, Vector
from pipeline.core.fold import category_of
from pipeline.core.items import Trending
from pipeline.core.profile import UserProfile
from pipeline.core.vectors import VectorIndex
from vertex.data.replay import World

NEGATIVES = 20
_PER_SEED, _NEAREST, _CATEGORY, _GLOBAL = 12, 12, 15, 25
# Trending changes slowly, and sorting it at every view would cost more than all the rest.
_REFRESH_EVENTS = 200


class Candidates:
    """Candidates at a moment of the log: recent items, co-visited, neighbours by vector, trending.

    These are the sources that serving draws on, so that the model learns among what it will have to
    rank.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._trending: dict[str, Trending] = {"": Trending()}
        self._top: dict[str, list[str]] = {}
        self._added = 0

    def add(self, event: Event, item: Item | None) -> None:
        """Note what one event, which the world has folded already, makes of its item's
        popularity."""
        item_id = event.product_id
        popularity = self._world.log2_popularity(item_id) if item_id is not None else None
        is_offered = item is None or not item.stub or not self._world.has_catalog
        if item_id is not None and popularity is not None and is_offered:
            for scope in {"", category_of((event, item))}:
                self._trending.setdefault(scope, Trending()).rank(item_id, popularity)
        self._added += 1
        if self._added % _REFRESH_EVENTS == 0:
            self._top.clear()

    def at(self, profile: UserProfile, vectors: Mapping[str, Vector], now_ms: int) -> list[str]:
        """Item ids, each once, in a fixed order."""
        recent = [item_id for item_id, _ in profile.recent_items(now_ms, RECENT_SEEDS)]
        found = dict.fromkeys(recent)
        for seed in recent[:5]:
            stats = self._world.stats(seed)
            found.update(
                dict.fromkeys(
                    list(stats.neighbours(now_ms) if stats is not None else ())[:_PER_SEED]
                )
            )
        if recent and isinstance(vectors, VectorIndex) and recent[0] in vectors:
            nearest = vectors.nearest(vectors[recent[0]], _NEAREST)
            found.update(dict.fromkeys(item_id for item_id, _ in nearest))
        if profile.last_category:
            found.update(dict.fromkeys(self._popular(profile.last_category, now_ms)[:_CATEGORY]))
        found.update(dict.fromkeys(self._popular("", now_ms)[:_GLOBAL]))
        return list(found)

    def _popular(self, category: str, now_ms: int) -> list[str]:
        if category not in self._top:
            trending = self._trending.get(category, Trending())
            self._top[category] = [item_id for item_id, _ in trending.top(now_ms, _GLOBAL)]
        return self._top[category]


def choice(viewed: str, candidates: list[str], rng: random.Random) -> list[str] | None:
    """The viewed item and up to `NEGATIVES` others of the candidates, or None when it was not among
    them.

    An item that could not have been offered teaches nothing about ranking: it would only teach that
    items with no link to the visitor get viewed.
    """
    if viewed not in candidates:
        return None
    others = [item_id for item_id in candidates if item_id != viewed]
    if not others:
        return None
    chosen = [viewed, *rng.sample(others, min(NEGATIVES, len(others)))]
    rng.shuffle(chosen)
    return chosen
