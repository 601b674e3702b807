"""The approximate search finds nearly all that the exact one does, in its order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.vectors import Matrix, VectorIndex
from vertex.api.approximate import InvertedLists

N, DIM, WANTED = 30_000, 64, 100


def units(rows: NDArray[Any]) -> Matrix:
    found: Matrix = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def index() -> VectorIndex:
    """Vectors as a shop's are: in clusters of some two hundred, broad ones."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(N // 200, DIM))
    rows = centres[rng.integers(len(centres), size=N)] + 0.7 * rng.normal(size=(N, DIM))
    return VectorIndex([f"p{n}" for n in range(N)], units(rows))


@pytest.fixture(scope="module")
def lists(index: VectorIndex) -> InvertedLists:
    return InvertedLists(index.rows)


def test_it_finds_95_of_the_100_nearest(index: VectorIndex, lists: InvertedLists) -> None:
    rng = np.random.default_rng(2)
    noise = 0.2 * rng.normal(size=(200, DIM))
    questions = units(index.rows[rng.integers(N, size=200)] + noise)
    found = 0
    for question in questions:
        exact = set(index.nearest_places(question, WANTED).tolist())
        found += len(exact & set(lists.nearest(question, WANTED).tolist()))
    assert found / (WANTED * len(questions)) >= 0.95


def test_the_best_come_first_by_the_exact_cosines(index: VectorIndex, lists: InvertedLists) -> None:
    found = lists.nearest(index.rows[7], 10)
    cosines = index.rows[found] @ index.rows[7]
    assert found[0] == 7
    assert (np.diff(cosines) <= 0).all()


def test_an_index_searches_as_it_is_told(index: VectorIndex, lists: InvertedLists) -> None:
    searched = VectorIndex(list(index), index.rows)
    searched.search_with(lists.nearest)
    assert searched.nearest_places(3.0 * index.rows[7], 5)[0] == 7
    assert searched.nearest_places(np.zeros(DIM, np.float32), 5).tolist() == []
    with pytest.raises(ValueError, match=r"vector: expected shape \(64,\)"):
        searched.nearest_places(np.ones(3, np.float32), 5)
