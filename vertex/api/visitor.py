"""The visitor who asks: the stored profile, and the events that are not stored yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from pipeline.core.catalog import Item
from pipeline.core.events import (
    Event,
    accept_event,
    check_event_size,
    clock_shift,
    derived_event_id,
)
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.consent import resolve_consent
from pipeline.core.privacy.policy import Privacy
from pipeline.core.privacy.signals import Signal
from pipeline.core.profile import UserProfile
from pipeline.core.timestamps import format_time
from vertex.api.breaker import Unavailable
from vertex.api.contract import MAX_PENDING, VisitorRequest
from vertex.api.deadline import NO_DEADLINE, Deadline
from vertex.api.items import ItemCache
from vertex.api.reader import Reads

log = logging.getLogger(__name__)

DEFAULT_PRIVACY = Privacy()


@dataclass
class Visitor:
    """One visitor for one answer.

    Attributes:
        profile: what is known of the visitor, pending events and the page included.
        now_ms: the moment to answer for: that of asking, or of the visitor's newest event where it
            lies after that.
        stored: key figures of what Bigtable holds, for the answer.
        unread: why Bigtable could not be asked; empty when it could.
        pending: events of the request that were new to the profile.
        ignored: events of the request that break the contract.
        withheld: events of the request whose visitor denied personalization.
        is_nobody: personalization was denied: the answer is that for everybody.
    """

    profile: UserProfile
    now_ms: int
    stored: dict[str, Any]
    unread: str = ""
    pending: int = 0
    ignored: int = 0
    withheld: int = 0
    is_nobody: bool = False


class Visitors:
    """Finds visitors by their ids; reads profiles from `reader`, and what the catalog says from
    `items`.

    Ids and pending events are taken as the collector takes them: dropped or hashed as `privacy` has
    it.
    """

    def __init__(self, reader: Reads, items: ItemCache, privacy: Privacy = DEFAULT_PRIVACY) -> None:
        self._reader = reader
        self._items = items
        self._privacy = privacy

    async def stored(self, keys: Sequence[str]) -> UserProfile | None:
        """The profiles under these keys, merged; None when there is none. Raises `Unavailable`.

        A browser that was merged into an account is that account, unless another account is given:
        then it is that one alone, for nothing of the browser is left.
        """
        found = await asyncio.gather(*(self._reader.profile(key) for key in keys))
        if len(keys) == 1 and found[0] is not None and found[0].account:
            return await self._reader.profile(found[0].account)
        profiles = [profile for profile in found if profile is not None and not profile.account]
        for other in profiles[1:]:
            profiles[0].merge(other)
        return profiles[0] if profiles else None

    async def who_asks(
        self,
        request: VisitorRequest,
        now_ms: int,
        request_id: str,
        signal: Signal | None = None,
        deadline: Deadline = NO_DEADLINE,
    ) -> Visitor:
        """The visitor who asks, as `find`; an empty one where they denied personalization: nothing
        is read of them, and none of their events is looked at.
        """
        if self._may_personalize(request, signal):
            return await self.find(request, now_ms, request_id, signal, deadline)
        return Visitor(
            UserProfile(),
            now_ms,
            describe_stored(None),
            withheld=len(request.events),
            is_nobody=True,
        )

    def _may_personalize(self, request: VisitorRequest, signal: Signal | None) -> bool:
        return resolve_consent({}, request.consent, signal, self._privacy.default).personalization

    async def find(
        self,
        request: VisitorRequest,
        now_ms: int,
        request_id: str,
        signal: Signal | None = None,
        deadline: Deadline = NO_DEADLINE,
    ) -> Visitor:
        """The visitor who asks, at `now_ms`; unknown, or of unreadable profile, at worst, also
        where the profile is not there by the deadline.

        `signal` is the browser's word for events that bring none of their own.
        """
        unread = ""
        request = self._as_stored(request)
        try:
            stored = await deadline.within(self.stored(request.profile_keys()))
        except Unavailable as error:
            stored, unread = None, str(error)
        visitor = Visitor(stored or UserProfile(), now_ms, describe_stored(stored), unread)
        self._fold_pending(visitor, request, now_ms, signal)
        if request.as_of is None:
            # A clock that is some seconds ahead must not put clicks into the future, where no
            # feature sees them.
            visitor.now_ms = max(now_ms, visitor.profile.newest_ms)
        self._fold_page(visitor, request, request_id)
        return visitor

    def _as_stored(self, request: VisitorRequest) -> VisitorRequest:
        fields = self._privacy.fields
        ids = {name: getattr(request, name) for name in ("user_id", "anonymous_id", "session_id")}
        stored = {name: fields.apply_id(name, value) for name, value in ids.items()}
        if stored == ids:
            return request
        return msgspec.structs.replace(request, **stored)

    def _fold_pending(
        self, visitor: Visitor, request: VisitorRequest, now_ms: int, signal: Signal | None
    ) -> None:
        """Fold the events that the pipeline may not have seen; those that it has seen change
        nothing.
        """
        ids = {
            "user_id": request.user_id,
            "anonymous_id": request.anonymous_id,
            "session_id": request.session_id,
        }
        arrived = datetime.fromtimestamp(now_ms / 1000, UTC)
        shift = None if request.as_of else clock_shift(request.sent_at, arrived)
        for raw in request.events[-MAX_PENDING:]:
            try:
                if not self._may_fold(raw, request, signal):
                    visitor.withheld += 1
                    continue
                event = accept_event(_with_ids(raw, ids), ingest_time=arrived, shift=shift)
            except (InvalidEvent, RecursionError) as error:
                log.debug("a pending event is ignored: %s", type(error).__name__)
                visitor.ignored += 1
                continue
            item = self._item(event.product_id)
            # A stub only repeats what some event said: the pipeline folds without it.
            if item is not None and item.stub:
                item = None
            visitor.pending += visitor.profile.add(event, item)

    def _may_fold(self, raw: Any, request: VisitorRequest, signal: Signal | None) -> bool:
        """True where the event's visitor agreed; it is then as the collector would have published
        it.
        """
        if not isinstance(raw, dict):
            raise InvalidEvent("event", "expected a JSON object", raw)
        check_event_size(raw)
        if not resolve_consent(raw, request.consent, signal, self._privacy.default).personalization:
            return False
        self._privacy.fields.apply(raw)
        return True

    def _fold_page(self, visitor: Visitor, request: VisitorRequest, request_id: str) -> None:
        """Being on a product's page is a view of it, also before the page has said so."""
        product_id = request.product_id
        if (
            product_id is None
            or request.placement != "product"
            or product_id == visitor.profile.last_item
        ):
            return
        view = Event(
            event_id=f"page-{request_id}",
            event="view_product",
            timestamp=datetime.fromtimestamp(visitor.now_ms / 1000, UTC),
            user_id=request.user_id,
            anonymous_id=request.anonymous_id,
            session_id=request.session_id,
            product_id=product_id,
        )
        visitor.profile.add(view, self._item(product_id))

    def _item(self, item_id: str | None) -> Item | None:
        if item_id is None:
            return None
        return self._items.item(item_id)


def _with_ids(raw: dict[str, Any], ids: dict[str, str | None]) -> dict[str, Any]:
    filled = {**ids, **raw}
    if filled.get("event_id") is None:
        # of what the client wrote, as the collector does
        filled["event_id"] = derived_event_id(raw)
    return filled


def describe_stored(profile: UserProfile | None) -> dict[str, Any]:
    """Key figures of a profile: whether there is one, how many events it holds, and the newest of
    them.
    """
    if profile is None:
        nothing = {"events_total": 0, "newest_event_time": None, "last_event_id": None}
        return {"found": False, **nothing}
    return {
        "found": True,
        "events_total": profile.events_total,
        "newest_event_time": readable_time(profile.newest_ms),
        "last_event_id": profile.last_event[1],
    }


def readable_time(time_ms: int) -> str | None:
    """RFC 3339, or None for never."""
    if not time_ms:
        return None
    return format_time(datetime.fromtimestamp(time_ms / 1000, UTC))
