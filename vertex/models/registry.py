"""The model folder, read: a ranker that turns features into click probabilities, and the items'
vectors.

    <dir>/LATEST                    the version to serve
    <dir>/<version>/manifest.json   version, kind, created, feature_names, metrics, data
                    weights.json    {"bias": b, "weights": {name: w}}: a logistic model
                    ranker.txt      kind "lightgbm" only: trees that correct the logistic model
                    vectors.npy     (n, dim) float32, unit rows; may be absent
                    vector_ids.json the n item ids

A folder may lie on disk or under `gs://`. With no trained model the prior that ships with the code
is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.vectors import VectorIndex
from vertex.models import item2vec
from vertex.models.boosted_trees import BoostedTrees
from vertex.models.click_model import (
    ClickModel,
    InvalidModel,
    Matrix,
    Probabilities,
    read_json,
    read_text,
)
from vertex.models.cloud_storage import MANIFEST, is_remote, local_copy, read_object
from vertex.models.logistic import Logistic

LATEST = "LATEST"
PRIOR_FOLDER = Path(__file__).parent / "prior"

# Kind in the manifest -> the class that reads such a model.
RANKERS: dict[str, type[ClickModel]] = {
    BoostedTrees.kind: BoostedTrees,
    Logistic.kind: Logistic,
}


@dataclass(frozen=True)
class Model:
    """A ranker, and the item vectors that it was trained with."""

    version: str
    ranker: ClickModel
    vectors: VectorIndex
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The kind of the ranker."""
        return self.ranker.kind

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features that the ranker was trained on."""
        return self.ranker.feature_names

    def score(self, matrix: Matrix, names: Sequence[str]) -> Probabilities:
        """The probability of a click for each row.

        Args:
            matrix: features `(n, d)`.
            names: the `d` names of its columns; the ranker's own are picked out of them.

        Returns:
            `(n,)` in [0, 1].

        Raises:
            InvalidModel: when the matrix has another shape, or lacks a feature.
        """
        if matrix.ndim != 2 or matrix.shape[1] != len(names):
            raise InvalidModel(f"matrix: expected shape (n, {len(names)}), got {matrix.shape}")
        if tuple(names) != self.feature_names:
            matrix = matrix[:, self._columns(names)]
        if len(matrix) == 0:
            return np.zeros(0, np.float32)
        return self.ranker.score(matrix)

    def check_features(self, names: Sequence[str]) -> None:
        """Check that these columns suffice for `score`.

        Raises:
            InvalidModel: naming the features that are missing.
        """
        missing = sorted(set(self.feature_names) - set(names))
        if missing:
            raise InvalidModel(
                f"features: expected those of model {self.version}; missing: {', '.join(missing)}"
            )

    def _columns(self, names: Sequence[str]) -> list[int]:
        """The places of the ranker's features among `names`."""
        self.check_features(names)
        places = {name: place for place, name in enumerate(names)}
        return [places[name] for name in self.feature_names]


def load_model(path: str | Path) -> Model:
    """The model of one version's folder, on disk or under `gs://`.

    Raises:
        InvalidModel: when the folder is not there or is incomplete.
    """
    folder = local_copy(str(path)) if is_remote(path) else Path(path)
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict):
        raise InvalidModel(f"{folder / MANIFEST}: expected an object")
    ranker = _ranker_class(folder, manifest)
    return Model(
        version=str(manifest.get("version") or folder.name),
        ranker=ranker.load(folder, _feature_names(folder, manifest)),
        vectors=item2vec.load(folder),
        manifest=manifest,
    )


def latest_version(directory: str | Path) -> str | None:
    """The version that `LATEST` names, or None when nothing has been trained.

    Raises:
        InvalidModel: when `LATEST` holds no folder name.
    """
    text = _read_latest(str(directory))
    if text is None:
        return None
    version = text.strip()
    if not version or "/" in version or version.startswith("."):
        raise InvalidModel(
            f"{directory}/{LATEST}: expected the name of a folder beside it, got {version!r}"
        )
    return version


def latest_model(directory: str | Path) -> Model:
    """The model that `LATEST` names, or the shipped prior when nothing has been trained.

    Raises:
        InvalidModel: when there is a `LATEST` but its model cannot be served.
    """
    return load_version(directory, latest_version(directory))


def load_version(directory: str | Path, version: str | None) -> Model:
    """The model of a version that `directory` holds; None: the shipped prior.

    Raises:
        InvalidModel: as `load_model`.
    """
    if version is None:
        return prior_model()
    return load_model(f"{directory}/{version}")


def prior_model() -> Model:
    """The model that ships with the code, for the first run with no data."""
    return load_model(PRIOR_FOLDER)


def _ranker_class(folder: Path, manifest: Mapping[str, Any]) -> type[ClickModel]:
    kind = str(manifest.get("kind"))
    if kind not in RANKERS:
        raise InvalidModel(
            f"{folder / MANIFEST}: kind: expected {' or '.join(sorted(RANKERS))}, got {kind!r}"
        )
    return RANKERS[kind]


def _feature_names(folder: Path, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    names = manifest.get("feature_names")
    are_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not are_names or not names:
        raise InvalidModel(
            f"{folder / MANIFEST}: feature_names: expected a list of names, got {names!r}"
        )
    if len(set(names)) != len(names):
        raise InvalidModel(f"{folder / MANIFEST}: feature_names: expected each once, got {names}")
    return tuple(names)


def _read_latest(directory: str) -> str | None:
    if is_remote(directory):
        return read_object(directory, LATEST)
    path = Path(directory) / LATEST
    if not path.exists():
        return None
    return read_text(path)
