"""The in-process model follows its folder, and outlives whatever that folder or Cloud Storage
does."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.features.ranking import FEATURE_NAMES
from pipeline.core.vectors import VectorIndex
from tests.vertex.cloud_storage import FakeStorage, fake_storage
from vertex.api.latest_model import LatestModel
from vertex.models.logistic import Logistic
from vertex.training.publish import model_files, publish

FOLDER = "gs://shop-models/ranker"


def publish_version(directory: str, version: str, vectors: VectorIndex | None = None) -> None:
    manifest = {"version": version, "kind": "logistic", "feature_names": list(FEATURE_NAMES)}
    publish(
        directory,
        version,
        model_files(manifest, Logistic(FEATURE_NAMES, {}, 0.0), vectors or VectorIndex.empty()),
    )


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeStorage]:
    with fake_storage() as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-project")
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where copies go
        yield running


def test_without_credentials_the_model_stays_as_it_is_and_that_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    model = LatestModel(FOLDER)

    for _ in range(3):
        model.refresh()

    assert model().version == "prior"
    assert len(caplog.records) == 1
    assert "DefaultCredentialsError" in caplog.text


def test_a_bucket_that_is_refused_leaves_the_model_as_it_is(storage: FakeStorage) -> None:
    publish_version(FOLDER, "v1")
    model = LatestModel(FOLDER)
    model.refresh()
    storage.objects["shop-models", "ranker/LATEST"] = b"v2"

    model.refresh()

    assert model().version == "v1"


def test_of_downloaded_versions_only_the_one_in_use_is_kept(
    storage: FakeStorage, tmp_path: Path
) -> None:
    model = LatestModel(FOLDER)
    for version in ("v1", "v2", "v3"):
        publish_version(FOLDER, version)
        model.refresh()
        assert model().version == version

    [copies] = tmp_path.glob("freshet-models-*")
    assert len(list(copies.iterdir())) == 1


def test_downloaded_models_lie_where_no_other_user_can_write_and_no_other_process_looks(
    storage: FakeStorage, tmp_path: Path
) -> None:
    publish_version(FOLDER, "v1")
    LatestModel(FOLDER).refresh()
    [copies] = tmp_path.glob("freshet-models-*")
    assert stat.S_IMODE(copies.stat().st_mode) == 0o700
    code = "from vertex.models.cloud_storage import copies_folder; print(copies_folder(input()))"
    other = subprocess.run(
        [sys.executable, "-c", code], input=str(tmp_path), stdout=subprocess.PIPE, text=True
    )
    found = Path(other.stdout.strip())
    assert found.parent == tmp_path and found != copies
    assert not found.exists(), "it goes with its process"


def test_a_model_that_wants_a_feature_unknown_here_stays_unused_and_is_logged_with_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LatestModel(str(tmp_path))
    ranker = Logistic(("recency", "shoe_size"), {}, 0.0)
    manifest = {"kind": ranker.kind, "feature_names": list(ranker.feature_names)}
    publish(str(tmp_path), "v1", model_files(manifest, ranker, VectorIndex.empty()))

    model.refresh()

    assert model().version == "prior"
    assert "missing: shoe_size" in caplog.text


def test_versions_on_disk_are_never_deleted(tmp_path: Path) -> None:
    model = LatestModel(str(tmp_path))
    for version in ("v1", "v2"):
        publish_version(str(tmp_path), version)
        model.refresh()

    assert model().version == "v2"
    assert (tmp_path / "v1").is_dir()


def test_many_vectors_are_searched_approximately_once_that_is_prepared(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(1_000, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    vectors = VectorIndex([f"p{n}" for n in range(len(rows))], rows)
    publish_version(str(tmp_path), "v1", vectors)
    asked: list[int] = []
    for exact_vectors in (1_000, 999):
        model = LatestModel(str(tmp_path), exact_vectors)
        model.refresh()
        assert model().vectors.is_exact
        model.prepare_search()
        asked.append(model().vectors.is_exact)
        assert model().vectors.nearest_places(rows[7], 3)[0] == 7
    assert asked == [True, False]


def test_where_the_search_cannot_be_prepared_it_stays_exact_and_the_model_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = VectorIndex(["p1", "p2"], np.eye(2, dtype=np.float32))
    publish_version(str(tmp_path), "v1", vectors)
    model = LatestModel(str(tmp_path), exact_vectors=1)
    model.refresh()
    monkeypatch.setitem(sys.modules, "vertex.api.approximate", None)  # as where it is missing

    for _ in range(3):
        model.prepare_search()

    assert model().vectors.nearest_places(vectors.rows[1], 1)[0] == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "search among 2 vectors stays exact: ModuleNotFoundError" in caplog.text
    publish_version(str(tmp_path), "v2", vectors)
    model.refresh()
    assert model().version == "v2"
