"""Metrics of probabilities and of rankings, on labels and scores alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_BINS = 10


def auc(labels: Floats, scores: Floats) -> float:
    """The chance that a random click scores above a random non-click, ties half; NaN without both
    kinds.
    """
    positives = labels.sum()
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2.0)[inverse]  # 1-based, the mean of those tied
    return float(
        (ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    )


def log_loss(labels: Floats, probabilities: Floats) -> float:
    """The mean of -ln(probability given to what happened); lower is better."""
    clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)))


def calibration_error(labels: Floats, probabilities: Floats) -> float:
    """The mean gap between predicted and seen click rate over ten equally large bins of the
    prediction.
    """
    order = np.argsort(probabilities, kind="stable")
    gaps = [
        abs(probabilities[rows].mean() - labels[rows].mean()) * len(rows)
        for rows in np.array_split(order, _BINS)
        if len(rows)
    ]
    return float(sum(gaps) / max(len(labels), 1))


def mean_ndcg(labels: Floats, scores: Floats, slate_of: NDArray[np.int64]) -> float:
    """Mean normalised discounted cumulative gain: 1 a click, discounted by log2(rank + 1); NaN
    without clicks.

    Tied items share the discount of their places, so that a ranker that says nothing earns what
    chance would.
    """
    starts = np.flatnonzero(np.diff(slate_of, prepend=-1))
    parts = zip(np.split(labels, starts[1:]), np.split(scores, starts[1:]), strict=True)
    values = [_ndcg(clicks, score) for clicks, score in parts if len(clicks) > 1 and clicks.any()]
    return float(np.mean(values)) if values else float("nan")


def _ndcg(labels: Floats, scores: Floats) -> float:
    discounts = 1.0 / np.log2(np.arange(2, len(labels) + 2))
    order = np.argsort(-scores, kind="stable")
    _, group = np.unique(-scores[order], return_inverse=True)
    shared = (np.bincount(group, discounts) / np.bincount(group))[group]
    return float((labels[order] * shared).sum() / discounts[: int(labels.sum())].sum())
