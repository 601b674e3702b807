"""A dead letter as an operator has it: a row of BigQuery, or a line of an exported file."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from functions.protocols.native.protocol import PATHS as NATIVE_PATHS
from pipeline.core.events import Event
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.consent import FIELD, stored_consent
from pipeline.core.privacy.user_tokens import USER_TOKEN
from pipeline.core.timestamps import parse_time

NATIVE = "native"
NATIVE_PATH = next(iter(NATIVE_PATHS))

_ORIGIN = ("site", "sender", "protocol", "path", "consent", "unproven")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_object_decoder = msgspec.json.Decoder(dict[str, Any])
_line_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class InvalidFile(ValueError):
    """A file of dead letters that cannot be used: names the line and the problem."""


class StoredDeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter.

    Attributes:
        split: the good events of a body may be replayed without the bad ones.
        shift_s: seconds to add to the timestamps of its events.
        attributes: those of its Pub/Sub message, as a JSON text.
    """

    dead_letter_id: str
    received_at: str
    source: str = "unknown"
    field: str = "unknown"
    reason: str = "unknown"
    split: bool = False
    shift_s: float = 0.0
    encoding: str = "utf-8"
    payload: str
    attributes: str = "{}"

    def body(self) -> bytes:
        """The rejected input as it came.

        Raises:
            InvalidEvent: field `encoding` or `payload`, when the one does not fit the other.
        """
        if self.encoding not in ("utf-8", "base64"):
            raise InvalidEvent("encoding", "expected utf-8 or base64", self.encoding)
        try:
            if self.encoding == "utf-8":
                return self.payload.encode()
            return base64.b64decode(self.payload, validate=True)
        except ValueError:
            raise InvalidEvent(
                "payload", f"expected text in {self.encoding}", self.payload
            ) from None

    def origin(self) -> dict[str, str]:
        """Those of `site`, `sender`, `protocol`, `path`, `consent`, `unproven` that it has."""
        try:
            attributes = _object_decoder.decode(self.attributes)
        except _UNREADABLE:
            return {}
        return {name: str(value) for name in _ORIGIN if (value := attributes.get(name))}

    def consent(self) -> dict[str, bool] | None:
        """The consent that the collector found for its visitor; None: nothing was denied.

        Only `true` grants, as in `stored_consent`.
        """
        text = self.origin().get(FIELD)
        if text is None:
            return None
        try:
            return msgspec.structs.asdict(stored_consent({FIELD: _object_decoder.decode(text)}))
        except _UNREADABLE:
            return msgspec.structs.asdict(stored_consent({FIELD: {}}))

    def check_proven(self, event: Event) -> None:
        """Refuse a user id that its sender could not prove; a replay must not prove it.

        Raises:
            InvalidEvent: field `user_token`, where the event names a user without the proof.
        """
        if event.user_id is not None and "unproven" in self.origin():
            raise InvalidEvent(
                USER_TOKEN, "expected an event without the user id, which nothing proves", None
            )

    def received(self, now: datetime) -> datetime:
        """The time of its rejection; `now` where that is no time, or in the future."""
        try:
            return min(parse_time("received_at", self.received_at), now)
        except InvalidEvent:
            return now


def read_dead_letters(path: Path) -> Iterator[StoredDeadLetter]:
    """The dead letters of a file of JSON lines; a payload may be a text or the JSON itself.

    Raises:
        InvalidFile: naming the first line that is none. `check_dead_letters` finds it beforehand.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            # some editors put a byte order mark first
            line = line.removeprefix(b"\xef\xbb\xbf").strip()
            if line:
                yield _dead_letter(line, f"{path.name} line {number}")


def check_dead_letters(path: Path) -> int:
    """The number of dead letters in a file.

    Raises:
        InvalidFile: naming the first line that is no dead letter.
    """
    return sum(1 for _ in read_dead_letters(path))


def write_dead_letters(path: Path, dead_letters: Iterable[StoredDeadLetter]) -> int:
    """Write a file of JSON lines that only its owner may read, in one step; their number."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            count = sum(
                1
                for dead_letter in dead_letters
                if file.write(msgspec.json.encode(dead_letter) + b"\n")
            )
        draft.replace(path)
        return count
    finally:
        draft.unlink(missing_ok=True)


def _dead_letter(line: bytes, where: str) -> StoredDeadLetter:
    try:
        fields = _line_decoder.decode(line)
        payload = bytes(fields.get("payload", b"")).strip()
        if payload.startswith((b"{", b"[")):
            fields["payload"] = msgspec.Raw(msgspec.json.encode(payload.decode()))
        return msgspec.json.decode(msgspec.json.encode(fields), type=StoredDeadLetter)
    except _UNREADABLE as error:
        problem = error if isinstance(error, msgspec.MsgspecError) else type(error).__name__
        raise InvalidFile(
            f"{where}: expected a dead letter as export writes it ({problem})"
        ) from None
