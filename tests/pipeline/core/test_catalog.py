"""The catalog: items are read as they were written, also by an older release."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog import (
    Item,
    decode_item,
    deleted_item,
    department,
    encode_item,
    stub_item,
)
from pipeline.core.invalid_item import InvalidItem
from tests.pipeline.core.streams import event, laws

FULL = Item(
    "p1",
    "Lamp",
    "home.light",
    "b",
    12.5,
    "i",
    "u",
    description="A lamp.",
    attributes={"color": "red", "weight": 2.5, "adult": False, "tags": ["new"], "since": 5},
    published_ms=1,
    expires_ms=2,
    group="lamps",
    prices={"EUR": 11.0},
    regions=["nl"],
)


@laws
@given(
    st.builds(
        Item,
        st.text(min_size=1),
        st.text(),
        st.text(),
        st.text(),
        st.floats(0, 1e9),
        st.text(),
        st.text(),
        st.booleans(),
        st.booleans(),
        st.text(),
        st.dictionaries(
            st.text(),
            st.one_of(st.text(), st.booleans(), st.integers(0, 2**53), st.lists(st.text())),
        ),
        st.none() | st.integers(0, 2**53),
        st.none() | st.integers(0, 2**53),
        st.text(),
        st.dictionaries(st.text(), st.floats(0, 1e9)),
        st.lists(st.text()),
        st.booleans(),
    )
)
def test_an_item_is_read_as_it_was_written(item: Item) -> None:
    assert decode_item(encode_item(item)) == item


def test_a_department_is_the_first_part_of_a_path() -> None:
    assert [department(c) for c in ("electronics.audio.tv", "shoes", "")] == [
        "electronics",
        "shoes",
        "",
    ]


def test_a_stub_is_what_the_event_tells_of_its_item() -> None:
    view = event(
        product_id="p9",
        metadata={"title": "Lamp", "category": "c", "brand": "b", "price": 3, "x": 1},
    )
    assert stub_item(view) == Item("p9", "Lamp", "c", "b", 3.0, stub=True)
    assert stub_item(event(product_id="p9")) == Item("p9", stub=True)


def test_an_event_without_a_product_makes_no_stub() -> None:
    with pytest.raises(InvalidItem, match="product_id: required to make a stub"):
        stub_item(event("scroll"))


class Item1(msgspec.Struct, frozen=True, array_like=True):
    """An item as the first release knows it."""

    item_id: str
    title: str = ""
    category: str = ""
    brand: str = ""
    price: float = 0.0
    image: str = ""
    url: str = ""
    in_stock: bool = True
    stub: bool = False


def test_an_older_release_reads_an_item_with_all_fields_and_does_not_show_a_deleted_one() -> None:
    stored = encode_item(FULL)[1:]
    assert msgspec.msgpack.decode(stored, type=Item1) == Item1(
        "p1", "Lamp", "home.light", "b", 12.5, "i", "u"
    )
    deleted = msgspec.msgpack.decode(encode_item(deleted_item("p1"))[1:], type=Item1)
    assert deleted == Item1("p1", in_stock=False)
