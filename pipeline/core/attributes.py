"""Attributes: the shop's own fields of an item, and the type of each, declared or inferred."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.invalid_item import InvalidItem
from pipeline.core.timestamps import parse_time

AttributeType = Literal["text", "number", "boolean", "time", "list"]
"""`time` is stored as ms since the Unix epoch, `list` holds texts."""
AttributeValue = bool | int | float | str | list[str]
"""By type: text `str`, number `float`, boolean `bool`, time `int` (ms), list `list[str]`."""

ATTRIBUTE_TYPES: tuple[AttributeType, ...] = ("text", "number", "boolean", "time", "list")
MAX_ATTRIBUTES = 100
"""Of one item."""
MAX_NAMES = 500
"""Of a whole catalog: each is a column in memory."""
MAX_NAME_LENGTH = 64
MAX_VALUE_LENGTH = 256
"""Characters of a text, and of each text of a list."""
MAX_LIST_LENGTH = 100
MIN_TIME_MS, MAX_TIME_MS = -62_135_596_800_000, 253_402_300_799_999
"""From the year 1 to the end of 9999."""
RESERVED = frozenset(
    "id item_id title category brand price image url in_stock stub description attributes "
    "published_at expires_at published_ms expires_ms group prices regions stats "
    "age and or not in under has now true false null visitor context".split()
)
"""Names that mean something else in an item or in a filter."""

TRUE, FALSE = frozenset({"true", "1", "yes", "y"}), frozenset({"false", "0", "no", "n"})
EXPECTED_TIME = "an RFC 3339 time with a zone, or ms since the Unix epoch"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPECTED: Mapping[AttributeType, str] = {
    "text": "a text",
    "number": "a finite number",
    "boolean": "true or false",
    "time": EXPECTED_TIME,
    "list": "a list of texts",
}


class AttributeSchema:
    """Types of attributes by name.

    Args:
        declared: all names that there are; another one is refused. None: names are free, and the
            type of each is that of the first value that `learn` sees.

    Attributes:
        types: by name, as far as known.
        is_declared: False where types are inferred.
    """

    def __init__(self, declared: Mapping[str, AttributeType] | None = None) -> None:
        for name in declared or ():
            check_name(name)
        self._types = dict(declared or {})
        self.is_declared = declared is not None
        self.types: Mapping[str, AttributeType] = MappingProxyType(self._types)

    def parse(self, name: str, raw: Any) -> AttributeValue:
        """The value of an attribute, of JSON or of a text of CSV.

        A text is read as a number, boolean, time or list of one where that is the type.

        Raises:
            InvalidItem: naming the field, the type that is declared or known, and the value.
        """
        known = self._types.get(name)
        if known is not None:
            return _as_type(known, name, raw, self._origin())
        check_name(name)
        if self.is_declared:
            raise InvalidItem(_field(name), f"expected one of {', '.join(self._types)}", raw)
        return _as_type(type_of(raw), name, raw, "")

    def parse_all(self, raw: Any) -> dict[str, AttributeValue]:
        """The attributes of an item; those that are null are left out.

        Raises:
            InvalidItem: as `parse`, and above `MAX_ATTRIBUTES`.
        """
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            raise InvalidItem("attributes", "expected an object", raw)
        if len(raw) > MAX_ATTRIBUTES:
            raise InvalidItem("attributes", f"expected at most {MAX_ATTRIBUTES}", len(raw))
        return {name: self.parse(name, value) for name, value in raw.items() if value is not None}

    def learn(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Note the types of names that have none yet; nothing where types are declared.

        Raises:
            InvalidItem: for a name beyond `MAX_NAMES`.
        """
        if self.is_declared:
            return
        for name, value in attributes.items():
            if name not in self._types and len(self._types) >= MAX_NAMES:
                raise InvalidItem(_field(name), f"expected at most {MAX_NAMES} names in all", name)
            self._types.setdefault(name, type_of(value))

    def adopt(self, types: Mapping[str, AttributeType]) -> None:
        """Take the types of names that have none yet; nothing where types are declared."""
        if not self.is_declared:
            self._types = {**types, **self._types}
            self.types = MappingProxyType(self._types)

    def _origin(self) -> str:
        return "" if self.is_declared else ", as in items before"


def check_name(name: Any) -> None:
    """Refuse a name that a filter could not hold.

    Raises:
        InvalidItem: naming it.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        expected = f"expected a name of 1 to {MAX_NAME_LENGTH} letters, digits and underscores"
        raise InvalidItem("attributes", expected, name)
    if name in RESERVED:
        raise InvalidItem("attributes", "expected a name that no field of an item has", name)


def type_of(value: Any) -> AttributeType:
    """The type that a value is of by itself; never `time`, which has to be declared."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, list):
        return "list"
    return "text"


def _as_type(kind: AttributeType, name: str, raw: Any, origin: str) -> AttributeValue:
    value = _READERS[kind](raw)
    if value is None:
        raise InvalidItem(_field(name), f"expected {_EXPECTED[kind]}{origin}", raw)
    _check_length(_field(name), value)
    return value


def _check_length(field: str, value: AttributeValue) -> None:
    texts = value if isinstance(value, list) else [value]
    if len(texts) > MAX_LIST_LENGTH:
        raise InvalidItem(field, f"expected at most {MAX_LIST_LENGTH} texts", len(texts))
    for text in texts:
        if isinstance(text, str) and len(text) > MAX_VALUE_LENGTH:
            raise InvalidItem(field, f"expected at most {MAX_VALUE_LENGTH} characters", text)


def _text(raw: Any) -> str | None:
    return raw.strip() if isinstance(raw, str) else None


def _number(raw: Any) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
        return None
    try:
        value = float(raw)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _boolean(raw: Any) -> bool | None:
    if isinstance(raw, bool):
        return raw
    text = str(raw).strip().lower() if isinstance(raw, (int, str)) else ""
    if text not in TRUE | FALSE:
        return None
    return text in TRUE


def read_time_ms(raw: Any) -> int | None:
    """The moment of an RFC 3339 text with a zone, or of ms since the Unix epoch; None for anything
    else.
    """
    moment_ms = _text_time_ms(raw) if isinstance(raw, str) else _number(raw)
    if moment_ms is None or not MIN_TIME_MS <= moment_ms <= MAX_TIME_MS:
        return None
    return round(moment_ms)


def _text_time_ms(text: str) -> float | None:
    try:
        return parse_time("", text.strip()).timestamp() * 1000
    except InvalidEvent:
        return None


def _list(raw: Any) -> list[str] | None:
    if isinstance(raw, str):
        return [raw.strip()] if raw.strip() else []
    if not isinstance(raw, list) or not all(isinstance(text, str) for text in raw):
        return None
    return list(dict.fromkeys(text.strip() for text in raw))


_READERS: Mapping[AttributeType, Callable[[Any], AttributeValue | None]] = {
    "text": _text,
    "number": _number,
    "boolean": _boolean,
    "time": read_time_ms,
    "list": _list,
}


def _field(name: str) -> str:
    return f"attributes.{name}"
