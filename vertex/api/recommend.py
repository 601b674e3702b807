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
from random import Random
from typing import Any

import msgspec
import numpy as np

from pipeline.core.columns import Mask, Rows
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.moment import RECENT_SEEDS, Moment
from pipeline.core.features.ranking_inputs import RankingContext
from pipeline.core.item_columns import ItemColumns
from pipeline.core.privacy.consent import resolve_consent
from pipeline.core.privacy.signals import Signal
from pipeline.core.profile import UserProfile
from pipeline.store.layout import GLOBAL_SCOPE, STUB_SCOPE, category_scope
from vertex.api.banner import Banner, banner_of_slate, choose_banner
from vertex.api.breaker import Unavailable
from vertex.api.config import Config
from vertex.api.contract import Request, moment_ms
from vertex.api.items import ItemCache
from vertex.api.policy import EXPLORE_SLOT, Exploration, explore
from vertex.api.ranking import Ranker, score_parts
from vertex.api.rerank import Shown, arrange, arrange_trending
from vertex.api.tally import Tally
from vertex.api.timing import StageTimer
from vertex.api.trending import Ranked, TrendingCache
from vertex.api.visitor import Visitor, Visitors
from vertex.candidates import (
    MAX_CANDIDATES,
    Allowed,
    Gathered,
    Situation,
    gather,
    top_categories,
)
from vertex.models.registry import Model

log = logging.getLogger(__name__)

# Fresh co-visits show quickly: a visitor's recent items are at most so old, and are waited for when
# older still.
SEED_SOFT_S, SEED_HARD_S = 1.0, 5.0
ITEM_SOFT_S = 15.0


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
        self, request: Request, watch: StageTimer, signal: Signal | None = None
    ) -> dict[str, Any]:
        """The response body; never fails for want of Bigtable or Vertex.

        `signal` is what the browser says for its visitor. One who denied personalization gets what
        everybody gets, and nothing is read or folded for it.
        """
        now_ms = moment_ms(request.as_of, self._now)
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
        if self._config.profile_view:
            answer |= self._reasons(visitor, slate)
        return answer

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
            return choose_banner(visitor.profile, ids, self._items.item, visitor.now_ms)
        return banner_of_slate(ids, self._items.item)

    def _may_personalize(self, request: Request, signal: Signal | None) -> bool:
        return resolve_consent(
            {}, request.consent, signal, self._config.privacy.default
        ).personalization

    async def _slate(
        self, request: Request, visitor: Visitor, now_ms: int, watch: StageTimer
    ) -> Slate:
        if request.variant == "popular":
            return await self._popular(request)
        if visitor.unread:
            return await self._popular(request, visitor.unread)
        slate = await self._personalized(request, visitor.profile, now_ms, watch)
        if not slate.shown:
            return await self._popular(request, "no candidates")
        return slate

    async def _personalized(
        self, request: Request, profile: UserProfile, now_ms: int, watch: StageTimer
    ) -> Slate:
        situation = await self._situation(profile, now_ms)
        watch.lap("items")
        allowed = self._allowed(request, profile)
        found = gather(situation, allowed, MAX_CANDIDATES)
        exploration = self._explore(profile, found.rows, allowed, request.k)
        if exploration.drawn is not None:
            found = _with_drawn(found, exploration.drawn)
        self._items.want_rows(found.rows, ITEM_SOFT_S)
        # While the ranker is asked, rows may become those of other items.
        ids = self._items.columns.ids(found.rows)
        watch.lap("candidates")
        context = RankingContext(
            placement=request.placement,
            product_id=request.product_id,
            priors=self._items.shelves.priors,
        )
        matrix = feature_matrix(situation.moment, found.rows, context)
        watch.lap("features")
        prediction = await self._ranker.predict(matrix)
        watch.lap("ctr")
        parts = score_parts(matrix, prediction.ctr, self._config.weights)
        shown = arrange(ids, found.sources, parts, request.k, exploration)
        return Slate(
            shown,
            prediction.served_by,
            prediction.model_version,
            len(ids),
            prediction.fallback,
        )

    async def _popular(self, request: Request, fallback: str = "") -> Slate:
        """Items trending for all, the same for everybody, then those viewed most; from memory if
        need be.
        """
        scope = self._scope_of_all()
        trending = (await self._trending.top([scope]))[scope]
        allowed = self._sellable({*request.exclude, request.product_id})
        rows = np.append(self._items.rows(trending), self._items.shelves.popular)
        rows = rows[allowed(rows)]
        _, firsts = np.unique(rows, return_index=True)
        best = rows[np.sort(firsts)][: request.k]
        shown = arrange_trending(self._items.columns.ids(best), trending)
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
            Moment(profile, self._columns(), now_ms, self._items.seeds(seeds)),
            contexts=self._items.shelves.contexts,
            trending=self._items.rows(ranked[of_all]),
            trending_in=self._trending_in(categories, ranked, ranked[of_all]),
            popular=self._items.shelves.popular,
            shelves=self._items.shelves.by_category,
        )

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
                name: self._items.rows(ranked.get(category_scope(name), {})) for name in categories
            }
        rows, column = self._items.rows(overall), self._items.columns.category
        return {name: rows[column.is_one_of(rows, [name])] for name in categories}

    async def _fetch(self, seeds: Sequence[str]) -> None:
        try:
            await self._items.ensure(seeds, SEED_SOFT_S, SEED_HARD_S)
        except Unavailable as error:
            log.debug("recent items stay as they are: %s", error)

    def _allowed(self, request: Request, profile: UserProfile) -> Allowed:
        """Which items may be shown to this visitor on this page."""
        # What is in the cart is decided on, and what left it was bought or put back: neither asks
        # to be shown.
        hidden = {*request.exclude, *profile.cart, request.product_id}
        if request.placement in self._config.hide_seen:
            hidden.update(profile.recent)
        return self._sellable(hidden)

    def _sellable(self, hidden: AbstractSet[str | None]) -> Allowed:
        """Which items are not hidden, in stock, and in the catalog if there is one."""
        columns, stubs = self._items.columns, self._shows_stubs()
        hidden_rows = columns.rows(filter(None, hidden))

        def sellable(rows: Rows) -> Mask:
            mask = columns.in_stock.get(rows)
            if not stubs:
                mask &= ~columns.stub.get(rows)
            if len(hidden_rows):
                mask &= ~np.isin(rows, hidden_rows)
            return mask

        return sellable

    def _scope_of_all(self) -> str:
        """Read what is trending overall here: made-up products are ranked apart, so that they
        displace nothing.
        """
        if self._shows_stubs():
            return STUB_SCOPE
        return GLOBAL_SCOPE

    def _shows_stubs(self) -> bool:
        return self._config.recommend_stubs or not self._items.has_catalog

    def _explore(
        self, profile: UserProfile, candidates: Rows, is_allowed: Allowed, k: int
    ) -> Exploration:
        """Chance's choice for a slate of `k`: of the allowed items that are no candidates."""
        rate = self._config.explore_rate
        if rate <= 0.0 or min(k, len(candidates)) <= EXPLORE_SLOT:
            return Exploration()

        def is_eligible(rows: Rows) -> Mask:
            return is_allowed(rows) & ~np.isin(rows, candidates)

        categories = top_categories(profile)
        return explore(self._items.shelves, categories, is_eligible, rate, self._random)


def _with_drawn(found: Gathered, drawn: int) -> Gathered:
    """The candidates and the item that chance drew, last; it takes the place of the last where they
    are many.
    """
    rows = np.append(found.rows[: MAX_CANDIDATES - 1], np.int32(drawn))
    return Gathered(rows, [*found.sources[: MAX_CANDIDATES - 1], "explore"])
