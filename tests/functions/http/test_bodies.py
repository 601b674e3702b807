"""Packed bodies are unpacked within bounds."""

from __future__ import annotations

import gzip
import random
import zlib
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.http.bodies import FREE_UNPACKED_BYTES, MAX_BODY_BYTES, decoded
from pipeline.runtime.bodies import Bodies, BodyRefused

PACKERS = {b"gzip": gzip.compress, b"br": brotli.compress, b"deflate": zlib.compress}


@pytest.mark.parametrize("encoding", PACKERS)
async def test_a_packed_body_is_unpacked_and_counts_as_what_it_unpacks_to(encoding: bytes) -> None:
    plain = b'{"events": []}' * 1000

    async def receive() -> Any:
        return {"type": "http.request", "body": PACKERS[encoding](plain)}

    bodies = Bodies(MAX_BODY_BYTES, unpack=decoded)
    assert await bodies.read(receive, {b"content-encoding": encoding}) == plain
    assert bodies.held_bytes == len(plain)


@pytest.mark.parametrize("encoding", PACKERS)
def test_unpacking_stops_at_the_limit(encoding: bytes) -> None:
    noise = random.Random(1).randbytes(MAX_BODY_BYTES // 32)
    assert len(decoded(PACKERS[encoding](noise.ljust(MAX_BODY_BYTES)), encoding)) == MAX_BODY_BYTES
    for size in (MAX_BODY_BYTES + 1, 100 * MAX_BODY_BYTES):
        with pytest.raises(BodyRefused) as caught:
            decoded(PACKERS[encoding](noise.ljust(size)), encoding)
        assert caught.value.status == 413


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_few_bytes_do_not_become_many(encoding: bytes) -> None:
    assert (
        len(decoded(PACKERS[encoding](b" " * FREE_UNPACKED_BYTES), encoding)) == FREE_UNPACKED_BYTES
    )
    with pytest.raises(BodyRefused, match="64 times what was sent") as caught:
        decoded(PACKERS[encoding](b" " * MAX_BODY_BYTES), encoding)
    assert caught.value.status == 413


@pytest.mark.parametrize("encoding", PACKERS)
def test_half_a_packed_body_and_one_with_something_behind_it_are_refused(encoding: bytes) -> None:
    packed = PACKERS[encoding](b"abc" * 100)
    for broken in (packed[:-1], packed[: len(packed) // 2], b"", b"plain", packed + b"x"):
        with pytest.raises(BodyRefused) as caught:
            decoded(broken, encoding)
        assert caught.value.status == 400


def test_an_encoding_that_is_not_known_is_415() -> None:
    with pytest.raises(BodyRefused) as caught:
        decoded(b"abc", b"zstd")
    assert caught.value.status == 415


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(sorted(PACKERS)), st.binary(max_size=300))
def test_any_bytes_unpack_or_are_refused(encoding: bytes, body: bytes) -> None:
    try:
        decoded(body, encoding)
    except BodyRefused:
        return
    assert body
