"""Items in columns have the numbers of their stored states, whatever came and went before."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.core.attributes import AttributeValue
from pipeline.core.catalog import Item
from pipeline.core.decay import HOUR_MS
from pipeline.core.embedding import item_vector
from pipeline.core.item_columns import NO_ROW, ItemColumns, Neighbours
from pipeline.core.item_tapes import item_hash
from pipeline.core.items import (
    IMPRESSION,
    LONG_HALF_LIFE_MS,
    SHORT_HALF_LIFE_MS,
    TRENDING_HALF_LIFE_MS,
    VIEW,
    ItemRow,
    ItemStats,
)
from pipeline.core.text_vectors import encode_waiting
from pipeline.core.vectors import VectorIndex
from tests.pipeline.core.streams import CATALOG, START_MS, Fact, event, facts, laws, stats_of
from tests.vertex.text_encoder import WordEncoder


def bare(item_id: str, **fields: object) -> ItemRow:
    return ItemRow(Item(item_id, **fields), ItemStats())  # type: ignore[arg-type]


def directions(*angles: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)] for angle in angles], np.float32)


@laws
@given(facts(), st.integers(0, 400))
def test_every_number_of_an_item_is_that_of_its_stored_state(
    stream: list[Fact], hours: int
) -> None:
    stats = stats_of([found for found, _ in stream])
    now_ms = max(stats.newest_ms, START_MS) + hours * HOUR_MS
    items = ItemColumns.of([*(bare(name) for name in CATALOG), ItemRow(Item("p"), stats)])
    rows = items.rows(["p"])
    counts = stats.counts
    for code in range(IMPRESSION + 1):
        expected = counts.long.value(code, now_ms, LONG_HALF_LIFE_MS)
        assert items.counts.get(rows, code, now_ms)[0] == pytest.approx(expected)
    expected = counts.short.value(VIEW, now_ms, SHORT_HALF_LIFE_MS)
    assert items.views_1h.get(rows, VIEW, now_ms)[0] == pytest.approx(expected)
    expected = stats.popularity.value(0, now_ms, TRENDING_HALF_LIFE_MS)
    assert items.popularity.get(rows, 0, now_ms)[0] == pytest.approx(expected)
    assert items.impressions[rows].tolist() == [counts.totals.get(IMPRESSION, 0)]
    assert items.newest_ms[rows].tolist() == [stats.newest_ms]


def test_the_catalogs_fields_come_back_as_they_were_written() -> None:
    item = Item("p", "Title", "shoes.boots", "x", 9.5, in_stock=False, stub=True)
    items = ItemColumns.of([ItemRow(item, ItemStats()), bare("q")])
    assert items.item("p") == item
    assert items.item("q") == Item("q")
    assert items.item("stranger") is None
    own = item_vector("p", "shoes.boots", "x")
    assert np.allclose(items.own_vector[items.row("p")], own / np.linalg.norm(own))
    assert int(items.hash[items.row("p")]) == item_hash("p")


NAMES = st.sampled_from([f"p{number}" for number in range(8)])


@given(st.lists(st.tuples(st.booleans(), NAMES), max_size=60))
def test_items_that_come_and_go_leave_the_others_as_they_are(
    steps: list[tuple[bool, str]],
) -> None:
    vectors = VectorIndex([f"p{number}" for number in range(5)], directions(*range(5)))
    items, expected, prices = ItemColumns(), dict[str, float](), count(1)
    items.use_vectors(vectors)
    for comes, name in steps:
        if comes:
            expected[name] = float(next(prices))
            items.put(bare(name, price=expected[name]))
        else:
            expected.pop(name, None)
            items.remove(name)
    rows = items.all_rows()
    assert dict(zip(items.ids(rows), items.price.get(rows).tolist(), strict=True)) == expected
    assert len(items) == len(expected)
    assert all((items.row(name) == NO_ROW) == (name not in expected) for name in vectors)
    nearest = items.ids(items.nearest(directions(0)[0], 5))
    assert set(nearest) == set(expected) & set(vectors)
    assert items.capacity <= 8


def test_the_nearest_are_those_in_memory_and_similarity_is_the_cosine() -> None:
    vectors = VectorIndex(["far", "near", "gone", "same"], directions(3.0, 0.5, 0.1, 0.0))
    items = ItemColumns.of([bare(name) for name in ("far", "near", "plain", "same")], vectors)
    assert items.ids(items.nearest(directions(0.0)[0], 3)) == ["same", "near"]
    rows = items.rows(["near", "plain", "far"])
    cosines = items.trained_similarity(rows, directions(0.0)[0])
    assert cosines.tolist() == pytest.approx([np.cos(0.5), 0.0, np.cos(3.0)])


def test_neighbours_are_known_once_they_are_in_memory() -> None:
    neighbours = Neighbours({"a": 4.0, "b": 1.0, "c": -1.0})
    items = ItemColumns.of([bare("b")])
    assert (items.ids(neighbours.known(items)[0]), neighbours.known(items)[1].tolist()) == (
        ["b"],
        [0.25],
    )
    items.put(bare("a"))
    items.put(bare("c"))
    rows, shares = neighbours.known(items)
    assert (items.ids(rows), shares.tolist()) == (["a", "b", "c"], [1.0, 0.25, 0.0])
    items.remove("b")
    assert items.ids(neighbours.known(items)[0]) == ["a", "c"]
    assert Neighbours({"a": -1.0}).known(items)[0].tolist() == []


def test_dropping_texts_that_no_item_has_any_more_changes_no_item() -> None:
    items = ItemColumns()
    for number in range(5_000):
        items.put(bare("p", category=f"c.{number}", brand=f"b{number}"))
        items.put(bare("q", category=f"d.{number % 2}"))
    assert items.has_many_unused_texts
    before = [items.item(name) for name in "pq"]
    items.drop_unused_texts()
    assert [items.item(name) for name in "pq"] == before
    assert not items.has_many_unused_texts
    assert items.department.text(items.row("p")) == "c"


def test_attributes_that_change_again_and_again_take_no_more_room() -> None:
    items = ItemColumns()
    for number in range(4_000):
        changing = {"note": f"n{number}", "tags": [f"t{number}", "same"]}
        items.put(bare("p", attributes=changing))
    assert items.has_many_unused_texts
    items.drop_unused_texts()
    row = items.row("p")
    assert items.attributes.texts("note").text(row) == "n3999"
    assert items.attributes.lists("tags").texts(row) == ["t3999", "same"]
    assert len(items.attributes.texts("note").dictionary) == 2
    assert len(items.attributes.lists("tags").dictionary) == 3
    assert not items.has_many_unused_texts


def test_an_event_of_a_stub_says_what_it_is() -> None:
    stats = stats_of([event("impression", 0, f"e{n}", product_id="p") for n in range(3)])
    items = ItemColumns.of([ItemRow(Item("p", stub=True), stats)])
    assert items.stub.get(items.rows(["p"])).tolist() == [True]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"in_stock": False}, False),
        ({"published_ms": 1_000}, True),
        ({"published_ms": 1_001}, False),
        ({"expires_ms": 1_001}, True),
        ({"expires_ms": 1_000}, False),
    ],
)
def test_an_item_is_sellable_from_its_publication_to_before_its_end(
    fields: dict[str, object], expected: bool
) -> None:
    items = ItemColumns.of([bare("p", **fields)])
    assert items.is_sellable(items.rows(["p"]), 1_000).tolist() == [expected]


def everything(items: ItemColumns, names: list[str]) -> dict[str, object]:
    """All that is in memory of these items, by field: numbers bit by bit."""
    rows = items.rows(names)
    numbers = {
        name: array.tobytes()
        for name, array in items.saved(rows).items()
        if not name.startswith(("category.", "department.", "brand."))
    }
    departments = [items.department.text(row) for row in rows.tolist()]
    return numbers | {"item": [items.item(name) for name in names], "department": departments}


ATTRIBUTES: list[dict[str, AttributeValue]] = [
    {},
    {"colour": "red", "size": 4.5},
    {"colour": "blue", "tags": ["a", "b"], "adult": True},
    {"size": -1.0, "tags": ["b"], "adult": False, "colour.codes": "x"},
]


@laws
@given(
    st.lists(facts(max_size=10), max_size=5),
    st.lists(st.tuples(st.booleans(), NAMES, st.text(max_size=5)), max_size=30),
    st.integers(0, 8),
)
def test_a_snapshot_gives_back_every_number_of_its_items(
    streams: list[list[Fact]], steps: list[tuple[bool, str, str]], most: int
) -> None:
    items = ItemColumns()
    for at, (comes, name, text) in enumerate(steps):
        stats = stats_of([found for found, _ in streams[at % len(streams)]] if streams else [])
        if comes:
            item = Item(
                name,
                text,
                f"{text}.x",
                text,
                float(at),
                stub=at % 2 == 0,
                published_ms=at or None,
                regions=[text, "nl"][: at % 3],
                attributes=ATTRIBUTES[at % len(ATTRIBUTES)],
            )
            items.put(ItemRow(item, stats))
        else:
            items.remove(name)
    names = items.ids(items.all_rows())[::-1]
    kept = names[:most]

    again = ItemColumns()
    again.restore(items.saved(items.rows(names)), len(kept))

    assert everything(again, kept) == everything(items, kept)
    assert again.ids(again.all_rows()) == kept


def test_every_column_of_items_is_in_a_snapshot() -> None:
    items = ItemColumns()
    columns = {name for name, value in vars(items).items() if hasattr(value, "restore")}
    saved = {name.partition(".")[0] for name in items.saved(items.all_rows())}

    assert columns - {"_vector_places"} == saved - {"id", "title"}


def test_text_vectors_are_in_a_snapshot_and_their_texts_do_not_wait_again() -> None:
    encoder = WordEncoder()
    items = ItemColumns.of([bare("p", title="red lamp"), bare("q", title="rug")])
    encode_waiting(items.text, encoder)

    again = ItemColumns()
    again.restore(items.saved(items.rows(["q", "p"])), 2)
    again.text.use_model(encoder.name)
    again.put(bare("q", title="rug"))

    assert again.text.waiting == 0
    assert (again.text.get(again.rows(["p"])) == items.text.get(items.rows(["p"]))).all()
    again.put(bare("q", title="blue rug"))
    assert again.text.take(9).texts == ["blue rug"]


def test_after_a_snapshot_new_items_come_without_a_copy_of_all_columns() -> None:
    items = ItemColumns.of(bare(f"p{n}") for n in range(100))
    again = ItemColumns()
    again.restore(items.saved(items.all_rows()), 100)

    def arrays() -> list[NDArray[Any]]:
        columns = (again.hash, again.newest_ms, again.own_vector, again.context, again.text.units)
        return [column.array for column in columns]

    before = arrays()
    for n in range(25):
        again.put(bare(f"new{n}"))

    assert all(old is new for old, new in zip(before, arrays(), strict=True))
    assert len(again) == 125


def test_a_snapshot_whose_attribute_is_declared_of_another_type_now_is_refused() -> None:
    saved = ItemColumns.of([bare("p", attributes={"size": 4.5})])

    with pytest.raises(ValueError, match="size: expected type text, got number"):
        ItemColumns({"size": "text"}).restore(saved.saved(saved.all_rows()), 1)


def test_an_attribute_that_is_declared_since_the_snapshot_is_unknown_of_its_items() -> None:
    saved = ItemColumns.of([bare("p", attributes={"size": 4.5})])
    items = ItemColumns({"adult": "boolean", "size": "number"})
    items.restore(saved.saved(saved.all_rows()), 1)

    rows = items.rows(["p"])
    assert items.attributes.values("size").get(rows).tolist() == [4.5]
    assert np.isnan(items.attributes.values("adult").get(rows)).all()


def test_items_from_a_snapshot_live_on_as_others_do() -> None:
    vectors = VectorIndex(["p", "q"], directions(0.0, 1.5))
    saved = ItemColumns.of([bare("p", category="a"), bare("q", category="b")])
    items = ItemColumns()
    items.restore(saved.saved(saved.all_rows()), 2)
    items.use_vectors(vectors)
    items.remove("p")
    items.put(bare("new", category="b"))
    items.put(bare("p", category="c"))

    assert items.ids(items.nearest(directions(0.1)[0], 2)) == ["p", "q"]
    assert {name: items.item(name) for name in ("p", "q", "new")} == {
        "p": Item("p", category="c"),
        "q": Item("q", category="b"),
        "new": Item("new", category="b"),
    }
