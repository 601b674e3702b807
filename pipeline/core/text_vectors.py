"""Vectors of the items' texts: an item has one in the second it is added, with no click at all.

A model of texts (`TextEncoder`) makes them; nothing here knows which. The vectors of two models
mean different things, so a column holds those of one alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pipeline.core.catalog import Item
from pipeline.core.columns import Arrays, Growable, Mask, Rows

TEXT_DIM = 64
# Of a description the beginning says what the item is; more would cost time and dilute the title.
MAX_TEXT_CHARS = 400
# So many texts wait at most, the newest of them; the others are noted again when they are next
# read.
MAX_WAITING = 200_000

Units = NDArray[np.float32]


class TextEncoder(Protocol):
    """Model of texts.

    Attributes:
        name: of the model and its version; another name, other vectors.
    """

    @property
    def name(self) -> str:
        """See above."""

    def encode(self, texts: Sequence[str]) -> Units:
        """Unit vectors `(n, TEXT_DIM)`, the same for the same text; zeros for an empty one."""


class Texts(NamedTuple):
    """Texts to be encoded: of which rows `(n,)`, and by what key each is known `(n,)`."""

    rows: Rows
    keys: NDArray[np.uint32]
    texts: list[str]


class TextVectors:
    """Text vectors by row, and the texts that wait to be encoded.

    Without a model all vectors are zeros. Encoding may take its time elsewhere: `take` gives texts,
    `put` takes their vectors, and what has changed between the two is left out.

    Args:
        max_waiting: so many texts wait at most.

    Attributes:
        model: the name of the model whose vectors these are; empty while there is none.
        units: `(n, TEXT_DIM)` float16: of length 1, or zeros.
        keys: the key of the text that each vector is of; 0 where there is none.
    """

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self.model = ""
        self.units = Growable(np.float16, width=TEXT_DIM)
        self.keys = Growable(np.uint32)
        self._wanted = Growable(np.uint32)  # the keys of the texts of now
        self._waiting: dict[int, str] = {}  # row -> text, the newest last
        self._max_waiting = max_waiting

    @property
    def waiting(self) -> int:
        """The number of texts that wait."""
        return len(self._waiting)

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least."""
        for column in (self.units, self.keys, self._wanted):
            column.reserve(rows)

    def saved(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """See `columns.Column`: the vectors with the name of their model."""
        model = np.frombuffer(self.model.encode(), np.uint8)
        return {"units": self.units[rows], "keys": self.keys[rows], "model": model}

    def restore(self, arrays: Arrays, n: int) -> None:
        """See `columns.Column`; no text waits."""
        self.units.restore({"": arrays["units"]}, n)
        self.keys.restore({"": arrays["keys"]}, n)
        self._wanted.restore({"": arrays["keys"]}, n)
        self.model = arrays["model"].tobytes().decode()
        self._waiting.clear()

    def use_model(self, name: str) -> None:
        """Take vectors of this model from now on; those of another are forgotten."""
        if name == self.model:
            return
        self.model = name
        self.units.array[:] = 0
        self.keys.array[:] = 0

    def use_none(self) -> None:
        """Do without vectors: no text waits from now on."""
        self.use_model("")
        self._max_waiting = 0
        self._waiting.clear()

    def note(self, row: int, text: str) -> None:
        """Say what the row's text is now; it waits if there is no vector of it yet."""
        key = crc32(text.encode("utf-8", "surrogatepass")) if text else 0
        self.reserve(row + 1)
        self._wanted[row] = key
        self._waiting.pop(row, None)
        if key == int(self.keys[row]):
            return
        if not key:
            self.forget(row)
            return
        self._waiting[row] = text
        if len(self._waiting) > self._max_waiting:
            del self._waiting[next(iter(self._waiting))]

    def forget(self, row: int) -> None:
        """Note that the row has no text."""
        self._waiting.pop(row, None)
        self._wanted[row] = self.keys[row] = 0
        self.units[row] = 0

    def take(self, n: int) -> Texts:
        """The next `n` of the texts that wait, the newest first; they wait no longer."""
        taken = [self._waiting.popitem() for _ in range(min(n, len(self._waiting)))]
        rows = np.array([row for row, _ in taken], np.int32)
        return Texts(rows, self._wanted[rows], [text for _, text in taken])

    def put(self, texts: Texts, vectors: Units) -> Rows:
        """Set the vectors `(n, TEXT_DIM)` of texts that `take` gave, and return the rows that have
        theirs; a row whose text has changed since stays as it is.
        """
        is_same = self._wanted[texts.rows] == texts.keys
        rows: Rows = texts.rows[is_same]
        self.units.array[rows] = vectors[is_same]
        self.keys.array[rows] = texts.keys[is_same]
        return rows

    def known(self, rows: Rows) -> Mask:
        """True where a row has a vector `(n,)`."""
        return np.asarray(self.keys[rows] != 0)

    def get(self, rows: Rows) -> Units:
        """The rows' vectors `(n, TEXT_DIM)`."""
        return self.units[rows].astype(np.float32)


def encode_waiting(vectors: TextVectors, encoder: TextEncoder) -> None:
    """Encode all that waits, here and now."""
    vectors.use_model(encoder.name)
    while vectors.waiting:
        texts = vectors.take(vectors.waiting)
        vectors.put(texts, encoder.encode(texts.texts))


def item_text(item: Item) -> str:
    """The text of an item: title, brand, category and description."""
    category = item.category.replace(".", " ").replace("_", " ")
    parts = (item.title, item.brand, category, item.description)
    return " ".join(part for part in parts if part)[:MAX_TEXT_CHARS]
