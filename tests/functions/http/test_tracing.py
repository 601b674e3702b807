"""Which trace a request belongs to."""

from __future__ import annotations

import pytest

from functions.http.tracing import given_trace_id, trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_the_trace_of_w3c_and_then_googles_is_taken() -> None:
    w3c = f"00-{TRACE}-00f067aa0ba902b7-01".encode()
    google = b"105445aa7843bc8bf206b12000100000/1;o=1"
    assert trace_id({b"traceparent": w3c, b"x-cloud-trace-context": google}, 0) == TRACE
    assert trace_id({b"x-cloud-trace-context": google}, 0) == "105445aa7843bc8bf206b12000100000"


@pytest.mark.parametrize(
    "given", [b"", b"x", f"00-{'0' * 32}-00f067aa0ba902b7-01".encode(), b"00-" + b"a" * 5000]
)
def test_what_is_no_trace_gets_a_new_one(given: bytes) -> None:
    assert (
        trace_id({b"traceparent": given, b"x-cloud-trace-context": b"<script>"}, 255)
        == "0" * 30 + "ff"
    )


@pytest.mark.parametrize(
    "given", [b"", b"x" * 5000, b"abc12", b"a" * 33, b"../../other/traces/abc123", b"abc123\xe9"]
)
def test_what_is_no_trace_is_not_passed_on(given: bytes) -> None:
    assert given_trace_id({b"x-cloud-trace-context": given, b"traceparent": given}) is None
