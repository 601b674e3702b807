"""Fields of a JSON value by their path: `properties.price`, or `events.0.name` in a list.

Changes are in place. A field whose name has dots is found by its whole name first; in a form, which
is flat, it has no other. Nothing recurses: neither value nor path is trusted.
"""

from __future__ import annotations

from typing import Any

MAX_PLACE_DIGITS = 6


def get(value: Any, path: str, *, flat: bool = False) -> Any:
    """The field, None where there is none."""
    holder, key = _holder(value, path, flat)
    return holder[key] if _has(holder, key) else None


def put(value: Any, path: str, new: Any, *, flat: bool = False) -> bool:
    """Set the field; False where nothing can hold it.

    Objects on the way are made where they are missing, places in a list are not.
    """
    holder, key = _holder(value, path, flat, make=True)
    if not (isinstance(holder, dict) or _has(holder, key)):
        return False
    holder[key] = new
    return True


def take(value: Any, path: str, *, flat: bool = False) -> None:
    """Remove the field, or what stands at a list's place."""
    holder, key = _holder(value, path, flat)
    if _has(holder, key):
        del holder[key]


def _holder(value: Any, path: str, flat: bool, make: bool = False) -> tuple[Any, Any]:
    """The object or list that holds the field or None, and the field's name or place in it."""
    while isinstance(value, dict | list):
        first, dot, rest = path.partition(".")
        if flat or not dot or (isinstance(value, dict) and path in value):
            return value, _key(value, path)
        key = _key(value, first)
        if make and isinstance(value, dict) and value.get(key) is None:
            value[key] = {}
        value, path = value[key] if _has(value, key) else None, rest
    return None, path


def _key(holder: Any, name: str) -> Any:
    is_place = isinstance(holder, list) and name.isdecimal() and len(name) <= MAX_PLACE_DIGITS
    return int(name) if is_place else name


def _has(holder: Any, key: Any) -> bool:
    if isinstance(holder, list):
        return isinstance(key, int) and key < len(holder)
    return isinstance(holder, dict) and key in holder
