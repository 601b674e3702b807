"""Segment's `track` events as ours: its e-commerce and video specifications, and what sites call
the same things.

https://www.twilio.com/docs/segment/connections/spec/ecommerce/v2 and .../spec/video;
RudderStack's are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from functions.protocols.commerce_facts import (
    MAX_PRODUCTS,
    Fact,
    amounts_of,
    from_zero,
    kept,
    without_product,
)
from functions.protocols.commerce_names import event_of, named_properties
from functions.protocols.values import as_id, filled, with_our_names
from pipeline.core.event_types import PRODUCT_EVENTS
from pipeline.core.invalid_event import InvalidEvent

_MAX_NAME_LENGTH = 64
_EVENTS = {
    "product list viewed": "impression",
    "viewed product list": "impression",
    "viewed product category": "impression",  # of the specification's first version
    "video playback started": "media_play",
    "video playback resumed": "media_play",
    "video content started": "media_play",
    "video playback paused": "media_pause",
    "video content playing": "media_progress",
}
"""In lower case. Shop events beside these are known to `event_of` under Segment's names as well."""
_MEDIA_EVENTS = frozenset("media_play media_pause media_progress".split())

_IDS = ("product_id", "productId", "sku")
_IDS_OF_PRODUCTS = (*_IDS, "id")
"""`id` is a product's only where nothing but a product is meant: that of a click may be a
button's."""
_PRODUCT_FIELDS = {"name": "title", "url": "product_url", "variant": "product_variant"}
_LIST_FIELDS = {"list_id": "placement"}
_MEDIA_FIELDS = {"position": "position_s", "total_length": "length_s"}
"""A `position` of ours is a place in a list; a film's is in seconds."""
_ORDER_FIELDS = {
    "orderId": "order_id",
    "total": "order_value",
    "revenue": "order_value",
    "value": "order_value",
    "tax": "order_tax",
    "shipping": "order_shipping",
    "discount": "order_discount",
}
_OF_EACH_PRODUCT = {
    "purchase": frozenset("order_id order_value currency coupon".split()),
    "impression": frozenset("placement category".split()),
}
"""Facts of each product of a list; the first alone carries the rest."""
_ANY_LIST = frozenset("cart_id currency coupon".split())
_EVERY_LIST = frozenset(("request_id",))

_AMOUNTS = frozenset(
    "list_price discount order_value order_tax order_shipping order_discount position_s "
    "length_s".split()
)
_RESERVED = ("consent",)
"""Names of our metadata that the collector reads, and a site may use otherwise."""


def facts_of_track(name: str, properties: Mapping[str, Any]) -> Sequence[Fact]:
    """Facts of an event: one, or one for each product that it lists.

    A product event without a product is kept under its own name, as any event is that is not known.

    Args:
        name: not empty, at most 256 characters.
        properties: any JSON values.

    Raises:
        InvalidEvent: there are more than `MAX_PRODUCTS` products.
    """
    event = _event_named(name)
    if event in PRODUCT_EVENTS:
        facts = _counted(_of_products(event, properties))
        return facts or [Fact(without_product(name), as_metadata(properties))]
    if event == "click":
        return _counted([_of_click(name, properties)])
    if event == "search":
        queries = named_properties(properties).get("query", [])
        fields = with_our_names(properties, dict.fromkeys(queries, "query"))
        return [Fact("search", as_metadata(fields))]
    if event in _MEDIA_EVENTS:
        return [_of_media(event, with_our_names(properties, _MEDIA_FIELDS))]
    rest = {given: value for given, value in properties.items() if given != "product_id"}
    return [Fact(event or name, as_metadata(rest), as_id(properties.get("product_id")))]


def as_metadata(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Properties as metadata: numbers that came as texts are numbers, what our names cannot hold is
    `unmapped`.

    What is null or an empty text says nothing and is left out.
    """
    return amounts_of(kept(filled(properties)), _AMOUNTS, _RESERVED)


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Both; of two with the same name the second's, but `unmapped` of both."""
    joined = first | second
    one, other = first.get("unmapped"), second.get("unmapped")
    if isinstance(one, dict) and isinstance(other, dict):
        joined["unmapped"] = {**one, **other}
    return joined


def _counted(facts: Sequence[Fact]) -> Sequence[Fact]:
    """Positions of products in lists as we count them: the specification's first one is 1."""
    return [
        Fact(fact.event, from_zero(fact.metadata), fact.product_id) if fact.product_id else fact
        for fact in facts
    ]


def _event_named(name: str) -> str | None:
    if len(name) > _MAX_NAME_LENGTH:
        return None
    plain = " ".join(re.split(r"[\s_-]+", name.lower())).strip()
    known = _EVENTS.get(plain) or event_of(name)
    if known is None and name in PRODUCT_EVENTS:
        return name
    return known


def _of_click(name: str, properties: Mapping[str, Any]) -> Fact:
    if "product" in name.lower() or _id_in(properties, _IDS):
        return _product("click", properties)
    return Fact("click", as_metadata(properties))


def _of_media(event: str, fields: dict[str, Any]) -> Fact:
    """The film that plays is the item, so that films can be recommended; a playback lists some."""
    several = fields.get("content_asset_ids")
    content_id = as_id(fields.get("content_asset_id"))
    if content_id is not None:
        del fields["content_asset_id"]
    elif isinstance(several, list) and len(several) == 1:
        content_id = as_id(several[0])
    return Fact(event, as_metadata(fields), content_id)


def _of_products(event: str, properties: Mapping[str, Any]) -> Sequence[Fact]:
    """Of a list of products each; else of the product that the event itself names; else nothing."""
    lines = properties.get("products")
    if isinstance(lines, list) and (event in _OF_EACH_PRODUCT or _id_in(properties) is None):
        found = _of_list(event, properties, lines)
        if found:
            return found
    if event == "purchase":
        properties = with_our_names(properties, _ORDER_FIELDS)
    fact = _product(event, properties)
    return [fact] if fact.product_id else []


def _of_list(event: str, properties: Mapping[str, Any], lines: Sequence[Any]) -> Sequence[Fact]:
    """A fact for each product with an id; those without stay with the first, so that nothing of an
    order is lost.
    """
    if len(lines) > MAX_PRODUCTS:
        expected = f"expected at most {MAX_PRODUCTS} products"
        raise InvalidEvent("properties.products", expected, len(lines))
    products: list[Fact] = []
    without_id: list[Any] = []
    for line in lines:
        found = _product(event, line if isinstance(line, dict) else {"product_id": line})
        if found.product_id is None:
            without_id.append(line)
        else:
            products.append(found)
    first = _of_whole_list(event, properties)
    names = _OF_EACH_PRODUCT.get(event, _ANY_LIST) | _EVERY_LIST
    each = {name: value for name, value in first.items() if name in names}
    if without_id:
        first["products_without_id"] = without_id
    return [
        Fact(event, _joined(each if number else first, found.metadata), found.product_id)
        for number, found in enumerate(products)
    ]


def _of_whole_list(event: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties beside a list of products, as metadata."""
    fields = {name: value for name, value in properties.items() if name != "products"}
    names = _ORDER_FIELDS if event == "purchase" else _LIST_FIELDS
    return as_metadata(with_our_names(fields, names))


def _product(event: str, properties: Mapping[str, Any]) -> Fact:
    given = _id_in(properties)
    others = {name: value for name, value in properties.items() if name != given}
    metadata = as_metadata(with_our_names(others, _PRODUCT_FIELDS))
    return Fact(event, metadata, as_id(properties[given]) if given else None)


def _id_in(properties: Mapping[str, Any], names: Sequence[str] = _IDS_OF_PRODUCTS) -> str | None:
    """The name of the property that holds the product's id."""
    return next((name for name in names if as_id(properties.get(name))), None)
