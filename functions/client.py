"""Sends a back end's events to the collector without ever making it wait: `Freshet(url, write_key).track(...)`.

Events are checked at once and queued; one daemon thread sends them in batches and sends again what was not stored.
Delivery is at least once: what is sent again keeps its id, and whoever reads events counts an id once.

After `os.fork` the child starts with an empty queue, a lock, a connection and (at its first event) a thread of its
own; what was queued before stays the parent's to send, so that it is sent by one of them.
"""

from __future__ import annotations

import atexit
import gzip
import logging
import math
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import msgspec

from functions.privacy import event_consent
from functions.protocols.values import MAX_EVENTS
from pipeline.core.events import (
    MAX_EVENT_BYTES,
    MAX_ID_LENGTH,
    NUMBER_METADATA,
    InvalidEvent,
    format_time,
    parse_event,
    parse_time,
)
from vertex.api.contract import parse_request

logger = logging.getLogger(__name__)

MAX_BATCH_BYTES = 512 * 1024
"""Of the events of one request; the collector takes twice as much."""
GZIP_FROM_BYTES = 1024
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.25, 30.0
MAX_RETRY_AFTER_S = 300.0
CLOSE_S = 5.0
"""What the end of the process may wait for, all clients together."""
MAX_ORDER_ID_LENGTH = MAX_ID_LENGTH - 16

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Events that will not be sent again, for `on_error` to keep or to report. It holds user data: do not log it.

    Attributes:
        reason: what the collector said, or what happened here.
        events: as they would have been sent.
        status: of the answer; None where there was none, or where only these events of the request were rejected.
        field: of the event or request, where the collector named one.
    """

    reason: str
    events: tuple[dict[str, Any], ...]
    status: int | None = None
    field: str | None = None


class NoRecommendations(Exception):
    """The API could not be reached, or refused; `status` is that of its answer, None without one."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(reason)


class Freshet:
    """A client of one collector and one site; threads may share it.

    Args:
        collector_url, api_url: where they answer, e.g. `https://collector.example`.
        write_key: one of the site's keys for servers.
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
        on_error: Callable[[Undelivered], object] | None = None,
    ) -> None:
        self._events_url = _url("collector_url", collector_url) + "/v1/events"
        self._recommendations_url = None if api_url is None else _url("api_url", api_url) + "/v1/recommendations"
        self._write_key = _key(write_key)
        _check_range("batch_size", batch_size, 1, MAX_EVENTS)
        _check_range("flush_s", flush_s, 0.0, 3600.0)
        _check_range("queue_limit", queue_limit, 1, 10_000_000)
        _check_range("timeout_s", timeout_s, 0.001, 600.0)
        self._bounds = (batch_size, flush_s, queue_limit)
        self._timeout_s = timeout_s
        self._on_error = on_error
        self._begin()
        self._connection()  # what cannot work (a proxy's address, a certificate file) is to fail here
        _clients.add(self)

    def _begin(self) -> None:
        self._outbox = _Outbox(*self._bounds)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._http: httpx.Client | None = None
        self._failures = 0

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
        self._queue([_checked(fields, metadata, consent)])
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

        The ids follow from the order's and the line's number, so that an order reported twice counts once.

        Args:
            order_id: 1 to 240 characters.
            lines: each with `product_id` and what is its own, e.g. `price` (of one) and `quantity`.
            metadata: of the order, e.g. `currency`; goes with each line.

        Returns:
            The events' ids, in the order of the lines.

        Raises:
            ValueError: as `track`; or for an order without an id or lines.
        """
        if not isinstance(order_id, str) or not 0 < len(order_id) <= MAX_ORDER_ID_LENGTH:
            raise InvalidEvent("order_id", f"expected a text of 1 to {MAX_ORDER_ID_LENGTH} characters", order_id)
        whose = {"user_id": user_id, "anonymous_id": anonymous_id, "session_id": session_id, "timestamp": timestamp}
        payloads, ids = [], []
        for number, line in enumerate(_lines(lines)):
            own = {name: value for name, value in line.items() if name != "product_id"}
            ids.append(f"order:{order_id}:{number}")
            fields = {"event_id": ids[-1], "event": "purchase", "product_id": line.get("product_id"), **whose}
            payloads.append(_checked(fields, {**metadata, "order_id": order_id, **own}, consent))
        self._queue(payloads)
        return ids

    # ---- and its end -------------------------------------------------------------------------------------------

    def flush(self, timeout_s: float = CLOSE_S) -> bool:
        """Send what is queued now; whether all of it was settled (stored, or given to `on_error`) in time."""
        if self._outbox.holds:
            self._start()
        return self._outbox.wait_until_empty(timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """`flush`, then end; what is left goes to `on_error`. The end of the process does it too; twice is once."""
        deadline_s = time.monotonic() + timeout_s
        self._outbox.close()
        self.flush(timeout_s)
        self._tell("not delivered before the client was closed", self._outbox.abandon())
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.1, deadline_s - time.monotonic()))
        if self._http is not None and (thread is None or not thread.is_alive()):
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
    ) -> dict[str, Any]:
        """The API's answer: `recommendations` (ids), `ranked_feed`, `request_id` and more. Waits for it.

        Raises:
            ValueError: for an argument that breaks the contract, naming it; or without an `api_url`.
            NoRecommendations: there is no answer; nothing is tried twice, for a page is waiting.
        """
        if self._recommendations_url is None:
            raise ValueError("api_url: expected the API's address, got nothing")
        asked: dict[str, Any] = {"user_id": user_id, "anonymous_id": anonymous_id, "session_id": session_id}
        asked |= {"placement": placement, "product_id": product_id, "k": k, "exclude": list(exclude)}
        body = _encoded(asked | {"consent": None if consent is None else dict(consent)}, {})
        parse_request(body, allow_as_of=False)
        headers = {"content-type": "application/json"}
        try:
            answer = self._connection().post(self._recommendations_url, content=body, headers=headers)
            if answer.status_code != 200:
                raise NoRecommendations(f"the API answered {answer.status_code}", answer.status_code)
            return msgspec.json.decode(answer.content, type=dict[str, Any])
        except (httpx.HTTPError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NoRecommendations(f"the API did not answer ({type(error).__name__})") from error

    # ---- the sending thread ------------------------------------------------------------------------------------

    def _queue(self, payloads: list[bytes]) -> None:
        dropped = self._outbox.put(payloads)
        self._start()
        self._tell("dropped for newer events, the queue is full", dropped)

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._send_all, args=(self._outbox,), name="freshet", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # no thread to be had: the next event tries again
                    logger.warning("cannot send events: %s", error)
                else:
                    self._thread = thread

    def _send_all(self, outbox: _Outbox) -> None:
        while (batch := outbox.take()) is not None:
            try:
                answer = self._post(batch)
            except (httpx.HTTPError, OSError) as error:
                self._wait_and_retry(outbox, batch, type(error).__name__)
                continue
            if answer.status_code in (408, 429) or answer.status_code >= 500:
                retry_after = answer.headers.get("retry-after")
                self._wait_and_retry(outbox, batch, f"status {answer.status_code}", retry_after)
            elif answer.status_code == 413 and len(batch) > 1:
                self._give_back(outbox, batch, most=len(batch) // 2)
            else:
                self._failures = 0
                self._settle(batch, answer)
                outbox.settle()

    def _post(self, batch: list[bytes]) -> httpx.Response:
        body = b'{"sent_at":"%b","events":[%b]}' % (format_time(datetime.now(UTC)).encode(), b",".join(batch))
        headers = {"content-type": "application/json", "x-freshet-key": self._write_key}
        if len(body) > GZIP_FROM_BYTES:
            body, headers["content-encoding"] = gzip.compress(body, 6), "gzip"
        return self._connection().post(self._events_url, content=body, headers=headers)

    def _wait_and_retry(self, outbox: _Outbox, batch: list[bytes], why: str, retry_after: str | None = None) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning("events wait, the collector does not take them: %s", why)
        self._give_back(outbox, batch)
        outbox.pause(retry_delay_s(self._failures, retry_after, datetime.now(UTC), random.random()))

    def _give_back(self, outbox: _Outbox, batch: list[bytes], most: int | None = None) -> None:
        if not outbox.give_back(batch, most):
            self._tell("not delivered before the client was closed", batch)

    def _settle(self, batch: list[bytes], answer: httpx.Response) -> None:
        """Tell of what the collector did not take for good."""
        status = answer.status_code
        try:
            if not answer.is_success:
                problem = msgspec.json.decode(answer.content, type=_Problem)
                field = problem.errors[0].field if problem.errors else None
                return self._tell(problem.detail or f"status {status}", batch, status, field)
            for error in msgspec.json.decode(answer.content, type=_Taken).errors:
                self._tell(error.reason, batch[error.index : error.index + 1], None, error.field)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._tell(f"status {status}, and an answer that is no collector's", batch, status)

    def _tell(self, reason: str, batch: list[bytes], status: int | None = None, field: str | None = None) -> None:
        if not batch:
            return
        logger.warning("%d events were not delivered, status %s", len(batch), status)
        if self._on_error is None:
            return
        try:
            self._on_error(Undelivered(reason, tuple(map(msgspec.json.decode, batch)), status, field))
        except Exception as error:  # theirs; its text may quote an event
            logger.error("on_error failed: %s", type(error).__name__)

    def _connection(self) -> httpx.Client:
        http = self._http
        if http is None:
            with self._starting:
                http = self._http = self._http or httpx.Client(timeout=self._timeout_s, headers=_HEADERS)
        return http


class _Queued(NamedTuple):
    payload: bytes
    since_s: float


class _Outbox:
    """Events that wait, in order, for one sender; bounded, those under way included."""

    def __init__(self, batch_size: int, flush_s: float, limit: int) -> None:
        self._batch_size = self._most = batch_size
        self._flush_s = flush_s
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: deque[_Queued] = deque()
        self._under_way = 0
        self._flushes = 0
        self._closed = self._abandoned = False

    @property
    def holds(self) -> int:
        """How many are not settled."""
        return len(self._waiting) + self._under_way

    def put(self, payloads: list[bytes]) -> list[bytes]:
        """Add them; what had to go for them, the oldest of those that wait."""
        with self._changed:
            if self._closed:
                raise ValueError("client: expected an open one, got one that was closed")
            now_s = time.monotonic()
            self._waiting.extend(_Queued(payload, now_s) for payload in payloads)
            excess = min(self.holds - self._limit, len(self._waiting))
            dropped = [self._waiting.popleft().payload for _ in range(excess)]
            if len(self._waiting) <= len(payloads) or len(self._waiting) >= self._most:
                self._changed.notify_all()
            return dropped

    def take(self) -> list[bytes] | None:
        """The next batch, once it is full, old enough or asked for; None when there will be none."""
        with self._changed:
            while (wait_s := self._until_due_s()) is None or wait_s > 0:
                self._changed.wait(wait_s)
            batch: list[bytes] = []
            size = 0
            while self._waiting and len(batch) < self._most:
                size += len(self._waiting[0].payload)
                if batch and size > MAX_BATCH_BYTES:
                    break
                batch.append(self._waiting.popleft().payload)
            self._under_way = len(batch)
            return batch or None

    def _until_due_s(self) -> float | None:
        if self._closed or (self._waiting and (self._flushes or len(self._waiting) >= self._most)):
            return 0.0
        if not self._waiting:
            return None
        return self._waiting[0].since_s + self._flush_s - time.monotonic()

    def settle(self) -> None:
        """The batch needs no more sending. What a 413 halved grows again, by one each time."""
        with self._changed:
            self._under_way = 0
            self._most = min(self._batch_size, self._most + 1)
            self._changed.notify_all()

    def give_back(self, batch: list[bytes], most: int | None = None) -> bool:
        """To be sent again, at most `most` at once; False when nothing will be sent any more."""
        with self._changed:
            self._under_way = 0
            self._most = most or self._most
            if not self._abandoned:
                now_s = time.monotonic() - self._flush_s
                self._waiting.extendleft(_Queued(payload, now_s) for payload in reversed(batch))
            self._changed.notify_all()
            return not self._abandoned

    def pause(self, delay_s: float) -> None:
        """Wait so long, less when all is abandoned."""
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned, delay_s)

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Have all sent without waiting for more; whether that was done in time."""
        with self._changed:
            self._flushes += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self.holds, timeout_s)
            finally:
                self._flushes -= 1

    def close(self) -> None:
        """Take no more events."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> list[bytes]:
        """Send nothing any more; what waited. What is under way comes back by `give_back`, or is settled."""
        with self._changed:
            self._abandoned = True
            left = [queued.payload for queued in self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
            return left


class _Error(msgspec.Struct):
    field: str | None = None
    reason: str = ""
    index: int = 0


class _Taken(msgspec.Struct):
    accepted: int
    errors: list[_Error] = []


class _Problem(msgspec.Struct):
    detail: str = ""
    errors: list[_Error] = []


def retry_delay_s(failures: int, retry_after: str | None, now: datetime, draw: float) -> float:
    """How long to wait after the `failures`-th failure in a row: 0.25 s doubled each time up to 30 s, of that a random
    half to all, and never less than the collector asks for (of which 5 min are believed).

    Args:
        failures: from 1.
        retry_after: the header's value, seconds or an HTTP date.
        now: in UTC.
        draw: a random number in [0, 1).
    """
    backoff_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 30))
    return max(backoff_s * (0.5 + draw / 2), _retry_after_s(retry_after, now))


def _retry_after_s(value: str | None, now: datetime) -> float:
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(MAX_RETRY_AFTER_S, float(text[:12]))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    wait_s = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return min(MAX_RETRY_AFTER_S, max(0.0, wait_s))


def _checked(fields: dict[str, Any], metadata: dict[str, Any], consent: Mapping[str, bool] | None) -> bytes:
    """The event as it will be sent, once it is one that the collector takes."""
    now = datetime.now(UTC)
    fields = {name: value for name, value in fields.items() if value is not None}
    fields["timestamp"] = format_time(parse_time("timestamp", fields.get("timestamp", now)))
    content = {name: _plain(name, value) for name, value in metadata.items() if value is not None}
    if consent is not None:
        content["consent"] = dict(consent) if isinstance(consent, Mapping) else consent
        event_consent({}, content["consent"], None)
    fields |= {"metadata": content} if content else {}
    payload = _encoded(fields, content)
    if len(payload) > MAX_EVENT_BYTES:
        raise InvalidEvent("metadata", f"expected an event of at most {MAX_EVENT_BYTES} bytes", len(payload))
    parse_event(payload, ingest_time=now)
    return payload


def _plain(name: str, value: Any) -> Any:
    """Decimals as JSON's numbers where numbers are expected; JSON would make null of what is not finite."""
    if isinstance(value, (float, Decimal)) and not math.isfinite(value):
        raise InvalidEvent(f"metadata.{name}", "expected a finite number", value)
    return float(value) if isinstance(value, Decimal) and name in NUMBER_METADATA else value


def _encoded(fields: dict[str, Any], metadata: dict[str, Any]) -> bytes:
    try:
        return _encoder.encode(fields)
    except _UNWRITABLE:
        named = {**fields, "metadata": {}} | {f"metadata.{name}": value for name, value in metadata.items()}
        field = next((name for name, value in named.items() if not _can_be_written(value)), "metadata")
        kind = type(named[field]).__name__
    raise InvalidEvent(field, "expected what JSON can say", kind)


_UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)


def _can_be_written(value: Any) -> bool:
    try:
        _encoder.encode(value)
    except _UNWRITABLE:
        return False
    return True


def _lines(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found = [] if isinstance(lines, (str, bytes, Mapping)) else list(lines)
    if not found or not all(isinstance(line, Mapping) for line in found):
        raise InvalidEvent("lines", "expected one object or more, each with a product_id", type(lines).__name__)
    return found


def _url(name: str, value: str) -> str:
    try:
        url = httpx.URL(value)
    except (httpx.InvalidURL, TypeError):
        raise ValueError(f"{name}: expected an http or https address, got {value!r}") from None
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ValueError(f"{name}: expected an http or https address, got {value!r}")
    return str(url).rstrip("/")


def _key(write_key: str) -> str:
    """The key itself is in no message."""
    if not isinstance(write_key, str) or not write_key.isascii() or not write_key.isprintable() or not write_key:
        raise ValueError("write_key: expected a text of printable ASCII characters")
    return write_key


def _check_range(name: str, value: float, least: float, most: float) -> None:
    whole = isinstance(least, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not least <= value <= most:
        raise ValueError(
            f"{name}: expected {'a whole number' if whole else 'seconds'} of {least} to {most}, got {value!r}"
        )


def _version() -> str:
    try:
        return version("freshet")
    except PackageNotFoundError:  # run from its sources
        return "0"


def _close_all() -> None:
    deadline_s = time.monotonic() + CLOSE_S
    for client in list(_clients):
        client.close(max(0.0, deadline_s - time.monotonic()))


def _begin_all_anew() -> None:
    for client in list(_clients):
        client._begin()


_HEADERS = {"user-agent": f"freshet-python/{_version()}"}
_clients: weakref.WeakSet[Freshet] = weakref.WeakSet()
atexit.register(_close_all)
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_begin_all_anew)
