"""Validates the constructor's arguments: a `ValueError` names the one that cannot work."""

from __future__ import annotations

from typing import Any

import httpx


def valid_url(name: str, value: str) -> str:
    """Return an http or https address without query or fragment, and no slash at its end."""
    try:
        url = httpx.URL(value)
    except (httpx.InvalidURL, TypeError):
        raise ValueError(f"{name}: expected an http or https address, got {value!r}") from None
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ValueError(f"{name}: expected an http or https address, got {value!r}")
    return str(url).rstrip("/")


def valid_key(name: str, key: str) -> str:
    """Return a key that a header can carry. No message shows it."""
    if not isinstance(key, str) or not key or not key.isascii() or not key.isprintable():
        raise ValueError(f"{name}: expected a text of printable ASCII characters")
    return key


def valid_count(name: str, value: Any, least: int, most: int) -> int:
    """Return a whole number of `least` to `most`."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise ValueError(f"{name}: expected a whole number of {least} to {most}, got {value!r}")


def valid_seconds(name: str, value: Any, least: float, most: float) -> float:
    """Return a number of `least` to `most`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and least <= value <= most:
        return float(value)
    raise ValueError(f"{name}: expected seconds of {least} to {most}, got {value!r}")
