"""The first source of a visitor: the page and the campaign that led to the shop."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import msgspec

from pipeline.core.events import Event

MAX_SOURCE_LENGTH = 100
"""Characters that are kept of a host, and of a campaign's name."""


class FirstTouch(msgspec.Struct, array_like=True, frozen=True, order=True, gc=False):
    """First source of the visitor: host of the referring page and campaign, either may be empty."""

    time_ms: int = 0
    referrer: str = ""
    campaign: str = ""


def source_of(event: Event) -> tuple[str, str]:
    """(host of the referring page, campaign) of an event; a page of the same site is no source."""
    url = event.text("url")
    campaign = event.text("utm_campaign")
    if not campaign and "utm_campaign=" in url:
        campaign = (parse_qs(url.partition("?")[2].partition("#")[0]).get("utm_campaign") or [""])[
            0
        ]
    referrer = _host(event.text("referrer"))
    if referrer == _host(url):
        referrer = ""
    return referrer[:MAX_SOURCE_LENGTH], campaign[:MAX_SOURCE_LENGTH]


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
