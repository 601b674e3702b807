"""The click model: the prior, fitted to how often people click here, then corrected by boosted
trees.

A shop that starts has hundreds of clicks, not millions. Trees from nothing rank worse than the
prior until they have seen about a thousand; trees that start from the prior's log-odds never fall
far behind it and end as good (Ke et al., "LightGBM", NIPS 2017; Platt, "Probabilistic Outputs for
Support Vector Machines", 1999).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from pipeline.core.features.candidates import Matrix
from pipeline.core.features.ranking import FEATURE_NAMES, PRIOR_BIAS, PRIOR_WEIGHTS
from vertex.data.examples import Dataset
from vertex.models.folder import LIGHTGBM, LOGISTIC, Logistic, Trees

MAX_ROUNDS = 300
PATIENCE = 30
# What a shop would be surprised to see reversed: +1, more of it never lowers the chance; -1, never
# raises it.
MONOTONE = {
    "position": -1,
    "covisit_last": 1,
    "covisit_recent": 1,
    "category_match": 1,
    "category_interest": 1,
    "category_interest_30m": 1,
    "brand_interest": 1,
    "similarity": 1,
    "item_ctr": 1,
    "item_conversion": 1,
    "brand_interest_30m": 1,
    "bought_together": 1,
    "taste_similarity": 1,
    "session_similarity": 1,
    "context_similarity": 1,
    "item_carts_7d": 1,
    "item_trending": 1,
}
_PARAMS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 4,
    "min_data_in_leaf": 40,
    "lambda_l2": 10.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 127,
    "monotone_constraints": [MONOTONE.get(name, 0) for name in FEATURE_NAMES],
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
# The prior's order is kept for any scale that the data give it.
_LEAST_SLOPE = 0.05
_NEWTON_STEPS, _RIDGE = 50, 1e-3


@dataclass(frozen=True)
class ClickModel:
    """A logistic model over `FEATURE_NAMES`, and the trees that correct it; without trees, it
    alone.
    """

    bias: float
    weights: dict[str, float]
    trees: str = ""
    rounds: int = 0

    @property
    def kind(self) -> str:
        """As the manifest names it."""
        return LIGHTGBM if self.trees else LOGISTIC

    @property
    def base(self) -> Logistic:
        """The logistic model."""
        return Logistic([self.weights.get(name, 0.0) for name in FEATURE_NAMES], self.bias)

    def predict(self, matrix: Matrix) -> NDArray[np.float32]:
        """The chance of a click `(n,)` for `(n, d)`, computed by what will serve."""
        ranker = Trees(self.trees, len(FEATURE_NAMES), self.base) if self.trees else self.base
        return ranker.predict(matrix).astype(np.float32)


PRIOR = ClickModel(PRIOR_BIAS, PRIOR_WEIGHTS)


def fitted_prior(data: Dataset) -> ClickModel:
    """The prior with its log-odds scaled and shifted to the clicks of `data`: the same order,
    honest chances.
    """
    scores, labels = (
        PRIOR.base.scores(data.matrix).astype(np.float64),
        data.labels.astype(np.float64),
    )
    slope = max(_logistic(np.stack([np.ones_like(scores), scores]), labels, 0.0)[1], _LEAST_SLOPE)
    (shift,) = _logistic(np.ones((1, len(scores))), labels, slope * scores)
    weights = {name: slope * weight for name, weight in PRIOR_WEIGHTS.items()}
    return ClickModel(shift + slope * PRIOR_BIAS, weights)


def fit(learning: Dataset, stopping: Dataset, seed: int) -> ClickModel:
    """The fitted prior and as many trees, learnt from `learning`, as lower the log loss on the
    later slates.
    """
    prior = fitted_prior(learning)
    data = _data(learning, prior)
    booster = lightgbm.train(
        {**_PARAMS, "seed": seed},
        data,
        MAX_ROUNDS,
        valid_sets=[_data(stopping, prior, data)],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    return _with_trees(prior, booster, booster.best_iteration)


def refit(data: Dataset, rounds: int, seed: int) -> ClickModel:
    """The same with `rounds` trees, learnt from everything."""
    prior = fitted_prior(data)
    return _with_trees(
        prior, lightgbm.train({**_PARAMS, "seed": seed}, _data(data, prior), rounds), rounds
    )


def _with_trees(prior: ClickModel, booster: lightgbm.Booster, rounds: int) -> ClickModel:
    return ClickModel(
        prior.bias, prior.weights, str(booster.model_to_string(num_iteration=rounds)), rounds
    )


def _data(
    data: Dataset, prior: ClickModel, reference: lightgbm.Dataset | None = None
) -> lightgbm.Dataset:
    return lightgbm.Dataset(
        data.matrix,
        data.labels,
        reference=reference,
        init_score=prior.base.scores(data.matrix).astype(np.float64),
        feature_name=list(FEATURE_NAMES),
    )


def _logistic(
    columns: NDArray[np.float64], labels: NDArray[np.float64], offset: NDArray[np.float64] | float
) -> list[float]:
    """The weights of a logistic regression of the labels on `columns` `(k, n)` plus `offset`, by
    Newton's method.

    A little ridge keeps them finite when the columns separate the labels.
    """
    weights = np.zeros(len(columns))
    for _ in range(_NEWTON_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(weights @ columns + offset, -30.0, 30.0)))  # (n,)
        gradient = columns @ (chance - labels) + _RIDGE * weights
        curvature = (columns * (chance * (1.0 - chance))) @ columns.T + _RIDGE * np.eye(
            len(columns)
        )
        step = np.linalg.solve(curvature, gradient)
        # far from the answer a step may overshoot
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return [float(weight) for weight in weights]
