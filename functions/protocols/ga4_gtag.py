"""The form of gtag.js and Tag Manager: an event is the fields of a query, its items are texts.

Google does not document it; the fields are those that gtag.js is seen to send, e.g. in
https://www.thyngster.com/ga4-measurement-protocol-cheatsheet/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from functions.protocols.ga4_events import Hit
from functions.protocols.values import as_number, without_none

_PARAMS = {
    "dl": "page_location",
    "dt": "page_title",
    "dr": "page_referrer",
    "ul": "language",
    "sid": "session_id",
    "sct": "session_number",
    "cu": "currency",
    "_et": "engagement_time_msec",
}
_CONTEXT = {"sr": "screen_size", "_uip": "ip"}
_ITEM = {
    "id": "item_id",
    "nm": "item_name",
    "br": "item_brand",
    "ca": "item_category",
    **{f"c{level}": f"item_category{level}" for level in range(2, 6)},
    "va": "item_variant",
    "pr": "price",
    "qt": "quantity",
    "ds": "discount",
    "cp": "coupon",
    "lp": "index",
    "li": "item_list_id",
    "ln": "item_list_name",
    "af": "affiliation",
    "lo": "location_id",
    "pi": "promotion_id",
    "pn": "promotion_name",
    "cn": "creative_name",
    "cs": "creative_slot",
}
_ITEM_FIELD = re.compile(r"pr([1-9][0-9]{0,3})", re.ASCII)
_CUSTOM_FIELD = re.compile(r"([kv])([0-9])", re.ASCII)
_GCS = re.compile(r"G1([01-])([01-])", re.ASCII)


def gtag_hit(fields: dict[str, str]) -> Hit:
    """The event of a query, or of a line of the body with the query's fields.

    Args:
        fields: any names and texts.
    """
    return Hit(
        source=dict(fields),
        name=fields.get("en"),
        params=_params(fields),
        client_id=fields.get("cid"),
        user_id=fields.get("uid"),
        traits=_prefixed(fields, "up"),
        context=without_none({ours: fields.get(theirs) or None for theirs, ours in _CONTEXT.items()}),
        consent=consent_of(fields),
    )


def consent_of(fields: Mapping[str, str]) -> dict[str, bool]:
    """Of `gcs`, `G1` and two digits: ad storage and analytics storage, `-` for not asked; and of `npa`."""
    consent: dict[str, bool] = {}
    said = _GCS.fullmatch(fields.get("gcs", ""))
    for name, digit in zip(("personalization", "analytics"), said.groups() if said else (), strict=False):
        if digit != "-":
            consent[name] = digit == "1"
    if fields.get("npa") == "1":
        consent["personalization"] = False
    return consent


def item_of(text: str) -> dict[str, Any]:
    """An item, e.g. `idSKU1~nmOak lamp~pr9.5~k0color~v0red`; a `~` within a value is doubled."""
    item: dict[str, Any] = {}
    custom: dict[str, dict[str, str]] = {"k": {}, "v": {}}
    for part in text.replace("~~", "\0").split("~"):
        key, value = part[:2], part[2:].replace("\0", "~")
        own = _CUSTOM_FIELD.fullmatch(key)
        if own:
            custom[own[1]][own[2]] = value
        elif key in _ITEM and value:
            item[_ITEM[key]] = value
    named = {name: custom["v"][n] for n, name in custom["k"].items() if name and n in custom["v"]}
    return named | item


def _params(fields: Mapping[str, str]) -> dict[str, Any]:
    params: dict[str, Any] = {theirs: fields[short] for short, theirs in _PARAMS.items() if fields.get(short)}
    params |= _prefixed(fields, "ep")
    numbered = sorted((int(found[1]), name) for name in fields if (found := _ITEM_FIELD.fullmatch(name)))
    if numbered:
        params["items"] = [item_of(fields[name]) for _, name in numbered]
    return params


def _prefixed(fields: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """The values of `ep.name`, and the numbers of `epn.name`."""
    texts, numbers = f"{prefix}.", f"{prefix}n."
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if name.startswith(texts):
            found[name[len(texts) :]] = value
        elif name.startswith(numbers):
            number = as_number(value)
            found[name[len(numbers) :]] = value if number is None else number
    found.pop("", None)
    return found
