"""Policy for personal fields of events: addresses are cut, named fields dropped or hashed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from pipeline.core.events import MAX_EVENT_BYTES, WireEvent
from pipeline.core.invalid_event import TooMuch
from pipeline.core.metadata_fields import NUMBER_METADATA
from pipeline.core.privacy.pii_names import PII_FIELDS, plain_name
from pipeline.core.privacy.redaction import (
    Change,
    clean,
    replace_anywhere,
    replace_at,
    without_tokens,
)
from pipeline.core.untrusted_json import UNREADABLE, read, repeats

HASH_BYTES = 16
HASH_PREFIX = "h_"
"""Marks a hash, so that an event that is sent again is not hashed again."""

PII = "pii"
Path = tuple[str, ...]

IDS = frozenset({"user_id", "anonymous_id", "session_id"})
_CONTRACT = frozenset(
    "event_id event timestamp sent_at ingest_time product_id metadata consent".split()
)


class InvalidPolicy(ValueError):
    """An argument of `FieldPolicy`, `drop`, `hash` or `key`, that cannot be used, and what was
    expected of it.
    """

    def __init__(self, argument: str, reason: str) -> None:
        self.argument = argument
        self.reason = reason
        super().__init__(f"{argument}: {reason}")


class FieldPolicy:
    """Changes an event before it is parsed. Addresses are always cut; the rest is as configured.

    Names are exact, dotted paths: `user_id`, `metadata.email`, `metadata.context.traits.email`. A
    path may be that of a value or of an object, but leads through objects only, not into lists.
    What stands beside the contract's fields becomes metadata, so `metadata.email` is also an
    event's own `email`.

    Args:
        drop: fields to remove. The word `pii` stands for the names of `pii_names`, anywhere in
            the metadata.
        hash: fields to replace by their hash: texts and numbers (as their text); objects, lists and
            booleans are removed. The same value has the same hash wherever it stands, so a hashed
            `user_id` still is the same visitor.
        key: 16 to 64 bytes, the secret of the hashes.
        keeps_unreadable: whether rejected input in which no field can be found is kept all the
            same. None: only where no field is dropped or hashed.

    Raises:
        InvalidPolicy: naming the argument.
    """

    __slots__ = (
        "_changes",
        "_dropped",
        "_has_ids",
        "_hashed",
        "_keeps_unreadable",
        "_key",
        "_names",
        "_pii",
        "_plain",
    )

    def __init__(
        self,
        drop: Iterable[str] = (),
        hash: Iterable[str] = (),
        key: bytes | None = None,
        *,
        keeps_unreadable: bool | None = None,
    ) -> None:
        drop, hash = set(drop), set(hash)
        self._key = key
        self._pii = PII_FIELDS if PII in drop else None
        drop.discard(PII)
        self._dropped = [_path("drop", name) for name in sorted(drop)]
        self._hashed = [_path("hash", name) for name in sorted(hash)]
        _check(drop, hash, key)
        self._changes: list[tuple[Path, Change]] = [
            *((path, _nothing) for path in self._dropped),
            *((path, self._hash_id if len(path) == 1 else self._hash) for path in self._hashed),
        ]
        self._names = frozenset(path[-1] for path, _ in self._changes) - IDS
        self._has_ids = any(path[0] in IDS for path, _ in self._changes)
        self._plain = not self._changes and self._pii is None
        self._keeps_unreadable = self._plain if keeps_unreadable is None else keeps_unreadable

    def apply(self, fields: dict[str, Any]) -> None:
        """Cut, drop and hash in an event as the client wrote it, in place.

        It never raises; twice is as once.
        """
        for path, change in self._changes:
            _replace(fields, path, change)
        clean(fields, self._pii)

    def apply_wire(self, wire: WireEvent) -> None:
        """Do as `apply`, to an event that was parsed already."""
        if self._plain:
            clean(wire.metadata)
            return
        fields: dict[str, Any] = {"metadata": wire.metadata}
        ids = IDS if self._has_ids else ()
        for name in ids:
            value = getattr(wire, name)
            if value is not None:
                fields[name] = value
        self.apply(fields)
        for name in ids:
            setattr(wire, name, fields.get(name))

    def apply_id(self, name: str, value: str | None) -> str | None:
        """An id of `IDS` as it is stored, to look up a visitor by the id that the client knows."""
        if value is None or not self._has_ids:
            return value
        fields: dict[str, Any] = {name: value}
        self.apply(fields)
        return fields.get(name)

    def dead_letter(self, payload: bytes) -> bytes | None:
        """A rejected event as it may go to the dead letter.

        Fields of a rejected or a vendor's event are not yet those of the contract. So, anywhere in
        it, addresses are cut, and every field is removed that has the last name of a configured
        path (`email` of `metadata.email`), as are the fields of `pii`; ids are dropped or hashed
        under the contract's names (`userId` is `user_id`), and removed there if they are neither
        text nor number. Input that is no JSON, cannot be parsed within bounds, or is larger than an
        event where names have to be searched, stays as it is, without users' tokens, where it may
        be kept; else the result is None.
        """
        event = self._readable(payload)
        if not isinstance(event, (dict, list)):
            return without_tokens(payload) if self._keeps_unreadable else None
        before = _encoder.encode(event)
        self._clean(event)
        after = _encoder.encode(event)
        if after == before and not repeats(payload, event):
            return payload
        return after

    def _readable(self, payload: bytes) -> Any:
        """The JSON value of a rejected event; None where it cannot, or should not, be searched for
        names.
        """
        if not self._plain and len(payload) > MAX_EVENT_BYTES:
            return None
        try:
            return read(payload)
        except (*UNREADABLE, TooMuch):
            return None

    def query_dead_letter(self, text: str) -> str:
        """As `dead_letter`, of an event that is a query."""
        fields: dict[str, Any] = dict(parse_qsl(text, keep_blank_values=True))
        before = dict(fields)
        self._clean(fields)
        if fields == before:
            return text
        return urlencode(fields)

    def _clean(self, event: Any) -> None:
        for paths, change in ((self._dropped, _nothing), (self._hashed, self._hash)):
            for path in paths:
                if len(path) == 1:
                    replace_anywhere(event, plain_name(path[0]), change)
        clean(event, self._pii, self._names)

    def _hash(self, value: Any) -> str | None:
        text = _text(value)
        if not text or _is_hash(text):
            return text
        return self._digest(text)

    def _hash_id(self, value: Any) -> Any:
        """The hash of a text; other values stay, for the contract to reject."""
        if isinstance(value, str):
            return self._hash(value)
        return value

    def _digest(self, text: str) -> str:
        """BLAKE2b (RFC 7693) under the key: without the key no value can be tried against a
        hash."""
        plain = text.encode("utf-8", "surrogatepass")
        digest = blake2b(plain, key=self._key or b"", digest_size=HASH_BYTES)
        return HASH_PREFIX + digest.hexdigest()


_encoder = msgspec.json.Encoder()


def _replace(fields: dict[str, Any], path: Path, change: Change) -> None:
    """Replace a value by `change` of it; None removes it. Metadata may stand beside the contract's
    fields, too.
    """
    replace_at(fields, path, change)
    if path[0] == "metadata" and path[1] not in _CONTRACT | IDS:
        replace_at(fields, path[1:], change)


def _nothing(value: Any) -> None:
    return None


def _text(value: Any) -> str | None:
    """Texts and numbers as text; a number as another client would write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if abs(value) < 2**63 and value == int(value):
        return str(int(value))
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return None


def _is_hash(value: str) -> bool:
    digits = value[len(HASH_PREFIX) :]
    return value.startswith(HASH_PREFIX) and len(digits) == 2 * HASH_BYTES and set(digits) <= _HEX


_HEX = frozenset("0123456789abcdef")


def _path(argument: str, name: str) -> Path:
    path = tuple(name.split("."))
    fits = all(path) and "*" not in name and (path[0] == "metadata") == (len(path) > 1)
    if not fits or (len(path) == 1 and path[0] not in IDS):
        expected = f"{PII}, {', '.join(sorted(IDS))} or metadata.<name>, exact and dotted"
        raise InvalidPolicy(argument, f"expected {expected}, got {name!r}")
    return path


def _check(drop: set[str], hash: set[str], key: bytes | None) -> None:
    if both := drop & hash:
        reason = f"expected a field to be dropped or hashed, got both for {min(both)}"
        raise InvalidPolicy("hash", reason)
    if numbers := {f"metadata.{name}" for name in NUMBER_METADATA} & hash:
        raise InvalidPolicy("hash", f"expected no field that is a number, got {min(numbers)}")
    if hash and key is None:
        raise InvalidPolicy("key", "required to hash fields, expected a non-empty text")
