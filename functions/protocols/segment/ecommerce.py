"""Segment's `track` events as ours: its e-commerce and video specifications, and what sites call
the same things.

https://www.twilio.com/docs/segment/connections/spec/ecommerce/v2 and .../spec/video;
RudderStack's are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from functions.protocols.commerce_facts import MAX_PRODUCTS, Fact, from_zero, kept
from functions.protocols.commerce_names import event_of, named_properties
from functions.protocols.values import as_id, as_number
from pipeline.core.events import MAX_NUMBER
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.vocabulary import PRODUCT_EVENTS

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
"""Names of our metadata that mean something to the collector, and maybe something else to a
site."""


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
        return _counted(_of_products(event, properties)) or [
            Fact(_own(name), as_metadata(properties))
        ]
    if event == "click":
        return _counted([_of_click(name, properties)])
    if event == "search":
        queries = named_properties(properties).get("query", [])
        return [Fact("search", as_metadata(_renamed(properties, dict.fromkeys(queries, "query"))))]
    if event in _MEDIA_EVENTS:
        return [_of_media(event, _renamed(properties, _MEDIA_FIELDS))]
    rest = {given: value for given, value in properties.items() if given != "product_id"}
    return [Fact(event or name, as_metadata(rest), as_id(properties.get("product_id")))]


def as_metadata(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Properties as metadata: numbers that came as texts are numbers, what our names cannot hold is
    `unmapped`.

    What is null or an empty text says nothing and is left out.
    """
    metadata = kept(
        {name: value for name, value in properties.items() if value is not None and value != ""}
    )
    unmapped = {}
    for name in metadata.keys() & _AMOUNTS:
        number = as_number(metadata[name])
        if number is not None and 0 <= number <= MAX_NUMBER:
            metadata[name] = number
        else:
            unmapped[name] = metadata.pop(name)
    unmapped |= {name: metadata.pop(name) for name in _RESERVED if name in metadata}
    return _joined(metadata, {"unmapped": unmapped}) if unmapped else metadata


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Of two with the same name the second's, but what is `unmapped` of both."""
    one, other = first.get("unmapped"), second.get("unmapped")
    both = (
        {"unmapped": {**one, **other}} if isinstance(one, dict) and isinstance(other, dict) else {}
    )
    return first | second | both


def _counted(facts: Sequence[Fact]) -> Sequence[Fact]:
    """With places in lists as we count them: the specification's first one is 1."""
    return [
        Fact(
            fact.event,
            from_zero(fact.metadata) if fact.product_id else fact.metadata,
            fact.product_id,
        )
        for fact in facts
    ]


def _event_named(name: str) -> str | None:
    if len(name) > _MAX_NAME_LENGTH:
        return None
    plain = " ".join(re.split(r"[\s_-]+", name.lower())).strip()
    return _EVENTS.get(plain) or event_of(name) or (name if name in PRODUCT_EVENTS else None)


def _own(name: str) -> str:
    """A name that means a product to us, on an event without one, would be refused."""
    return f"{name}_without_product" if name in PRODUCT_EVENTS else name


def _of_click(name: str, properties: Mapping[str, Any]) -> Fact:
    if "product" in name.lower() or _id_in(properties, _IDS):
        return _product("click", properties)
    return Fact("click", as_metadata(properties))


def _of_media(event: str, fields: dict[str, Any]) -> Fact:
    """Take the film that plays for the item, so that films can be recommended; a playback lists
    what it will play.
    """
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
    fact = _of_one(event, properties)
    return [fact] if fact.product_id else []


def _of_one(event: str, properties: Mapping[str, Any]) -> Fact:
    fields = _renamed(properties, _ORDER_FIELDS) if event == "purchase" else properties
    return _product(event, fields)


def _of_list(event: str, properties: Mapping[str, Any], lines: Sequence[Any]) -> Sequence[Fact]:
    """A fact for each product with an id; those without stay with the first, so that nothing of an
    order is lost.
    """
    if len(lines) > MAX_PRODUCTS:
        raise InvalidEvent(
            "properties.products", f"expected at most {MAX_PRODUCTS} products", len(lines)
        )
    products = [
        _product(event, line if isinstance(line, dict) else {"product_id": line}) for line in lines
    ]
    nameless = [
        line for line, found in zip(lines, products, strict=True) if found.product_id is None
    ]
    named = [found for found in products if found.product_id is not None]
    fields = {name: value for name, value in properties.items() if name != "products"}
    shared = as_metadata(_renamed(fields, _ORDER_FIELDS if event == "purchase" else _LIST_FIELDS))
    names = _OF_EACH_PRODUCT.get(event, _ANY_LIST) | _EVERY_LIST
    each = {name: value for name, value in shared.items() if name in names}
    first = shared | ({"products_without_id": nameless} if nameless else {})
    return [
        Fact(event, _joined(each if number else first, found.metadata), found.product_id)
        for number, found in enumerate(named)
    ]


def _product(event: str, properties: Mapping[str, Any]) -> Fact:
    given = _id_in(properties)
    fields = _renamed(
        {name: value for name, value in properties.items() if name != given}, _PRODUCT_FIELDS
    )
    return Fact(event, as_metadata(fields), as_id(properties[given]) if given else None)


def _id_in(properties: Mapping[str, Any], names: Sequence[str] = _IDS_OF_PRODUCTS) -> str | None:
    """The name of the property that holds the product's id."""
    return next((name for name in names if as_id(properties.get(name))), None)


def _renamed(properties: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Under our names, the first of several; what has that name already keeps it, and the other
    keeps its own.
    """
    fields = dict(properties)
    for given, ours in names.items():
        if fields.get(given) is not None and fields.get(ours) is None:
            fields[ours] = fields.pop(given)
    return fields
