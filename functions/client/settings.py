"""The constructor's arguments, checked where they are given: a `ValueError` names the one that cannot work."""

from __future__ import annotations

import httpx


def checked_url(name: str, value: str) -> str:
    """An http or https address without query and fragment; a slash at its end goes."""
    try:
        url = httpx.URL(value)
    except (httpx.InvalidURL, TypeError):
        raise ValueError(f"{name}: expected an http or https address, got {value!r}") from None
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ValueError(f"{name}: expected an http or https address, got {value!r}")
    return str(url).rstrip("/")


def checked_key(name: str, key: str) -> str:
    """What a header can carry. The key itself is in no message."""
    if not isinstance(key, str) or not key.isascii() or not key.isprintable() or not key:
        raise ValueError(f"{name}: expected a text of printable ASCII characters")
    return key


def check_range(name: str, value: float, least: float, most: float) -> None:
    """A number of `least` to `most`, a whole one where `least` is one."""
    whole = isinstance(least, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not least <= value <= most:
        expected = f"{'a whole number' if whole else 'seconds'} of {least} to {most}"
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
