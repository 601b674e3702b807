"""Vectors by item id: the nearest are exactly those, and what does not fit together is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.core.vectors import VectorIndex


def unit_rows(n: int, dim: int = 8) -> np.ndarray[Any, np.dtype[np.float32]]:
    rows = np.random.default_rng(2).normal(size=(n, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_nearest_is_what_sorting_all_cosines_gives() -> None:
    rows = unit_rows(200)
    index = VectorIndex([f"i{number}" for number in range(200)], rows)
    query = np.random.default_rng(3).normal(size=8).astype(np.float32)
    cosines = rows @ query / np.linalg.norm(query)
    assert index.nearest_places(query, 10).tolist() == np.argsort(-cosines)[:10].tolist()
    assert index.nearest_places(query, 900).tolist() == np.argsort(-cosines).tolist()
    assert [index.place(name) for name in ("i0", "i199", "stranger")] == [0, 199, -1]


def test_nearest_of_nothing_is_nothing() -> None:
    index = VectorIndex(["a"], unit_rows(1))
    assert index.nearest_places(np.zeros(8, np.float32), 1).tolist() == []
    assert index.nearest_places(np.ones(8, np.float32), 0).tolist() == []
    assert VectorIndex.empty().nearest_places(np.ones(8, np.float32), 1).tolist() == []
    with pytest.raises(ValueError, match=r"vector: expected shape \(8,\)"):
        index.nearest_places(np.ones(7, np.float32), 1)


@pytest.mark.parametrize(
    ("ids", "rows", "message"),
    [
        (["a"], unit_rows(2), "expected shape"),
        (["a", "a"], unit_rows(2), "each id once"),
        (["a", "b"], unit_rows(2) * 2, "length 1"),
        (["a"], np.full((1, 8), np.nan, np.float32), "length 1"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    ids: list[str], rows: np.ndarray[Any, np.dtype[np.float32]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        VectorIndex(ids, rows)
