"""Boosted trees that correct the log-odds of a logistic model.

A shop that starts has hundreds of clicks, not millions. Trees from nothing rank worse than the
prior until they have seen about a thousand; trees that start from the prior's log-odds never fall
far behind it and end as good (Ke et al., "LightGBM", NIPS 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from vertex.models.click_model import (
    Examples,
    Files,
    InvalidModel,
    Matrix,
    Probabilities,
    probabilities,
    read_text,
)
from vertex.models.logistic import Logistic

# LightGBM is imported only where trees are fitted or served: it costs half a second and 50 MB.
if TYPE_CHECKING:
    import lightgbm

TREES = "ranker.txt"

MAX_ROUNDS = 300
PATIENCE = 30
# Directions that a shop would be surprised to see reversed: +1, more of it never lowers the
# probability; -1, never raises it. Features that a model does not have are left out.
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
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


@dataclass(frozen=True)
class BoostedTrees:
    """A logistic model, its log-odds corrected by `rounds` trees, at most `MAX_ROUNDS` to fit.

    With little data there are few trees and the logistic model decides; with much, they do. `text`
    is LightGBM's own format; empty before `fit`.
    """

    kind: ClassVar[str] = "lightgbm"

    base: Logistic
    rounds: int = MAX_ROUNDS
    text: str = ""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns, those of the logistic model."""
        return self.base.feature_names

    def fit(self, learning: Examples, stopping: Examples | None, seed: int) -> Self:
        """The logistic model fitted to `learning`, and trees learnt from it.

        With `stopping`, as many as lower its log loss; without, `rounds` of them.
        """
        import lightgbm

        base = self.base.fit(learning)
        data = _data(learning, base)
        valid_sets: list[lightgbm.Dataset] = []
        callbacks: list[Callable[..., Any]] = []
        if stopping is not None:
            valid_sets = [_data(stopping, base, data)]
            callbacks = [lightgbm.early_stopping(PATIENCE, verbose=False)]
        constraints = [MONOTONE.get(name, 0) for name in self.feature_names]
        booster = lightgbm.train(
            {**_PARAMS, "monotone_constraints": constraints, "seed": seed},
            data,
            self.rounds,
            valid_sets=valid_sets,
            callbacks=callbacks,
        )
        rounds = self.rounds if stopping is None else booster.best_iteration
        return type(self)(base, rounds, str(booster.model_to_string(num_iteration=rounds)))

    def score(self, matrix: Matrix) -> Probabilities:
        """The probability of a click, `(n, d)` -> `(n,)`."""
        # One thread: a slate is too small to share out.
        correction = self._booster.predict(matrix, raw_score=True, num_threads=1)  # (n,)
        return probabilities(self.base.log_odds(matrix) + correction)

    def save(self) -> Files:
        """The files of the logistic model, and the trees as text."""
        return {**self.base.save(), TREES: self.text.encode()}

    @classmethod
    def load(cls, folder: Path, feature_names: Sequence[str]) -> Self:
        """The model of a folder. Raises `InvalidModel`."""
        base = Logistic.load(folder, feature_names)
        text = read_text(folder / TREES)
        model = cls(base, text.count("\nTree="), text)
        columns = model._booster.num_feature()
        if columns != len(feature_names):
            raise InvalidModel(
                f"{TREES}: expected {len(feature_names)} features as in the manifest, got {columns}"
            )
        return model

    @cached_property
    def _booster(self) -> lightgbm.Booster:
        import lightgbm

        try:
            return lightgbm.Booster(model_str=self.text)
        except lightgbm.basic.LightGBMError as error:
            raise InvalidModel(f"{TREES}: expected a LightGBM model, got {error}") from None


def _data(
    examples: Examples, base: Logistic, reference: lightgbm.Dataset | None = None
) -> lightgbm.Dataset:
    import lightgbm

    return lightgbm.Dataset(
        examples.matrix,
        examples.labels,
        reference=reference,
        init_score=base.log_odds(examples.matrix).astype(np.float64),
        feature_name=list(base.feature_names),
    )
