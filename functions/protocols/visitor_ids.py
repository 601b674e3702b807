"""Ids of visitors, and the placeholders that trackers send where a site had no id to give.

A placeholder comes from many visitors, so it is no id.
"""

from __future__ import annotations

from typing import Any

from functions.protocols.values import as_id

PLACEHOLDERS = frozenset(
    "anon anonymous unknown undefined null <nil> nil none n/a na nan true false 0 -1 {} [] "
    "guest".split()
) | {"[object object]"}
_ZEROS = frozenset("0-")


def first_id(*candidates: Any) -> str | None:
    """The first that is an id. All zeros are none: phones that may not be tracked send them."""
    for given in candidates:
        found = as_id(given)
        if found and not _is_placeholder(found):
            return found
    return None


def _is_placeholder(found: str) -> bool:
    plain = found.strip().lower()
    return not plain or plain in PLACEHOLDERS or _ZEROS.issuperset(plain)
