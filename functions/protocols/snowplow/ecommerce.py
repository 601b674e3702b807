"""Snowplow's e-commerce events, of all its generations, as ours: one of ours a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from functions.protocols.commerce_facts import Fact, from_zero
from functions.protocols.snowplow.contexts import Contexts, renamed
from functions.protocols.values import as_id, as_number, as_text
from pipeline.core.event_types import PRODUCT_EVENTS
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.metadata_fields import NUMBER_METADATA, TEXT_METADATA

_ECOMMERCE = "com.snowplowanalytics.snowplow.ecommerce"
_ENHANCED = "com.google.analytics.enhanced-ecommerce"
_SNOWPLOW = "com.snowplowanalytics.snowplow"

ACTION = f"{_ECOMMERCE}/snowplow_ecommerce_action"
ENHANCED_ACTION = f"{_ENHANCED}/action"
CART_EVENTS = {f"{_SNOWPLOW}/{name}": name for name in ("add_to_cart", "remove_from_cart")}
"""Of the trackers up to version 2."""

PRODUCT_KINDS = (
    f"{_ECOMMERCE}/product",
    f"{_ENHANCED}/productFieldObject",
    f"{_ENHANCED}/impressionFieldObject",
)

_EVENTS = {
    "product_view": "view_product",
    "list_view": "impression",
    "list_click": "click",
    "promo_click": "click",
    "transaction": "purchase",
    "trns_error": "transaction_error",
}
"""Of a `snowplow_ecommerce_action`; any other is called as Snowplow calls it."""

_OF_ENHANCED = {
    "view": "list_view",
    "click": "list_click",
    "detail": "product_view",
    "add": "add_to_cart",
    "remove": "remove_from_cart",
    "checkout": "checkout_step",
    "purchase": "transaction",
}
_MAY_LACK_PRODUCTS = frozenset(("list_view", "transaction"))
_PER_PRODUCT = PRODUCT_EVENTS | {"click", "refund"}

_PRODUCT_FIELDS = {
    "name": "title",
    "category": "category",
    "brand": "brand",
    "price": "price",
    "unit_price": "price",
    "unitPrice": "price",
    "list_price": "list_price",
    "quantity": "quantity",
    "position": "position",
    "list": "placement",
    "size": "size",
    "variant": "product_variant",  # `variant` is the experiment's
    "currency": "currency",
    "inventory_status": "inventory_status",
    "creative_id": "creative_id",
    "coupon": "coupon",
}
_ENTITIES: Mapping[str, Mapping[str, str]] = {
    f"{_ECOMMERCE}/cart": {
        "cart_id": "cart_id",
        "total_value": "cart_value",
        "currency": "currency",
    },
    f"{_ECOMMERCE}/transaction": {
        "transaction_id": "order_id",
        "revenue": "order_value",
        "currency": "currency",
        "payment_method": "payment_method",
        "total_quantity": "order_quantity",
        "tax": "order_tax",
        "shipping": "order_shipping",
        "discount_code": "coupon",
        "discount_amount": "order_discount",
    },
    f"{_ECOMMERCE}/refund": {
        "transaction_id": "order_id",
        "refund_amount": "refund_value",
        "refund_reason": "refund_reason",
        "currency": "currency",
    },
    f"{_ECOMMERCE}/checkout_step": {
        "step": "step",
        "coupon_code": "coupon",
        "delivery_method": "delivery_method",
        "payment_method": "payment_method",
    },
    f"{_ECOMMERCE}/promotion": {
        "id": "promotion_id",
        "name": "promotion_name",
        "type": "promotion_type",
        "position": "position",
        "slot": "placement",
        "creative_id": "creative_id",
    },
    f"{_ECOMMERCE}/transaction_error": {"error_code": "error_code", "error_type": "error_type"},
    f"{_ENHANCED}/actionFieldObject": {
        "id": "order_id",
        "revenue": "order_value",
        "tax": "order_tax",
        "shipping": "order_shipping",
        "coupon": "coupon",
        "list": "placement",
        "step": "step",
    },
    f"{_ENHANCED}/promoFieldObject": {
        "id": "promotion_id",
        "name": "promotion_name",
        "position": "placement",
    },
}
_TRANSACTION_FIELDS = {
    "tr_id": "order_id",
    "tr_af": "affiliation",
    "tr_tt": "order_value",
    "tr_tx": "order_tax",
    "tr_sh": "order_shipping",
    "tr_cu": "currency",
}
_ITEM_FIELDS = {
    "ti_id": "order_id",
    "ti_nm": "title",
    "ti_ca": "category",
    "ti_pr": "price",
    "ti_qu": "quantity",
    "ti_cu": "currency",
}
_OTHER_NUMBERS = frozenset(
    "list_price cart_value order_value order_quantity order_tax order_shipping order_discount "
    "refund_value step".split()
)


def ecommerce_facts(
    action: Mapping[str, Any], contexts: Contexts, enhanced: bool = False
) -> Sequence[Fact]:
    """Facts of a `snowplow_ecommerce_action` or, with `enhanced`, of an action of enhanced
    e-commerce.

    Raises:
        InvalidEvent: it has no type, or lacks the product that it needs.
    """
    kind = _kind_of(action, enhanced)
    event = _EVENTS.get(kind, kind)
    shared = typed(renamed(action, {"name": "placement"}) | _of_entities(contexts))
    if event not in _PER_PRODUCT:
        return [Fact(event, shared)]
    products = [product(data) for data in products_of(contexts)]
    if products:
        return [
            Fact(event, from_zero(shared | fact.metadata), fact.product_id) for fact in products
        ]
    if event not in PRODUCT_EVENTS:
        return [Fact(event, shared)]
    if kind not in _MAY_LACK_PRODUCTS:
        raise InvalidEvent("product", f"required for {event}")
    return [Fact(kind, shared)]


def _kind_of(action: Mapping[str, Any], enhanced: bool) -> str:
    kind = as_id(action.get("action" if enhanced else "type"))
    if kind is None:
        raise InvalidEvent("ecommerce.type", "required")
    if enhanced:
        return _OF_ENHANCED.get(kind, kind)
    return kind


def cart_fact(event: str, data: Mapping[str, Any]) -> Fact:
    """The cart events of older trackers, which carry their product themselves."""
    found = product(data)
    return Fact(event, found.metadata, found.product_id)


def transaction_fact(fields: Mapping[str, Any]) -> Fact:
    """`e=tr`, an order as a whole: its items (`e=ti`) are the purchases."""
    return Fact("transaction", typed(renamed(fields, _TRANSACTION_FIELDS)))


def item_fact(fields: Mapping[str, Any]) -> Fact:
    """`e=ti`, an item of an order.

    Raises:
        InvalidEvent: it has no SKU.
    """
    item_id = as_id(fields.get("ti_sk"))
    if item_id is None:
        raise InvalidEvent("ti_sk", "required", None)
    return Fact("purchase", typed(renamed(fields, _ITEM_FIELDS)), item_id)


def products_of(contexts: Contexts) -> list[dict[str, Any]]:
    """The data of the product entities."""
    return [entity.fields for entity in contexts.entities if entity.kind in PRODUCT_KINDS]


def product_id_of(data: Mapping[str, Any]) -> str | None:
    """The id or SKU of a product entity, or None."""
    return as_id(data.get("id")) or as_id(data.get("sku"))


def product(data: Mapping[str, Any]) -> Fact:
    """A product entity's id, and its fields under our names; the event is left empty.

    Raises:
        InvalidEvent: it has no id.
    """
    product_id = product_id_of(data)
    if product_id is None:
        raise InvalidEvent("product.id", "required", None)
    return Fact("", typed(renamed(data, _PRODUCT_FIELDS)), product_id)


def typed(metadata: dict[str, Any]) -> dict[str, Any]:
    """Numbers as numbers and texts as texts where possible; other values stay, to be rejected by
    name.
    """
    for name, value in metadata.items():
        if name in NUMBER_METADATA or name in _OTHER_NUMBERS:
            number = as_number(value)
            if number is not None:
                metadata[name] = number
        elif name in TEXT_METADATA:
            metadata[name] = as_text(value) or value
    return metadata


def _of_entities(contexts: Contexts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, names in _ENTITIES.items():
        found |= renamed(contexts.first(kind), names)
    return found
