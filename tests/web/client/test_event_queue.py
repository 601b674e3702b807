"""The queue's order, batches, bound and flush, on one thread."""

from __future__ import annotations

import pytest

from freshet.event_queue import MAX_BATCH_BYTES, EventQueue

LONG_S = 3600.0


def events(first: int, last: int) -> list[bytes]:
    return [b"e%d" % number for number in range(first, last + 1)]


def test_a_batch_is_the_oldest_in_order_and_what_is_given_back_goes_first() -> None:
    queue = EventQueue(batch_size=3, flush_s=LONG_S, limit=100)
    queue.put(events(1, 4))
    assert queue.take() == events(1, 3)
    queue.put(events(5, 5))
    queue.give_back()
    assert queue.take() == events(1, 3)
    queue.finish()
    queue.close()
    assert queue.take() == events(4, 5)
    queue.finish()
    assert queue.take() == [] and queue.is_empty


def test_what_is_given_back_waits_for_no_more_and_what_came_after_it_does() -> None:
    queue = EventQueue(batch_size=4, flush_s=LONG_S, limit=100)
    queue.put(events(1, 4))
    assert queue.take() == events(1, 4)
    queue.give_back(max_batch=2)
    for half in (events(1, 2), events(3, 4)):
        assert queue._until_due_s() == 0.0
        assert queue.take() == half
        queue.finish()
    queue.put(events(5, 5))
    assert queue._until_due_s() == pytest.approx(LONG_S, abs=60.0)


def test_what_was_halved_grows_again_by_one_each_time_up_to_what_was_asked() -> None:
    queue = EventQueue(batch_size=4, flush_s=0.0, limit=100)
    queue.put(events(1, 30))
    sizes = [len(queue.take())]
    queue.give_back(max_batch=sizes[0] // 2)
    for _ in range(4):
        sizes.append(len(queue.take()))
        queue.finish()
    assert sizes == [4, 2, 3, 4, 4]


def test_a_batch_ends_before_it_grows_too_large_and_a_single_event_never_is() -> None:
    queue = EventQueue(batch_size=10, flush_s=0.0, limit=100)
    half, whole = b"x" * (MAX_BATCH_BYTES // 2), b"x" * (MAX_BATCH_BYTES + 1)
    queue.put([half, half, b"y", whole, b"z"])
    batches = []
    for _ in range(4):
        batches.append(queue.take())
        queue.finish()
    assert batches == [[half, half], [b"y"], [whole], [b"z"]]


def test_a_full_queue_drops_the_oldest_that_wait_and_counts_them_once() -> None:
    queue = EventQueue(batch_size=2, flush_s=0.0, limit=4)
    assert queue.put(events(1, 2)) == []
    assert queue.take() == events(1, 2)
    assert queue.put(events(3, 5)) == events(3, 3)
    assert queue.put(events(6, 12)) == [*events(4, 5), *events(6, 10)]
    assert (queue.count_dropped(), queue.count_dropped()) == (8, 0)
    queue.finish()
    assert queue.take() == events(11, 12)


def test_a_flush_is_done_when_what_was_there_is_finished_whatever_was_dropped_or_put_since() -> (
    None
):
    queue = EventQueue(batch_size=2, flush_s=0.0, limit=4)
    queue.put(events(1, 4))
    queue.take()
    queue.put(events(5, 10))
    assert not queue._is_finished(4), "two are in flight"
    queue.finish()
    assert queue._is_finished(4) and not queue._is_finished(10)
    assert not queue.flush(0.0)


def test_what_is_abandoned_is_all_that_has_no_response_and_nothing_of_it_comes_back() -> None:
    queue = EventQueue(batch_size=2, flush_s=0.0, limit=100)
    queue.put(events(1, 3))
    queue.take()
    queue.close()
    with pytest.raises(ValueError, match="client: expected an open one"):
        queue.put(events(4, 4))
    assert queue.abandon() == events(1, 3)
    assert not queue.answered()
    queue.give_back()
    queue.pause(60.0)
    assert queue.is_empty and queue.take() == [] and queue.abandon() == []


def test_a_batch_with_its_final_response_is_the_senders_to_report() -> None:
    queue = EventQueue(batch_size=2, flush_s=0.0, limit=100)
    queue.put(events(1, 3))
    queue.take()
    queue.close()
    assert queue.answered()
    assert queue.abandon() == events(3, 3)
    assert not queue.is_empty, "the sender has yet to report"
    queue.finish()
    assert queue.is_empty
