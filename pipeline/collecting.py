"""Events sent through the collector, as a back end sends history: it does with them what it promises visitors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import requests

from pipeline.core.events import Event, format_time

TIMEOUT_S = 60.0
PATH = "/v1/events"
_encoder = msgspec.json.Encoder()


class CollectorError(RuntimeError):
    """The collector could not be reached or did not take a request."""


class _Error(msgspec.Struct):
    index: int
    field: str
    reason: str


class _Answer(msgspec.Struct):
    accepted: int
    rejected: int
    errors: list[_Error] = []


@dataclass(frozen=True)
class Collector:
    """A collector by its address, and what lets history through.

    Args:
        url: without a path.
        write_key: of a site; None where the collector knows no sites.
        backfill_key: for a key that is not a server's.
    """

    url: str
    write_key: str | None = field(default=None, repr=False)
    backfill_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"--collector: expected an address such as https://collect.shop.example, got {self.url!r}")

    @staticmethod
    def from_env(environ: Mapping[str, str], url: str | None = None, *, local: bool) -> Collector | None:
        """The collector at `url`, with the keys `FRESHET_WRITE_KEY` and `FRESHET_BACKFILL_KEY`.

        Without a `url` that of the local stack, and none on Google Cloud: what a shell happens to have must not lead
        from one installation to another.
        """
        url = url or (environ.get("FRESHET_COLLECTOR_URL") if local else None)
        if not url:
            return None
        return Collector(url, environ.get("FRESHET_WRITE_KEY") or None, environ.get("FRESHET_BACKFILL_KEY") or None)

    def send(self, events: Sequence[Event], now: datetime, *, by_server: bool = True) -> dict[int, str]:
        """Have a message of events stored. They may be of any age; each counts once, however often it is sent.

        Args:
            events: at most 500, and 1 MB as they go over Pub/Sub.
            by_server: whether a back end sent them first; a server's write key must not speak for a browser's events.

        Returns:
            What was rejected: place -> field and reason. It is a dead letter of its own now.

        Raises:
            CollectorError: nothing is known to be stored.
        """
        headers = {"content-type": "application/json", "x-freshet-key": self.write_key}
        headers["x-freshet-backfill-key"] = self.backfill_key
        headers["x-freshet-sender"] = None if by_server else "browser"
        try:
            answer = requests.post(
                self.url.rstrip("/") + PATH,
                data=request_body(events, now),
                headers={name: value for name, value in headers.items() if value is not None},
                timeout=TIMEOUT_S,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise CollectorError(f"the collector at {self.url} does not answer: {type(error).__name__}") from None
        return _rejected(answer, len(events))


def request_body(events: Sequence[Event], now: datetime) -> bytes:
    """The events as history, sent now. Each is shorter by its time of ingest, so what fits a message fits a request."""
    told = [{name: value for name, value in _fields(event).items() if value is not None} for event in events]
    return _encoder.encode({"sent_at": format_time(now), "backfill": True, "events": told})


def _fields(event: Event) -> dict[str, Any]:
    fields = msgspec.structs.asdict(event)
    del fields["ingest_time"]
    return fields


def _rejected(answer: requests.Response, sent: int) -> dict[int, str]:
    if answer.status_code != 202:
        raise CollectorError(f"the collector answered {answer.status_code}: {_detail(answer)}")
    try:
        told = msgspec.json.decode(answer.content, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise CollectorError("the collector's answer cannot be read") from None
    rejected = {error.index: f"{error.field}: {error.reason}" for error in told.errors if 0 <= error.index < sent}
    if told.accepted + told.rejected != sent or len(rejected) != told.rejected:
        raise CollectorError("the collector's answer does not tell of each event what became of it")
    return rejected


def _detail(answer: requests.Response) -> str:
    """Of a problem (RFC 9457) what is wrong; of any other answer its beginning."""
    try:
        return str(msgspec.json.decode(answer.content, type=dict[str, Any])["detail"])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        return answer.text[:200]
