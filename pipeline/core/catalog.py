"""The catalog: what an item is, and how it is stored."""

from __future__ import annotations

import msgspec

from pipeline.core.attributes import AttributeValue
from pipeline.core.events import Event
from pipeline.core.invalid_item import InvalidItem


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One thing to recommend. `stub` marks an item known only from events: it is not in the catalog
    yet. `deleted` marks one that was deleted: it is not in the catalog any more.

    Fields are appended, never moved: stored items are arrays.

    Attributes:
        category: a dotted path, coarse to fine (`electronics.audio`).
        price: in the site's currency, 0 = unknown.
        attributes: the shop's own fields (`core.attributes`).
        published_ms, expires_ms: shown from the one to before the other, ms since the Unix epoch.
        group: the product that this item is a variant of.
        prices: in further currencies, by ISO 4217 code.
        regions: countries, regions or stores where it is available; empty: everywhere.
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
    description: str = ""
    attributes: dict[str, AttributeValue] = {}
    published_ms: int | None = None
    expires_ms: int | None = None
    group: str = ""
    prices: dict[str, float] = {}
    regions: list[str] = []
    deleted: bool = False


_VERSION = b"\x01"  # the first byte of a stored item, by which `store.decode` picks its decoder
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Item)


def encode_item(item: Item) -> bytes:
    """The stored form of an item."""
    return _VERSION + _encoder.encode(item)


def decode_item(data: bytes) -> Item:
    """The item that `encode_item` wrote; raises `msgspec.DecodeError` for other bytes."""
    return _decoder.decode(memoryview(data)[1:])


def deleted_item(item_id: str) -> Item:
    """The mark of a deleted item. It is out of stock, so that an older release does not show it."""
    return Item(item_id, in_stock=False, deleted=True)


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
