"""Google Merchant's product data as columns of ours (docs/catalog.md has the table)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.core.invalid_item import InvalidItem
from pipeline.runtime.clock import now_ms

MERCHANT_ONLY = frozenset(
    "link image_link availability item_group_id product_type google_product_category".split()
)
"""Names that tell a feed of Google's from one of ours."""
_SAME = {
    "id": "id",
    "title": "title",
    "description": "description",
    "brand": "brand",
    "link": "url",
    "image_link": "image",
    "item_group_id": "group",
}
_TEXTS = frozenset(
    "availability condition gtin mpn color size size_type size_system gender age_group material "
    "pattern google_product_category energy_efficiency_class".split()
) | {f"custom_label_{number}" for number in range(5)}
_FLAGS = frozenset({"adult", "is_bundle"})
_FOR_SALE = {
    "in_stock": True,
    "preorder": True,
    "backorder": True,
    "limited_availability": True,
    "out_of_stock": False,
}
_PRICE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Z]{3})")


def merchant_name(name: str | None) -> str:
    """Google's name of an attribute, of the spellings that their feeds have."""
    return (name or "").strip().lower().removeprefix("g:").replace(" ", "_")


def merchant_columns(values: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The columns of one product.

    Args:
        values: texts by Google's names; several where one is repeated.

    Raises:
        InvalidItem: naming Google's attribute, the expectation and the value.
    """
    first = {name: texts[0].strip() for name, texts in values.items() if texts}
    columns: dict[str, Any] = {ours: first.get(name) for name, ours in _SAME.items()}
    columns |= {name: text for name, text in first.items() if name in _TEXTS}
    columns |= {name: _is_yes(name, text) for name, text in first.items() if name in _FLAGS}
    columns["category"] = _category(first)
    columns["in_stock"] = _in_stock(first.get("availability", ""))
    columns["expires_at"] = _time("expiration_date", first.get("expiration_date", ""))
    paths = [_path(text) for text in values.get("product_type", ())]
    if paths:
        columns["product_types"] = paths
    return columns | _prices(first)


def _category(first: Mapping[str, str]) -> str:
    """The first product type, else Google's own category."""
    return _path(first.get("product_type") or first.get("google_product_category") or "")


def _path(text: str) -> str:
    """`Home > Lamps` as `Home.Lamps`; a dot within a name would be a level more."""
    parts = [part.strip().replace(".", " ") for part in text.split(">")]
    return ".".join(part for part in parts if part)


def _in_stock(text: str) -> bool | None:
    if not text:
        return None
    found = _FOR_SALE.get(text.lower().replace(" ", "_"))
    if found is None:
        raise InvalidItem("availability", f"expected one of {', '.join(_FOR_SALE)}", text)
    return found


def _is_yes(name: str, text: str) -> bool:
    if text.lower() not in ("yes", "no", "true", "false"):
        raise InvalidItem(name, "expected yes or no", text)
    return text.lower() in ("yes", "true")


def _prices(first: Mapping[str, str]) -> dict[str, Any]:
    """`price`, the sale's while it lasts, then with `list_price`; and the same by currency."""
    if not first.get("price"):
        return {}
    full, currency = _price("price", first["price"])
    if not first.get("sale_price") or not _is_sale(first.get("sale_price_effective_date", "")):
        return {"price": full, f"prices.{currency}": full}
    sale, currency = _price("sale_price", first["sale_price"])
    return {"price": sale, f"prices.{currency}": sale, "list_price": full}


def _price(name: str, text: str) -> tuple[float, str]:
    found = _PRICE.fullmatch(text.strip())
    if found is None:
        raise InvalidItem(name, "expected a price such as 12.34 EUR", text)
    return float(found.group(1)), found.group(2)


def _is_sale(span: str) -> bool:
    """True without a span, and within it."""
    if not span:
        return True
    name = "sale_price_effective_date"
    begin, slash, end = span.partition("/")
    if not slash:
        raise InvalidItem(name, "expected two ISO 8601 times with / between", span)
    now = datetime.fromtimestamp(now_ms() / 1000, UTC)
    return _moment(name, begin) <= now < _moment(name, end)


def _time(name: str, text: str) -> str | None:
    return _moment(name, text).isoformat() if text else None


def _moment(name: str, text: str) -> datetime:
    """An ISO 8601 time, in UTC where it has no zone."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidItem(name, "expected an ISO 8601 time", text) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
