"""A row of a feed, and the form of an item that its columns have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.core.attributes import AttributeSchema, check_name
from pipeline.core.catalog_rows import FIELDS
from pipeline.core.invalid_item import InvalidItem

SEPARATOR = "|"
"""Between the texts of a list, in a column of texts."""
_PRICES = "prices."


class InvalidFeed(ValueError):
    """A feed that cannot be read to its end; the message says where and why."""


class FeedRow(NamedTuple):
    """A row as `parse_item` takes it, or what is wrong with it; `place` is its line or number."""

    place: str
    row: dict[str, Any] | InvalidItem


class Columns:
    """Gives columns of any names the form of an item.

    A name that no field of an item has is an attribute: of the declared ones where types are
    declared, else any that can be one.

    Attributes:
        ignored: names that are neither field nor attribute.
    """

    def __init__(self, schema: AttributeSchema) -> None:
        self._schema = schema
        self.ignored: dict[str, None] = {}

    def item(self, columns: Mapping[Any, Any]) -> dict[str, Any]:
        """The row of an item; empty columns are left out."""
        row: dict[str, Any] = {}
        attributes: dict[str, Any] = {}
        prices: dict[str, Any] = {}
        for name, value in columns.items():
            if value is None or value == "" or not isinstance(name, str):
                continue  # of a line that is too long, the csv module makes a list without a name
            if name in FIELDS:
                row[name] = self._split(value) if name == "regions" else value
            elif name.startswith(_PRICES):
                prices[name.removeprefix(_PRICES)] = value
            else:
                self._put(attributes, name, value)
        return _with(_with(row, "prices", prices), "attributes", attributes)

    def _put(self, attributes: dict[str, Any], column: str, value: Any) -> None:
        name = re.sub(r"\W", "_", column.strip(), flags=re.ASCII)
        if not self._is_attribute(name):
            self.ignored[column] = None
        elif self._schema.types.get(name) == "list":
            attributes[name] = self._split(value)
        else:
            attributes[name] = value

    def _is_attribute(self, name: str) -> bool:
        if self._schema.is_declared:
            return name in self._schema.types
        try:
            check_name(name)
        except InvalidItem:
            return False
        return True

    def _split(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return [text.strip() for text in value.split(SEPARATOR) if text.strip()]


def _with(row: dict[str, Any], name: str, found: dict[str, Any]) -> dict[str, Any]:
    """The row with what was found under `name`, beside what it holds there."""
    if not found:
        return row
    held = row.get(name, {})
    if not isinstance(held, dict):
        return row  # which parse_item refuses
    return {**row, name: {**found, **held}}
