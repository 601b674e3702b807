"""Text vectors: what waits, what is encoded, what is forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.catalog import Item
from pipeline.core.columns import Rows
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import ItemRow, ItemStats
from pipeline.core.text_vectors import MAX_TEXT_CHARS, TextVectors, encode_waiting, item_text
from tests.vertex.text_encoder import WordEncoder


def rows(*numbers: int) -> Rows:
    return np.array(numbers, np.int32)


def encoded(*texts: str) -> TextVectors:
    """The vectors of these texts, in rows 0, 1, and so on."""
    vectors = TextVectors()
    for row, text in enumerate(texts):
        vectors.note(row, text)
    encode_waiting(vectors, WordEncoder())
    return vectors


def vector_of(text: str) -> NDArray[np.float16]:
    vector: NDArray[np.float16] = WordEncoder().encode([text])[0].astype(np.float16)
    return vector


def test_a_text_has_its_vector_once_it_is_encoded() -> None:
    vectors = encoded("gas grill", "running shoes")

    assert vectors.waiting == 0
    assert vectors.known(rows(0, 1)).all()
    np.testing.assert_array_equal(vectors.get(rows(1))[0], vector_of("running shoes"))


def test_a_text_that_was_noted_again_does_not_wait() -> None:
    vectors = encoded("gas grill")

    vectors.note(0, "gas grill")

    assert vectors.waiting == 0


def test_a_changed_text_waits_and_its_row_keeps_the_old_vector_until_then() -> None:
    vectors = encoded("gas grill")

    vectors.note(0, "charcoal grill")
    before = vectors.get(rows(0))[0]
    encode_waiting(vectors, WordEncoder())

    np.testing.assert_array_equal(before, vector_of("gas grill"))
    np.testing.assert_array_equal(vectors.get(rows(0))[0], vector_of("charcoal grill"))


def test_a_text_that_was_taken_back_does_not_wait() -> None:
    vectors = encoded("gas grill")

    vectors.note(0, "charcoal grill")
    vectors.note(0, "gas grill")

    assert vectors.waiting == 0


def test_the_newest_text_is_taken_first() -> None:
    vectors = TextVectors()
    for row, text in enumerate(["a", "b", "c"]):
        vectors.note(row, text)
    vectors.note(0, "changed")

    assert vectors.take(2).texts == ["changed", "c"]
    assert vectors.take(9).texts == ["b"]
    assert vectors.take(9).texts == []


def test_beyond_the_bound_the_oldest_waits_no_longer_until_it_is_noted_again() -> None:
    vectors = TextVectors(max_waiting=2)
    for row, text in enumerate(["a", "b", "c"]):
        vectors.note(row, text)

    assert vectors.take(9).texts == ["c", "b"]
    vectors.note(0, "a")
    assert vectors.take(9).texts == ["a"]


def test_a_vector_that_comes_after_its_text_changed_is_left_out() -> None:
    vectors = TextVectors()
    vectors.note(0, "gas grill")
    vectors.note(1, "shoes")
    taken = vectors.take(2)
    vectors.note(0, "charcoal grill")

    put = vectors.put(taken, WordEncoder().encode(taken.texts))

    assert put.tolist() == [1]
    assert vectors.known(rows(0, 1)).tolist() == [False, True]
    assert vectors.waiting == 1


def test_an_empty_text_has_no_vector() -> None:
    vectors = encoded("gas grill")

    vectors.note(0, "")

    assert vectors.waiting == 0
    assert not vectors.known(rows(0)).any()
    assert not vectors.get(rows(0)).any()


def test_vectors_of_another_model_are_forgotten() -> None:
    vectors = encoded("gas grill")

    vectors.use_model("words")
    assert vectors.known(rows(0)).all()
    vectors.use_model("another")
    assert not vectors.known(rows(0)).any()
    assert not vectors.get(rows(0)).any()
    vectors.note(0, "gas grill")
    assert vectors.waiting == 1


def test_without_a_model_no_text_waits() -> None:
    vectors = TextVectors()
    vectors.note(0, "gas grill")

    vectors.use_none()
    vectors.note(1, "shoes")

    assert vectors.waiting == 0


def test_a_removed_item_leaves_no_vector_to_the_one_that_gets_its_row() -> None:
    columns = ItemColumns.of([ItemRow(Item("old", "gas grill"), ItemStats())])
    taken = columns.text.take(1)

    columns.remove("old")
    row = columns.put(ItemRow(Item("new", "running shoes"), ItemStats()))
    columns.text.put(taken, WordEncoder().encode(taken.texts))

    assert not columns.text.known(rows(row)).any()
    encode_waiting(columns.text, WordEncoder())
    np.testing.assert_array_equal(columns.text.get(rows(row))[0], vector_of("running shoes"))


def test_the_text_of_an_item_is_its_title_brand_category_and_description() -> None:
    item = Item("i", "Ember 3", "garden.gas_grills", "Ember", description="Three burners.")

    assert item_text(item) == "Ember 3 Ember garden gas grills Three burners."
    assert item_text(Item("i")) == ""


def test_a_long_description_is_cut() -> None:
    assert len(item_text(Item("i", "Ember 3", description="burner " * 1000))) == MAX_TEXT_CHARS


@pytest.mark.parametrize("text", ["\ud800", "烧烤", "\x00"])
def test_any_text_has_a_key(text: str) -> None:
    vectors = TextVectors()

    vectors.note(0, text)

    assert vectors.take(1).texts == [text]
