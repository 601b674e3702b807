"""The interface of a click model: rows of features in, probabilities of a click out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Probabilities = NDArray[np.float32]
Files = dict[str, bytes]


class InvalidModel(ValueError):
    """A model folder, or an input to a model, that cannot be served; the message says what was
    expected.
    """


class Examples(Protocol):
    """Rows to learn from."""

    @property
    def matrix(self) -> Matrix:
        """Features `(n, d)`, in the order of the model's feature names."""

    @property
    def labels(self) -> NDArray[np.int8]:
        """`(n,)`, 1 where the row was clicked, else 0."""


class ClickModel(Protocol):
    """A model of the probability of a click.

    It gets the names of its features, in the order of the columns, and computes none of them.
    """

    @property
    def kind(self) -> str:
        """The name of this kind of model in a manifest."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns that `fit` and `score` expect, `d` of them."""

    def fit(self, learning: Examples, stopping: Examples | None, seed: int) -> Self:
        """A new model, fitted to `learning`; where `stopping` is given, it decides when to stop.

        The same examples and seed give the same model.
        """

    def score(self, matrix: Matrix) -> Probabilities:
        """The probability of a click `(n,)` of each row of `(n, d)`."""

    def save(self) -> Files:
        """The files of the model by name, as `load` reads them."""

    @classmethod
    def load(cls, folder: Path, feature_names: Sequence[str]) -> Self:
        """The model of a folder on disk.

        Raises:
            InvalidModel: when its files are not there or do not fit the feature names.
        """


def probabilities(log_odds: NDArray[np.floating[Any]]) -> Probabilities:
    """Log-odds `(n,)` as probabilities.

    Beyond 15 float32 would hardly distinguish them from 0 and 1.
    """
    chances = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -15.0, 15.0)))
    return np.asarray(chances, np.float32)


def read_text(path: Path) -> str:
    """The text of a model's file. Raises `InvalidModel`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{path}: expected a readable file, got {error}") from None


def read_json(path: Path) -> Any:
    """The JSON of a model's file. Raises `InvalidModel`."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InvalidModel(f"{path}: expected JSON, got {error}") from None
