"""Parsers that every vendor's payload needs: untrusted JSON and forms, numbers, ids, times."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any
from urllib.parse import parse_qsl

from pipeline.core.events import MAX_ID_LENGTH
from pipeline.core.invalid_event import InvalidEvent, TooMuch
from pipeline.core.json_limits import MAX_DEPTH, MAX_VALUES, check_work, deeper_than
from pipeline.core.timestamps import format_time
from pipeline.core.untrusted_json import UNREADABLE, read

MAX_VENDOR_EVENTS = 2500
"""Of one request of a vendor's protocol: the largest number that a vendor documents, Segment's."""
MAX_SHARED_BYTES = 1024 * 1024
"""Of all that a request says once, times the number of its events: a small request must not become
a big one."""
MAX_QUERY_FIELDS = 1000
"""Of one query or form."""
MAX_FORM_FIELDS, MAX_FORM_ESCAPES, MAX_ITEM_FIELDS = 10_000, 50_000, 20_000
"""In one body that is a form, or lines of them: fields, percent-encoded bytes, and fields of GA4's
items."""
_FORM_BOUNDS = (
    (b"&", "fields", MAX_FORM_FIELDS),
    (b"%", "percent-encoded bytes", MAX_FORM_ESCAPES),
    (b"~", "fields of items", MAX_ITEM_FIELDS),
)
Joins = Mapping[str, Callable[[Sequence[str]], str]]
_NO_JOINS: Joins = {}
_SEPARATORS = (b",", b"{", b"[", b"&")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_json(data: bytes | str, field: str = "body") -> Any:
    """Any JSON value of at most `MAX_DEPTH` + 3 levels (an event within a batch).

    Raises:
        InvalidEvent: naming `field`; `TooMuch` where it is more than `check_work` allows.
    """
    check_work(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"), field)
    try:
        value = read(data)
    except UNREADABLE as error:
        raise InvalidEvent(field, f"expected JSON ({error})", data) from None
    if deeper_than(value, MAX_DEPTH + 3):
        raise InvalidEvent(field, f"expected at most {MAX_DEPTH} levels of nesting")
    return value


def read_object(data: bytes | str, field: str = "body") -> dict[str, Any]:
    """A JSON object.

    Raises:
        InvalidEvent: naming `field`.
    """
    value = read_json(data, field)
    if not isinstance(value, dict):
        raise InvalidEvent(field, "expected a JSON object", value)
    return value


def read_form(text: str | bytes, field: str = "body", joins: Joins = _NO_JOINS) -> dict[str, str]:
    """The fields of a query string or a form; of one that comes several times, the last.

    Args:
        text: UTF-8.
        field: what it is called in an error.
        joins: by the name of a field that may come several times, the one value that all of its
            values make.

    Raises:
        InvalidEvent: naming `field`, for what is no UTF-8 or has more than `MAX_QUERY_FIELDS`
            fields.
    """
    check_form(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"), field)
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        pairs = parse_qsl(
            decoded, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
        )
    except ValueError as error:  # UnicodeDecodeError is one
        reason = f"expected at most {MAX_QUERY_FIELDS} fields"
        if isinstance(error, UnicodeError):
            reason = "expected UTF-8"
        raise InvalidEvent(field, reason, text) from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        fields |= _joined(pairs, joins)
    return fields


def _joined(pairs: Iterable[tuple[str, str]], joins: Joins) -> dict[str, str]:
    """The fields that `joins` names."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name in joins:
            given.setdefault(name, []).append(value)
    return {name: joins[name](values) for name, values in given.items() if len(values) > 1}


def checked_list(value: Any, field: str, most: int = MAX_VENDOR_EVENTS) -> list[Any]:
    """A list of at most `most` values.

    Raises:
        InvalidEvent: naming `field`; `TooMuch` for a longer list.
    """
    if not isinstance(value, list):
        raise InvalidEvent(field, "expected a list", value)
    if len(value) > most:
        raise TooMuch(field, f"expected at most {most} events", len(value))
    return value


def check_shared(shared: bytes, events: int) -> None:
    """Bound the bytes that a request says once, as JSON or as a query: they stand with each of its
    events.

    Raises:
        TooMuch: field `events`, where that comes to more than `MAX_SHARED_BYTES` or `MAX_VALUES`.
    """
    if len(shared) * events > MAX_SHARED_BYTES:
        most = f"{MAX_SHARED_BYTES} bytes"
    elif sum(map(shared.count, _SEPARATORS)) * events > MAX_VALUES:
        most = f"{MAX_VALUES} values"
    else:
        return
    raise TooMuch("events", f"expected at most {most} with what they share")


def check_form(text: bytes, field: str = "body") -> None:
    """`check_work`, of a form or of lines of queries.

    Raises:
        TooMuch: naming `field`, above `MAX_FORM_FIELDS`, `MAX_FORM_ESCAPES` or `MAX_ITEM_FIELDS`.
    """
    for mark, name, most in _FORM_BOUNDS:
        if text.count(mark) > most:
            raise TooMuch(field, f"expected at most {most} {name}", text.count(mark))


def as_object(value: Any, field: str) -> dict[str, Any]:
    """An object; None stands for an empty one.

    Raises:
        InvalidEvent: naming `field`.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidEvent(field, "expected an object", value)
    return value


def as_text(value: Any) -> str | None:
    """Texts and numbers (ids come as either) as a text; None for all else and for an empty one."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return str(value)
    except ValueError:  # an integer of thousands of digits
        return None


def as_id(value: Any) -> str | None:
    """As `as_text`, cut to what an id may be."""
    text = as_text(value)
    return text[:MAX_ID_LENGTH] if text else None


def as_number(value: Any) -> float | int | None:
    """A finite number, also one written as a text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if len(value) > 40:
            return None
        try:
            value = float(value)
        except ValueError:
            return None
        if abs(value) < 1e15 and value.is_integer():
            value = int(value)
    if not isinstance(value, (int, float)):
        return None
    try:
        is_finite = isfinite(value)
    except OverflowError:
        return None
    return value if is_finite else None


def time_of(value: Any, unit_s: float, field: str) -> str | None:
    """A Unix time in units of `unit_s` seconds (0.001: milliseconds) as RFC 3339; None for None and
    "".

    Raises:
        InvalidEvent: naming `field`, for what is no number or no time.
    """
    if value is None or value == "":
        return None
    number = as_number(value)
    try:
        if number is None:
            raise OverflowError
        return format_time(_EPOCH + timedelta(seconds=number * unit_s))
    except OverflowError:
        raise InvalidEvent(field, f"expected a Unix time in units of {unit_s:g} s", value) from None


def from_base64(text: str, field: str) -> bytes:
    """Base64 or base64url, padded or not.

    Raises:
        InvalidEvent: naming `field`.
    """
    plain = text.strip().replace("-", "+").replace("_", "/").replace(" ", "+").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidEvent(field, "expected base64", text) from None


def basic_user(headers: Mapping[str, str]) -> str | None:
    """The user name of HTTP basic authorization (where Segment's and Mixpanel's SDKs put their
    key), or None.
    """
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return from_base64(given, "authorization").decode().partition(":")[0] or None
    except (InvalidEvent, UnicodeDecodeError):
        return None


def without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are neither None nor an empty text."""
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def with_our_names(fields: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """All fields, those in `names` under our names.

    Of several with one name of ours the first gets it. A field that has our name already keeps it,
    and the other keeps its own.
    """
    found = dict(fields)
    for given, ours in names.items():
        if found.get(given) is not None and found.get(ours) is None:
            found[ours] = found.pop(given)
    return found
