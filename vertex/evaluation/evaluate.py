"""Evaluation of a ranker on slates that came after those it learnt from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.core.features.ranking import COLUMN
from vertex.data.examples import Dataset
from vertex.evaluation.metrics import auc, calibration_error, log_loss, mean_ndcg
from vertex.models.click_model import Matrix

Score = Callable[[Matrix], NDArray[np.float32]]
Metrics = dict[str, float]


def evaluate(score: Score, data: Dataset) -> Metrics:
    """The metrics of one ranker on `data`.

    `auc`, `log_loss`, `calibration` (predicted clicks per click; 1 is right) and
    `calibration_error` are of the click as shown, at its position. `serving_auc` and `ndcg` score
    every item as if at position 0, which is how serving ranks. `ndcg` is the mean over slates of
    two or more items with a click.
    """
    labels = data.labels.astype(np.float64)
    shown = score(data.matrix).astype(np.float64)
    serving = score(_unpositioned(data.matrix)).astype(np.float64)
    return {
        "auc": auc(labels, shown),
        "log_loss": log_loss(labels, shown),
        "calibration": float(shown.sum() / max(labels.sum(), 1.0)),
        "calibration_error": calibration_error(labels, shown),
        "serving_auc": auc(labels, serving),
        "ndcg": mean_ndcg(labels, serving, data.slate_of),
    }


def _unpositioned(matrix: Matrix) -> Matrix:
    matrix = matrix.copy()
    matrix[:, COLUMN["position"]] = 0.0
    return matrix
