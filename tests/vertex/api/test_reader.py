"""Reads answer in time or are unavailable, whatever the client library raises, and the way back
never closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pipeline.core.items import ItemRow
from pipeline.core.profile import UserProfile
from tests.vertex.api.fakes import item, row
from vertex.api.breaker import FAILURES, Unavailable
from vertex.api.items import REFRESH_S, ItemCache
from vertex.api.reader import Reader


class UsageError(Exception):
    """What a gRPC channel raises once it is closed; of no family that says so."""


class FakeStore:
    """A store that raises what it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.closing: Exception | None = None
        self.is_closed = False
        self.unreadable = 0
        self.unreadable_reason = "version of a stored Item: expected 1, got 99"

    async def read_profile(self, key: str, timeout_s: float) -> UserProfile | None:
        self._raise()
        return UserProfile()

    async def scan_items(
        self, with_stubs: bool, since_ms: int | None = None
    ) -> AsyncIterator[ItemRow]:
        self._raise()
        self.unreadable += 2
        yield row(item(1))

    async def ping(self, timeout_s: float) -> None:
        self._raise()

    async def close(self) -> None:
        self.is_closed = True
        if self.closing is not None:
            raise self.closing

    def _raise(self) -> None:
        if self.is_closed:
            raise UsageError("Channel is closed.")
        if self.error is not None:
            raise self.error


def reader_of(connect: Callable[[], Any]) -> Reader:
    return Reader(connect, 0.2, watch_s=0.01)


@pytest.mark.parametrize("error", [UsageError("closed"), ValueError("odd"), OSError("gone")])
async def test_whatever_a_read_raises_is_no_answer(error: Exception) -> None:
    store = FakeStore()
    reader = reader_of(lambda: store)
    store.error = error

    for _ in range(FAILURES):
        with pytest.raises(Unavailable, match="bigtable"):
            await reader.profile("u#u1")

    assert not reader.is_up


async def test_a_scan_says_how_many_items_it_left_out(caplog: pytest.LogCaptureFixture) -> None:
    found: list[ItemRow] = []

    def take(row: ItemRow) -> bool:
        found.append(row)
        return True

    assert await reader_of(FakeStore).scan(take, with_stubs=False) == 2

    assert found == [row(item(1))]
    assert "2 items cannot be read: version of a stored Item: expected 1, got 99" in caplog.text


async def test_what_cannot_be_read_is_counted_over_all_connections() -> None:
    made: list[FakeStore] = []
    connected = asyncio.Event()

    def connect() -> FakeStore:
        if made:
            connected.set()
        made.append(FakeStore())
        return made[-1]

    reader = reader_of(connect)
    await reader.scan(lambda row: True, with_stubs=False)
    made[0].error = ValueError("silent")
    watching = asyncio.create_task(reader.watch())
    await asyncio.wait_for(connected.wait(), 10.0)
    watching.cancel()
    await reader.scan(lambda row: True, with_stubs=False)

    assert reader.unreadable == 4


async def test_the_way_back_is_tried_for_ever_however_connecting_and_closing_fail() -> None:
    first, last = FakeStore(), FakeStore()
    first.error, first.closing = ValueError("not an error of gRPC"), RuntimeError("cannot close")
    made: list[FakeStore] = [first]

    def connect() -> FakeStore:
        if len(made) == 1:
            made.append(first)
        elif len(made) == 2:
            made.append(first)
            raise RuntimeError("cannot connect")
        else:
            made.append(last)
        return made[-1]

    reader = reader_of(connect)
    watching = asyncio.create_task(reader.watch())
    async with asyncio.timeout(5):
        while len(made) < 4 or not reader.is_up:  # noqa: ASYNC110  # there is nothing to wait for but its opinion
            await asyncio.sleep(0.01)
    assert first.is_closed and not last.is_closed
    assert not watching.done()
    watching.cancel()


async def test_nobody_meets_a_closed_store_while_another_is_made() -> None:
    stores: list[FakeStore] = []

    def connect() -> FakeStore:
        assert not any(store.is_closed for store in stores), (
            "the old store was closed before there was a new one"
        )
        stores.append(FakeStore())
        return stores[-1]

    reader = reader_of(connect)
    stores[0].error = UsageError("silent")
    watching = asyncio.create_task(reader.watch())
    async with asyncio.timeout(5):
        while not stores[0].is_closed:  # noqa: ASYNC110  # closing is all it does
            await asyncio.sleep(0.01)
    watching.cancel()

    assert len(stores) == 2


async def test_items_are_kept_fresh_after_an_error_that_nobody_expected() -> None:
    class OddReader:
        def __init__(self) -> None:
            self.scans = 0

        async def scan(self, take: Callable[[ItemRow], bool], with_stubs: bool) -> None:
            self.scans += 1
            raise ValueError("odd")

        async def items(self, ids: Any, background: bool = False) -> dict[str, ItemRow]:
            return {"p1": row(item(1))}

    odd: Any = OddReader()
    cache = ItemCache(odd, 10)
    cache.want(["p1"], 0.0)
    refreshing = asyncio.create_task(cache.keep_fresh())
    await asyncio.sleep(1.0 + 3 * REFRESH_S)  # after an error it waits for a second

    assert odd.scans == 1
    assert "p1" in cache.columns
    refreshing.cancel()
