"""A logistic model: the prior, whose weights are set by hand, and the same fitted to clicks.

    p(click) = 1 / (1 + exp(-(bias + weights . features)))

Fitting keeps the order of the items: two numbers scale and shift the log-odds to how often people
click (Platt, "Probabilistic Outputs for Support Vector Machines", 1999).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from vertex.models.click_model import (
    Examples,
    Files,
    InvalidModel,
    Matrix,
    Probabilities,
    probabilities,
    read_json,
)

WEIGHTS = "weights.json"

# The order is kept for any scale that the data give it.
_LEAST_SLOPE = 0.05
_NEWTON_STEPS, _RIDGE = 50, 1e-3


@dataclass(frozen=True)
class Logistic:
    """A logistic model over `feature_names`; a feature without a weight counts for nothing."""

    kind: ClassVar[str] = "logistic"

    feature_names: tuple[str, ...]
    weights: Mapping[str, float]
    bias: float

    def fit(self, learning: Examples, stopping: Examples | None = None, seed: int = 0) -> Self:
        """The same weights, with log-odds scaled and shifted to the clicks of `learning`.

        Two numbers are not overfitted and involve no chance: `stopping` and `seed` are not used.
        """
        scores = self.log_odds(learning.matrix).astype(np.float64)
        labels = learning.labels.astype(np.float64)
        scaled = _regression(np.stack([np.ones_like(scores), scores]), labels, 0.0)
        slope = max(scaled[1], _LEAST_SLOPE)
        (shift,) = _regression(np.ones((1, len(scores))), labels, slope * scores)
        weights = {name: slope * weight for name, weight in self.weights.items()}
        return type(self)(self.feature_names, weights, shift + slope * self.bias)

    def log_odds(self, matrix: Matrix) -> NDArray[np.floating[Any]]:
        """`bias + matrix . weights`, `(n, d)` -> `(n,)`."""
        return np.asarray(matrix @ self._row + np.float32(self.bias))

    def score(self, matrix: Matrix) -> Probabilities:
        """The probability of a click, `(n, d)` -> `(n,)`."""
        return probabilities(self.log_odds(matrix))

    def save(self) -> Files:
        """Bias and weights as JSON."""
        content = {"bias": self.bias, "weights": dict(self.weights)}
        return {WEIGHTS: (json.dumps(content, indent=2) + "\n").encode()}

    @classmethod
    def load(cls, folder: Path, feature_names: Sequence[str]) -> Self:
        """The model of a folder. Raises `InvalidModel`."""
        path = folder / WEIGHTS
        content = read_json(path)
        try:
            bias = float(content["bias"])
            weights = {name: float(weight) for name, weight in dict(content["weights"]).items()}
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidModel(
                f"{path}: expected a bias and weights by name, got {error!r}"
            ) from None
        stray = sorted(set(weights) - set(feature_names))
        if stray or not np.isfinite([bias, *weights.values()]).all():
            raise InvalidModel(
                f"{path}: expected finite weights of the manifest's features, got "
                f"{stray or weights}"
            )
        return cls(tuple(feature_names), weights, bias)

    @cached_property
    def _row(self) -> NDArray[np.float32]:
        """The weights `(d,)` in the order of the columns."""
        return np.array([self.weights.get(name, 0.0) for name in self.feature_names], np.float32)


def _regression(
    columns: NDArray[np.float64], labels: NDArray[np.float64], offset: NDArray[np.float64] | float
) -> list[float]:
    """The weights of a logistic regression of the labels on `columns` `(k, n)` plus `offset`, by
    Newton's method.

    A little ridge keeps them finite when the columns separate the labels.
    """
    weights = np.zeros(len(columns))
    ridge = _RIDGE * np.eye(len(columns))
    for _ in range(_NEWTON_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(weights @ columns + offset, -30.0, 30.0)))  # (n,)
        gradient = columns @ (chance - labels) + _RIDGE * weights
        curvature = (columns * (chance * (1.0 - chance))) @ columns.T + ridge
        step = np.linalg.solve(curvature, gradient)
        # far from the answer a step may overshoot
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return [float(weight) for weight in weights]
