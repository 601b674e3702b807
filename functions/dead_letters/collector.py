"""The collector as a replay uses it: a request is history of one site, its answer is by event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
import requests

from functions.dead_letters.stored import NATIVE_PATH
from pipeline.core.events import MAX_EVENTS, Event, encode_message
from pipeline.core.json_limits import (
    MAX_CONTAINERS,
    MAX_ESCAPED_HALVES,
    MAX_LONG_NUMBERS,
    MAX_VALUES,
    Work,
)
from pipeline.core.packing import packed
from pipeline.core.timestamps import format_time

TIMEOUT_S = 60.0
MAX_REQUEST = (
    MAX_EVENTS,
    1024 * 1024,
    MAX_CONTAINERS,
    MAX_VALUES,
    MAX_ESCAPED_HALVES,
    MAX_LONG_NUMBERS,
)
"""Bound of the sum of `event_size` in one request."""


class CollectorError(RuntimeError):
    """The collector could not be reached, or failed: nothing is known to be stored."""


class CollectorRefused(CollectorError):
    """The collector took nothing of a request, and would not if it came again."""


@dataclass(frozen=True)
class Origin:
    """The site and the kind of sender that an event came from."""

    site: str
    sender: str


class _Error(msgspec.Struct):
    index: int


class _Answer(msgspec.Struct):
    accepted: int
    rejected: int
    errors: list[_Error] = []


@dataclass(frozen=True)
class CollectorClient:
    """A collector by its address, without a path, and the key that lets a replay in there."""

    url: str
    backfill_key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            expected = "expected an address such as https://collect.shop.example"
            raise ValueError(f"--collector: {expected}, got {self.url!r}")

    @staticmethod
    def from_env(
        environ: Mapping[str, str], url: str | None = None, *, local: bool
    ) -> CollectorClient:
        """The collector at `url`, with the key `FRESHET_BACKFILL_KEY`.

        Without a `url` that of the local stack, and none on Google Cloud: a variable that a shell
        happens to have must not lead from one installation to another.

        Raises:
            ValueError: naming what is missing.
        """
        url = url or (environ.get("FRESHET_COLLECTOR_URL") if local else None)
        if not url:
            raise ValueError(
                "--collector: expected the address of the collector to send through, got nothing"
            )
        key = environ.get("FRESHET_BACKFILL_KEY")
        if not key:
            raise ValueError(
                "FRESHET_BACKFILL_KEY: expected the collector's backfill key, got nothing"
            )
        return CollectorClient(url, key)

    def send(self, events: Iterable[Event], origin: Origin, now: datetime) -> list[int]:
        """Have events stored, of any age. Each counts once, however often it is sent.

        Args:
            events: as many as they are; they go in requests of at most `MAX_REQUEST`.
            origin: the site and sender that they are stored for.
            now: the time of sending.

        Returns:
            The places of the events that were rejected. Each is a dead letter of its own now.

        Raises:
            CollectorError: not all of them are known to be stored.
        """
        rejected: list[int] = []
        sent = 0
        for batch in packed(events, event_size, MAX_REQUEST):
            rejected += [sent + place for place in self._post(batch, origin, now)]
            sent += len(batch)
        return rejected

    def _post(self, events: Sequence[Event], origin: Origin, now: datetime) -> list[int]:
        headers = {
            "content-type": "application/json",
            "x-freshet-backfill-key": self.backfill_key,
            "x-freshet-replay": quote(origin.site, safe=""),
            "x-freshet-sender": quote(origin.sender, safe=""),
        }
        try:
            answer = requests.post(
                self.url.rstrip("/") + NATIVE_PATH,
                data=request_body(events, now),
                headers=headers,
                timeout=TIMEOUT_S,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            problem = type(error).__name__
            raise CollectorError(
                f"the collector at {self.url} does not answer: {problem}"
            ) from None
        return _rejected(answer, len(events))


def event_size(event: Event) -> tuple[int, ...]:
    """Its share of a request, in the units of `MAX_REQUEST`."""
    encoded = encode_message([event])
    return 1, len(encoded), *msgspec.structs.astuple(Work.of(encoded))


def request_body(events: Sequence[Event], now: datetime) -> bytes:
    """The events as history, sent now."""
    return msgspec.json.encode(
        {
            "sent_at": format_time(now),
            "backfill": True,
            "events": [_fields(event) for event in events],
        }
    )


def _fields(event: Event) -> dict[str, Any]:
    fields = msgspec.structs.asdict(event)
    del fields["ingest_time"]
    return {name: value for name, value in fields.items() if value is not None}


def _rejected(answer: requests.Response, sent: int) -> list[int]:
    if answer.status_code != 202:
        refused = CollectorRefused if answer.status_code in (400, 413) else CollectorError
        raise refused(f"the collector answered {answer.status_code}: {_detail(answer)}")
    try:
        result = msgspec.json.decode(answer.content, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise CollectorError("the collector's answer cannot be read") from None
    places = sorted({error.index for error in result.errors if 0 <= error.index < sent})
    if result.accepted + result.rejected != sent or len(places) != result.rejected:
        raise CollectorError("the collector's answer does not say of each event what became of it")
    return places


def _detail(answer: requests.Response) -> str:
    """The detail of a problem (RFC 9457); of any other answer its beginning."""
    try:
        return str(msgspec.json.decode(answer.content, type=dict[str, Any])["detail"])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        return answer.text[:200]
