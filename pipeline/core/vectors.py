"""Unit vectors by item id, with exact search for the nearest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]

_UNIT_TOLERANCE = 1e-3


class VectorIndex(Mapping[str, Vector]):
    """Unit vectors by item id, searched exactly: at 100,000 items brute force still takes
    milliseconds.

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
        return greatest(self._rows @ vector.astype(np.float32), n)


def greatest(values: NDArray[np.floating[Any]], n: int) -> NDArray[np.intp]:
    """The places of the `n` greatest of the values `(m,)`, greatest first."""
    if n >= len(values):
        return np.argsort(-values, kind="stable")
    best = np.argpartition(-values, n)[:n]
    return best[np.argsort(-values[best], kind="stable")]
