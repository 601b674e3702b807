"""The `/g/collect` form of gtag.js and server-side Tag Manager: short keys, items in one text,
consent in codes.

Google documents none of it. Public write-ups:
https://www.thyngster.com/ga4-measurement-protocol-cheatsheet/ (keys),
https://www.simoahava.com/analytics/consent-mode-v2-google-tags/ (consent).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from functions.protocols.places import country_of
from functions.protocols.values import Joins, as_number

_PARAMS = {
    "dl": "page_location",
    "dt": "page_title",
    "dr": "page_referrer",
    "ul": "language",
    "sr": "screen_resolution",
    "sid": "session_id",
    "sct": "session_number",
    "_et": "engagement_time_msec",
    "cu": "currency",
    "cs": "campaign_source",
    "cm": "campaign_medium",
    "cn": "campaign_name",
    "ck": "campaign_term",
    "cc": "campaign_content",
    "_uip": "ip_override",
    "_dbg": "debug_mode",
}
"""Of the other keys none says anything of a visitor: versions, containers, linkers and Google's own
experiments."""
_ITEM_KEYS = {
    "id": "item_id",
    "nm": "item_name",
    "br": "item_brand",
    "ca": "item_category",
    "c2": "item_category2",
    "c3": "item_category3",
    "c4": "item_category4",
    "c5": "item_category5",
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
_ITEM = re.compile(r"pr([1-9][0-9]{0,2})", re.ASCII)
_CUSTOM = re.compile(r"[kv][0-9A-Z]", re.ASCII)
_GCD = re.compile(r"1[0-9]([a-z])[0-9]([a-z])[0-9]([a-z])[0-9]([a-z])", re.ASCII)
_GRANTED, _DENIED = "rtnv", "pqmu"
"""Of a `gcd`'s letters: by default or by an update, the later one; `l` says that it was never
set."""


def params_of(hit: Mapping[str, str]) -> dict[str, Any]:
    """A hit's event parameters under the names that the Measurement Protocol has for them, items as
    objects.

    What is empty is left out.
    """
    params: dict[str, Any] = {}
    items: list[tuple[int, dict[str, Any]]] = []
    for key, value in hit.items():
        if not value:
            continue
        if key.startswith("ep."):
            params[key[3:]] = value
        elif key.startswith("epn."):
            params[key[4:]] = _number(value)
        elif found := _ITEM.fullmatch(key):
            items.append((int(found[1]), item_of(value)))
        elif key == "_uc":
            params = country_of(value) | params
        elif key in _PARAMS:
            params.setdefault(_PARAMS[key], value)
    if items:
        params["items"] = [item for _, item in sorted(items, key=lambda one: one[0])]
    params.pop("", None)
    return params


def user_properties_of(hit: Mapping[str, str]) -> dict[str, Any]:
    """User properties of a hit: `up.*`, and numbers as `upn.*`."""
    texts, numbers = {}, {}
    for key, value in hit.items():
        if value and key.startswith("up."):
            texts[key[3:]] = value
        elif value and key.startswith("upn."):
            numbers[key[4:]] = _number(value)
    return texts | numbers


def item_of(text: str) -> dict[str, Any]:
    """An item of `idSKU~nmName~pr9.99~k0color~v0red`: keys of two characters, custom ones in pairs,
    `~~` for `~`.
    """
    item: dict[str, Any] = {}
    custom: dict[str, str] = {}
    for part in text.replace("~~", "\0").split("~"):
        key, value = part[:2], part[2:].replace("\0", "~")
        if key in _ITEM_KEYS:
            item[_ITEM_KEYS[key]] = value
        elif _CUSTOM.fullmatch(key):
            custom[key] = value
    for key, name in custom.items():
        value = custom.get(f"v{key[1]}", "")
        if key[0] == "k" and name and value:
            item.setdefault(name, value)
    return item


def consent_of(hit: Mapping[str, str]) -> dict[str, bool] | None:
    """{"analytics", "personalization"}, each where the consent mode has it; None where it has
    neither.

    `gcs` is G1xy: storage for ads and for analytics, 1 granted, 0 denied. The letters of `gcd` are
    storage for ads, for analytics, data for ads, and personal ads, whose answer is the one for
    personalization; a page with the first consent mode does not ask for it, and there storage for
    ads answers. `npa=1` denies it by itself.
    """
    ads, analytics = _storage_of(hit.get("gcs", ""))
    _, analytics_default, _, personalized = _states_of(hit.get("gcd", ""))
    personalization = ads if personalized is None else personalized
    if hit.get("npa") == "1":
        personalization = False
    states = {
        "analytics": _least(analytics, analytics_default),
        "personalization": personalization,
    }
    return {name: state for name, state in states.items() if state is not None} or None


def _storage_of(gcs: str) -> tuple[bool | None, bool | None]:
    """Storage for ads and for analytics."""
    if not gcs.startswith("G1"):
        return None, None
    return _granted(gcs[2:3], "1", "0"), _granted(gcs[3:4], "1", "0")


def _states_of(gcd: str) -> list[bool | None]:
    """Storage for ads, for analytics, data for ads, and personal ads."""
    found = _GCD.match(gcd)
    letters = found.groups() if found else ("l",) * 4
    return [_granted(letter, _GRANTED, _DENIED) for letter in letters]


def _join_codes(
    pattern: re.Pattern[str], places: Collection[int], denied: str
) -> Callable[[Sequence[str]], str]:
    """Makes one text of several codes: each place from the last that has it, or from one that
    denies there.
    """

    def join(texts: Sequence[str]) -> str:
        codes = [text for text in texts if pattern.match(text)]
        columns = (
            [code[at] for code in codes if len(code) > at]
            for at in range(max(map(len, codes), default=0))
        )
        joined = (
            next((letter for letter in column if at in places and letter in denied), column[-1])
            for at, column in enumerate(columns)
        )
        return "".join(joined) or texts[-1]

    return join


CONSENT_JOINS: Joins = {
    "gcs": _join_codes(re.compile("G1"), (2, 3), "0"),
    "gcd": _join_codes(_GCD, (2, 4, 6, 8), _DENIED),
    "npa": _join_codes(re.compile("[01]$"), (0,), "1"),
}
"""The consent of a hit that states it several times: no denial is lost."""


def _granted(code: str, granted: str, denied: str) -> bool | None:
    if code and code in granted:
        return True
    if code and code in denied:
        return False
    return None


def _least(one: bool | None, other: bool | None) -> bool | None:
    """Consent that both grant; where one states nothing, the other's."""
    if one is None:
        return other
    if other is None:
        return one
    return one and other


def _number(text: str) -> Any:
    number = as_number(text)
    return text if number is None else number
