"""Google Merchant XML: items of RSS and Atom; hostile XML expands to nothing."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.attributes import AttributeSchema
from pipeline.core.catalog_rows import parse_item
from pipeline.core.invalid_item import InvalidItem
from pipeline.ops.feeds.merchant_xml import MAX_ITEM_BYTES, merchant_xml
from pipeline.ops.feeds.rows import Columns, InvalidFeed

RSS = """<?xml version="1.0"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel>
<title>Shop</title><link>https://shop.example</link>
{}
</channel></rss>"""
LAMP = """<item>
<g:id>lamp-1</g:id><g:title>Lamp &amp; shade</g:title><description>Tall.</description>
<link>https://shop.example/lamp</link><g:image_link>https://shop.example/lamp.jpg</g:image_link>
<g:price>12.50 EUR</g:price><g:sale_price>9.99 EUR</g:sale_price>
<g:availability>in stock</g:availability><g:brand>Luma</g:brand>
<g:product_type>Home &gt; Lamps &gt; Nr. 5</g:product_type><g:product_type>Gifts</g:product_type>
<g:item_group_id>lamps</g:item_group_id><g:color>Red</g:color><g:adult>no</g:adult>
<g:expiration_date>2026-02-01T12:00+0100</g:expiration_date><g:custom_label_0>hot</g:custom_label_0>
<g:shipping><g:country>NL</g:country><g:price>5 EUR</g:price></g:shipping>
</item>"""


def read(tmp_path: Path, text: str) -> list[dict[str, Any] | InvalidItem]:
    path = tmp_path / "feed.xml"
    path.write_text(text, encoding="utf-8")
    return [found.row for found in merchant_xml(path, Columns(AttributeSchema()))]


def test_an_item_of_google_is_an_item_of_ours(tmp_path: Path) -> None:
    [row] = read(tmp_path, RSS.format(LAMP))
    assert isinstance(row, dict)
    item = parse_item(row)
    assert (item.item_id, item.title, item.description) == ("lamp-1", "Lamp & shade", "Tall.")
    assert (item.url, item.image) == (
        "https://shop.example/lamp",
        "https://shop.example/lamp.jpg",
    )
    assert (item.category, item.brand, item.group) == ("Home.Lamps.Nr  5", "Luma", "lamps")
    assert (item.price, item.prices, item.in_stock) == (9.99, {"EUR": 9.99}, True)
    assert item.expires_ms == 1_769_943_600_000
    assert item.attributes == {
        "list_price": 12.5,
        "availability": "in stock",
        "color": "Red",
        "adult": False,
        "custom_label_0": "hot",
        "product_types": ["Home.Lamps.Nr  5", "Gifts"],
    }


def test_atom_is_read_as_well(tmp_path: Path) -> None:
    [row] = read(
        tmp_path,
        '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">'
        '<entry><g:id>a</g:id><title>T</title><link href="https://shop.example/a"/></entry></feed>',
    )
    assert isinstance(row, dict)
    assert (row["id"], row["title"], row["url"]) == ("a", "T", "https://shop.example/a")


@pytest.mark.parametrize(
    ("element", "message"),
    [
        ("<g:price>cheap</g:price>", "price: expected a price such as 12.34 EUR, got cheap"),
        ("<g:price>12,50 EUR</g:price>", "price: expected a price such as 12.34 EUR"),
        ("<g:availability>maybe</g:availability>", "availability: expected one of in_stock"),
        ("<g:adult>perhaps</g:adult>", "adult: expected yes or no, got perhaps"),
        ("<g:expiration_date>soon</g:expiration_date>", "expiration_date: expected an ISO 8601"),
    ],
)
def test_a_wrong_value_is_named_and_the_next_item_is_read(
    tmp_path: Path, element: str, message: str
) -> None:
    bad, good = read(tmp_path, RSS.format(f"<item><g:id>b</g:id>{element}</item>{LAMP}"))
    assert isinstance(bad, InvalidItem) and str(bad).startswith(message)
    assert isinstance(good, dict) and good["id"] == "lamp-1"


@pytest.mark.parametrize(
    "dtd",
    [
        '<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE r SYSTEM "http://127.0.0.1:1/r.dtd">',
    ],
)
def test_entities_and_document_types_are_refused(tmp_path: Path, dtd: str) -> None:
    with pytest.raises(InvalidFeed, match="after item 0: DTDForbidden"):
        read(tmp_path, f"{dtd}<rss><item><title>&a;</title></item></rss>")


@pytest.mark.parametrize("text", ["", "no xml", RSS.format(LAMP)[:-9], "<rss><item></rss>"])
def test_what_is_no_xml_or_breaks_off_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidFeed, match=r"after item \d: "):
        read(tmp_path, text)


def test_an_item_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidFeed, match="expected an item within 1000000 bytes"):
        read(tmp_path, "<rss><item><title>" + "x" * (2 * MAX_ITEM_BYTES))


def test_memory_does_not_grow_with_the_feed(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_text(RSS.format(LAMP * 20_000), encoding="utf-8")
    columns = Columns(AttributeSchema())
    tracemalloc.start()
    count = sum(1 for _ in merchant_xml(path, columns))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000 and peak < 2_000_000
