"""Boosted trees on top of a logistic model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.features.ranking import FEATURE_NAMES
from vertex.data.examples import IMPRESSIONS, Dataset
from vertex.evaluation.metrics import auc
from vertex.models.boosted_trees import MONOTONE, BoostedTrees
from vertex.models.click_model import InvalidModel
from vertex.models.logistic import Logistic

NAMES = ("recency", "seen", "price_gap")


def test_what_a_shop_would_be_surprised_to_see_reversed_names_columns_of_the_matrix() -> None:
    assert MONOTONE.keys() <= set(FEATURE_NAMES)
    assert set(MONOTONE.values()) == {-1, 1}


def examples_of(names: Sequence[str], seed: int, wanted: str, n: int = 2_000) -> Dataset:
    """Features by chance, and clicks where the wanted one is above zero."""
    matrix = np.random.default_rng(seed).normal(size=(n, len(names))).astype(np.float32)
    clicked = (matrix[:, list(names).index(wanted)] > 0).astype(np.int8)
    return Dataset(IMPRESSIONS, matrix, clicked, np.arange(n), np.arange(n))


@pytest.fixture(scope="module")
def fitted() -> BoostedTrees:
    """Learnt where clicks follow a feature to which the logistic model gives no weight."""
    model = BoostedTrees(Logistic(NAMES, {"recency": 1.0}, -1.0))
    return model.fit(examples_of(NAMES, 1, "seen"), examples_of(NAMES, 2, "seen"), seed=3)


@pytest.fixture(scope="module")
def few() -> BoostedTrees:
    """Seven trees, learnt without examples to stop by."""
    prior = Logistic(NAMES, {"recency": 1.0}, -1.0)
    return BoostedTrees(prior, rounds=7).fit(examples_of(NAMES, 1, "seen"), None, seed=3)


def test_trees_find_what_the_logistic_model_does_not_know(fitted: BoostedTrees) -> None:
    later = examples_of(NAMES, 4, "seen")
    labels = later.labels.astype(np.float64)
    assert auc(labels, fitted.base.score(later.matrix).astype(np.float64)) < 0.6
    assert auc(labels, fitted.score(later.matrix).astype(np.float64)) > 0.95
    assert fitted.feature_names == NAMES


def test_without_slates_to_stop_by_there_are_as_many_trees_as_wanted(few: BoostedTrees) -> None:
    assert few.rounds == 7
    assert few.text.count("\nTree=") == 7


def test_a_model_that_is_saved_and_loaded_is_the_same(few: BoostedTrees, tmp_path: Path) -> None:
    for name, content in few.save().items():
        (tmp_path / name).write_bytes(content)
    loaded = BoostedTrees.load(tmp_path, NAMES)
    assert loaded == few
    matrix = examples_of(NAMES, 5, "seen", n=50).matrix
    np.testing.assert_array_equal(loaded.score(matrix), few.score(matrix))


def test_trees_of_another_number_of_features_are_refused(
    fitted: BoostedTrees, tmp_path: Path
) -> None:
    for name, content in fitted.save().items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidModel, match=r"ranker.txt: expected 4 features .* got 3"):
        BoostedTrees.load(tmp_path, (*NAMES, "position"))
