"""The request that would have brought a rejected payload, as the payload's protocol reads it.

A dead letter holds one rejected event, so its protocol's envelope is put around it; of a request
that could not be read it holds the body. What only the request said (the query, a batch's own
context, its clock) is lost. Pure: no I/O.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from functions.http.exchange import Incoming
from functions.protocols.contract import VendorProtocol
from functions.protocols.ga4 import protocol as ga4
from functions.protocols.pixel import protocol as pixel
from functions.protocols.registry import PROTOCOLS
from functions.protocols.snowplow import protocol as snowplow
from pipeline.core.json_limits import MAX_DEPTH, deeper_than
from pipeline.core.untrusted_json import read as read_json

FLAT_PATHS = frozenset((ga4.COLLECT, *snowplow.PATHS, *pixel.PATHS))
"""Paths whose events are forms, also where they are kept as JSON: a dot is a part of a name."""
UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


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
        protocol: a name of `PROTOCOLS`.
        path: where the payload was sent to.
        payload: a rejected event, or the body of a request.
        received_at: the time of its rejection.
    """
    value = decode(payload, path) if is_json(payload) else None
    if path == ga4.COLLECT and isinstance(value, dict):
        return Incoming("POST", path, urlencode(value), {}, b"", received_at)
    if path in pixel.PATHS or (protocol == "snowplow" and not is_json(payload)):
        return Incoming("GET", path, payload.decode("latin-1"), {}, b"", received_at)
    if value is not None:
        payload = _body(PROTOCOLS[protocol], path, payload, value)
    return Incoming("POST", path, "", {}, payload, received_at)


def _body(protocol: VendorProtocol, path: str, payload: bytes, value: Any) -> bytes:
    """The payload with what goes around it; byte for byte as it came where nothing does."""
    body = protocol.body_around(path, value)
    return payload if body is value else msgspec.json.encode(body)
