"""The client itself: its methods, and its state after a fork and at the end of the process.

After `os.fork` the child starts with an empty queue, a lock, a connection and (at its first event)
a thread of its own. Events queued before the fork stay the parent's: one process sends them.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import uuid4

import httpx

from freshet.api import ApiMethods
from freshet.contract import MAX_EVENTS
from freshet.event_queue import EventQueue
from freshet.events import encode_event, encode_order
from freshet.sender import Sender
from freshet.settings import valid_count, valid_key, valid_seconds, valid_url
from freshet.undelivered import OnError, report, undelivered

logger = logging.getLogger(__name__)

CLOSE_S = 5.0
"""Seconds that the end of the process may wait, for all clients together."""


class Freshet(ApiMethods):
    """A client of one collector and one site; threads may share it. Its questions to the API are
    `ApiMethods`.

    Args:
        collector_url, api_url: their addresses, e.g. `https://collector.example`.
        write_key: one of the site's keys for servers.
        api_key: one of the API's keys for back ends: its rate then holds instead of that of this
            machine's address, and it may write the catalog.
        batch_size: events in one request, 1 to 500.
        flush_s: seconds that an event waits for others to share its request, from 0.
        queue_limit: events that are held while the collector cannot be reached; the oldest are
            dropped for new ones.
        timeout_s: for connecting, for writing and for each wait for a response.
        on_error: receives all events that are given up. It is called on the sending thread, or on
            the caller's where an event is dropped for a new one or at `close`; it must not track
            events itself.

    Raises:
        ValueError: naming the argument and what was expected.
    """

    def __init__(
        self,
        collector_url: str,
        write_key: str,
        api_url: str | None = None,
        *,
        batch_size: int = 100,
        flush_s: float = 1.0,
        queue_limit: int = 10_000,
        timeout_s: float = 5.0,
        on_error: OnError | None = None,
        api_key: str | None = None,
    ) -> None:
        self._events_url = valid_url("collector_url", collector_url) + "/v1/events"
        self._write_key = valid_key("write_key", write_key)
        self._api_url = None
        if api_url is not None:
            self._api_url = valid_url("api_url", api_url)
        self._api_key = None
        if api_key is not None:
            self._api_key = valid_key("api_key", api_key)
        self._batch_size = valid_count("batch_size", batch_size, 1, MAX_EVENTS)
        self._flush_s = valid_seconds("flush_s", flush_s, 0.0, 3600.0)
        self._queue_limit = valid_count("queue_limit", queue_limit, 1, 10_000_000)
        self._timeout_s = valid_seconds("timeout_s", timeout_s, 0.001, 600.0)
        self._on_error = on_error
        self._certificates = httpx.create_ssl_context()  # slow to make, and the same after a fork
        self._begin()
        _clients.add(self)

    def _begin(self) -> None:
        """Make the parts that each process has of its own."""
        self._http = httpx.Client(
            timeout=self._timeout_s,
            headers=_HEADERS,
            verify=self._certificates,
        )
        self._events = EventQueue(
            batch_size=self._batch_size,
            flush_s=self._flush_s,
            limit=self._queue_limit,
        )
        self._sender = Sender(
            self._events,
            self._http,
            url=self._events_url,
            write_key=self._write_key,
            on_error=self._on_error,
        )

    # ---- events ----------------------------------------------------------------------------------

    def track(
        self,
        event: str,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        session_id: str | None = None,
        product_id: str | None = None,
        timestamp: datetime | str | None = None,
        event_id: str | None = None,
        consent: Mapping[str, bool] | None = None,
        **metadata: Any,
    ) -> str:
        """Queue one event and return its id. Neither waits for the network nor raises its errors.

        Args:
            event: its type, e.g. `add_to_cart`; names outside the contract are custom events.
            user_id, anonymous_id: the visitor; one of them at least.
            timestamp: when it happened, with a zone, at most 48 h ago; now by default.
            event_id: the same text whenever this event is sent; a random one by default.
            consent: the visitor's, `{"analytics": bool, "personalization": bool}`.
            metadata: any JSON; prices may be decimals.

        Raises:
            ValueError: an argument breaks the contract, naming it; or the client is closed.
        """
        if event_id is None:
            event_id = uuid4().hex
        fields = {
            "event_id": event_id,
            "event": event,
            "timestamp": timestamp,
            "user_id": user_id,
            "anonymous_id": anonymous_id,
            "session_id": session_id,
            "product_id": product_id,
        }
        self._put([encode_event(fields, metadata, consent)])
        return str(event_id)

    def identify(self, user_id: str, *, anonymous_id: str | None = None, **fields: Any) -> str:
        """`track` an `identify`: `user_id` signed in, until then known as `anonymous_id`."""
        return self.track("identify", user_id=user_id, anonymous_id=anonymous_id, **fields)

    def page(self, url: str, **fields: Any) -> str:
        """`track` a `page_view` of `url`; `title` and `referrer` are texts."""
        return self.track("page_view", url=url, **fields)

    def purchase(
        self,
        order_id: str,
        lines: Iterable[Mapping[str, Any]],
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        session_id: str | None = None,
        timestamp: datetime | str | None = None,
        consent: Mapping[str, bool] | None = None,
        **metadata: Any,
    ) -> list[str]:
        """Queue an order, one `purchase` a line: all of them, or none where one is invalid.

        The ids follow from the order's id, the product's and which of the product's lines it is, as
        in the browser SDK: an order that is reported twice, here or by the page, counts once,
        in any order of its lines.

        Args:
            order_id: 1 to 240 characters.
            lines: each with `product_id` and its own fields, e.g. `price` (of one), `quantity`.
            metadata: of the order, e.g. `currency`; goes with each line.

        Returns:
            The events' ids, in the order of the lines.

        Raises:
            ValueError: as `track`; or the order has no id or no lines.
        """
        visitor = {
            "user_id": user_id,
            "anonymous_id": anonymous_id,
            "session_id": session_id,
            "timestamp": timestamp,
        }
        payloads = encode_order(order_id, lines, visitor, metadata, consent)
        self._put(list(payloads.values()))
        return list(payloads)

    def _put(self, payloads: list[bytes]) -> None:
        dropped = self._events.put(payloads)
        self._sender.start()
        if dropped:
            gone = undelivered("dropped for newer events, the queue is full", dropped)
            report(self._on_error, gone)

    # ---- the end ---------------------------------------------------------------------------------

    def flush(self, timeout_s: float = CLOSE_S) -> bool:
        """Send the queue now; True when all of it was stored, or given to `on_error`, in time."""
        if self._events.is_empty:
            return True
        if not self._sender.start():
            timeout_s = 0.0
        return self._events.flush(timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """`flush`, then end; the rest goes to `on_error`. The end of the process does the same."""
        deadline_s = time.monotonic() + timeout_s
        self._events.close()
        self.flush(timeout_s)
        left = self._events.abandon()
        if left:
            logger.warning("%d events were not delivered before the client was closed", len(left))
            gone = undelivered("not delivered before the client was closed", left)
            report(self._on_error, gone)
        if self._sender.join(max(0.1, deadline_s - time.monotonic())):
            self._http.close()
        _clients.discard(self)

    def __enter__(self) -> Freshet:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


# ---- the process's clients -----------------------------------------------------------------------


def _close_all() -> None:
    deadline_s = time.monotonic() + CLOSE_S
    for client in list(_clients):
        client.close(max(0.0, deadline_s - time.monotonic()))


def _begin_all_anew() -> None:
    for client in list(_clients):
        client._begin()


def _version() -> str:
    try:
        return version("freshet-client")
    except PackageNotFoundError:  # run from its sources
        return "0"


_HEADERS = {"user-agent": f"freshet-python/{_version()}"}
# The open ones: their events are to be sent even where no variable refers to them any more.
_clients: set[Freshet] = set()
atexit.register(_close_all)
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_begin_all_anew)
