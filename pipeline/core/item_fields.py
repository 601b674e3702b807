"""The fields of items that expressions may name: the catalog's own, and the shop's attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.attribute_columns import AttributeColumns
from pipeline.core.columns import Dictionary, Mask, Rows, TextsColumn
from pipeline.core.expressions.fields import (
    AGE,
    KIND_OF_ATTRIBUTE,
    PUBLISHED_AT,
    FieldTypes,
    Kind,
    TextLists,
    Texts,
    Values,
)
from pipeline.core.expressions.scalars import SCALAR_KINDS

CATALOG_KINDS: Mapping[str, Kind] = {
    "item_id": Kind.ID,
    "price": Kind.NUMBER,
    "category": Kind.TEXT,
    "brand": Kind.TEXT,
    "group": Kind.TEXT,
    "in_stock": Kind.FLAG,
    "regions": Kind.TEXTS,
    PUBLISHED_AT: Kind.TIME,
    "expires_at": Kind.TIME,
    AGE: Kind.DURATION,
}


class ItemFields:
    """The columns of the items by the names that expressions use.

    Args:
        values, texts, lists: the catalog's, all of `CATALOG_KINDS` but the age.
        attributes: the shop's.
    """

    def __init__(
        self,
        values: Mapping[str, Values],
        texts: Mapping[str, Texts],
        lists: Mapping[str, TextLists],
        attributes: AttributeColumns,
    ) -> None:
        self._values = values
        self._texts = texts
        self._lists = lists
        self._attributes = attributes
        self._typed = attributes.types
        self._types = self._with_attributes()

    @property
    def types(self) -> FieldTypes:
        """The names that an expression may use now; the same object until there is another one."""
        if self._typed is not self._attributes.types:
            self._typed = self._attributes.types
            self._types = self._with_attributes()
        return self._types

    def values(self, name: str) -> Values:
        """The column of a number, flag or time."""
        found = self._values.get(name)
        return found if found is not None else self._attributes.values(name)

    def texts(self, name: str) -> Texts:
        """The column of a text or an id."""
        found = self._texts.get(name)
        return found if found is not None else self._attributes.texts(name)

    def lists(self, name: str) -> TextLists:
        """The column of a list of texts."""
        found = self._lists.get(name)
        return found if found is not None else self._attributes.lists(name)

    def _with_attributes(self) -> FieldTypes:
        attributes = {name: KIND_OF_ATTRIBUTE[kind] for name, kind in self._typed.items()}
        return FieldTypes({**attributes, **CATALOG_KINDS}, SCALAR_KINDS)


class Identified(Protocol):
    """Items by row."""

    @property
    def capacity(self) -> int:
        """Rows that are or were taken."""
        ...

    def row(self, item_id: str) -> int:
        """The item's row, -1 where there is none."""
        ...

    def id(self, row: int) -> str:
        """The id of a row that is taken."""
        ...


class ItemIds:
    """Ids as texts: the code of an id is one more than the item's row."""

    def __init__(self, items: Identified) -> None:
        self._items = items

    @property
    def dictionary(self) -> ItemIds:
        """Itself: rows are the codes."""
        return self

    def __len__(self) -> int:
        return self._items.capacity + 1

    def find(self, text: str) -> int:
        """The id's code, 0 where it has none."""
        return self._items.row(text) + 1

    def text(self, code: int) -> str:
        """The id of a code."""
        return self._items.id(code - 1)

    def get(self, rows: Rows) -> NDArray[np.int32]:
        """The codes of the rows."""
        return rows + np.int32(1)


class Regions:
    """The regions of items: an item without regions is available everywhere, so every region
    is in its list.
    """

    def __init__(self, column: TextsColumn) -> None:
        self._column = column

    @property
    def dictionary(self) -> Dictionary:
        """The texts of the codes."""
        return self._column.dictionary

    def lengths(self, rows: Rows) -> NDArray[np.int32]:
        """The number of regions that each row names."""
        return self._column.lengths(rows)

    def has_chosen(self, rows: Rows, choose: Callable[[NDArray[np.int32]], Mask]) -> Mask:
        """True where `choose` picks a region of the row, and where the row names none."""
        mask: Mask = self._column.has_chosen(rows, choose) | (self.lengths(rows) == 0)
        return mask
