"""No request, however broken, gets an exception out of a protocol, or takes long for its size."""

from __future__ import annotations

import random
import time

import pytest

from functions.http.exchange import Incoming
from functions.protocols.contract import Reading
from functions.protocols.native import protocol as native
from functions.protocols.registry import PROTOCOLS
from tests.bench.fuzz import (
    MAX_INPUT_BYTES,
    MAX_INPUT_S,
    drive,
    fastest_s,
    from_printed,
    fuzz,
    main,
    printed,
)
from tests.bench.fuzz_corpus import FuzzRequest, corpus
from tests.bench.fuzz_mutations import mutated

INPUTS, SECONDS = 2000, 20.0
SEED = 20260101


@pytest.mark.parametrize("name", PROTOCOLS)
def test_mutated_requests_are_read_or_refused(name: str) -> None:
    found = fuzz(name, INPUTS, SECONDS, SEED)
    assert [(fault.text, printed(fault.request)) for fault in found.faults.values()] == []
    assert found.inputs == INPUTS
    assert len(found.outcomes) > 10


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_they_are_mutations_of_is_mostly_accepted(name: str) -> None:
    outcomes = {drive(PROTOCOLS[name], request) for request in corpus(name)}
    accepted = [outcome for outcome in outcomes if outcome.endswith(": ") and " of " in outcome]
    assert len(accepted) >= 2


FORM = {"content-type": "application/x-www-form-urlencoded"}
SHARED = "tid=G-1&cid=1.2&en=purchase&pr1=idp1~nmLamp~pr2.5~k0color~v0red&pr2=idp2~pr3&" * 30
FOUND = {
    "the longest query that 347 lines may share": (
        "ga4",
        FuzzRequest("POST", "/g/collect", SHARED, {}, b"en=scroll&pr1=idp1\r\n" * 347),
    ),
    "a token that is no ASCII": (
        "mixpanel",
        FuzzRequest("POST", "/track", "", {"authorization": "Basic \xff"}, b"data=%5B%5D"),
    ),
    "base64 that is no ASCII": (
        "mixpanel",
        FuzzRequest("POST", "/engage", "", FORM, b"data=%E1%88%B4"),
    ),
    "base64 of one character": (
        "snowplow",
        FuzzRequest("GET", "/i", "e=ue&ue_px=A&duid=a1", {}, b""),
    ),
    "a time beyond all years": (
        "amplitude",
        FuzzRequest("POST", "/2/httpapi", "", {}, b'{"events":[{"event_type":"a","time":1e300}]}'),
    ),
    "a time beyond all floats": (
        "ga4",
        FuzzRequest(
            "POST",
            "/mp/collect",
            "",
            {},
            b'{"timestamp_micros":1%s,"events":[{"name":"a"}]}' % (b"0" * 400),
        ),
    ),
    "escapes that are none": (
        "mixpanel",
        FuzzRequest("POST", "/track", "", FORM, b"%" * MAX_INPUT_BYTES),
    ),
}
"""Where a guard taken away was noticed, and what took longest."""


@pytest.mark.parametrize("found", FOUND.values(), ids=FOUND)
def test_what_was_once_found_stays_harmless(found: tuple[str, FuzzRequest]) -> None:
    name, request = found
    assert fastest_s(PROTOCOLS[name], request) < MAX_INPUT_S


@pytest.mark.parametrize(
    ("name", "content_type", "piece"),
    [
        *(
            (name, "application/json", piece)
            for name in PROTOCOLS
            for piece in (b"[", b'{"a":', b'"', b"\\", b"9", b" ")
        ),
        *(
            ("mixpanel", "application/x-www-form-urlencoded", piece)
            for piece in (b"data=%5B&", b"data=W1", b"%", b"&")
        ),
        *(
            ("ga4", "text/plain", piece)
            for piece in (b"en=a\n", b"pr1=~", b"pr1=idp~nm\n", b"~", b"&")
        ),
    ],
)
def test_a_body_of_one_thing_repeated_takes_no_longer_than_any_other(
    name: str, content_type: str, piece: bytes
) -> None:
    body = piece * (MAX_INPUT_BYTES // len(piece))
    for path, methods in PROTOCOLS[name].PATHS.items():
        request = FuzzRequest(methods[0], path, "a=b", {"content-type": content_type}, body)
        assert fastest_s(PROTOCOLS[name], request) < MAX_INPUT_S


def test_the_same_seed_makes_the_same_requests() -> None:
    seeds = corpus("segment")
    first, second = (
        [mutated(seeds[0], seeds, random.Random(SEED)) for _ in range(3)] for _ in range(2)
    )
    assert first == second
    assert first[0] != seeds[0]


def test_a_request_can_be_done_again_as_it_was_printed(capsys: pytest.CaptureFixture[str]) -> None:
    request = FuzzRequest("POST", "/v1/events", "\xff", {"dnt": "\xe4"}, b'\x00{"\xff')
    assert from_printed(printed(request)) == request
    assert main(["native", "--input", printed(request)]) == 0
    assert capsys.readouterr().out.startswith("# refused body")


class Fragile:
    """A protocol that cannot read a NUL."""

    PATHS = native.PATHS
    accepted = staticmethod(native.accepted)
    refused = staticmethod(native.refused)
    body_around = staticmethod(native.body_around)

    @staticmethod
    def read(incoming: Incoming) -> Reading:
        """As `native.read`, or a ZeroDivisionError."""
        if b"\x00" in incoming.body:
            raise ZeroDivisionError
        return native.read(incoming)


def test_an_exception_that_only_one_in_many_requests_raises_is_found() -> None:
    found = fuzz("native", INPUTS, SECONDS, SEED, Fragile())
    [fault] = found.faults.values()
    assert fault.kind.startswith("ZeroDivisionError at test_fuzz.py")
    assert b"\x00" in fault.request.body


class Slow(Fragile):
    """A protocol that takes long for bodies of 50,000 bytes and more."""

    @staticmethod
    def read(incoming: Incoming) -> Reading:
        """As `native.read`, at its time."""
        if len(incoming.body) > 50_000:
            end_s = time.thread_time() + MAX_INPUT_S
            while time.thread_time() < end_s:
                pass
        return native.read(incoming)


def test_a_request_that_takes_long_for_its_size_is_found() -> None:
    found = fuzz("native", INPUTS, 3.0, SEED, Slow())
    assert list(found.faults) == ["slow"]
    assert len(found.faults["slow"].request.body) > 50_000
