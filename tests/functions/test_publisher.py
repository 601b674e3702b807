"""How messages wait, travel together, are tried again and give up.

The gRPC call is a hand-written fake.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest

from functions import publisher
from functions.publisher import MAX_CALL_MESSAGES, MAX_IN_FLIGHT, Publisher, PublishFailed, message


class Refusal(grpc.RpcError):  # type: ignore[misc] # grpc ships no types
    """A gRPC error with a status code."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


class Server:
    """A Publish call that records requests; it answers once `open` is set, after raising `errors`
    one by one.
    """

    def __init__(self, *errors: grpc.StatusCode, open_at_once: bool = True) -> None:
        self.errors = list(errors)
        self.calls: list[list[bytes]] = []
        self.stored: list[bytes] = []
        self.open = asyncio.Event()
        if open_at_once:
            self.open.set()

    async def __call__(self, request: Any, timeout: float, metadata: Any) -> None:  # noqa: ASYNC109 # as gRPC has it
        data = [m.data for m in request.messages]
        self.calls.append(data)
        try:
            await asyncio.wait_for(self.open.wait(), timeout)
        except TimeoutError:
            raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED) from None
        if self.errors:
            raise Refusal(self.errors.pop(0))
        self.stored += data


def messages(*texts: str) -> list[Any]:
    return [message(text.encode(), {}) for text in texts]


async def test_a_message_leaves_at_once_when_nothing_is_under_way() -> None:
    server = Server()
    await Publisher(None, 1.0, server).publish("t", messages("a"))
    assert server.calls == [[b"a"]]


async def test_messages_that_come_while_calls_are_under_way_leave_together_and_in_order() -> None:
    server = Server(open_at_once=False)
    pubsub = Publisher(None, 5.0, server)
    waiting = []
    for number in range(MAX_IN_FLIGHT):
        waiting.append(asyncio.create_task(pubsub.publish("t", messages(str(number)))))
        await asyncio.sleep(0.01)
    waiting += [asyncio.create_task(pubsub.publish("t", messages(text))) for text in "xyz"]
    await asyncio.sleep(0.01)
    assert len(server.calls) == MAX_IN_FLIGHT
    server.open.set()
    await asyncio.gather(*waiting)
    assert server.calls[-1] == [b"x", b"y", b"z"]


async def test_the_messages_of_one_publish_are_never_split_over_two_calls() -> None:
    server = Server()
    pubsub = Publisher(None, 5.0, server)
    half = MAX_CALL_MESSAGES // 2 + 1
    await asyncio.gather(*(pubsub.publish("t", messages(*[str(n)] * half)) for n in range(3)))
    assert [len(call) for call in server.calls] == [half] * 3
    assert all(len(set(call)) == 1 for call in server.calls)


async def test_topics_do_not_wait_for_each_other() -> None:
    server = Server(open_at_once=False)
    pubsub = Publisher(None, 5.0, server)
    tasks = [asyncio.create_task(pubsub.publish("a", messages("a"))) for _ in range(MAX_IN_FLIGHT)]
    tasks.append(asyncio.create_task(pubsub.publish("b", messages("b"))))
    await asyncio.sleep(0.01)
    assert [b"b"] in server.calls
    server.open.set()
    await asyncio.gather(*tasks)


async def test_a_transient_error_is_tried_again_and_nobody_notices() -> None:
    server = Server(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
    await Publisher(None, 5.0, server).publish("t", messages("a"))
    assert server.stored == [b"a"]
    assert len(server.calls) == 3


async def test_a_lasting_error_fails_after_three_attempts() -> None:
    server = Server(*[grpc.StatusCode.UNAVAILABLE] * 9)
    with pytest.raises(PublishFailed, match="UNAVAILABLE"):
        await Publisher(None, 5.0, server).publish("t", messages("a"))
    assert len(server.calls) == publisher.ATTEMPTS


async def test_a_topic_that_does_not_exist_fails_at_once() -> None:
    server = Server(grpc.StatusCode.NOT_FOUND)
    with pytest.raises(PublishFailed, match="NOT_FOUND"):
        await Publisher(None, 5.0, server).publish("t", messages("a"))
    assert len(server.calls) == 1


async def test_silence_fails_by_the_deadline_also_for_those_that_wait_behind_it() -> None:
    pubsub = Publisher(None, 0.3, Server(open_at_once=False))
    started = time.monotonic()
    tasks = []
    for _ in range(2 * MAX_IN_FLIGHT):
        tasks.append(asyncio.create_task(pubsub.publish("t", messages("a"))))
        await asyncio.sleep(0.01)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, PublishFailed) for result in results)
    assert time.monotonic() - started < 0.6


async def test_everyone_in_a_failed_call_is_told_and_the_next_call_works() -> None:
    server = Server(grpc.StatusCode.PERMISSION_DENIED)
    pubsub = Publisher(None, 5.0, server)
    both = [pubsub.publish("t", messages(text)) for text in "ab"]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert [type(result) for result in results] == [PublishFailed] * 2
    await pubsub.publish("t", messages("c"))
    assert server.stored == [b"c"]


async def test_more_than_the_memory_set_aside_is_refused_at_once() -> None:
    server = Server(open_at_once=False)
    pubsub = Publisher(None, 5.0, server)
    big = [message(bytes(9 * 1024 * 1024), {})]
    tasks = [asyncio.create_task(pubsub.publish("t", big)) for _ in range(MAX_IN_FLIGHT + 8)]
    await asyncio.sleep(0.05)
    refused = [task for task in tasks if task.done()]
    assert refused
    for task in refused:
        with pytest.raises(PublishFailed, match="bytes are waiting"):
            task.result()
    server.open.set()
    await asyncio.gather(*(task for task in tasks if task not in refused))


async def test_a_client_that_leaves_does_not_cancel_the_call_that_others_share() -> None:
    server = Server(open_at_once=False)
    pubsub = Publisher(None, 5.0, server)
    leaves, stays = (asyncio.create_task(pubsub.publish("t", messages(text))) for text in "ab")
    await asyncio.sleep(0.01)
    leaves.cancel()
    server.open.set()
    await stays
    assert server.stored == [b"a", b"b"]


async def test_a_nearer_deadline_of_one_publish_is_kept_and_the_others_go_on() -> None:
    server = Server(open_at_once=False)
    pubsub = Publisher(None, 5.0, server)
    other = asyncio.create_task(pubsub.publish("t", messages("other")))
    started = time.monotonic()
    with pytest.raises(PublishFailed):
        await pubsub.publish("t", messages("hurried"), 0.05)
    assert time.monotonic() - started < 1.0
    server.open.set()
    await other
    assert b"other" in server.stored
