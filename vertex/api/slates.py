"""Slates for the placements asked for: what might be shown, how good that is, what if a part is
missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random

import numpy as np
from numpy.typing import NDArray

from pipeline.core.catalog import Item
from pipeline.core.columns import Mask, Rows
from pipeline.core.events import Event
from pipeline.core.expressions.fields import Scalar
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.moment import RECENT_SEEDS, Moment
from pipeline.core.features.ranking_inputs import Matrix, RankingContext
from pipeline.core.item_columns import NO_ROW, ItemColumns
from pipeline.core.profile import UserProfile
from pipeline.core.vectors import greatest
from pipeline.store.layout import GLOBAL_SCOPE, STUB_SCOPE, category_scope
from vertex.api.breaker import Unavailable
from vertex.api.config import Config
from vertex.api.cursor import NOTHING_SHOWN, Hashes
from vertex.api.deadline import NO_DEADLINE, Deadline
from vertex.api.filters import bound
from vertex.api.items import ITEM_SOFT_S, SEED_HARD_S, SEED_SOFT_S, ItemCache
from vertex.api.placements import POPULAR, Placement, Placements
from vertex.api.policy import EXPLORE_SLOT, Exploration, explore
from vertex.api.ranking import Prediction, Ranker, parts_of_order, score_parts
from vertex.api.rerank import Ranked, Shown, arrange, arrange_groups, arrange_trending
from vertex.api.rules import Candidates, Pin
from vertex.api.timing import StageTimer
from vertex.api.trending import Ranked as Trends
from vertex.api.trending import TrendingCache
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

# Of so many items at the beginning of a row, the click probabilities say where it stands on a page.
ROW_HEAD = 4
_NO_EXPLORATION = Exploration()


@dataclass(frozen=True)
class Ask:
    """One placement that is asked for.

    Attributes:
        placement: what is recommended.
        k: how many.
        product_id: the item of the page.
        seeds: the items that the page is about, `product_id` among them.
        exclude: items that are not shown.
        shown: hashes of the items that the feed has shown.
        explain: whether the grounds of each item are wanted.
        accepted: the items that the request's own filter accepts; None where it has none.
    """

    placement: Placement
    k: int
    product_id: str | None = None
    seeds: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shown: Hashes = field(default_factory=lambda: NOTHING_SHOWN)
    explain: bool = False
    accepted: Allowed | None = None


@dataclass(frozen=True)
class Asker:
    """Who asks, and when.

    Attributes:
        profile: of the visitor; an empty one for `is_anybody`.
        now_ms: the moment to answer for.
        scalars: what filters and rules may ask of visitor and context.
        is_anybody: shown is what everybody sees: the visitor denied personalization, is in that
            half of an experiment, or could not be read.
        unread: why the visitor could not be read; empty when they could.
        deadline: by when they are answered.
    """

    profile: UserProfile
    now_ms: int
    scalars: Mapping[str, Scalar]
    is_anybody: bool = False
    unread: str = ""
    deadline: Deadline = NO_DEADLINE


@dataclass(frozen=True)
class Slate:
    """The items shown, in order; what ranked them, and from how many candidates; why nothing better
    did, if so; the visitor's item that it is about, if it is about one.
    """

    shown: list[Shown]
    served_by: str
    model_version: str
    candidates: int
    fallback: str = ""
    about: str = ""


@dataclass(frozen=True)
class Draft:
    """Candidates of a slate before they are ranked.

    Attributes:
        placement: by which they were found: that asked for, or its fallback.
        about: the items that the sources start from in place of the visitor's.
        allowed: which items may be shown.
        found: the candidates; the drawn one is the last.
        ids, version: theirs, and of the columns: while the ranker is asked, rows may become those
            of other items.
        exploration: what chance does.
        fallback: why it is not the placement asked for.
    """

    placement: Placement
    about: tuple[str, ...]
    allowed: Allowed
    found: Gathered
    ids: list[str]
    version: int
    exploration: Exploration = _NO_EXPLORATION
    fallback: str = ""


@dataclass(frozen=True)
class Ranking:
    """Candidates of all drafts together: rows `(m,)` ascending, features `(m, d)`, and the
    prediction.
    """

    rows: Rows
    matrix: Matrix
    prediction: Prediction

    def places(self, rows: Rows) -> NDArray[np.intp]:
        """Where those rows `(n,)` stand."""
        return np.searchsorted(self.rows, rows)


class Slates:
    """Makes slates from what it is given; holds no state of its own but the random generator.

    Args:
        config: whether stubs are shown.
        placements: by name, for fallbacks.
        items, trending: what is known of items.
        ranker: click probabilities.
        model: the in-process model of the moment, for its vectors.
        rng: for exploration.
    """

    def __init__(
        self,
        config: Config,
        placements: Placements,
        items: ItemCache,
        trending: TrendingCache,
        ranker: Ranker,
        model: Callable[[], Model],
        rng: Random,
    ) -> None:
        self._config = config
        self._placements = placements
        self._items = items
        self._trending = trending
        self._ranker = ranker
        self._model = model
        self._random = rng

    async def make(self, asks: Sequence[Ask], asker: Asker, watch: StageTimer) -> dict[int, Slate]:
        """A slate for each place in `asks`, those first that the visitor most likely clicks in; no
        item stands in two of them.
        """
        situation = await self._situation(asker.profile, asker)
        abouts = self._abouts(asks, asker)
        about_items = await asyncio.gather(*(self._about(ids, asker) for ids in abouts))
        watch.lap("items")
        drafts = [
            self._draft(ask, asker, ids, around or situation)
            for ask, ids, around in zip(asks, abouts, about_items, strict=True)
        ]
        drafts = self._explored(drafts, asks, asker)
        watch.lap("candidates")
        ranking = await self._rank(drafts, asks, asker, situation, watch)
        slates: dict[int, Slate] = {}
        taken: set[str] = set()
        for place in self._best_first(drafts, ranking):
            slate = await self._slate(asks[place], drafts[place], asker, ranking, taken)
            taken.update(shown.id for shown in slate.shown)
            slates[place] = slate
        return slates

    # -- candidates

    def _abouts(self, asks: Sequence[Ask], asker: Asker) -> list[tuple[str, ...]]:
        """The items that each placement is about, none for one that is about the visitor; rows
        about the visitor's last items are about one each.
        """
        recent = asker.profile.recent_items(asker.now_ms)
        last = iter([item_id for item_id, _ in recent if item_id in self._items.columns])
        cart = tuple(asker.profile.in_cart())
        found: list[tuple[str, ...]] = []
        for ask in asks:
            subject = ask.placement.kind.subject
            of_last = (next(last, ""),) if subject == "last" else ()
            found.append({"page": ask.seeds, "cart": cart, "last": of_last}.get(subject, ()))
        return [tuple(filter(None, ids)) for ids in found]

    async def _about(self, ids: Sequence[str], asker: Asker) -> Situation | None:
        """The situation of one who viewed just these items; None where there are none."""
        if not ids:
            return None
        await self._fetch(ids, asker.deadline)
        profile = profile_of_views(filter(None, map(self._items.item, ids)), asker.now_ms)
        return await self._situation(profile, asker)

    def _draft(
        self, ask: Ask, asker: Asker, about: tuple[str, ...], situation: Situation
    ) -> Draft | None:
        """The candidates for a placement, or for its fallback; None where there are none."""
        draft = self._candidates(ask, ask.placement, asker, about, situation)
        name = ask.placement.fallback
        if draft is not None or name in ("", POPULAR):
            return draft
        fallback = self._placements.find(name)
        return self._candidates(ask, fallback, asker, about, situation, "no candidates")

    def _candidates(
        self,
        ask: Ask,
        placement: Placement,
        asker: Asker,
        about: tuple[str, ...],
        situation: Situation,
        why: str = "",
    ) -> Draft | None:
        kind = placement.kind
        if asker.is_anybody and kind.is_personal:
            return None
        if kind.subject != "visitor" and not about:
            return None
        allowed = self._allowed(ask, placement, asker)
        found = gather(situation, allowed, MAX_CANDIDATES, placement.sources)
        if len(found.rows) < ask.k and "trending" in placement.sources:
            found = self._widened(found, allowed, asker.now_ms)
        found = self._with_pins(found, placement, allowed, asker.now_ms)
        if not len(found.rows):
            return None
        self._items.want_rows(found.rows, ITEM_SOFT_S)
        columns = self._items.columns
        ids = columns.ids(found.rows)
        return Draft(placement, about, allowed, found, ids, columns.version, fallback=why)

    def _widened(self, found: Gathered, allowed: Allowed, now_ms: int) -> Gathered:
        """The candidates, and the most popular of all items that are allowed: a filter may leave
        the sources little.
        """
        popular = self._most_popular(allowed, now_ms)
        return _with(found, popular[~np.isin(popular, found.rows)].tolist(), "popular")

    def _most_popular(self, allowed: Allowed, now_ms: int) -> Rows:
        """The most popular of all items that are allowed, best first; looks at every item."""
        items = self._items.columns
        every = items.all_rows()
        every = every[allowed(every)]
        return every[greatest(items.popularity.get(every, 0, now_ms), MAX_CANDIDATES)]

    def _with_pins(
        self, found: Gathered, placement: Placement, allowed: Allowed, now_ms: int
    ) -> Gathered:
        """The candidates with the pinned items that may be shown."""
        ids = [
            rule.item_id
            for rule in placement.rules
            if isinstance(rule, Pin) and rule.holds_at(now_ms)
        ]
        if not ids:
            return found
        rows = self._items.rows(ids)
        rows = rows[allowed(rows) & ~np.isin(rows, found.rows)]
        return _with(found, rows.tolist(), "pin")

    def _allowed(self, ask: Ask, placement: Placement, asker: Asker) -> Allowed:
        """Which items may be shown to this visitor at this place."""
        # What is in the cart is decided on, and what left it was bought or put back: neither asks
        # to be shown.
        hidden = {*ask.exclude, *ask.seeds}
        hashes = ask.shown
        if "cart" in placement.hide:
            hidden.update(asker.profile.cart)
        if "seen" in placement.hide:
            hidden.update(asker.profile.recent)
        if "bought" in placement.hide:
            hashes = np.append(hashes, np.array(list(asker.profile.bought()), np.uint32))
        filters = self._filters(ask, placement, asker)
        return self._sellable(hidden, hashes, filters, asker.now_ms)

    def _filters(self, ask: Ask, placement: Placement, asker: Asker) -> list[Allowed]:
        """The filters that hold for an answer by this placement: its own, that of the placement
        asked for, for which it may stand in, and that of the request.
        """
        expressions = {ask.placement.filter, placement.filter}
        filters = [
            bound(expression, self._items.columns, asker.scalars)
            for expression in expressions
            if expression is not None
        ]
        return filters if ask.accepted is None else [*filters, ask.accepted]

    def _sellable(
        self, hidden: AbstractSet[str], hashes: Hashes, filters: Sequence[Allowed], now_ms: int
    ) -> Allowed:
        """Which items are not hidden, sellable at `now_ms`, in the catalog if there is one, and
        accepted by all filters.
        """
        columns, stubs = self._items.columns, self._shows_stubs()
        hidden_rows = columns.rows(hidden)

        def sellable(rows: Rows) -> Mask:
            mask = columns.is_sellable(rows, now_ms)
            if not stubs:
                mask &= ~columns.stub.get(rows)
            if len(hidden_rows):
                mask &= ~np.isin(rows, hidden_rows)
            if len(hashes):
                mask &= ~np.isin(columns.hash[rows], hashes)
            for accepted in filters:
                mask &= accepted(rows)
            return mask

        return sellable

    def _explored(
        self, drafts: Sequence[Draft | None], asks: Sequence[Ask], asker: Asker
    ) -> list[Draft | None]:
        """The drafts with chance's choice: of the allowed items that are no candidates of any, so
        that what chance shows at one place changes no other.
        """
        taken = [draft.found.rows for draft in drafts if draft is not None]
        explored: list[Draft | None] = []
        for draft, ask in zip(drafts, asks, strict=True):
            made = draft
            if draft is not None and min(ask.k, len(draft.ids)) > EXPLORE_SLOT:
                made = self._explore(draft, asker.profile, np.concatenate(taken))
                taken.append(made.found.rows)
            explored.append(made)
        return explored

    def _explore(self, draft: Draft, profile: UserProfile, taken: Rows) -> Draft:
        def is_eligible(rows: Rows) -> Mask:
            return draft.allowed(rows) & ~np.isin(rows, taken)

        rate = draft.placement.explore
        if rate <= 0.0:
            return draft
        categories = top_categories(profile)
        exploration = explore(self._items.shelves, categories, is_eligible, rate, self._random)
        if exploration.drawn is None:
            return replace(draft, exploration=exploration)
        found = _with(draft.found, [exploration.drawn], "explore")
        ids = self._items.columns.ids(found.rows)
        return replace(draft, found=found, ids=ids, exploration=exploration)

    # -- ranking

    async def _rank(
        self,
        drafts: Sequence[Draft | None],
        asks: Sequence[Ask],
        asker: Asker,
        situation: Situation,
        watch: StageTimer,
    ) -> Ranking | None:
        """Ask once about the candidates of all drafts; None where none of them goes by score and
        there is one slate alone.
        """
        made = [draft for draft in drafts if draft is not None]
        if len(asks) == 1:
            made = [draft for draft in made if draft.placement.kind.order == "score"]
        if not made:
            return None
        rows = np.unique(np.concatenate([draft.found.rows for draft in made]))
        context = RankingContext(
            placement=asks[0].placement.name,
            product_id=asks[0].product_id,
            priors=self._items.shelves.priors,
        )
        matrix = feature_matrix(situation.moment, rows, context)
        watch.lap("features")
        deadline_s = min(asker.deadline.left_s, *(draft.placement.deadline_s for draft in made))
        prediction = await self._ranker.predict(matrix, deadline_s)
        watch.lap("ctr")
        return Ranking(rows, matrix, prediction)

    def _best_first(self, drafts: Sequence[Draft | None], ranking: Ranking | None) -> list[int]:
        """The places of the drafts, that with the likeliest clicks at its beginning first; those
        without candidates last.
        """
        worth = [self._worth(draft, ranking) for draft in drafts]
        return sorted(range(len(drafts)), key=lambda place: -worth[place])

    def _worth(self, draft: Draft | None, ranking: Ranking | None) -> float:
        if draft is None or ranking is None:
            return -1.0
        ctr = ranking.prediction.ctr[ranking.places(draft.found.rows)]
        if draft.placement.kind.order == "score":
            ctr = -np.sort(-ctr)
        return float(ctr[:ROW_HEAD].mean())

    async def _slate(
        self,
        ask: Ask,
        draft: Draft | None,
        asker: Asker,
        ranking: Ranking | None,
        taken: AbstractSet[str],
    ) -> Slate:
        if draft is not None:
            slate = self._arranged(ask, draft, asker, ranking, taken)
            if slate.shown:
                return slate
        why = asker.unread
        if not asker.is_anybody:
            why = "no candidates"
        if self._ends_popular(ask.placement):
            return await self._popular(ask, asker, taken, why)
        return Slate([], "sources", self._model().version, 0, why)

    def _ends_popular(self, placement: Placement) -> bool:
        """True where what is popular stands in for a placement, or for its fallback."""
        name = placement.fallback
        if name not in ("", POPULAR):
            name = self._placements.find(name).fallback
        return name == POPULAR

    def _arranged(
        self,
        ask: Ask,
        draft: Draft,
        asker: Asker,
        ranking: Ranking | None,
        taken: AbstractSet[str],
    ) -> Slate:
        kind = draft.placement.kind
        ranked = self._ranked(draft, asker, ranking, taken)
        if kind.group:
            shown = arrange_groups(ranked, draft.placement, ask.k)
        else:
            exploration = draft.exploration
            if exploration.drawn is not None and ranked.ids[-1:] != draft.ids[-1:]:
                exploration = Exploration()  # it has gone meanwhile
            shown = arrange(ranked, draft.placement, ask.k, exploration, ask.explain)
        about = draft.about[0] if kind.subject == "last" else ""
        if kind.order == "source" or ranking is None:
            version = self._model().version
            return Slate(shown, "sources", version, len(draft.ids), draft.fallback, about)
        prediction = ranking.prediction
        return Slate(
            shown,
            prediction.served_by,
            prediction.model_version,
            len(draft.ids),
            draft.fallback or prediction.fallback,
            about,
        )

    def _ranked(
        self,
        draft: Draft,
        asker: Asker,
        ranking: Ranking | None,
        taken: AbstractSet[str],
    ) -> Ranked:
        """The draft's candidates with their scores, without those that another slate shows or that
        have gone meanwhile.
        """
        placement, before = draft.placement, draft.found.rows
        matrix = None if ranking is None else ranking.matrix[ranking.places(before)]
        if placement.kind.order == "source" or ranking is None or matrix is None:
            parts = parts_of_order(len(before))
        else:
            ctr = ranking.prediction.ctr[ranking.places(before)]
            parts = score_parts(matrix, ctr, placement.weights)
        columns, rows = self._items.columns, before
        kept = np.array([each not in taken for each in draft.ids])
        if columns.version != draft.version:
            rows = np.array([columns.row(item_id) for item_id in draft.ids], np.int32)
            kept &= rows != NO_ROW
            kept[kept] = draft.allowed(rows[kept])
        places = np.flatnonzero(kept)
        return Ranked(
            ids=[draft.ids[place] for place in places],
            sources=[draft.found.sources[place] for place in places],
            parts=parts._replace(terms=parts.terms[places]),
            candidates=Candidates(
                columns, rows[places], asker.profile, asker.now_ms, asker.scalars
            ),
            matrix=None if matrix is None else matrix[places],
        )

    async def _popular(self, ask: Ask, asker: Asker, taken: AbstractSet[str], why: str) -> Slate:
        """Items trending for all, the same for everybody, then those viewed most; from memory if
        need be.
        """
        scope = self._scope_of_all()
        trending = (await self._trends([scope], asker.deadline))[scope]
        hidden = {*ask.exclude, *ask.seeds, *taken}
        filters = self._filters(ask, ask.placement, asker)
        allowed = self._sellable(hidden, ask.shown, filters, asker.now_ms)
        rows = np.append(self._items.rows(trending), self._items.shelves.popular)
        rows = rows[allowed(rows)]
        if len(rows) < ask.k and filters:  # it leaves little of what is popular
            rows = np.append(rows, self._most_popular(allowed, asker.now_ms))
        _, firsts = np.unique(rows, return_index=True)
        best = rows[np.sort(firsts)][: ask.k]
        shown = arrange_trending(self._items.columns.ids(best), trending)
        return Slate(shown, "trending", self._model().version, len(shown), why)

    # -- what the sources look at

    async def _situation(self, profile: UserProfile, asker: Asker) -> Situation:
        """All that the sources look at; reads what memory lacks."""
        now_ms = asker.now_ms
        recent = [item_id for item_id, _ in profile.recent_items(now_ms, RECENT_SEEDS)]
        seeds = list(dict.fromkeys([*recent, *profile.in_cart()]))
        categories = top_categories(profile)
        scopes = [category_scope(name) for name in categories if name in self._items.categories]
        of_all = self._scope_of_all()
        ranked, _ = await asyncio.gather(
            self._trends([of_all, *scopes], asker.deadline), self._fetch(seeds, asker.deadline)
        )
        return Situation(
            Moment(profile, self._columns(), now_ms, self._items.seeds(seeds)),
            contexts=self._items.shelves.contexts,
            texts=self._items.shelves.texts,
            encoded=self._items.encoded,
            trending=self._items.rows(ranked[of_all]),
            trending_in=self._trending_in(categories, ranked, ranked[of_all]),
            popular=self._items.shelves.popular,
            shelves=self._items.shelves.by_category,
            arrivals=self._items.shelves.arrivals,
        )

    def _columns(self) -> ItemColumns:
        """The items in memory, with the vectors of the model of the moment."""
        self._items.columns.use_vectors(self._model().vectors)
        return self._items.columns

    def _trending_in(
        self, categories: Iterable[str], ranked: Mapping[str, Trends], overall: Trends
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

    async def _trends(self, scopes: Sequence[str], deadline: Deadline) -> dict[str, Trends]:
        """What is trending in the scopes, as last known where the deadline passes."""
        try:
            return await deadline.within(self._trending.top(scopes))
        except Unavailable:
            return {scope: self._trending.known(scope) for scope in scopes}

    async def _fetch(self, seeds: Sequence[str], deadline: Deadline) -> None:
        try:
            await deadline.within(self._items.ensure(seeds, SEED_SOFT_S, SEED_HARD_S))
        except Unavailable as error:
            log.debug("recent items stay as they are: %s", error)

    def _scope_of_all(self) -> str:
        """Read what is trending overall here: made-up products are ranked apart, so that they
        displace nothing.
        """
        if self._shows_stubs():
            return STUB_SCOPE
        return GLOBAL_SCOPE

    def _shows_stubs(self) -> bool:
        return self._config.recommend_stubs or not self._items.has_catalog


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


def _with(found: Gathered, rows: Sequence[int], source: str) -> Gathered:
    """The candidates with these rows of one more source, in place of the last where they are
    many.
    """
    kept = max(MAX_CANDIDATES - len(rows), 0)
    joined = np.append(found.rows[:kept], np.array(rows, np.int32))
    return Gathered(joined.astype(np.int32), [*found.sources[:kept], *[source] * len(rows)])
