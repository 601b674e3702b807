"""The shop's own attributes of the items in memory: a typed column for each name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.core.attributes import AttributeType, AttributeValue, type_of
from pipeline.core.columns import (
    Arrays,
    Growable,
    NumberColumn,
    OptionalFlagColumn,
    Rows,
    TextColumn,
    TextsColumn,
    drop_unused_texts,
    has_many_unused,
    packed_texts,
    part_of,
    unpacked_texts,
    with_part,
)

MAX_COLUMNS = 128
"""Attributes of the whole catalog that are held: each takes up to 8 bytes of every item."""

Column = NumberColumn | OptionalFlagColumn | TextColumn | TextsColumn
_COLUMNS: Mapping[AttributeType, type[Column]] = {
    "text": TextColumn,
    "number": NumberColumn,
    "boolean": OptionalFlagColumn,
    "time": NumberColumn,
    "list": TextsColumn,
}
_BYTES = MAX_COLUMNS // 8


@dataclass(frozen=True)
class _Attribute:
    """One name's type and column, and its bit among those of a row."""

    kind: AttributeType
    column: Column
    bit: int

    def put(self, row: int, value: AttributeValue) -> bool:
        """Set the row's value; False where it is of another type."""
        is_fit = type_of(value) == ("number" if self.kind == "time" else self.kind)
        if is_fit:
            self.column.put(row, value)  # type: ignore[arg-type]
        return is_fit


class AttributeColumns:
    """Attributes by row and name; times in ms since the Unix epoch.

    A name gets its column when a value first comes, of that value's type, or at once where its type
    is declared.

    Args:
        declared: types by name.

    Attributes:
        types: of the names that have a column; another mapping as soon as there is another name.
        left_out: values that came without a place, for there are `MAX_COLUMNS` names already.
        mistyped: values by name that were of another type than their column, and so are unknown.
    """

    def __init__(self, declared: Mapping[str, AttributeType] | None = None) -> None:
        self.types: Mapping[str, AttributeType] = {}
        self.left_out = 0
        self.mistyped: dict[str, int] = {}
        self._rows = 0
        self._attributes: dict[str, _Attribute] = {}
        # Which attributes a row has, a bit each: so only these are made unknown later.
        self._present = Growable(np.uint8, width=_BYTES)
        for name, kind in (declared or {}).items():
            self._add(name, kind)

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least; what is not put is unknown."""
        if rows <= self._rows:
            return
        self._present.reserve(rows)
        self._rows = len(self._present)
        for attribute in self._attributes.values():
            attribute.column.reserve(self._rows)

    def put(self, row: int, attributes: Mapping[str, AttributeValue]) -> None:
        """Set all attributes of a row; those that are not named are unknown."""
        self.reserve(row + 1)
        present = 0
        for name, value in attributes.items():
            attribute = self._attributes.get(name) or self._add(name, type_of(value))
            if attribute is None:
                self.left_out += 1
            elif attribute.put(row, value):
                present |= attribute.bit
            else:
                self.mistyped[name] = self.mistyped.get(name, 0) + 1
        self._set_present(row, present)

    def remove(self, row: int) -> None:
        """Make all attributes of a row unknown."""
        if row < self._rows:
            self._set_present(row, 0)

    def has_many_unused_texts(self, items: int) -> bool:
        """True where it is time for `drop_unused_texts`, for so many items."""
        return any(has_many_unused(column, items) for column in self._coded())

    def drop_unused_texts(self, rows: Rows) -> None:
        """Forget the texts that none of these rows has any more; all codes change."""
        for column in self._coded():
            drop_unused_texts([column], rows)

    def _coded(self) -> list[TextColumn | TextsColumn]:
        columns = [attribute.column for attribute in self._attributes.values()]
        return [column for column in columns if isinstance(column, (TextColumn, TextsColumn))]

    def saved(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """See `columns.Column`."""
        kinds = [attribute.kind for attribute in self._attributes.values()]
        saved: dict[str, NDArray[Any]] = {"present": self._present[rows]}
        saved |= with_part("names", packed_texts(self._attributes))
        saved |= with_part("kinds", packed_texts(kinds))
        for place, attribute in enumerate(self._attributes.values()):
            saved |= with_part(f"column.{place}", attribute.column.saved(rows))
        return saved

    def restore(self, arrays: Arrays, n: int) -> None:
        """See `columns.Column`; a declared type that is another now does not fit."""
        names = unpacked_texts(part_of(arrays, "names"))
        kinds = dict(zip(names, unpacked_texts(part_of(arrays, "kinds")), strict=True))
        declared, self.types, self._attributes = self.types, {}, {}
        self._present.restore({"": arrays["present"]}, n)
        self._rows = n
        for name, kind in {**kinds, **declared}.items():
            if kind not in get_args(AttributeType) or kind != kinds.get(name, kind):
                raise ValueError(f"{name}: expected type {kind}, got {kinds.get(name)}")
            attribute = self._add(name, kind)  # type: ignore[arg-type]  # is one, as just seen
            if attribute is not None and name in kinds:
                attribute.column.restore(part_of(arrays, f"column.{names.index(name)}"), n)

    def values(self, name: str) -> NumberColumn | OptionalFlagColumn:
        """The column of a number, time or boolean; unknown is NaN, true is 1."""
        column = self._attributes[name].column
        assert isinstance(column, (NumberColumn, OptionalFlagColumn))
        return column

    def texts(self, name: str) -> TextColumn:
        """The column of a text."""
        column = self._attributes[name].column
        assert isinstance(column, TextColumn)
        return column

    def lists(self, name: str) -> TextsColumn:
        """The column of a list."""
        column = self._attributes[name].column
        assert isinstance(column, TextsColumn)
        return column

    def _add(self, name: str, kind: AttributeType) -> _Attribute | None:
        """A new column, None where there are enough."""
        place = len(self._attributes)
        if place >= MAX_COLUMNS:
            return None
        attribute = self._attributes[name] = _Attribute(kind, _COLUMNS[kind](), 1 << place)
        attribute.column.reserve(self._rows)
        self.types = {**self.types, name: kind}
        return attribute

    def _set_present(self, row: int, present: int) -> None:
        """Note which attributes the row has; those that it had and has no more become unknown."""
        stale = int.from_bytes(self._present[row].tobytes(), "little") & ~present
        if stale:
            for attribute in self._attributes.values():
                if stale & attribute.bit:
                    attribute.column.put(row, None)
        self._present[row] = np.frombuffer(present.to_bytes(_BYTES, "little"), np.uint8)
