"""GA4's events among ours; the same for the Measurement Protocol and for gtag's hits.

Events, parameters and items:
https://developers.google.com/analytics/devguides/collection/ga4/reference/events, and of enhanced
measurement https://support.google.com/analytics/answer/9216061.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from functions.protocols.commerce_facts import (
    Fact,
    amounts_of,
    as_amount,
    kept,
    without_product,
)
from functions.protocols.values import as_id, as_text, filled, with_our_names
from pipeline.core.event_types import PRODUCT_EVENTS
from pipeline.core.invalid_event import InvalidEvent

MAX_ITEMS = 200
"""Of one event, which is Google's limit as well."""

_EVENTS = {
    "screen_view": "page_view",
    "view_item": "view_product",
    "view_item_list": "impression",
    "select_item": "click",
    "view_search_results": "search",
    "user_engagement": "dwell",
    "video_start": "media_play",
    "video_progress": "media_progress",
    "video_complete": "media_progress",
    "login": "identify",
    "sign_up": "identify",
}
_VIDEO = {
    "video_title": "title",
    "video_percent": "percent",
    "video_current_time": "current_time_s",
    "video_duration": "duration_s",
}
_RENAMED: Mapping[str, Mapping[str, str]] = {
    "search": {"search_term": "query"},
    "scroll": {"percent_scrolled": "depth"},
    "dwell": {"engagement_time_msec": "dwell_ms"},
    "media_play": _VIDEO,
    "media_progress": _VIDEO,
    "purchase": {
        "transaction_id": "order_id",
        "value": "order_value",
        "tax": "order_tax",
        "shipping": "order_shipping",
    },
}
_ITEM_NAMES = {
    "item_name": "title",
    "item_brand": "brand",
    "item_variant": "product_variant",  # `variant` is the experiment's
    "index": "position",
}
_CATEGORIES = ("item_category", *(f"item_category{level}" for level in range(2, 6)))
_LIST_NAMES = ("item_list_id", "item_list_name")
_OF_EACH_ITEM = frozenset(
    "order_id order_value currency coupon request_id placement".split()
) | set(_LIST_NAMES)
"""Facts of each of an event's items; the first alone carries the rest."""
_AMOUNTS = frozenset(
    "depth percent current_time_s duration_s discount order_value order_tax order_shipping value "
    "tax shipping engagement_time_msec".split()
)
_RESERVED = ("consent",)
"""Names of our metadata that the collector reads, and a site may use otherwise."""


def facts_of(name: str, params: Mapping[str, Any], user_id: str | None) -> Sequence[Fact]:
    """Facts of an event: one, or one for each of its items.

    A product event without an item, and a login that does not say of whom, are kept under their own
    names.

    Args:
        name: as GA4 has it, not empty.
        params: of the event, under the names of GA4's reference; their values are not trusted.
        user_id: the account, where it is known.

    Raises:
        InvalidEvent: `items` are no list, more than `MAX_ITEMS`, or one has neither id nor name.
    """
    event = _event_of(name, params, user_id)
    fields = with_our_names(params, _RENAMED.get(event, {}))
    if name == "video_complete":
        fields["percent"] = 100
    if event in PRODUCT_EVENTS or event == "click":
        return _of_items(event, fields) or [_without_items(name, event, fields, params)]
    return [Fact(event, metadata_of(fields), _single_id(fields))]


def metadata_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as metadata: numbers that came as texts are numbers, what our names cannot hold is
    `unmapped`.

    What is null or an empty text says nothing and is left out.
    """
    return amounts_of(kept(filled(fields)), _AMOUNTS, _RESERVED)


def _event_of(name: str, params: Mapping[str, Any], user_id: str | None) -> str:
    event = _EVENTS.get(name, name)
    if event == "identify" and user_id is None:
        return name
    if name == "user_engagement" and as_amount(params.get("engagement_time_msec")) is None:
        return name
    return event


def _of_items(event: str, fields: Mapping[str, Any]) -> Sequence[Fact]:
    """A fact for each item; of what the event says itself, what is not `_OF_EACH_ITEM` goes with
    the first.
    """
    items = fields.get("items")
    if items is None or items == []:
        return _of_itself(event, fields)
    if not isinstance(items, list) or len(items) > MAX_ITEMS:
        raise InvalidEvent("items", f"expected a list of at most {MAX_ITEMS} items")
    own = {name: value for name, value in fields.items() if name != "items"}
    each = {name: value for name, value in own.items() if name in _OF_EACH_ITEM}
    return [
        _of_item(event, item, each if number else own, number) for number, item in enumerate(items)
    ]


def _of_item(event: str, item: Any, shared: Mapping[str, Any], number: int) -> Fact:
    given = item if isinstance(item, dict) else {}
    product_id = as_id(given.get("item_id")) or as_id(given.get("item_name"))
    if product_id is None:
        raise InvalidEvent(f"items[{number}]", "expected item_id or item_name", item)
    fields = {**shared, **filled(_item_fields(given))}
    return Fact(event, _placed(event, metadata_of(fields)), product_id)


def _of_itself(event: str, fields: Mapping[str, Any]) -> Sequence[Fact]:
    """The item that an event names without a list, as sites do that know us; none where it names
    none.
    """
    product_id = as_id(fields.get("item_id")) or as_id(fields.get("product_id"))
    if product_id is None:
        return []
    own = _item_fields(fields)
    for name in ("items", "product_id"):
        own.pop(name, None)
    return [Fact(event, _placed(event, metadata_of(own)), product_id)]


def _without_items(
    name: str, event: str, fields: Mapping[str, Any], params: Mapping[str, Any]
) -> Fact:
    if event == "click":
        return Fact(event, _placed(event, metadata_of(fields)))
    return Fact(without_product(name), metadata_of(params))


def _item_fields(item: Mapping[str, Any]) -> dict[str, Any]:
    """Categories become one path, coarse to fine."""
    path = list(filter(None, (as_text(item.get(name)) for name in _CATEGORIES)))
    fields = with_our_names(item, _ITEM_NAMES)
    for name in ("item_id", *_CATEGORIES):
        fields.pop(name, None)
    if path:
        fields["category"] = ".".join(path)
    return fields


def _placed(event: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """The placement of an item, which GA4 names by the list; a `placement` of the site's own goes
    first.
    """
    if event in ("impression", "click") and metadata.get("placement") is None:
        lists = filter(None, (as_text(metadata.get(name)) for name in _LIST_NAMES))
        placement = next(lists, None)
        if placement is not None:
            metadata["placement"] = placement
    return metadata


def _single_id(fields: Mapping[str, Any]) -> str | None:
    """The item of an event that need not have any: the one that it names, or its only one."""
    items = fields.get("items")
    if isinstance(items, list) and len(items) == 1 and isinstance(items[0], dict):
        fields = items[0]
    return as_id(fields.get("item_id"))
