"""The client itself: what back ends call, and what becomes of it at a fork and at the end of the process.

After `os.fork` the child starts with an empty queue, a lock, a connection and (at its first event) a thread of its
own; what was queued before stays the parent's to send, so that it is sent by one of them.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import uuid4

import httpx

from functions.client import recommendations
from functions.client.outbox import Outbox
from functions.client.payloads import checked_consent, event_payload, order_payloads
from functions.client.sender import Sender
from functions.client.settings import check_range, checked_key, checked_url
from functions.client.undelivered import OnError, tell, undelivered
from pipeline.core.events import MAX_EVENTS

logger = logging.getLogger(__name__)

CLOSE_S = 5.0
"""What the end of the process may wait for, all clients together."""


class Freshet:
    """A client of one collector and one site; threads may share it.

    Args:
        collector_url, api_url: where they answer, e.g. `https://collector.example`.
        write_key: one of the site's keys for servers.
        api_key: one of the API's keys for back ends, whose rate then holds in place of this machine's address'.
        batch_size: events of one request, 1 to 500.
        flush_s: how long an event waits for others to go with, from 0.
        queue_limit: events that are held while the collector cannot be reached; the oldest are dropped for new ones.
        timeout_s: for connecting, for writing and for each wait for an answer.
        on_error: told of all that is given up. Called on the sending thread, or where an event is dropped for a new
            one or at `close` on the caller's; it must not track events itself.

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
        self._events_url = checked_url("collector_url", collector_url) + "/v1/events"
        self._recommendations_url = None if api_url is None else checked_url("api_url", api_url) + "/v1/recommendations"
        self._write_key = checked_key("write_key", write_key)
        self._api_key = None if api_key is None else checked_key("api_key", api_key)
        check_range("batch_size", batch_size, 1, MAX_EVENTS)
        check_range("flush_s", flush_s, 0.0, 3600.0)
        check_range("queue_limit", queue_limit, 1, 10_000_000)
        check_range("timeout_s", timeout_s, 0.001, 600.0)
        self._bounds = (batch_size, flush_s, queue_limit)
        self._timeout_s = timeout_s
        self._on_error = on_error
        self._certificates = httpx.create_ssl_context()  # dear, and the same after a fork
        self._begin()
        _clients.add(self)

    def _begin(self) -> None:
        """Make what each process has of its own."""
        self._http = httpx.Client(timeout=self._timeout_s, headers=_HEADERS, verify=self._certificates)
        self._outbox = Outbox(*self._bounds)
        self._sender = Sender(self._outbox, self._http, self._events_url, self._write_key, self._on_error)

    # ---- what happened -----------------------------------------------------------------------------------------

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
        """Queue one event and return its id. Never waits for the network, never raises for what it does.

        Args:
            event: its type, e.g. `add_to_cart`; others than the contract's are taken too.
            user_id, anonymous_id: whose; one of them at least.
            timestamp: when it happened, with a zone, at most 48 h ago; now by default.
            event_id: a text that is the same whenever this event is sent; a random one by default.
            consent: what the visitor agreed to, `{"analytics": bool, "personalization": bool}`.
            metadata: whatever JSON can say; prices may be decimals.

        Raises:
            ValueError: for an argument that breaks the contract, naming it; or after `close`.
        """
        fields = {
            "event_id": uuid4().hex if event_id is None else event_id,
            "event": event,
            "timestamp": timestamp,
            "user_id": user_id,
            "anonymous_id": anonymous_id,
            "session_id": session_id,
            "product_id": product_id,
        }
        self._queue([event_payload(fields, metadata, consent)])
        return str(fields["event_id"])

    def identify(self, user_id: str, *, anonymous_id: str | None = None, **fields: Any) -> str:
        """`track` an `identify`: `user_id` signed in, as the visitor known as `anonymous_id` until then."""
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
        """Queue an order, one `purchase` a line: all of them, or none where one is wrong.

        The ids follow from the order's id, the product's and which of the product's lines it is, as in the browser's
        SDK: an order that is reported twice, here or by the page, counts once, whatever the order of its lines.

        Args:
            order_id: 1 to 240 characters.
            lines: each with `product_id` and what is its own, e.g. `price` (of one) and `quantity`.
            metadata: of the order, e.g. `currency`; goes with each line.

        Returns:
            The events' ids, in the order of the lines.

        Raises:
            ValueError: as `track`; or for an order without an id or lines.
        """
        whose = {"user_id": user_id, "anonymous_id": anonymous_id, "session_id": session_id, "timestamp": timestamp}
        payloads = order_payloads(order_id, lines, whose, metadata, consent)
        self._queue(list(payloads.values()))
        return list(payloads)

    def _queue(self, payloads: list[bytes]) -> None:
        dropped = self._outbox.put(payloads)
        self._sender.start()
        if dropped:
            tell(self._on_error, undelivered("dropped for newer events, the queue is full", dropped))

    # ---- and its end -------------------------------------------------------------------------------------------

    def flush(self, timeout_s: float = CLOSE_S) -> bool:
        """Send what is queued now; whether all of it was settled (stored, or given to `on_error`) in time."""
        if self._outbox.is_empty:
            return True
        return self._outbox.flush(timeout_s if self._sender.start() else 0.0)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """`flush`, then end; what is left goes to `on_error`. The end of the process does it too; twice is once."""
        deadline_s = time.monotonic() + timeout_s
        self._outbox.close()
        self.flush(timeout_s)
        left = self._outbox.abandon()
        if left:
            logger.warning("%d events were not delivered before the client was closed", len(left))
            tell(self._on_error, undelivered("not delivered before the client was closed", left))
        if self._sender.join(max(0.1, deadline_s - time.monotonic())):
            self._http.close()
        _clients.discard(self)

    def __enter__(self) -> Freshet:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---- what next -------------------------------------------------------------------------------------------

    def recommend(
        self,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        session_id: str | None = None,
        placement: str = "home",
        product_id: str | None = None,
        k: int = 20,
        exclude: Sequence[str] = (),
        consent: Mapping[str, bool] | None = None,
        user_token: str | None = None,
    ) -> dict[str, Any]:
        """The API's answer: `recommendations` (ids), `ranked_feed`, `request_id` and more. Waits for it.

        Args:
            user_token: of `user_id`, where the API has `FRESHET_USER_KEY`; see `functions.client.user_token`.

        Raises:
            ValueError: for an argument that breaks the contract, naming it; without an `api_url`; or after `close`.
            NoRecommendations: there is no answer; nothing is tried twice, for a page is waiting.
        """
        if self._recommendations_url is None:
            raise ValueError("api_url: expected the API's address, got nothing")
        if self._http.is_closed:
            raise ValueError("client: expected an open one, got one that was closed")
        asked: dict[str, Any] = {"user_id": user_id, "anonymous_id": anonymous_id, "session_id": session_id}
        asked |= {"placement": placement, "product_id": product_id, "k": k, "exclude": list(exclude)}
        asked["user_token"] = user_token
        asked["consent"] = None if consent is None else checked_consent(consent)
        return recommendations.ask(self._http, self._recommendations_url, asked, self._api_key)


# ---- the process's clients -------------------------------------------------------------------------------------


def _close_all() -> None:
    deadline_s = time.monotonic() + CLOSE_S
    for client in list(_clients):
        client.close(max(0.0, deadline_s - time.monotonic()))


def _begin_all_anew() -> None:
    for client in list(_clients):
        client._begin()


def _version() -> str:
    try:
        return version("freshet")
    except PackageNotFoundError:  # run from its sources
        return "0"


_HEADERS = {"user-agent": f"freshet-python/{_version()}"}
# Those that are open: what they hold is to be sent even where nobody refers to them any more.
_clients: set[Freshet] = set()
atexit.register(_close_all)
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_begin_all_anew)
