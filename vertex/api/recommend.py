"""One answer, from question to slate: who asks, what might be shown, how good that is, what if a
part is missing.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain, islice
from random import Random
from typing import Any

import msgspec
import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.features.candidates import RECENT_SEEDS, Context
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.privacy.consent import resolve_consent
from pipeline.core.privacy.signals import Signal
from pipeline.core.profile import UserProfile
from pipeline.store import GLOBAL_SCOPE, STUB_SCOPE, category_scope
from vertex.api.banner import Banner, banner_of_slate, choose_banner
from vertex.api.breaker import Unavailable
from vertex.api.config import Config
from vertex.api.contract import Request
from vertex.api.items import ItemCache, Ranked, TrendingCache
from vertex.api.ranking import PARTS, Ranker, score_parts
from vertex.api.tally import Tally
from vertex.api.timing import Stopwatch
from vertex.api.visitor import Visitor, Visitors
from vertex.candidates import MAX_CANDIDATES, Candidate, Situation, gather, top_categories
from vertex.models.folder import Model

log = logging.getLogger(__name__)

# Fresh co-visits show quickly: a visitor's recent items are at most so old, and are waited for when
# older still.
SEED_SOFT_S, SEED_HARD_S = 1.0, 5.0
ITEM_SOFT_S, UNKNOWN_ITEM_SOFT_S = 15.0, 60.0
# Exploration takes this slot: a new item is seen there, and a good one is not missed much.
EXPLORE_SLOT = 5


class Shown(msgspec.Struct):
    """One item of a slate. `parts` are weighted terms, which sum to `score`."""

    id: str
    score: float
    parts: dict[str, float]
    source: str
    position: int
    propensity: float

    def entry(self) -> Entry:
        """The item without its reasons: scores, parts and sources follow from the visitor's
        profile.
        """
        return Entry(self.id, self.position, self.propensity)


class Entry(msgspec.Struct):
    """One item of a slate, for a reader who may not see the profile."""

    id: str
    position: int
    propensity: float


@dataclass(frozen=True)
class Slate:
    """The items shown, in order; what ranked them, and from how many candidates; why nothing better
    did, if so.
    """

    shown: list[Shown]
    served_by: str
    model_version: str
    candidates: int
    fallback: str = ""


@dataclass(frozen=True)
class Exploration:
    """Exploration of one slot: the new item drawn, if any, and the propensity of what is shown
    there.
    """

    drawn: str | None = None
    propensity: float = 1.0


class Recommender:
    """Answers questions from what it is given; holds no state of its own but the random generator.

    Args:
        config: weights, placements, exploration.
        visitors: finds who asks.
        items, trending: what is known of items.
        ranker: click probabilities.
        model: the in-process model of the moment, for its vectors.
        now: wall clock, ms since the Unix epoch.
        rng: for exploration.
        tally: counts what served the answers.
    """

    def __init__(
        self,
        config: Config,
        visitors: Visitors,
        items: ItemCache,
        trending: TrendingCache,
        ranker: Ranker,
        model: Callable[[], Model],
        now: Callable[[], int],
        rng: Random,
        tally: Tally,
    ) -> None:
        self._config = config
        self._visitors = visitors
        self._items = items
        self._trending = trending
        self._ranker = ranker
        self._model = model
        self._now = now
        self._random = rng
        self._tally = tally

    async def answer(
        self, request: Request, watch: Stopwatch, signal: Signal | None = None
    ) -> dict[str, Any]:
        """The response body; never fails for want of Bigtable or Vertex.

        `signal` is what the browser says for its visitor. One who denied personalization gets what
        everybody gets, and nothing is read or folded for it.
        """
        now_ms = round(request.as_of.timestamp() * 1000) if request.as_of else self._now()
        request_id = uuid.uuid4().hex
        if self._may_personalize(request, signal):
            visitor = await self._visitors.find(request, now_ms, request_id, signal)
        else:
            request = msgspec.structs.replace(request, variant="popular")
            visitor = self._visitors.nobody(request, now_ms)
        now_ms = visitor.now_ms
        watch.lap("profile")
        slate = await self._slate(request, visitor, now_ms, watch)
        self._tally.count(slate.served_by, slate.fallback)
        answer = {
            "request_id": request_id,
            "recommendations": [shown.id for shown in slate.shown],
            "ranked_feed": [shown.entry() for shown in slate.shown],
            "personalized_banner": self._banner(request, visitor, slate),
            "served_by": slate.served_by,
            "variant": request.variant,
            "model_version": slate.model_version,
            "events_ignored": visitor.ignored,
            "events_withheld": visitor.withheld,
            "took_ms": round(watch.total_ms, 2),
        }
        return answer | self._reasons(visitor, slate) if self._config.profile_view else answer

    def _reasons(self, visitor: Visitor, slate: Slate) -> dict[str, Any]:
        """Grounds of the slate: key figures of the profile, and how each item was found and
        scored."""
        return {
            "ranked_feed": slate.shown,
            "candidates": slate.candidates,
            "profile": {**visitor.stored, "pending": visitor.pending},
        }

    def _banner(self, request: Request, visitor: Visitor, slate: Slate) -> Banner:
        """Of the profile, or of the slate alone where the visitor may be anybody who guessed a user
        id.
        """
        ids = [shown.id for shown in slate.shown]
        is_proven = request.user_id is None or self._config.privacy.user_key is not None
        if is_proven or self._config.profile_view:
            return choose_banner(visitor.profile, ids, self._item, visitor.now_ms)
        return banner_of_slate(ids, self._item)

    def _may_personalize(self, request: Request, signal: Signal | None) -> bool:
        return resolve_consent(
            {}, request.consent, signal, self._config.privacy.default
        ).personalization

    async def _slate(
        self, request: Request, visitor: Visitor, now_ms: int, watch: Stopwatch
    ) -> Slate:
        if request.variant == "popular":
            return await self._popular(request)
        if visitor.unread:
            return await self._popular(request, visitor.unread)
        slate = await self._personalized(request, visitor.profile, now_ms, watch)
        return slate if slate.shown else await self._popular(request, "no candidates")

    async def _personalized(
        self, request: Request, profile: UserProfile, now_ms: int, watch: Stopwatch
    ) -> Slate:
        situation = await self._situation(profile, now_ms)
        watch.lap("items")
        allowed = self._allowed(request, profile)
        candidates = gather(situation, allowed, MAX_CANDIDATES)
        exploration = self._explore(profile, candidates, allowed, request.k, now_ms)
        if exploration.drawn is not None:
            candidates = [
                *candidates[: MAX_CANDIDATES - 1],
                Candidate(exploration.drawn, "explore"),
            ]
        ids = [candidate.item_id for candidate in candidates]
        self._items.want(ids, ITEM_SOFT_S)
        rows = self._items.rows(ids)
        watch.lap("candidates")
        priors = self._items.shelves.priors
        context = Context(
            request.placement, request.product_id, situation.seeds, situation.vectors, priors=priors
        )
        matrix = feature_matrix(profile, rows, context, now_ms)
        watch.lap("features")
        prediction = await self._ranker.predict(matrix)
        watch.lap("ctr")
        parts = score_parts(matrix, prediction.ctr, self._config.weights)
        shown = arrange(candidates, parts, request.k, exploration)
        return Slate(
            shown,
            prediction.served_by,
            prediction.model_version,
            len(candidates),
            prediction.fallback,
        )

    async def _popular(self, request: Request, fallback: str = "") -> Slate:
        """Items trending for all, the same for everybody, then those viewed most; from memory if
        need be.
        """
        scope = self._scope_of_all()
        trending = (await self._trending.top([scope]))[scope]
        allowed = self._sellable({*request.exclude, request.product_id})
        ids = filter(allowed, dict.fromkeys(chain(trending, self._items.shelves.popular)))
        shown = []
        for position, item_id in enumerate(islice(ids, request.k)):
            score = round(trending.get(item_id, 0.0), 6)
            parts = {**dict.fromkeys(PARTS, 0.0), "popularity": score}
            shown.append(Shown(item_id, score, parts, "trending", position, 1.0))
        return Slate(shown, "trending", self._model().version, len(shown), fallback)

    async def _situation(self, profile: UserProfile, now_ms: int) -> Situation:
        """All that the sources look at; reads what memory lacks."""
        recent = [item_id for item_id, _ in profile.recent_items(now_ms, RECENT_SEEDS)]
        seeds = list(dict.fromkeys([*recent, *profile.in_cart()]))
        categories = top_categories(profile)
        scopes = [category_scope(name) for name in categories if name in self._items.categories]
        of_all = self._scope_of_all()
        ranked, _ = await asyncio.gather(self._trending.top([of_all, *scopes]), self._fetch(seeds))
        return Situation(
            profile,
            now_ms,
            seeds={row.item.item_id: row.stats for row in self._items.rows(seeds)},
            vectors=self._model().vectors,
            contexts=self._items.shelves.contexts,
            trending=ranked[of_all],
            trending_in=self._trending_in(categories, ranked, ranked[of_all]),
            popular=self._items.shelves.popular,
            shelves=self._items.shelves.by_category,
        )

    def _trending_in(
        self, categories: Iterable[str], ranked: Mapping[str, Ranked], overall: Ranked
    ) -> dict[str, Iterable[str]]:
        """Trending items of each category: its scope, or, without a catalog, its items of those
        trending overall.
        """
        if self._items.has_catalog:
            return {name: ranked.get(category_scope(name), {}) for name in categories}
        rows = self._items.rows(overall)
        return {
            name: [row.item.item_id for row in rows if row.item.category == name]
            for name in categories
        }

    async def _fetch(self, seeds: Sequence[str]) -> None:
        try:
            await self._items.ensure(seeds, SEED_SOFT_S, SEED_HARD_S)
        except Unavailable as error:
            log.debug("recent items stay as they are: %s", error)

    def _allowed(self, request: Request, profile: UserProfile) -> Callable[[str], bool]:
        """True where an item may be shown to this visitor on this page."""
        # What is in the cart is decided on, and what left it was bought or put back: neither asks
        # to be shown.
        hidden = {*request.exclude, *profile.cart, request.product_id}
        if request.placement in self._config.hide_seen:
            hidden.update(profile.recent)
        return self._sellable(hidden)

    def _sellable(self, hidden: AbstractSet[str | None]) -> Callable[[str], bool]:
        """True where an item is not hidden, in stock, and in the catalog if there is one.

        What is not in memory is not sellable until it is, which is asked for.
        """
        get, want = self._items.get, self._items.want
        stubs = self._shows_stubs()

        def is_sellable(item_id: str) -> bool:
            if item_id in hidden:
                return False
            row = get(item_id)
            if row is None:
                want((item_id,), UNKNOWN_ITEM_SOFT_S)
                return False
            return row.item.in_stock and (stubs or not row.item.stub)

        return is_sellable

    def _scope_of_all(self) -> str:
        """Read what is trending overall here: made-up products are ranked apart, so that they
        displace nothing.
        """
        return STUB_SCOPE if self._shows_stubs() else GLOBAL_SCOPE

    def _shows_stubs(self) -> bool:
        return self._config.recommend_stubs or not self._items.has_catalog

    def _explore(
        self,
        profile: UserProfile,
        candidates: Sequence[Candidate],
        allowed: Callable[[str], bool],
        k: int,
        now_ms: int,
    ) -> Exploration:
        """With `explore_rate`, one new item that is no candidate, drawn evenly.

        It is of the visitor's categories where one is new there, else any.
        """
        rate = self._config.explore_rate
        if rate <= 0.0 or min(k, len(candidates)) <= EXPLORE_SLOT:
            return Exploration()
        shelves, taken = self._items.shelves, {candidate.item_id for candidate in candidates}
        near = [shelves.new_by_category.get(name, []) for name in top_categories(profile)]
        for shelf in (list(chain.from_iterable(near)), shelves.new):
            pool = [item_id for item_id in shelf if item_id not in taken and allowed(item_id)]
            if pool and self._random.random() < rate:
                return Exploration(self._random.choice(pool), rate / len(pool))
            if pool:
                return Exploration(None, 1.0 - rate)
        return Exploration()

    def _item(self, item_id: str) -> Item | None:
        row = self._items.get(item_id)
        return row.item if row is not None else None


def arrange(
    candidates: Sequence[Candidate],
    parts: np.ndarray[Any, np.dtype[np.float64]],
    k: int,
    exploration: Exploration,
) -> list[Shown]:
    """The best `k` in order of score (ties in the order found), the drawn item in its slot instead
    of what was there.

    Args:
        candidates: `n` of them; the drawn item, if any, is the last.
        parts: the terms of their scores `(n, 4)`.
        k: how many to show.
        exploration: what chance does. Every other slot is certain: propensity 1.
    """
    scores = parts.sum(axis=1)
    last = len(candidates) - (exploration.drawn is not None)
    order = [int(index) for index in np.argsort(-scores[:last], kind="stable")[:k]]
    if exploration.drawn is not None:
        order[EXPLORE_SLOT] = last
    return [
        Shown(
            candidates[index].item_id,
            round(float(scores[index]), 6),
            dict(zip(PARTS, parts[index].tolist(), strict=True)),
            candidates[index].source,
            position,
            exploration.propensity if position == EXPLORE_SLOT else 1.0,
        )
        for position, index in enumerate(order)
    ]
