"""The search for the nearest of many item vectors, approximate beside exact: time, share found, and
how long the index takes to build.

Vectors in clusters of some two hundred, as a shop's are; questions near one of them. One core.
`python -m tests.bench nearest`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.vectors import Matrix, VectorIndex
from tests.bench.rows import Row, row
from vertex.api.approximate import InvertedLists

SIZES = (100_000, 1_000_000)
DIM, WANTED, QUESTIONS = 64, 100, 200
TARGET_MS, TARGET_SHARE = 1.0, 0.95
FLOOR = "exact search"

Search = Callable[[NDArray[np.float32], int], NDArray[np.intp]]


def run() -> list[Row]:
    """Rows for each size; takes about two minutes."""
    return [found for size in SIZES for found in _measure(size)]


def _measure(size: int) -> list[Row]:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(size // 200, DIM)).astype(np.float32)
    vectors = _units(centres[rng.integers(len(centres), size=size)] + _noise(rng, size, 0.7))
    near = vectors[rng.integers(size, size=QUESTIONS)]
    questions = _units(near + _noise(rng, QUESTIONS, 0.2))
    exact = VectorIndex([str(number) for number in range(size)], vectors)
    began_s = time.process_time()
    lists = InvertedLists(vectors)
    built_s = time.process_time() - began_s
    exact_ms, truth = _timed(exact.nearest_places, questions)
    approximate_ms, found = _timed(lists.nearest, questions)
    share = np.mean([len(np.intersect1d(*pair)) for pair in zip(truth, found, strict=True)])
    name = f"nearest_{WANTED}_of_{size // 1000}k"
    return [
        row(name, approximate_ms, "ms", TARGET_MS, FLOOR, exact_ms),
        row(f"{name}_found", float(share) / WANTED, "ratio", TARGET_SHARE, FLOOR, 1.0),
        row(f"{name}_built", built_s, "s"),
    ]


def _timed(search: Search, questions: Matrix) -> tuple[float, list[NDArray[np.intp]]]:
    """Median milliseconds of a question, and what was found."""
    times, found = [], []
    for question in questions:
        began_s = time.perf_counter()
        found.append(search(question, WANTED))
        times.append(1000 * (time.perf_counter() - began_s))
    return float(np.median(times)), found


def _noise(rng: np.random.Generator, size: int, scale: float) -> Matrix:
    return np.float32(scale) * rng.standard_normal((size, DIM), np.float32)


def _units(rows: NDArray[Any]) -> Matrix:
    units: Matrix = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return units
