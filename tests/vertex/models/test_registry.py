"""The model folder: what is served from it, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.features.matrix import prior_ctr
from pipeline.core.features.ranking import COLUMN, FEATURE_NAMES
from pipeline.core.vectors import VectorIndex
from tests.vertex.cloud_storage import FakeStorage, fake_storage
from vertex.models.click_model import InvalidModel
from vertex.models.logistic import Logistic
from vertex.models.registry import (
    PRIOR_FOLDER,
    latest_model,
    latest_version,
    load_model,
    prior_model,
)
from vertex.training.prior import prior_files
from vertex.training.publish import model_files, publish

rng = np.random.default_rng(1)
MATRIX = rng.normal(size=(50, len(FEATURE_NAMES))).astype(np.float32)


def folder(path: Path, manifest: Mapping[str, Any], weights: object = None) -> Path:
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(json.dumps(manifest))
    (path / "weights.json").write_text(json.dumps(weights or {"bias": 0.0, "weights": {}}))
    return path


def logistic(**changes: Any) -> dict[str, Any]:
    return {"version": "v1", "kind": "logistic", "feature_names": list(FEATURE_NAMES), **changes}


def unit_rows(n: int, dim: int = 8) -> np.ndarray[Any, np.dtype[np.float32]]:
    rows = np.random.default_rng(2).normal(size=(n, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


# -- the prior


def test_the_shipped_prior_is_not_stale() -> None:
    shipped = {name: (PRIOR_FOLDER / name).read_bytes() for name in prior_files()}
    assert shipped == prior_files(), "run python -m vertex.training.prior"


def test_the_shipped_prior_predicts_what_the_core_does() -> None:
    np.testing.assert_allclose(
        prior_model().score(MATRIX, FEATURE_NAMES), prior_ctr(MATRIX), rtol=1e-5
    )


def test_without_a_trained_model_the_prior_is_served(tmp_path: Path) -> None:
    assert latest_model(tmp_path / "nothing here").version == "prior"
    assert latest_model(tmp_path).version == "prior"


def test_the_prior_is_served_without_loading_lightgbm() -> None:
    code = (
        "import sys; from vertex.models.registry import prior_model; prior_model();"
        "sys.exit('lightgbm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- loading


def test_latest_names_the_model_that_is_served(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        folder(tmp_path / version, logistic(version=version))
    (tmp_path / "LATEST").write_text("v1\n")
    assert latest_version(tmp_path) == "v1"
    assert latest_model(tmp_path).version == "v1"


def test_a_model_picks_its_columns_by_name(tmp_path: Path) -> None:
    names = ["similarity", "recency"]
    weights = {"bias": 0.5, "weights": {"recency": 2.0, "similarity": -1.0}}
    model = load_model(folder(tmp_path / "m", logistic(feature_names=names), weights))
    scores = 0.5 + 2.0 * MATRIX[:, COLUMN["recency"]] - MATRIX[:, COLUMN["similarity"]]
    np.testing.assert_allclose(
        model.score(MATRIX, FEATURE_NAMES), 1 / (1 + np.exp(-scores)), rtol=1e-5
    )


def test_predictions_are_float32_chances_one_a_row() -> None:
    predicted = prior_model().score(MATRIX, FEATURE_NAMES)
    assert predicted.dtype == np.float32 and predicted.shape == (50,)
    assert ((predicted >= 0) & (predicted <= 1)).all()


def test_no_rows_give_no_predictions() -> None:
    assert prior_model().score(MATRIX[:0], FEATURE_NAMES).shape == (0,)


def test_a_matrix_of_other_columns_is_refused() -> None:
    with pytest.raises(
        InvalidModel, match=rf"expected shape \(n, {len(FEATURE_NAMES)}\), got \(50, 3\)"
    ):
        prior_model().score(MATRIX[:, :3], FEATURE_NAMES)


@pytest.mark.parametrize(
    ("manifest", "weights", "message"),
    [
        (logistic(kind="magic"), None, "kind: expected lightgbm or logistic, got 'magic'"),
        (logistic(feature_names=["recency", "recency"]), None, "each once"),
        (logistic(feature_names=[]), None, "feature_names: expected a list of names"),
        (logistic(), {"bias": "high", "weights": {}}, "expected a bias and weights by name"),
        (logistic(), {"weights": {}}, "expected a bias and weights by name"),
        (
            logistic(),
            {"bias": 0, "weights": {"shoe_size": 1}},
            "weights of the manifest's features.*shoe_size",
        ),
        (logistic(), {"bias": float("inf"), "weights": {}}, "finite"),
        (logistic(kind="lightgbm"), None, "ranker.txt: expected a readable file"),
    ],
)
def test_a_model_that_cannot_be_served_says_why(
    tmp_path: Path, manifest: dict[str, Any], weights: object, message: str
) -> None:
    with pytest.raises(InvalidModel, match=message):
        load_model(folder(tmp_path / "m", manifest, weights))


def test_a_model_that_wants_an_unknown_feature_is_refused_with_its_name(tmp_path: Path) -> None:
    names = ["recency", "shoe_size"]
    model = load_model(folder(tmp_path / "m", logistic(feature_names=names)))
    for refuses in (model.check_features, partial(model.score, MATRIX)):
        with pytest.raises(InvalidModel, match=r"expected those of model v1; missing: shoe_size$"):
            refuses(FEATURE_NAMES)


def test_trees_that_are_none_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "m", logistic(kind="lightgbm"))
    (path / "ranker.txt").write_text("no trees here")
    with pytest.raises(InvalidModel, match=r"ranker.txt: expected a LightGBM model"):
        load_model(path)


def test_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"manifest.json: expected a readable file"):
        load_model(tmp_path / "gone")


@pytest.mark.parametrize("text", ["", "../elsewhere", "a/b", ".draft"])
def test_latest_must_be_a_folder_beside_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "LATEST").write_text(text)
    with pytest.raises(InvalidModel, match="expected the name of a folder"):
        latest_version(tmp_path)


def test_a_latest_whose_model_is_broken_is_an_error_not_the_prior(tmp_path: Path) -> None:
    (tmp_path / "LATEST").write_text("v9")
    with pytest.raises(InvalidModel, match="v9"):
        latest_model(tmp_path)


# -- vectors


def test_vectors_of_the_folder_are_found_by_id(tmp_path: Path) -> None:
    path, rows = folder(tmp_path / "m", logistic()), unit_rows(3)
    np.save(path / "vectors.npy", rows)
    (path / "vector_ids.json").write_text('["a", "b", "c"]')
    vectors = load_model(path).vectors
    np.testing.assert_array_equal(vectors["b"], rows[1])
    assert vectors.get("nobody") is None
    assert list(vectors) == ["a", "b", "c"]


def test_vectors_that_do_not_fit_their_ids_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "m", logistic())
    np.save(path / "vectors.npy", unit_rows(3))
    (path / "vector_ids.json").write_text('["a", "b"]')
    with pytest.raises(InvalidModel, match=r"vectors.npy: rows: expected shape \(2, dim\)"):
        load_model(path)


def test_a_folder_without_vectors_has_an_index_that_knows_no_item() -> None:
    vectors = prior_model().vectors
    assert len(vectors) == 0


# -- Cloud Storage


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeStorage]:
    with fake_storage() as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-project")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where copies go
        yield running


def bucket_files(bias: float = 0.0) -> dict[str, bytes]:
    ranker = Logistic(FEATURE_NAMES, {"recency": 1.0}, bias)
    return model_files(logistic(), ranker, VectorIndex(["a", "b"], unit_rows(2)))


@pytest.mark.parametrize("directory", ["gs://shop-models", "gs://shop-models/freshet/models"])
def test_a_model_published_to_cloud_storage_is_served_from_there(
    storage: FakeStorage, directory: str
) -> None:
    assert latest_model(directory).version == "prior"
    assert publish(directory, "v1", bucket_files()) == f"{directory}/v1"
    model = latest_model(directory)
    assert (model.version, list(model.vectors)) == ("v1", ["a", "b"])
    assert model.score(MATRIX, FEATURE_NAMES).shape == (50,)


def test_in_cloud_storage_too_a_version_is_never_written_over(storage: FakeStorage) -> None:
    publish("gs://shop-models", "v1", bucket_files())
    with pytest.raises(FileExistsError, match="v1"):
        publish("gs://shop-models", "v1", bucket_files(bias=9.0))
    assert b'"bias": 0.0' in storage.objects["shop-models", "v1/weights.json"]


def test_a_bucket_without_the_folder_says_so(storage: FakeStorage) -> None:
    storage.objects["shop-models", "LATEST"] = b"v2"
    with pytest.raises(
        InvalidModel, match=r"gs://shop-models/v2: expected a folder with manifest.json"
    ):
        latest_model("gs://shop-models")
