"""Columns hold what a list of rows holds, and answer for any rows of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.columns import (
    FlagColumn,
    Growable,
    NumberColumn,
    TextColumn,
    TextsColumn,
    drop_unused_texts,
)

TEXTS = st.sampled_from(["", "red", "blue", "green", "ü"])
PLACES = st.integers(0, 200)


def every(rows: int) -> np.ndarray:
    return np.arange(rows, dtype=np.int32)


@given(st.lists(st.tuples(PLACES, TEXTS)))
def test_a_text_column_answers_as_a_list_of_texts(writes: list[tuple[int, str]]) -> None:
    column, expected = TextColumn(), [""] * 201
    column.reserve(201)
    for row, text in writes:
        column.put(row, text)
        expected[row] = text
    assert [column.text(row) for row in range(201)] == expected
    red_or_new = column.is_one_of(every(201), ["red", "never seen"])
    assert red_or_new.tolist() == [text == "red" for text in expected]


@given(st.lists(st.tuples(PLACES, st.lists(TEXTS, max_size=40)), max_size=60))
def test_a_column_of_lists_answers_as_a_list_of_lists(
    writes: list[tuple[int, list[str]]],
) -> None:
    column = TextsColumn()
    expected: list[list[str]] = [[] for _ in range(201)]
    column.reserve(201)
    for row, texts in writes:
        column.put(row, texts)
        expected[row] = texts
    assert [column.texts(row) for row in range(201)] == expected
    rows = every(201)[::-3].copy()
    mask = column.has_any(rows, ["red", "ü"])
    assert mask.tolist() == [not {"red", "ü"}.isdisjoint(expected[row]) for row in rows]
    assert column.has_any(rows[7:9], ["red", "ü"]).tolist() == mask[7:9].tolist()


def test_lists_that_are_replaced_again_and_again_take_no_more_room() -> None:
    column = TextsColumn()
    for turn in range(20_000):
        column.put(turn % 10, ["red", "blue", "green"])
    assert column.texts(3) == ["red", "blue", "green"]
    assert len(column._arena) < 10_000


def test_dropping_unused_texts_changes_codes_and_no_text() -> None:
    first = TextColumn()
    second = TextColumn(first.dictionary)
    for turn in range(1_000):
        first.put(turn % 7, f"first {turn}")
        second.put(turn % 5, f"second {turn}")
    first.put(3, None)
    texts = [[column.text(row) for row in range(7)] for column in (first, second)]

    drop_unused_texts([first, second], every(7))

    assert [[column.text(row) for row in range(7)] for column in (first, second)] == texts
    assert first.dictionary is second.dictionary
    assert len(first.dictionary) == len({text for of in texts for text in of})


def test_what_is_unknown_is_nan_false_or_the_default() -> None:
    numbers, flags = NumberColumn(), FlagColumn(default=True)
    numbers.put(2, 4.5)
    flags.put(1, False)
    numbers.put(2, None)
    flags.put(0, None)
    assert np.isnan(numbers.get(every(3))).all()
    assert flags.get(every(2)).tolist() == [True, False]


def test_growing_keeps_what_was_written() -> None:
    array = Growable(np.float32, 7.0, width=3)
    for row in range(500):
        array[row] = row
    assert array[np.array([0, 250, 499])].tolist() == [[0] * 3, [250] * 3, [499] * 3]
    assert (array.array[500:] == 7.0).all()


@given(st.lists(st.lists(st.text(max_size=4), max_size=4), max_size=20), st.integers(0, 20))
def test_lists_of_texts_come_back_from_a_snapshot(lists: list[list[str]], most: int) -> None:
    column, again = TextsColumn(), TextsColumn()
    for row, texts in enumerate(lists):
        column.put(row, ["replaced"])
        column.put(row, texts)
    kept = lists[:most]

    again.restore(column.saved(np.arange(len(lists), dtype=np.int32)), len(kept))
    again.put(len(kept), ["later"])

    assert [again.texts(row) for row in range(len(kept) + 1)] == [*kept, ["later"]]


def test_an_array_that_does_not_fit_its_column_is_refused() -> None:
    numbers = NumberColumn()
    with pytest.raises(ValueError, match="expected float64 of shape"):
        numbers.restore({"": np.zeros(2, np.int32)}, 2)
    with pytest.raises(ValueError, match="expected float64 of shape"):
        numbers.restore({"": np.zeros(2)}, 3)
