"""One time limit for many tasks: each ends in time, and nothing but what is late."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.runtime.time_limit import TimeLimit

FOREVER_S = 60.0


async def wait_within(limit: TimeLimit, seconds: float) -> str:
    with limit:
        await asyncio.sleep(seconds)
    return "done"


async def test_what_is_late_ends_and_what_is_in_time_goes_on() -> None:
    limit = TimeLimit(0.05)
    found = await asyncio.gather(
        wait_within(limit, 0.0),
        wait_within(limit, FOREVER_S),
        wait_within(limit, 0.0),
        return_exceptions=True,
    )
    assert [type(each) for each in found] == [str, TimeoutError, str]


async def test_every_block_has_the_whole_time_from_its_own_begin() -> None:
    limit = TimeLimit(0.2)
    first = asyncio.create_task(wait_within(limit, FOREVER_S))
    await asyncio.sleep(0.15)
    second = asyncio.create_task(wait_within(limit, FOREVER_S))
    await asyncio.wait([first])
    assert not second.done()
    with pytest.raises(TimeoutError):
        await second
    assert first.exception() is not None


async def test_a_block_that_was_left_in_time_is_not_ended_later() -> None:
    limit = TimeLimit(0.02)
    with limit:
        pass
    await asyncio.sleep(0.05)
    assert await wait_within(limit, 0.0) == "done"


async def test_a_task_that_others_cancel_is_cancelled_and_not_late() -> None:
    limit = TimeLimit(FOREVER_S)
    task = asyncio.create_task(wait_within(limit, FOREVER_S))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_is_late_and_cancelled_by_others_too_is_cancelled() -> None:
    limit = TimeLimit(0.02)

    async def stubborn() -> None:
        with limit:
            try:
                await asyncio.sleep(FOREVER_S)
            finally:
                task.cancel()
                await asyncio.sleep(FOREVER_S)

    task = asyncio.create_task(stubborn())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_block_is_its_own() -> None:
    with pytest.raises(ValueError, match="broken"), TimeLimit(FOREVER_S):
        raise ValueError("broken")
