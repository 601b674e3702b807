"""The one feature matrix: training logs what serving ranks, because both call this function."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Rows
from pipeline.core.features.moment import Moment
from pipeline.core.features.ranking import (
    FEATURE_NAMES,
    PRIOR_BIAS,
    PRIOR_WEIGHTS,
    RANKING_FEATURES,
)
from pipeline.core.features.ranking_inputs import Candidates, Matrix, RankingContext


def feature_matrix(moment: Moment, rows: Rows, context: RankingContext) -> Matrix:
    """The features of each candidate for a visitor at a moment.

    Args:
        moment: the visitor, the items in memory, the time of reading.
        rows: the candidates, `n` of them.
        context: page and priors.

    Returns:
        `(n, d)` float32 in the order of `FEATURE_NAMES`; finite.
    """
    matrix = np.zeros((len(rows), len(RANKING_FEATURES)), np.float32)
    if len(rows) == 0:
        return matrix
    candidates = Candidates(moment, rows, context)
    for column, feature in enumerate(RANKING_FEATURES):
        matrix[:, column] = feature.column(candidates)
    return matrix


def prior_ctr(matrix: Matrix) -> NDArray[np.float32]:
    """The prior's probability of a click, `(n, d)` -> `(n,)` in (0, 1).

    It is logistic(bias + weights . features).
    """
    # in float32 these differ from 0 and 1
    scores = np.clip(matrix @ _PRIOR_VECTOR + PRIOR_BIAS, -15.0, 15.0)
    probabilities: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-scores))).astype(np.float32)
    return probabilities


_PRIOR_VECTOR = np.array([PRIOR_WEIGHTS.get(name, 0.0) for name in FEATURE_NAMES], np.float32)
