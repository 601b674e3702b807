"""Bodies are read within bounds, compressed or not, and what is held of them is counted."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.bodies import MAX_BODY_BYTES, Bodies, BodyRefused, decoded

PACKERS = {"gzip": gzip.compress, "br": brotli.compress, "deflate": zlib.compress}


class Client:
    """An ASGI receive of these chunks; `leaves` after them, or falls silent."""

    def __init__(self, *chunks: bytes, complete: bool = True, leaves: bool = False) -> None:
        self._parts: list[Any] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        if complete:
            self._parts.append({"type": "http.request", "body": b""})
        elif leaves:
            self._parts.append({"type": "http.disconnect"})

    async def __call__(self) -> Any:
        if not self._parts:
            await asyncio.Event().wait()
        return self._parts.pop(0)


async def read(client: Client, bodies: Bodies | None = None, **headers: str) -> bytes:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return await (bodies or Bodies()).read(client, named)


async def refusal(client: Client, bodies: Bodies | None = None, **headers: str) -> BodyRefused:
    with pytest.raises(BodyRefused) as caught:
        await read(client, bodies, **headers)
    return caught.value


async def test_chunks_are_joined_and_held_until_they_are_released() -> None:
    bodies = Bodies()
    body = await read(Client(b"ab", b"", b"c"), bodies)
    assert body == b"abc"
    assert bodies.held_bytes == 3
    bodies.release(body)
    assert bodies.held_bytes == 0


async def test_a_declared_length_above_the_limit_is_refused_before_a_byte_is_read() -> None:
    silent = Client(complete=False)
    assert (await refusal(silent, content_length=str(MAX_BODY_BYTES + 1))).status == 413


async def test_a_body_of_the_limit_passes_and_one_byte_more_is_refused_while_reading() -> None:
    half = b" " * (MAX_BODY_BYTES // 2)
    assert len(await read(Client(half, half))) == MAX_BODY_BYTES
    bodies = Bodies()
    endless = Client(half, half, b" ", complete=False)
    assert (await refusal(endless, bodies)).status == 413
    assert bodies.held_bytes == 0


async def test_a_client_that_leaves_is_told_nothing_and_nothing_stays_held() -> None:
    bodies = Bodies()
    assert (await refusal(Client(b"abc", complete=False, leaves=True), bodies)).status == 400
    assert bodies.held_bytes == 0


async def test_a_client_that_trickles_is_cut_off_at_the_deadline() -> None:
    bodies = Bodies(deadline_s=0.05)
    assert (await refusal(Client(b"abc", complete=False), bodies)).status == 408
    assert bodies.held_bytes == 0


async def test_more_than_may_be_held_at_once_is_refused_until_something_is_released() -> None:
    bodies = Bodies(max_held_bytes=5)
    first = await read(Client(b"abc"), bodies)
    assert (await refusal(Client(b"def"), bodies)).status == 503
    bodies.release(first)
    assert await read(Client(b"def"), bodies) == b"def"


@pytest.mark.parametrize("encoding", PACKERS)
async def test_a_packed_body_is_unpacked(encoding: str) -> None:
    plain = b'{"events": []}' * 1000
    assert await read(Client(PACKERS[encoding](plain)), content_encoding=encoding) == plain


@pytest.mark.parametrize("encoding", PACKERS)
def test_unpacking_stops_at_the_limit(encoding: str) -> None:
    assert len(decoded(PACKERS[encoding](b" " * MAX_BODY_BYTES), encoding)) == MAX_BODY_BYTES
    for size in (MAX_BODY_BYTES + 1, 100 * MAX_BODY_BYTES):
        with pytest.raises(BodyRefused) as caught:
            decoded(PACKERS[encoding](b" " * size), encoding)
        assert caught.value.status == 413


@pytest.mark.parametrize("encoding", PACKERS)
def test_half_a_packed_body_and_one_with_something_behind_it_are_refused(encoding: str) -> None:
    packed = PACKERS[encoding](b"abc" * 100)
    for broken in (packed[:-1], packed[: len(packed) // 2], b"", b"plain", packed + b"x"):
        with pytest.raises(BodyRefused) as caught:
            decoded(broken, encoding)
        assert caught.value.status == 400


def test_an_encoding_that_is_not_known_is_415() -> None:
    with pytest.raises(BodyRefused) as caught:
        decoded(b"abc", "zstd")
    assert caught.value.status == 415


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(sorted(PACKERS)), st.binary(max_size=300))
def test_any_bytes_unpack_or_are_refused(encoding: str, body: bytes) -> None:
    try:
        decoded(body, encoding)
    except BodyRefused:
        return
    assert body
