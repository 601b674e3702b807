"""The request that would have brought a rejected payload, as the payload's protocol reads it.

A dead letter holds one rejected event, so its protocol's envelope is put around it; of a request
that could not be read it holds the body. What only the request said (the query, a batch's own
context, its clock) is lost. Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from functions.http.exchange import Incoming
from functions.protocols.ga4 import protocol as ga4
from functions.protocols.pixel import protocol as pixel
from functions.protocols.segment import protocol as segment
from functions.protocols.snowplow import protocol as snowplow
from pipeline.core.json_limits import MAX_DEPTH, deeper_than
from pipeline.core.untrusted_json import read as read_json

FLAT_PATHS = frozenset((ga4.COLLECT, *snowplow.PATHS, *pixel.PATHS))
"""Paths whose events are forms, also where they are kept as JSON: a dot is a part of a name."""
UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
SNOWPLOW_SCHEMA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"


def is_json(payload: bytes) -> bool:
    """True for an object or a list, or the beginning of one."""
    return payload.lstrip()[:1] in (b"{", b"[")


def decode(payload: bytes, path: str) -> Any:
    """The fields of a payload, a JSON value or a form; None where it cannot be read or is too
    deep."""
    try:
        if is_json(payload):
            value = read_json(payload)
            return None if deeper_than(value, MAX_DEPTH + 3) else value
        text = payload.decode().strip()
        if path not in FLAT_PATHS or "\n" in text:
            return None
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict"))
    except UNREADABLE:
        return None


def encode(value: Any, *, as_json: bool) -> bytes:
    """The payload of the fields."""
    return msgspec.json.encode(value) if as_json else urlencode(value).encode()


def request_around(protocol: str, path: str, payload: bytes, received_at: datetime) -> Incoming:
    """A request with the payload in it, and nothing else.

    Args:
        protocol: a name of `functions.routes.PROTOCOLS`.
        path: where the payload was sent to.
        payload: a rejected event, or the body of a request.
        received_at: the time of its rejection.
    """
    value = decode(payload, path) if is_json(payload) else None
    if path == ga4.COLLECT and isinstance(value, dict):
        return Incoming("POST", path, urlencode(value), {}, b"", received_at)
    if path in pixel.PATHS or (protocol == "snowplow" and not is_json(payload)):
        return Incoming("GET", path, payload.decode("latin-1"), {}, b"", received_at)
    envelope = _ENVELOPES.get(protocol)
    if envelope is not None and value is not None:
        payload = msgspec.json.encode(envelope(path, value))
    return Incoming("POST", path, "", {}, payload, received_at)


def _in_a_batch(path: str, value: Any) -> Any:
    return value if path not in segment.BATCHES or _has(value, "batch") else {"batch": [value]}


def _in_payload_data(path: str, value: Any) -> Any:
    return value if _has(value, "schema", "data") else {"schema": SNOWPLOW_SCHEMA, "data": [value]}


def _in_events(path: str, value: Any) -> Any:
    return value if _has(value, "events", "api_key") else {"events": [value]}


def _has(value: Any, *names: str) -> bool:
    """True for the body of a request: an event has none of the names."""
    return isinstance(value, dict) and not value.keys().isdisjoint(names)


_ENVELOPES: Mapping[str, Callable[[str, Any], Any]] = {
    "segment": _in_a_batch,
    "snowplow": _in_payload_data,
    "amplitude": _in_events,
}
"""Of GA4 a dead letter has the body around its event; Mixpanel and we take an event as it is."""
