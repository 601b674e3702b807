"""Fields that an expression may name: their kinds, and the columns that hold their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.attributes import AttributeType
from pipeline.core.columns import Mask, Rows

NOW = "now"
"""The scalar that holds the time of evaluation, ms since the Unix epoch."""
AGE, PUBLISHED_AT = "age", "published_at"
Scalar = float | bool | str | Sequence[str] | None
"""A value of visitor or context; None and the empty text: unknown. Times and durations in ms."""


class Kind(StrEnum):
    """The type of a value."""

    TEXT = "a text"
    TEXTS = "a list of texts"
    NUMBER = "a number"
    FLAG = "true or false"
    TIME = "a time"
    DURATION = "a duration such as 7d"
    ID = "an id"


KIND_OF_ATTRIBUTE: Mapping[AttributeType, Kind] = {
    "text": Kind.TEXT,
    "number": Kind.NUMBER,
    "boolean": Kind.FLAG,
    "time": Kind.TIME,
    "list": Kind.TEXTS,
}


@dataclass(frozen=True, eq=False)
class FieldTypes:
    """The names that an expression may use; compared by identity, so make one and keep it.

    Attributes:
        item: kinds of the items' fields.
        scalars: kinds of what has one value an evaluation, e.g. `visitor.category`.
    """

    item: Mapping[str, Kind]
    scalars: Mapping[str, Kind] = field(default_factory=dict)

    def kind(self, name: str) -> Kind | None:
        """The kind of a field, None for an unknown one."""
        if name in self.item:
            return self.item[name]
        return self.scalars.get(name)


class Values(Protocol):
    """Numbers, flags (1, 0), times or durations (ms) by row; NaN where unknown."""

    def get(self, rows: Rows) -> NDArray[Any]:
        """The values `(n,)`."""
        ...


class Codes(Protocol):
    """The texts behind codes; a text once given a code keeps it."""

    def __len__(self) -> int: ...

    def find(self, text: str) -> int:
        """The text's code, -1 where it has none."""
        ...

    def text(self, code: int) -> str:
        """The text of a code."""
        ...


class Texts(Protocol):
    """One text a row, as a code; code 0 where unknown."""

    @property
    def dictionary(self) -> Codes:
        """The texts of the codes."""
        ...

    def get(self, rows: Rows) -> NDArray[np.int32]:
        """The codes `(n,)`."""
        ...


class TextLists(Protocol):
    """A list of texts a row, as codes; an empty list where unknown."""

    @property
    def dictionary(self) -> Codes:
        """The texts of the codes."""
        ...

    def lengths(self, rows: Rows) -> NDArray[np.int32]:
        """The number of texts of each row `(n,)`."""
        ...

    def has_chosen(self, rows: Rows, choose: Callable[[NDArray[np.int32]], Mask]) -> Mask:
        """True where `choose` picks a code of the row's list; it may see other rows' codes."""
        ...


class FieldColumns(Protocol):
    """The columns of the fields that `FieldTypes.item` names, by name."""

    def values(self, name: str) -> Values:
        """The column of a number, flag or time."""
        ...

    def texts(self, name: str) -> Texts:
        """The column of a text or an id."""
        ...

    def lists(self, name: str) -> TextLists:
        """The column of a list of texts."""
        ...
