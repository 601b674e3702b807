"""Splits of a dataset by time: models learn from the past, and are judged on what came later."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vertex.data.examples import IMPRESSIONS, Dataset

# Shares of the slates, in order of time: to learn from, to stop by, the rest to be judged on.
LEARN, STOP = 0.7, 0.15
MIN_CLICKED = {"learning": 60, "stopping": 10, "evaluation": 10}


class NotEnoughData(ValueError):
    """The log is too small to learn from; the message says what is missing."""


class Split(NamedTuple):
    """The slates to learn from, those to stop by, and those to judge on: each later than those
    before.
    """

    learning: Dataset
    stopping: Dataset
    evaluation: Dataset


def split(data: Dataset) -> Split:
    """The dataset in three parts by time. Slates of one moment stay together.

    Raises:
        NotEnoughData: naming the part that has too few slates with a click.
    """
    n = len(data.times_ms)
    first, second = _boundary(data, int(n * LEARN)), _boundary(data, int(n * (LEARN + STOP)))
    parts = Split(data.between(0, first), data.between(first, second), data.between(second, n))
    for name, part in parts._asdict().items():
        _check_clicked(name, part, n)
    return parts


def _check_clicked(name: str, part: Dataset, slates: int) -> None:
    if part.clicked_slates >= MIN_CLICKED[name]:
        return
    expected = "slates with a click" if part.source == IMPRESSIONS else "views after another"
    raise NotEnoughData(
        f"{name}: expected at least {MIN_CLICKED[name]} {expected}, got {part.clicked_slates} "
        f"(of {slates} in all)"
    )


def _boundary(data: Dataset, slate: int) -> int:
    """The first slate of the same moment as `slate`."""
    if slate >= len(data.times_ms):
        return len(data.times_ms)
    return int(np.searchsorted(data.times_ms, data.times_ms[slate]))
