"""The events that wait: their order, their batches, their bound, and what a flush waits for. One thread is enough."""

from __future__ import annotations

import pytest

from functions.client.outbox import MAX_BATCH_BYTES, Outbox

LONG_S = 3600.0


def events(first: int, last: int) -> list[bytes]:
    return [b"e%d" % number for number in range(first, last + 1)]


def test_a_batch_is_the_oldest_in_order_and_what_is_given_back_goes_before_what_came_meanwhile() -> None:
    outbox = Outbox(batch_size=3, flush_s=LONG_S, limit=100)
    outbox.put(events(1, 4))
    assert outbox.take() == events(1, 3)
    outbox.put(events(5, 5))
    outbox.give_back()
    assert outbox.take() == events(1, 3)
    outbox.settle()
    outbox.close()
    assert outbox.take() == events(4, 5)
    outbox.settle()
    assert outbox.take() == [] and outbox.is_empty


def test_what_is_given_back_waits_for_no_more_and_what_came_after_it_does() -> None:
    outbox = Outbox(batch_size=4, flush_s=LONG_S, limit=100)
    outbox.put(events(1, 4))
    assert outbox.take() == events(1, 4)
    outbox.give_back(most=2)
    for half in (events(1, 2), events(3, 4)):
        assert outbox._until_due_s() == 0.0
        assert outbox.take() == half
        outbox.settle()
    outbox.put(events(5, 5))
    assert outbox._until_due_s() == pytest.approx(LONG_S, abs=60.0)


def test_what_was_halved_grows_again_by_one_each_time_up_to_what_was_asked() -> None:
    outbox = Outbox(batch_size=4, flush_s=0.0, limit=100)
    outbox.put(events(1, 30))
    sizes = [len(outbox.take())]
    outbox.give_back(most=sizes[0] // 2)
    for _ in range(4):
        sizes.append(len(outbox.take()))
        outbox.settle()
    assert sizes == [4, 2, 3, 4, 4]


def test_a_batch_ends_before_it_grows_too_large_and_a_single_event_never_is() -> None:
    outbox = Outbox(batch_size=10, flush_s=0.0, limit=100)
    half, whole = b"x" * (MAX_BATCH_BYTES // 2), b"x" * (MAX_BATCH_BYTES + 1)
    outbox.put([half, half, b"y", whole, b"z"])
    batches = []
    for _ in range(4):
        batches.append(outbox.take())
        outbox.settle()
    assert batches == [[half, half], [b"y"], [whole], [b"z"]]


def test_a_full_outbox_drops_the_oldest_that_wait_and_counts_them_once() -> None:
    outbox = Outbox(batch_size=2, flush_s=0.0, limit=4)
    assert outbox.put(events(1, 2)) == []
    assert outbox.take() == events(1, 2)
    assert outbox.put(events(3, 5)) == events(3, 3)
    assert outbox.put(events(6, 12)) == [*events(4, 5), *events(6, 10)]
    assert (outbox.count_dropped(), outbox.count_dropped()) == (8, 0)
    outbox.settle()
    assert outbox.take() == events(11, 12)


def test_a_flush_is_done_when_what_was_there_is_settled_whatever_was_dropped_or_put_since() -> None:
    outbox = Outbox(batch_size=2, flush_s=0.0, limit=4)
    outbox.put(events(1, 4))
    outbox.take()
    outbox.put(events(5, 10))
    assert not outbox._is_settled(4), "two are under way"
    outbox.settle()
    assert outbox._is_settled(4) and not outbox._is_settled(10)
    assert not outbox.flush(0.0)


def test_what_is_abandoned_is_all_that_has_no_answer_and_nothing_of_it_comes_back() -> None:
    outbox = Outbox(batch_size=2, flush_s=0.0, limit=100)
    outbox.put(events(1, 3))
    outbox.take()
    outbox.close()
    with pytest.raises(ValueError, match="client: expected an open one"):
        outbox.put(events(4, 4))
    assert outbox.abandon() == events(1, 3)
    assert not outbox.answered()
    outbox.give_back()
    outbox.pause(60.0)
    assert outbox.is_empty and outbox.take() == [] and outbox.abandon() == []


def test_a_batch_that_has_its_answer_is_the_sender_s_to_tell_of() -> None:
    outbox = Outbox(batch_size=2, flush_s=0.0, limit=100)
    outbox.put(events(1, 3))
    outbox.take()
    outbox.close()
    assert outbox.answered()
    assert outbox.abandon() == events(3, 3)
    assert not outbox.is_empty, "the sender has yet to tell"
    outbox.settle()
    assert outbox.is_empty
