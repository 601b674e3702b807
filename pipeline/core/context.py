"""The circumstances of a request or an event: device, country, language, what led here, traits of
the visitor.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from pipeline.core.events import Event

MAX_CONTEXT_LENGTH = 64
MAX_TRAITS = 16
MAX_ACCEPT_LANGUAGE_LENGTH = 256

ContextText = Annotated[str, msgspec.Meta(max_length=MAX_CONTEXT_LENGTH)]
Trait = ContextText | float | bool

_GREATEST = 2**63
UNKNOWN_COUNTRIES = frozenset({"ZZ", "XX"})
"""Codes of load balancers that do not know; Cloudflare's `T1` (Tor) is no two letters."""

_TV = re.compile(
    r"smart-?tv|smart tv|apple ?tv|google ?tv|android "
    r"?tv|hbbtv|netcast|web0s|bravia|\bviera|philipstv|roku|\bcrkey\b"
    r"|\baft[a-z]{1,4}\b|\bdtv\b|tizen.{0,40}\btv\b|\btv safari",
    re.IGNORECASE,
)
_TABLET = re.compile(r"ipad|tablet|kindle|playbook|\bsilk/", re.IGNORECASE)
_MOBILE = re.compile(
    r"mobi|iphone|ipod|android|windows phone|opera mini|blackberry|dalvik", re.IGNORECASE
)
_DESKTOP = re.compile(r"windows|macintosh|mac os x|x11|cros|linux", re.IGNORECASE)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,4}", re.ASCII)
_QUALITY = re.compile(r"\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", re.ASCII | re.IGNORECASE)


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The circumstances of a request; empty: unknown. The words are those that the collector gives
    to events, or the shop's own.

    Attributes:
        country: ISO 3166-1's two letters.
        device: `desktop`, `mobile`, `tablet`, `tv`, `other`.
        language: as RFC 5646 writes it.
        referrer_kind: what led to the page.
        traits: of the visitor, as a member of a programme: `{"tier": "gold"}`.
    """

    country: ContextText = ""
    device: ContextText = ""
    language: ContextText = ""
    referrer_kind: ContextText = ""
    traits: Annotated[dict[ContextText, Trait], msgspec.Meta(max_length=MAX_TRAITS)] = {}


NO_CONTEXT = Context()


def context_of(event: Event) -> Context:
    """The circumstances of an event, as the collector has noted them."""
    return Context(
        country=event.text("country"),
        device=event.text("device_class"),
        language=event.text("language"),
        referrer_kind=event.text("referrer_kind"),
        traits=_traits(event.metadata.get("traits")),
    )


def device_class(user_agent: str) -> str:
    """The kind of device by what its maker writes into the user agent.

    "Mobi" marks a phone, and Android without it a tablet, as browsers' makers recommend. An iPad
    that asks for desktop pages (its default) claims to be a Macintosh, and is a desktop here.
    """
    if _TV.search(user_agent):
        return "tv"
    is_bare_android = "Android" in user_agent and "Mobi" not in user_agent
    if _TABLET.search(user_agent) or (is_bare_android and "Mozilla/" in user_agent):
        return "tablet"
    if _MOBILE.search(user_agent):
        return "mobile"
    if _DESKTOP.search(user_agent):
        return "desktop"
    return "other"


@lru_cache(maxsize=4096)
def preferred_language(accept_language: str) -> str | None:
    """The first language of the greatest quality (RFC 9110, section 12.5.4), as RFC 5646 writes it:
    `pt-BR`, `zh-Hant`.

    Args:
        accept_language: at most `MAX_ACCEPT_LANGUAGE_LENGTH` characters.
    """
    best, best_quality = None, 0.0
    for entry in accept_language.split(",")[:32]:
        tag, _, parameter = entry.partition(";")
        quality = _quality(parameter)
        if quality > best_quality and _LANGUAGE.fullmatch(tag.strip()):
            best, best_quality = tag.strip(), quality
    return _written(best) if best else None


def country_code(value: Any) -> str | None:
    """Two ASCII characters in upper case; None for anything else and for `UNKNOWN_COUNTRIES`."""
    if not isinstance(value, str) or len(value) != 2 or not (value.isascii() and value.isalpha()):
        return None
    code = value.upper()
    if code in UNKNOWN_COUNTRIES:
        return None
    return code


def _quality(parameter: str) -> float:
    if not parameter:
        return 1.0
    found = _QUALITY.fullmatch(parameter)
    if found is None:
        return 0.0
    return float(found[1])


def _written(tag: str) -> str:
    """Language lower, script as a title, region upper (RFC 5646, section 2.1.1)."""
    first, *others = tag.split("-")
    return "-".join([first.lower(), *map(_cased, others)])


def _cased(subtag: str) -> str:
    if len(subtag) == 2:
        return subtag.upper()
    if len(subtag) == 4:
        return subtag.title()
    return subtag.lower()


def _traits(given: Any) -> dict[str, Trait]:
    """Those of a form that a request may have, the first by name."""
    if not isinstance(given, Mapping):
        return {}
    fitting = {
        name: value
        for name, value in given.items()
        if len(name) <= MAX_CONTEXT_LENGTH and _is_trait(value)
    }
    return {name: fitting[name] for name in sorted(fitting)[:MAX_TRAITS]}


def _is_trait(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_CONTEXT_LENGTH
    if isinstance(value, int):
        return abs(value) < _GREATEST
    return isinstance(value, float) and math.isfinite(value)
