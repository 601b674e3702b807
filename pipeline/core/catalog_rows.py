"""Rows of the catalog, as feeds and requests give them: parsed into items, and written again."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import msgspec

from pipeline.core.attributes import (
    EXPECTED_TIME,
    FALSE,
    MAX_NAME_LENGTH,
    TRUE,
    AttributeSchema,
    read_time_ms,
)
from pipeline.core.catalog import Item, encode_item
from pipeline.core.events import MAX_ID_LENGTH, MAX_TEXT_LENGTH
from pipeline.core.invalid_event import TooMuch
from pipeline.core.invalid_item import InvalidItem
from pipeline.core.json_limits import check_work
from pipeline.core.timestamps import format_time
from pipeline.core.untrusted_json import UNREADABLE, read

FIELDS = frozenset(
    "item_id id title category brand price image url in_stock description attributes published_at "
    "expires_at group prices regions".split()
)
"""Names that a row of the catalog may have."""
MAX_DESCRIPTION_LENGTH = 5_000
MAX_PRICES = 50
MAX_REGIONS = 500
MAX_ITEM_BYTES = 64 * 1024
"""Of an item as stored."""
_CURRENCY = re.compile("[A-Z]{3}")


def read_row(json: bytes) -> dict[str, Any]:
    """A row in JSON, not yet parsed.

    Raises:
        InvalidItem: it is no JSON object, or costs too much to read.
    """
    try:
        check_work(json, "item")
        row = read(json)
    except TooMuch as error:
        raise InvalidItem("item", error.reason) from None
    except UNREADABLE:
        raise InvalidItem("item", "expected a JSON object", json) from None
    if not isinstance(row, dict):
        raise InvalidItem("item", "expected a JSON object", row)
    return row


def parse_item(row: dict[str, Any], schema: AttributeSchema | None = None) -> Item:
    """Read one catalog row (JSON values or CSV texts); `id` and `item_id` are both understood.

    Args:
        row: by the names of `FIELDS`; others are ignored.
        schema: types of attributes; without one they are of any type.

    Raises:
        InvalidItem: naming field, expectation and value.
    """
    item = Item(
        _id(row),
        title=_text(row, "title"),
        category=_short_text(row, "category"),
        brand=_short_text(row, "brand"),
        image=_text(row, "image"),
        url=_text(row, "url"),
        price=_price("price", row.get("price")),
        in_stock=_flag(row.get("in_stock")),
        description=_bounded_text(row, "description", MAX_DESCRIPTION_LENGTH),
        attributes=(schema or AttributeSchema()).parse_all(row.get("attributes")),
        published_ms=_time_ms(row, "published_at"),
        expires_ms=_time_ms(row, "expires_at"),
        group=_short_text(row, "group"),
        prices=_prices(row.get("prices")),
        regions=_regions(row.get("regions")),
    )
    _check_times(item)
    _check_size(item)
    return item


def describe_item(item: Item) -> dict[str, Any]:
    """The item by the names of `FIELDS`, as `parse_item` reads it again; and `stub`."""
    described = msgspec.structs.asdict(item)
    del described["deleted"]
    for name in ("published", "expires"):
        described[f"{name}_at"] = _readable(described.pop(f"{name}_ms"))
    return described


def patch_item(item: Item, changes: dict[str, Any], schema: AttributeSchema) -> Item:
    """The item with some fields changed, as RFC 7396 has it: null is the default, and `attributes`
    and `prices` are changed name by name.

    Raises:
        InvalidItem: as `parse_item`.
    """
    row = describe_item(item)
    for name, value in changes.items():
        if isinstance(value, dict) and name in ("attributes", "prices"):
            value = {**row[name], **value}
        row[name] = value
    return parse_item(row, schema)


def check_fields(row: dict[str, Any]) -> None:
    """Refuse a name that no field has, which may be a misspelt one.

    Raises:
        InvalidItem: naming it.
    """
    for name in row:
        if name not in FIELDS:
            near = get_close_matches(name, sorted(FIELDS), n=1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            raise InvalidItem(
                name, f"expected a field of an item, or a name in attributes{guess}", row[name]
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
    return _bounded_text(row, name, MAX_TEXT_LENGTH)


def _bounded_text(row: dict[str, Any], name: str, most: int) -> str:
    text = _text(row, name)
    if len(text) > most:
        raise InvalidItem(name, f"expected at most {most} characters", text)
    return text


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidItem(name, "expected a text", value)
    return value.strip()


def _price(name: str, value: Any) -> float:
    if value is None or value == "":
        return 0.0
    try:
        price = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidItem(name, "expected a number", value) from None
    if not 0 <= price < float("inf"):
        raise InvalidItem(name, "expected a finite number of at least 0", value)
    return price


def _prices(value: Any) -> dict[str, float]:
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise InvalidItem("prices", "expected an object of prices by currency", value)
    if len(value) > MAX_PRICES:
        raise InvalidItem("prices", f"expected at most {MAX_PRICES}", len(value))
    for currency in value:
        if not _CURRENCY.fullmatch(currency):
            raise InvalidItem("prices", "expected a currency such as EUR", currency)
    return {
        currency: _price(f"prices.{currency}", price)
        for currency, price in value.items()
        if price is not None
    }


def _regions(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    if not isinstance(value, list) or not all(isinstance(region, str) for region in value):
        raise InvalidItem("regions", "expected a list of texts", value)
    if len(value) > MAX_REGIONS:
        raise InvalidItem("regions", f"expected at most {MAX_REGIONS}", len(value))
    for region in value:
        if not 0 < len(region.strip()) <= MAX_NAME_LENGTH:
            raise InvalidItem("regions", f"expected 1 to {MAX_NAME_LENGTH} characters", region)
    return list(dict.fromkeys(region.strip() for region in value))


def _time_ms(row: dict[str, Any], name: str) -> int | None:
    """A moment in ms since the Unix epoch; None where there is none."""
    value = row.get(name)
    if value is None or value == "":
        return None
    moment_ms = read_time_ms(value)
    if moment_ms is None:
        raise InvalidItem(name, f"expected {EXPECTED_TIME}", value)
    return moment_ms


def _readable(moment_ms: int | None) -> str | None:
    if moment_ms is None:
        return None
    return format_time(datetime.fromtimestamp(moment_ms / 1000, UTC))


def _check_times(item: Item) -> None:
    if item.published_ms is None or item.expires_ms is None:
        return
    if item.expires_ms <= item.published_ms:
        shown = _readable(item.expires_ms)
        raise InvalidItem("expires_at", "expected a time after published_at", shown)


def _check_size(item: Item) -> None:
    size = len(encode_item(item))
    if size > MAX_ITEM_BYTES:
        raise InvalidItem("item", f"expected at most {MAX_ITEM_BYTES} bytes as stored", size)


def _flag(value: Any) -> bool:
    if value is None or value == "" or isinstance(value, bool):
        return value is not False
    text = str(value).strip().lower()
    if text not in TRUE | FALSE:
        raise InvalidItem("in_stock", "expected true or false", value)
    return text in TRUE
