"""The simulator's way to the collector and the API: keep-alive, and counting every answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

from tests.simulator.browser import WireEvent, wire_time

MAX_ATTEMPTS = 8
BACKFILL_HEADER = "X-Freshet-Backfill-Key"
_encode = msgspec.json.encode
_decode = msgspec.json.decode
_JSON = {"content-type": "application/json"}


class Unanswered(RuntimeError):
    """A service refused or stayed silent after every retry; the message says which and why."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulator reads of a recommendation: never the scores or sources."""

    request_id: str
    recommendations: list[str]
    ranked_feed: list[dict[str, Any]] = []
    variant: str = ""
    served_by: str = ""
    model_version: str = ""
    profile: dict[str, Any] = {}
    took_ms: float = 0.0

    @property
    def propensities(self) -> list[float]:
        """The chance of each shown product at its position, where the API gave one."""
        return [
            float(row["propensity"])
            for row in self.ranked_feed
            if row.get("propensity") is not None
        ]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The collector's 202."""

    accepted: int
    rejected: int = 0
    errors: list[dict[str, Any]] = []


@dataclass(slots=True)
class Tally:
    """What was sent and how it was answered; `accepted_ids`: id -> event name of what must reach
    the log.
    """

    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    retries: int = 0
    unconfirmed: int = 0
    failed_answers: int = 0
    accepted_ids: dict[str, str] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    api_ms: list[float] = field(default_factory=list)
    served_by: dict[str, int] = field(default_factory=dict)

    def count_receipt(self, events: Sequence[WireEvent], receipt: Receipt) -> None:
        """Book one answered message."""
        refused = {int(error["index"]) for error in receipt.errors}
        self.accepted += receipt.accepted
        self.rejected += receipt.rejected
        for index, event in enumerate(events):
            if index not in refused:
                self.accepted_ids[event["event_id"]] = event["event"]
        self.errors.extend(receipt.errors[: max(0, 20 - len(self.errors))])


class Client:
    """Speaks to a collector and an API. Use as `async with Client(...) as client`.

    A 503, a 429 or a broken connection is tried again, up to 8 times with doubling waits; the same
    event ids go out again, so a message that was published in spite of its error does no harm.

    Args:
        collector_url, api_url: without a path, e.g. `http://127.0.0.1:8080`.
        backfill_key: sent with backfilled messages only.
        connections: most requests in flight at once.
        first_wait_s, max_wait_s: before the first retry, and the most before any.
    """

    def __init__(
        self,
        collector_url: str,
        api_url: str,
        *,
        backfill_key: str = "",
        connections: int = 32,
        first_wait_s: float = 0.1,
        max_wait_s: float = 2.0,
    ) -> None:
        self.tally = Tally()
        self._collector = collector_url.rstrip("/")
        self._api = api_url.rstrip("/")
        self._backfill_key = backfill_key
        self._connections = connections
        self._first_wait_s = first_wait_s
        self._max_wait_s = max_wait_s
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=60)
        self._http = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=15)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def send(self, events: Sequence[WireEvent], *, backfill: bool = False) -> Receipt:
        """Post one message of events; returns once the collector has confirmed it.

        Raises:
            Unanswered: when it was not confirmed; its events are booked as `unconfirmed`.
        """
        body: dict[str, Any] = {"events": events}
        headers = _JSON
        if backfill:
            body["backfill"] = True
            headers = {**_JSON, BACKFILL_HEADER: self._backfill_key}
        else:
            body["sent_at"] = wire_time(time.time())
        self.tally.sent += len(events)
        try:
            answer = await self._ask("POST", f"{self._collector}/v1/events", _encode(body), headers)
        except Unanswered:
            self.tally.unconfirmed += len(events)
            raise
        receipt = _decode(answer, type=Receipt)
        self.tally.count_receipt(events, receipt)
        return receipt

    async def recommend(self, question: dict[str, Any], *, timed: bool = True) -> Answer:
        """Ask for a slate; `question` is the body of `POST /v1/recommendations`.

        Raises:
            Unanswered: when there was no 200.
        """
        started = time.perf_counter()
        try:
            body = await self._ask(
                "POST", f"{self._api}/v1/recommendations", _encode(question), _JSON
            )
        except Unanswered:
            self.tally.failed_answers += 1
            raise
        answer = _decode(body, type=Answer)
        if timed:
            self.tally.api_ms.append((time.perf_counter() - started) * 1000)
            self.tally.served_by[answer.served_by] = (
                self.tally.served_by.get(answer.served_by, 0) + 1
            )
        return answer

    async def profile(self, identity: dict[str, str], event: WireEvent) -> dict[str, Any]:
        """The visitor's live profile, and under `contains_event` whether it holds `event`."""
        asked = {
            name: event[name]
            for name in ("event_id", "event", "product_id")
            if event.get(name) is not None
        }
        query = "&".join(f"{name}={value}" for name, value in {**identity, **asked}.items())
        return await self._object(f"{self._api}/v1/profile?{query}")

    async def health(self) -> dict[str, Any]:
        """The API's own view of its health and of the model that it ranks with."""
        return await self._object(f"{self._api}/healthz")

    async def _object(self, url: str) -> dict[str, Any]:
        return _decode(await self._ask("GET", url, None, {}), type=dict[str, Any])

    async def _ask(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str]
    ) -> bytes:
        assert self._http is not None, "use `async with Client(...)`"
        wait_s, reason = self._first_wait_s, ""
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                self.tally.retries += 1
                await asyncio.sleep(wait_s)
                wait_s = min(self._max_wait_s, 2 * wait_s)
            try:
                async with self._http.request(method, url, data=body, headers=headers) as response:
                    content = await response.read()
                    if response.status < 300:
                        return content
                    reason = f"{response.status} {content[:200].decode(errors='replace')}"
                    if response.status not in (429, 502, 503):
                        break
            except (aiohttp.ClientConnectionError, TimeoutError) as error:
                reason = f"{type(error).__name__} {error}"
        raise Unanswered(f"{method} {url.partition('?')[0]}: {reason}")


class Outbox:
    """Events on their way out, as the browser SDK keeps them: at once on a click, else together.

    Args:
        client: where they go.
        on_sent: called with each confirmed message.
    """

    MAX_PENDING = 30

    def __init__(
        self, client: Client, on_sent: Callable[[list[WireEvent]], None] | None = None
    ) -> None:
        self._client = client
        self._waiting: list[WireEvent] = []
        self._recent: list[WireEvent] = []
        self._on_sent = on_sent

    def add(self, events: Sequence[WireEvent]) -> None:
        """Take events to be sent with the next `flush`."""
        self._waiting.extend(events)
        self._recent.extend(event for event in events if event["event"] != "impression")
        del self._recent[: -self.MAX_PENDING]

    def pending(self) -> list[WireEvent]:
        """What the visitor did that the API has not yet shown to know, oldest first."""
        return list(self._recent)

    def processed(self, newest_event_time: str | None) -> None:
        """Forget what the profile already holds: everything up to its newest event time (RFC
        3339)."""
        if newest_event_time:
            newest = datetime.fromisoformat(newest_event_time)
            self._recent = [
                event
                for event in self._recent
                if datetime.fromisoformat(event["timestamp"]) > newest
            ]

    async def flush(self) -> None:
        """Send what waits, as one message."""
        if self._waiting:
            message, self._waiting = self._waiting, []
            await self._client.send(message)
            if self._on_sent is not None:
                self._on_sent(message)


async def wait_for_items(client: Client, items: int, timeout_s: float = 60.0) -> None:
    """Return once the API knows as many items as were loaded.

    Raises:
        TimeoutError: after `timeout_s`.
    """
    await _wait_for(client, "items", lambda found: int(found or 0) >= items, str(items), timeout_s)


async def wait_for_model(client: Client, version: str, timeout_s: float = 60.0) -> None:
    """Return once the API answers with the model `version`.

    Raises:
        TimeoutError: after `timeout_s`.
    """
    await _wait_for(
        client, "model_version", lambda found: bool(found == version), version, timeout_s
    )


async def _wait_for(
    client: Client,
    field_name: str,
    is_there: Callable[[Any], bool],
    expected: str,
    timeout_s: float,
) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_there(found := (await client.health()).get(field_name)):
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"api {field_name}: expected {expected} in {timeout_s:.0f} s, got {found}"
            )
        await asyncio.sleep(0.2)
