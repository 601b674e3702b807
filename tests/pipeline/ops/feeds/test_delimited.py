"""CSV and TSV: our own columns, attributes among them, and Google Merchant's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.attributes import AttributeSchema
from pipeline.core.catalog import Item
from pipeline.core.catalog_rows import parse_item
from pipeline.core.invalid_item import InvalidItem
from pipeline.ops.feeds.delimited import delimited_rows
from pipeline.ops.feeds.rows import Columns, FeedRow, InvalidFeed


def read(
    tmp_path: Path, text: str, delimiter: str, columns: Columns | None = None
) -> list[FeedRow]:
    path = tmp_path / "feed"
    path.write_text(text, encoding="utf-8")
    return list(delimited_rows(path, delimiter, columns or Columns(AttributeSchema())))


def item_of(found: FeedRow) -> Item:
    assert isinstance(found.row, dict)
    return parse_item(found.row)


def test_columns_that_are_no_field_are_attributes_and_lists_are_split(tmp_path: Path) -> None:
    text = "id,regions,prices.EUR,colour,shoe size,tags,price,\np,nl|be,5,red,,a|b,7,x\n"
    columns = Columns(AttributeSchema({"colour": "text", "shoe_size": "text", "tags": "list"}))
    [found] = read(tmp_path, text, ",", columns)
    assert item_of(found) == Item(
        "p",
        price=7.0,
        prices={"EUR": 5.0},
        regions=["nl", "be"],
        attributes={"colour": "red", "tags": ["a", "b"]},
    )


def test_names_that_can_be_no_attribute_are_noted(tmp_path: Path) -> None:
    columns = Columns(AttributeSchema())
    [found] = read(tmp_path, "id,stub,1st,and\np,1,2,3\n", ",", columns)
    assert item_of(found) == Item("p")
    assert list(columns.ignored) == ["stub", "1st", "and"]


@pytest.mark.parametrize("image", ["image_link", "image link", "g:image_link", "Image Link"])
def test_a_header_with_a_name_of_googles_is_read_as_theirs(tmp_path: Path, image: str) -> None:
    text = (
        f"id\ttitle\tprice\t{image}\tproduct type\tcustom label 0\n"
        "p\tLamp\t12.50 EUR\ti.jpg\tHome > Lamps\thot\n"
    )
    [found] = read(tmp_path, text, "\t")
    item = item_of(found)
    assert (item.price, item.image, item.category) == (12.5, "i.jpg", "Home.Lamps")
    assert item.attributes == {"custom_label_0": "hot", "product_types": ["Home.Lamps"]}


def test_a_sale_counts_while_it_lasts(tmp_path: Path) -> None:
    text = (
        "id\tlink\tprice\tsale_price\tsale_price_effective_date\n"
        "now\tl\t10 EUR\t5 EUR\t2020-01-01T00:00Z/2120-01-01T00:00Z\n"
        "over\tl\t10 EUR\t5 EUR\t2020-01-01T00:00Z/2020-02-01T00:00Z\n"
        "odd\tl\t10 EUR\t5 EUR\tspring\n"
    )
    now, over, odd = read(tmp_path, text, "\t")
    assert (item_of(now).price, item_of(now).attributes) == (5.0, {"list_price": 10.0})
    assert (item_of(over).price, item_of(over).attributes) == (10.0, {})
    assert odd.place == "line 4" and isinstance(odd.row, InvalidItem)
    assert odd.row.field == "sale_price_effective_date"


def test_a_cell_without_end_is_told_by_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidFeed, match="after line 1: field larger than field limit"):
        read(tmp_path, 'id,title\np,"' + "x" * 1_000_001, ",")
