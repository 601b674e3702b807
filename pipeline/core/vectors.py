"""Unit vectors by item id, and the search for the nearest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]

Search = Callable[[Vector, int], NDArray[np.intp]]
"""Finds the places of the `n` vectors nearest to one, best first."""

_UNIT_TOLERANCE = 1e-3


class VectorIndex(Mapping[str, Vector]):
    """Unit vectors by item id, searched exactly until another search is set.

    Args:
        ids: the `n` item ids, each once.
        rows: `(n, dim)` float32, finite, of length 1.

    Raises:
        ValueError: when those do not fit together.
    """

    def __init__(self, ids: Sequence[str], rows: Matrix) -> None:
        if rows.ndim != 2 or len(ids) != len(rows):
            raise ValueError(
                f"rows: expected shape ({len(ids)}, dim) for the ids, got {rows.shape}"
            )
        if len(rows) and not np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=_UNIT_TOLERANCE):
            raise ValueError("rows: expected length 1 of each")
        self._ids = list(ids)
        self._rows = np.ascontiguousarray(rows, np.float32)
        self._index = {item_id: index for index, item_id in enumerate(self._ids)}
        if len(self._index) != len(self._ids):
            raise ValueError(f"ids: expected each id once, got {len(self._ids)} ids with doubles")
        self._search: Search | None = None

    @staticmethod
    def empty() -> VectorIndex:
        """The index that knows no item."""
        return VectorIndex([], np.zeros((0, 0), np.float32))

    def __getitem__(self, item_id: str) -> Vector:
        row: Vector = self._rows[self._index[item_id]]
        return row

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self._rows.shape[1])

    @property
    def rows(self) -> Matrix:
        """All vectors `(n, dim)`, in the order of iteration."""
        return self._rows

    def place(self, item_id: str) -> int:
        """The place of the item's vector in `rows`, -1 where it has none."""
        return self._index.get(item_id, -1)

    def nearest_places(self, vector: Vector, n: int) -> NDArray[np.intp]:
        """The places of the `n` vectors nearest to `vector` `(dim,)`, which may have any length,
        best first (ties by place).

        Raises:
            ValueError: when `vector` has another shape.
        """
        if not self._ids or n <= 0:
            return np.zeros(0, np.intp)
        if vector.shape != (self.dim,):
            raise ValueError(f"vector: expected shape ({self.dim},), got {vector.shape}")
        if not vector.any():
            return np.zeros(0, np.intp)
        if self._search is not None:
            return self._search(vector.astype(np.float32), n)
        return greatest(self._rows @ vector.astype(np.float32), n)

    @property
    def is_exact(self) -> bool:
        """True until another search is set."""
        return self._search is None

    def search_with(self, search: Search) -> None:
        """Use another search from now on: an approximate one, which may miss some."""
        self._search = search


def greatest(values: NDArray[np.floating[Any]], n: int) -> NDArray[np.intp]:
    """The places of the `n` greatest of the values `(m,)`, greatest first."""
    if n >= len(values):
        return np.argsort(-values, kind="stable")
    best = np.argpartition(-values, n)[:n]
    return best[np.argsort(-values[best], kind="stable")]
