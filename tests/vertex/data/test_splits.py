"""Splits by time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.core.features.ranking import FEATURE_NAMES
from vertex.data.examples import IMPRESSIONS, Dataset
from vertex.data.splits import split


def dataset(times_ms: Sequence[int], clicked: bool = True) -> Dataset:
    n = len(times_ms)
    return Dataset(
        IMPRESSIONS,
        np.zeros((n, len(FEATURE_NAMES)), np.float32),
        np.full(n, int(clicked), np.int8),
        np.arange(n),
        np.array(times_ms),
    )


def test_each_part_of_the_split_is_later_than_the_one_before() -> None:
    parts = split(dataset(range(1_000)))
    assert [len(part.times_ms) for part in parts] == [700, 150, 150]
    assert parts[0].times_ms.max() < parts[1].times_ms.min()
    assert parts[1].times_ms.max() < parts[2].times_ms.min()


def test_slates_of_one_moment_stay_on_one_side_of_the_split() -> None:
    learning, stopping, _ = split(dataset([number // 100 for number in range(1_000)]))
    assert set(learning.times_ms).isdisjoint(stopping.times_ms)
