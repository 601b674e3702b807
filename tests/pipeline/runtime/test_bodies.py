"""Bodies are read within bounds of size and time, and all that is held of them is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeline.runtime.bodies import Bodies, BodyRefused

MAX_BODY_BYTES = 1000


class Client:
    """An ASGI receive of these chunks; `leaves` after them, or falls silent."""

    def __init__(self, *chunks: bytes, complete: bool = True, leaves: bool = False) -> None:
        self._parts: list[Any] = [
            {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
        ]
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
    return await (bodies or Bodies(MAX_BODY_BYTES)).read(client, named)


async def refusal(client: Client, bodies: Bodies | None = None, **headers: str) -> BodyRefused:
    with pytest.raises(BodyRefused) as caught:
        await read(client, bodies, **headers)
    return caught.value


async def test_chunks_are_joined_and_held_until_they_are_released() -> None:
    bodies = Bodies(MAX_BODY_BYTES)
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
    bodies = Bodies(MAX_BODY_BYTES)
    endless = Client(half, half, b" ", complete=False)
    assert (await refusal(endless, bodies)).status == 413
    assert bodies.held_bytes == 0


async def test_a_client_that_leaves_is_told_nothing_and_nothing_stays_held() -> None:
    bodies = Bodies(MAX_BODY_BYTES)
    assert (await refusal(Client(b"abc", complete=False, leaves=True), bodies)).status == 400
    assert bodies.held_bytes == 0


@pytest.mark.parametrize("chunks", [(b"abc",), ()])
async def test_a_client_that_trickles_or_never_begins_is_cut_off_at_the_deadline(
    chunks: tuple[bytes, ...],
) -> None:
    bodies = Bodies(MAX_BODY_BYTES, deadline_s=0.05)
    refused = await refusal(Client(*chunks, complete=False), bodies)
    assert (refused.status, refused.headers) == (408, {"connection": "close"})
    assert bodies.held_bytes == 0


async def test_more_than_may_be_held_at_once_is_refused_until_something_is_released() -> None:
    bodies = Bodies(MAX_BODY_BYTES, max_held_bytes=5)
    first = await read(Client(b"abc"), bodies)
    refused = await refusal(Client(b"def"), bodies)
    assert (refused.status, refused.headers) == (503, {"retry-after": "2"})
    bodies.release(first)
    assert await read(Client(b"def"), bodies) == b"def"


async def fail_with(bodies: Bodies) -> None:
    async with bodies.reading(Client(b"abc"), {}) as body:
        assert (body, bodies.held_bytes) == (b"abc", 3)
        raise ZeroDivisionError


async def test_within_the_block_a_body_is_held_and_after_it_no_more() -> None:
    bodies = Bodies(MAX_BODY_BYTES)
    with pytest.raises(ZeroDivisionError):
        await fail_with(bodies)
    assert bodies.held_bytes == 0
