"""The catalog: what an item is, and how it is read and stored."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.core.attributes import FALSE, TRUE
from pipeline.core.events import MAX_ID_LENGTH, MAX_TEXT_LENGTH, Event
from pipeline.core.invalid_item import InvalidItem


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One thing to recommend. `stub` marks an item known only from events: it is not in the catalog
    yet.

    `category` is a dotted path, coarse to fine (`electronics.audio`); `price` is in the site's
    currency, 0 = unknown.
    """

    item_id: str
    title: str = ""
    category: str = ""
    brand: str = ""
    price: float = 0.0
    image: str = ""
    url: str = ""
    in_stock: bool = True
    stub: bool = False


_VERSION = b"\x01"  # the first byte of a stored item, by which `store.decode` picks its decoder
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Item)


def encode_item(item: Item) -> bytes:
    """The stored form of an item."""
    return _VERSION + _encoder.encode(item)


def decode_item(data: bytes) -> Item:
    """The item that `encode_item` wrote; raises `msgspec.DecodeError` for other bytes."""
    return _decoder.decode(memoryview(data)[1:])


def department(category: str) -> str:
    """The first part of a dotted category path."""
    return category.partition(".")[0]


def stub_item(event: Event) -> Item:
    """A stub: what an event says of an item that the catalog does not hold.

    Raises:
        InvalidItem: when the event names no product.
    """
    if event.product_id is None:
        raise InvalidItem("product_id", "required to make a stub", None)
    return Item(
        event.product_id,
        title=event.text("title"),
        category=event.text("category"),
        brand=event.text("brand"),
        price=event.number("price"),
        stub=True,
    )


def parse_item(row: dict[str, Any]) -> Item:
    """Read one catalog row (JSON values or CSV texts); `id` and `item_id` are both understood.

    Raises:
        InvalidItem: naming field, expectation and value.
    """
    return Item(
        _id(row),
        title=_text(row, "title"),
        category=_short_text(row, "category"),
        brand=_short_text(row, "brand"),
        image=_text(row, "image"),
        url=_text(row, "url"),
        price=_price(row.get("price")),
        in_stock=_flag(row.get("in_stock")),
    )


def _id(row: dict[str, Any]) -> str:
    value = next((row[name] for name in ("item_id", "id") if row.get(name) not in (None, "")), "")
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InvalidItem("id", "expected a text", value)
    item_id = str(value).strip()
    if not (0 < len(item_id) <= MAX_ID_LENGTH and item_id.isprintable()):
        raise InvalidItem("id", f"expected 1 to {MAX_ID_LENGTH} printable characters", item_id)
    return item_id


def _short_text(row: dict[str, Any], name: str) -> str:
    """A text that becomes part of row keys and profiles, and so has a bound."""
    text = _text(row, name)
    if len(text) > MAX_TEXT_LENGTH:
        raise InvalidItem(name, f"expected at most {MAX_TEXT_LENGTH} characters", text)
    return text


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidItem(name, "expected a text", value)
    return value.strip()


def _price(value: Any) -> float:
    if value is None or value == "":
        return 0.0
    try:
        price = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidItem("price", "expected a number", value) from None
    if not 0 <= price < float("inf"):
        raise InvalidItem("price", "expected a finite number of at least 0", value)
    return price


def _flag(value: Any) -> bool:
    if value is None or value == "" or isinstance(value, bool):
        return value is not False
    text = str(value).strip().lower()
    if text not in TRUE | FALSE:
        raise InvalidItem("in_stock", "expected true or false", value)
    return text in TRUE
