"""One answer, from request to body: who asks, for which placements, and what may be said."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from pipeline.core.catalog import Item
from pipeline.core.experiments import Assigned
from pipeline.core.expressions.compiler import Expression
from pipeline.core.expressions.scalars import scalars_of
from pipeline.core.privacy.signals import Signal
from pipeline.core.profile import UserProfile
from vertex.api.asks import Ask, Asker
from vertex.api.banner import Banner, banner_of_slate, choose_banner
from vertex.api.config import Config
from vertex.api.contract import PageRequest, Request, moment_ms
from vertex.api.cursor import NOTHING_SHOWN, next_cursor, read_cursor
from vertex.api.deadline import Deadline
from vertex.api.filters import bound, parse_filter
from vertex.api.items import ItemCache
from vertex.api.placements import Placement
from vertex.api.slates import Slate, Slates
from vertex.api.tally import Tally
from vertex.api.timing import StageTimer
from vertex.api.trials import TriedPlacements, is_proven
from vertex.api.visitor import Visitor, Visitors
from vertex.candidates import Allowed


class Recommender:
    """Answers requests from what it is given.

    Args:
        config: what may be said to whom.
        placements: by name, and the experiments on them.
        visitors: finds who asks.
        items: what is known of items.
        slates: makes what is shown.
        now: wall clock, ms since the Unix epoch.
        tally: counts what served the answers.
    """

    def __init__(
        self,
        config: Config,
        placements: TriedPlacements,
        visitors: Visitors,
        items: ItemCache,
        slates: Slates,
        now: Callable[[], int],
        tally: Tally,
    ) -> None:
        self._config = config
        self._placements = placements
        self._visitors = visitors
        self._items = items
        self._slates = slates
        self._now = now
        self._tally = tally

    async def answer(
        self, request: Request, watch: StageTimer, signal: Signal | None = None
    ) -> dict[str, Any]:
        """The response body; never fails for want of Bigtable or Vertex.

        `signal` is what the browser says for its visitor. One who denied personalization gets what
        everybody gets, and nothing is read or folded for it.

        Raises:
            InvalidRequest: naming the filter's mistake.
        """
        deadline = Deadline.to_begin(request.deadline_ms, watch)
        request, visitor, request_id = await self._asked(request, watch, signal, deadline)
        request, assigned = self._placements.tried(request, visitor, [request.placement])
        asker = _asker(request, visitor, deadline)
        accepted = self._filter(request, asker)
        placement = self._placements.find(request.placement, assigned)
        ask = _ask(request, placement, request.k, request.product_ids, accepted)
        slates = await self._slates.make([ask], asker, watch)
        slate = slates[0]
        answer = {
            **self._common(request, visitor, request_id, assigned),
            **self._row(request, ask, slate),
        }
        if ask.placement.banner:
            answer["personalized_banner"] = self._banner(request, ask, visitor, slate)
        if ask.placement.kind.items and not ask.placement.kind.group:
            answer["cursor"] = next_cursor(ask.shown, answer["recommendations"])
        return {**answer, "took_ms": round(watch.total_ms, 2)}

    async def answer_page(
        self, request: PageRequest, watch: StageTimer, signal: Signal | None = None
    ) -> dict[str, Any]:
        """The response body for the rows of a page: those with the likeliest clicks first, no item
        twice, none empty.

        Raises:
            InvalidRequest: naming the filter's mistake.
        """
        rows = request.rows
        deadline = Deadline.to_begin(request.deadline_ms, watch)
        asked, visitor, request_id = await self._asked(request, watch, signal, deadline)
        asked, assigned = self._placements.tried(asked, visitor, [row.placement for row in rows])
        asker = _asker(asked, visitor, deadline)
        accepted = self._filter(asked, asker)
        asks = [
            _ask(
                asked,
                self._placements.find(row.placement, assigned),
                row.k,
                row.product_ids or request.product_ids,
                accepted,
            )
            for row in rows
        ]
        slates = await self._slates.make(asks, asker, watch)
        return {
            **self._common(asked, visitor, request_id, assigned),
            "rows": [
                {"row": place, **self._row(asked, asks[place], slate)}
                for place, slate in slates.items()
                if slate.shown
            ],
            "took_ms": round(watch.total_ms, 2),
        }

    async def _asked(
        self, request: Request, watch: StageTimer, signal: Signal | None, deadline: Deadline
    ) -> tuple[Request, Visitor, str]:
        """Find the visitor; one who denied personalization asks for what is popular."""
        if request.filter is not None:
            self._parsed(request.filter)  # a wrong one is refused before anything is read
        now_ms = moment_ms(request.as_of, self._now)
        request_id = uuid.uuid4().hex
        visitor = await self._visitors.who_asks(request, now_ms, request_id, signal, deadline)
        if visitor.is_nobody:
            request = msgspec.structs.replace(request, variant="popular")
        watch.lap("profile")
        return request, visitor, request_id

    def _parsed(self, filter: str) -> Expression:
        return parse_filter(filter, self._items.columns.fields.types)

    def _filter(self, request: Request, asker: Asker) -> Allowed | None:
        """The items that the request's filter accepts; None where it has none.

        One who is not proven to be the visitor must not find out by filters what the profile says,
        so theirs is empty.
        """
        if request.filter is None:
            return None
        scalars = asker.scalars
        if not is_proven(self._config, request):
            scalars = scalars_of(UserProfile(), request.context, asker.now_ms)
        return bound(self._parsed(request.filter), self._items.columns, scalars)

    def _common(
        self, request: Request, visitor: Visitor, request_id: str, assigned: Sequence[Assigned]
    ) -> dict[str, Any]:
        """The part of an answer that all its slates share."""
        common = {
            "request_id": request_id,
            "variant": request.variant,
            "events_ignored": visitor.ignored,
            "events_withheld": visitor.withheld,
            **self._placements.described(assigned),
        }
        if self._config.profile_view:
            common["profile"] = {**visitor.stored, "pending": visitor.pending}
        return common

    def _row(self, request: Request, ask: Ask, slate: Slate) -> dict[str, Any]:
        """The part of an answer for one slate."""
        self._tally.count(slate.served_by, slate.fallback)
        shown = slate.shown if ask.placement.kind.items else []
        row: dict[str, Any] = {
            "placement": ask.placement.name,
            "recommendations": [each.id for each in shown],
            "ranked_feed": shown,
            "served_by": slate.served_by,
            "model_version": slate.model_version,
        }
        row |= self._title(request, ask, slate)
        if ask.placement.kind.group:
            return {**row, "ranked_feed": []}  # names have no impressions and clicks of items
        if self._config.profile_view:
            return {**row, "candidates": slate.candidates}
        return {**row, "ranked_feed": [each.entry() for each in shown]}

    def _title(self, request: Request, ask: Ask, slate: Slate) -> dict[str, str]:
        """The title of a row; of one about an item of the visitor's only where they are proven to
        be who they say, for it names what they looked at.
        """
        title = ask.placement.title
        if "{title}" not in title:
            return {"title": title} if title else {}
        item = self._items.item(slate.about) if slate.about else None
        if item is None or not is_proven(self._config, request):
            return {}
        return {"title": title.replace("{title}", item.title), "about": item.item_id}

    def _banner(self, request: Request, ask: Ask, visitor: Visitor, slate: Slate) -> Banner:
        """Of the profile, or of the slate alone where the visitor may be anybody who guessed a user
        id.
        """
        ids = [shown.id for shown in slate.shown]
        if not is_proven(self._config, request):
            return banner_of_slate(ids, self._items.item)

        def item_of(item_id: str) -> Item | None:
            rows = self._items.columns.rows([item_id])
            is_accepted = ask.accepted is None or ask.accepted(rows).all()
            return self._items.item(item_id) if is_accepted else None

        return choose_banner(visitor.profile, ids, item_of, ask.placement.banner)


def _ask(
    request: Request,
    placement: Placement,
    k: int | None,
    product_ids: Sequence[str],
    accepted: Allowed | None,
) -> Ask:
    of_page = [request.product_id] if request.product_id else []
    return Ask(
        placement=placement,
        k=k or placement.k,
        product_id=request.product_id,
        seeds=tuple(dict.fromkeys([*product_ids, *of_page])),
        exclude=tuple(request.exclude),
        shown=read_cursor(request.cursor) if request.cursor else NOTHING_SHOWN,
        explain=request.explain,
        accepted=accepted,
    )


def _asker(request: Request, visitor: Visitor, deadline: Deadline) -> Asker:
    is_anybody = request.variant == "popular" or bool(visitor.unread)
    profile = UserProfile() if is_anybody else visitor.profile
    scalars = scalars_of(profile, request.context, visitor.now_ms)
    return Asker(
        profile, visitor.now_ms, scalars, is_anybody, visitor.unread, request.context, deadline
    )
