"""Limits on the cost of JSON hold to the piece and to the level."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.events import decode_message
from pipeline.core.invalid_event import InvalidEvent, TooMuch
from pipeline.core.json_limits import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_ESCAPED_HALVES,
    MAX_LONG_NUMBERS,
    MAX_VALUES,
    MESSAGE_TIMES,
    check_work,
    deeper_than,
)


def list_of(piece: bytes, count: int) -> bytes:
    return b"[" + b",".join([piece] * count) + b"]"


@pytest.mark.parametrize(
    ("piece", "most", "told"),
    [
        (b"[]", MAX_CONTAINERS - 1, "objects and lists"),
        (b"{}", MAX_CONTAINERS - 1, "objects and lists"),
        (b"1", MAX_VALUES, "values"),
        (b"1e300", MAX_LONG_NUMBERS, "numbers"),
        (b"-1.5E+00300 ", MAX_LONG_NUMBERS, "numbers"),
        (b"7" * 100, MAX_LONG_NUMBERS, "numbers"),
        (rb'"\ud83d"', MAX_ESCAPED_HALVES, "surrogates"),
    ],
)
def test_what_reaches_a_bound_passes_and_one_more_is_refused(
    piece: bytes, most: int, told: str
) -> None:
    padding = b" " * MAX_CONTAINERS
    check_work(padding + list_of(piece, most))
    with pytest.raises(TooMuch, match=rf"body: expected at most \d+ .*{told}"):
        check_work(padding + list_of(piece, most + 1))


def test_what_is_too_short_to_cost_is_not_counted() -> None:
    check_work(b"[" * MAX_CONTAINERS)


def test_digits_and_ids_in_texts_are_no_long_numbers() -> None:
    check_work(list_of(b'"3e4567f0-1e300-9e999"', 20_000))


def test_a_message_may_hold_twice_as_much() -> None:
    check_work(list_of(b"[]", MESSAGE_TIMES * MAX_CONTAINERS - 1), times=MESSAGE_TIMES)
    with pytest.raises(
        InvalidEvent,
        match=f"body: expected at most {MESSAGE_TIMES * MAX_CONTAINERS} objects and lists",
    ):
        decode_message(b'{"events":%s}' % list_of(b"[]", MESSAGE_TIMES * MAX_CONTAINERS))


def nested(levels: int) -> Any:
    value: Any = []
    for number in range(levels - 1):
        value = [1, value] if number % 2 else {"a": value, "b": 1}
    return value


@pytest.mark.parametrize("levels", [1, 2, 3, MAX_DEPTH, 100_000])
def test_depth_is_told_to_the_level(levels: int) -> None:
    assert not deeper_than(nested(levels), levels)
    assert deeper_than(nested(levels), levels - 1)
    assert not deeper_than("text", 0)
