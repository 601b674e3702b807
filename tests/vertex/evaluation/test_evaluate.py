"""Evaluation of a ranker as serving ranks."""

from __future__ import annotations

import numpy as np

from pipeline.core.features.ranking import COLUMN, FEATURE_NAMES
from vertex.data.examples import IMPRESSIONS, Dataset
from vertex.evaluation.evaluate import evaluate
from vertex.training.prior import PRIOR


def test_ranking_is_judged_free_of_position() -> None:
    matrix = np.zeros((4, len(FEATURE_NAMES)), np.float32)
    matrix[:, COLUMN["position"]] = [0, 1, 2, 3]
    data = Dataset(
        IMPRESSIONS,
        matrix,
        np.array([1, 0, 0, 0], np.int8),
        np.zeros(4, np.int64),
        np.zeros(1, np.int64),
    )
    metrics = evaluate(PRIOR.score, data)
    assert metrics["auc"] == 1.0
    assert metrics["serving_auc"] == 0.5
