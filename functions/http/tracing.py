"""The trace that a request belongs to: W3C's `traceparent`, Google's header, or a new one."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_GOOGLE = re.compile(rb"([0-9a-fA-F]{6,32})(?:/|$)")
_NONE = b"0" * 32


def trace_id(headers: Mapping[bytes, bytes], random_bits: int) -> str:
    """32 (of Google's header: what it has) hexadecimal digits.

    Args:
        headers: with lower-case names.
        random_bits: 128 of them, for a request that names no trace.
    """
    return given_trace_id(headers) or f"{random_bits:032x}"


def given_trace_id(headers: Mapping[bytes, bytes]) -> str | None:
    """As `trace_id`, of a request that names its trace; None where it names none, or none that is
    well formed.
    """
    given = headers.get(b"traceparent")
    if given is not None and (found := _TRACEPARENT.fullmatch(given)) and found[1] != _NONE:
        return found[1].decode()
    given = headers.get(b"x-cloud-trace-context")
    if given is not None and (found := _GOOGLE.match(given)):
        return found[1].decode().lower()
    return None
