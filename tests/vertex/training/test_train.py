"""A training run: a ranker that finds what is there, and a folder that is whole."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.events import Event
from pipeline.core.features.ranking import COLUMN, FEATURE_NAMES
from tests.vertex import planted
from tests.vertex.planted import shown
from vertex.data.examples import IMPRESSIONS, VIEWS, examples
from vertex.data.slates import logged_slates
from vertex.data.splits import NotEnoughData
from vertex.models.registry import latest_model
from vertex.training.publish import publish
from vertex.training.train import Trained, train

NOW = datetime(2025, 3, 5, tzinfo=UTC)
CATALOG = planted.catalog()


def quiet(_: str) -> None:
    return None


@pytest.fixture(scope="module")
def trained(log: list[Event]) -> Trained:
    return train(log, CATALOG, now=NOW, seed=7, say=quiet)


def test_the_planted_signal_is_found_where_the_prior_sees_none(trained: Trained) -> None:
    metrics = trained.manifest["metrics"]
    assert trained.manifest["kind"] == "lightgbm"
    assert metrics["prior"]["serving_auc"] < 0.75
    assert metrics["model"]["serving_auc"] > metrics["prior"]["serving_auc"] + 0.1
    assert metrics["model"]["ndcg"] > metrics["prior"]["ndcg"] + 0.05
    assert metrics["model"]["log_loss"] < metrics["prior"]["log_loss"]
    assert metrics["model"]["calibration"] == pytest.approx(1.0, abs=0.25)


def test_a_ranker_is_learnt_from_views_alone() -> None:
    model = train(planted.views_of_pairs(), CATALOG, now=NOW, seed=7, say=quiet)
    assert model.manifest["data"]["source"] == VIEWS
    assert model.manifest["metrics"]["model"]["ndcg"] > 0.6


def test_the_same_log_and_seed_give_the_same_model(log: list[Event], trained: Trained) -> None:
    again = train(random.Random(4).sample(log, len(log)), CATALOG, now=NOW, seed=7, say=quiet)
    assert again.files == trained.files


@pytest.mark.parametrize(
    "events", [[], shown("r1", 0, "p1"), planted.clicks_on_cheap_things(visits=8)]
)
def test_too_little_data_is_refused_with_what_is_missing(events: list[Event]) -> None:
    with pytest.raises(NotEnoughData, match=r"learning: expected at least 60 .* got"):
        train(events, CATALOG, now=NOW, seed=7, say=quiet)


def test_what_was_trained_is_what_is_served(
    log: list[Event], trained: Trained, tmp_path: Path
) -> None:
    publish(str(tmp_path), trained.manifest["version"], trained.files)
    model = latest_model(tmp_path)
    assert model.version == trained.manifest["version"] == "20250305T000000000Z"
    assert len(model.vectors) > 50
    data = examples(log, logged_slates(log), CATALOG)
    cheap = np.expm1(data.matrix[:, COLUMN["log_price"]]) < planted.CHEAP
    predicted = model.score(data.matrix, FEATURE_NAMES)
    assert predicted[cheap].mean() > predicted[~cheap].mean() + 0.2


def test_the_manifest_says_what_was_learnt_from_what(trained: Trained) -> None:
    data = trained.manifest["data"]
    assert data["source"] == IMPRESSIONS
    assert data["slates"].keys() == {"learning", "stopping", "evaluation"}
    assert data["first_event"] == "2025-03-01T00:00:00.000Z"
    json.dumps(trained.manifest, allow_nan=False)
