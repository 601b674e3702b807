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

import atexit
import hashlib
import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.features.ranking import FEATURE_NAMES

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]

LIGHTGBM, LOGISTIC = "lightgbm", "logistic"
LATEST = "LATEST"
MANIFEST = "manifest.json"
TREES, WEIGHTS = "ranker.txt", "weights.json"
VECTORS, VECTOR_IDS = "vectors.npy", "vector_ids.json"
PRIOR_FOLDER = Path(__file__).parent / "prior"

_UNIT_TOLERANCE = 1e-3


class InvalidModel(ValueError):
    """A model folder, or an input to a model, that cannot be served; the message says what was
    expected.
    """


class Ranker(Protocol):
    """A scorer: the columns a model was trained on, `(n, k)`, to probabilities `(n,)`."""

    def predict(self, matrix: Matrix) -> NDArray[np.floating[Any]]: ...


class Logistic:
    """`1 / (1 + exp(-score))` with `score = bias + matrix . weights`."""

    def __init__(self, weights: Sequence[float], bias: float) -> None:
        self._weights = np.asarray(weights, np.float32)  # (k,)
        self._bias = np.float32(bias)

    def scores(self, matrix: Matrix) -> NDArray[np.floating[Any]]:
        """The log-odds of a click, `(n, k)` -> `(n,)`."""
        return np.asarray(matrix @ self._weights + self._bias)

    def predict(self, matrix: Matrix) -> NDArray[np.floating[Any]]:
        return _chances(self.scores(matrix))


class Trees:
    """A logistic model, its log-odds corrected by LightGBM's boosted trees.

    With little data there are few trees and the logistic model decides; with much, they do.
    """

    def __init__(self, text: str, columns: int, base: Logistic) -> None:
        import lightgbm  # only where trees are served: it costs half a second and 50 MB

        self._base = base
        try:
            self._booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as error:
            raise InvalidModel(f"{TREES}: expected a LightGBM model, got {error}") from None
        if self._booster.num_feature() != columns:
            raise InvalidModel(
                f"{TREES}: expected {columns} features as in {MANIFEST}, got "
                f"{self._booster.num_feature()}"
            )

    def predict(self, matrix: Matrix) -> NDArray[np.floating[Any]]:
        # One thread: a slate is too small to share out.
        correction = self._booster.predict(matrix, raw_score=True, num_threads=1)  # (n,)
        return _chances(self._base.scores(matrix) + correction)


def _chances(scores: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Log-odds `(n,)` as probabilities; beyond 15 float32 would hardly distinguish them from 0 and
    1.
    """
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(scores, -15.0, 15.0))))


class VectorIndex(Mapping[str, Vector]):
    """Unit vectors by item id, searched exactly: at 100,000 items brute force still takes
    milliseconds.

    Args:
        ids: the `n` item ids, each once.
        rows: `(n, dim)` float32, finite, of length 1.

    Raises:
        InvalidModel: when those do not fit together.
    """

    def __init__(self, ids: Sequence[str], rows: Matrix) -> None:
        if rows.ndim != 2 or len(ids) != len(rows):
            raise InvalidModel(
                f"{VECTORS}: expected shape ({len(ids)}, dim) for the ids, got {rows.shape}"
            )
        if len(rows) and not np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=_UNIT_TOLERANCE):
            raise InvalidModel(f"{VECTORS}: expected rows of length 1")
        self._ids = list(ids)
        self._rows = np.ascontiguousarray(rows, np.float32)
        self._index = {item_id: index for index, item_id in enumerate(self._ids)}
        if len(self._index) != len(self._ids):
            raise InvalidModel(
                f"{VECTOR_IDS}: expected each id once, got {len(self._ids)} ids with doubles"
            )

    @staticmethod
    def empty() -> VectorIndex:
        """The index that knows no item."""
        return VectorIndex([], np.zeros((0, 0), np.float32))

    def __getitem__(self, item_id: str) -> Vector:
        row: Vector = self._rows[self._index[item_id]]
        return row

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self._rows.shape[1])

    @property
    def rows(self) -> Matrix:
        """All vectors `(n, dim)`, in the order of iteration."""
        return self._rows

    def nearest(
        self, vector: Vector, n: int, exclude: Collection[str] = ()
    ) -> list[tuple[str, float]]:
        """The `n` items nearest to `vector` `(dim,)`, which may have any length: (id, cosine), best
        first.

        Raises:
            InvalidModel: when `vector` has another shape.
        """
        if not self._ids or n <= 0:
            return []
        if vector.shape != (self.dim,):
            raise InvalidModel(f"vector: expected shape ({self.dim},), got {vector.shape}")
        norm = float(np.linalg.norm(vector))
        if norm == 0.0:
            return []
        cosines = self._rows @ (vector / np.float32(norm))  # (n_items,)
        known = [self._index[item_id] for item_id in exclude if item_id in self._index]
        cosines[known] = -np.inf
        wanted = min(n, len(cosines) - len(set(known)))
        if wanted == 0:
            return []
        best = np.argpartition(-cosines, wanted - 1)[:wanted]
        best = best[np.argsort(-cosines[best], kind="stable")]
        return [(self._ids[index], float(cosines[index])) for index in best]


@dataclass(frozen=True)
class Model:
    """A ranker with the columns it wants, and the vectors it was trained with."""

    version: str
    kind: str
    feature_names: tuple[str, ...]
    ranker: Ranker
    vectors: VectorIndex
    manifest: Mapping[str, Any]

    def predict(self, matrix: Matrix) -> NDArray[np.float32]:
        """The probability of a click for each row.

        Args:
            matrix: `(n, d)` with the columns of today's `FEATURE_NAMES`; the model picks its own by
                name.

        Returns:
            `(n,)` float32 in [0, 1].

        Raises:
            InvalidModel: when the matrix has other columns.
        """
        if matrix.ndim != 2 or matrix.shape[1] != len(FEATURE_NAMES):
            raise InvalidModel(
                f"matrix: expected shape (n, {len(FEATURE_NAMES)}), got {matrix.shape}"
            )
        if len(matrix) == 0:
            return np.zeros(0, np.float32)
        if self.feature_names != FEATURE_NAMES:
            matrix = matrix[:, [_COLUMN[name] for name in self.feature_names]]
        return self.ranker.predict(matrix).astype(np.float32)


_COLUMN = {name: index for index, name in enumerate(FEATURE_NAMES)}


def load_model(path: str | Path) -> Model:
    """The model of one version's folder, on disk or under `gs://`.

    Raises:
        InvalidModel: when the folder is not there, is incomplete, or wants features unknown to this
            code.
    """
    folder = _local(str(path))
    manifest = _read_json(folder / MANIFEST)
    if not isinstance(manifest, dict):
        raise InvalidModel(f"{folder / MANIFEST}: expected an object")
    names = _feature_names(folder, manifest)
    return Model(
        version=str(manifest.get("version") or folder.name),
        kind=str(manifest.get("kind")),
        feature_names=names,
        ranker=_ranker(folder, str(manifest.get("kind")), names),
        vectors=_vectors(folder),
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
    version = latest_version(directory)
    return load_model(f"{directory}/{version}") if version is not None else prior_model()


def prior_model() -> Model:
    """The model that ships with the code, for the first run with no data."""
    return load_model(PRIOR_FOLDER)


def is_remote(path: str | Path) -> bool:
    """True where the path lies in Cloud Storage."""
    return str(path).startswith("gs://")


def _feature_names(folder: Path, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    names = manifest.get("feature_names")
    if not isinstance(names, list) or not names:
        raise InvalidModel(
            f"{folder / MANIFEST}: feature_names: expected a list of names, got {names!r}"
        )
    unknown = [name for name in names if name not in _COLUMN]
    if unknown or len(set(names)) != len(names):
        raise InvalidModel(
            f"{folder / MANIFEST}: feature_names: expected known features, each once, got "
            f"{unknown or names}"
        )
    return tuple(names)


def _ranker(folder: Path, kind: str, names: Sequence[str]) -> Ranker:
    if kind not in (LIGHTGBM, LOGISTIC):
        raise InvalidModel(
            f"{folder / MANIFEST}: kind: expected {LIGHTGBM} or {LOGISTIC}, got {kind!r}"
        )
    base = _logistic(folder / WEIGHTS, names)
    return base if kind == LOGISTIC else Trees(_read_text(folder / TREES), len(names), base)


def _logistic(path: Path, names: Sequence[str]) -> Logistic:
    content = _read_json(path)
    try:
        weights, bias = dict(content["weights"]), float(content["bias"])
        row = [float(weights.get(name, 0.0)) for name in names]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidModel(f"{path}: expected a bias and weights by name, got {error!r}") from None
    stray = sorted(set(weights) - set(names))
    if stray or not np.isfinite([bias, *row]).all():
        raise InvalidModel(
            f"{path}: expected finite weights of the manifest's features, got {stray or row}"
        )
    return Logistic(row, bias)


def _vectors(folder: Path) -> VectorIndex:
    if not (folder / VECTORS).exists():
        return VectorIndex.empty()
    ids = _read_json(folder / VECTOR_IDS)
    try:
        rows = np.load(folder / VECTORS, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidModel(f"{folder / VECTORS}: expected a float32 array, got {error}") from None
    if not isinstance(ids, list) or rows.dtype != np.float32:
        raise InvalidModel(
            f"{folder}: expected a list of ids and float32 rows, got {rows.dtype} rows"
        )
    return VectorIndex([str(item_id) for item_id in ids], rows)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{path}: expected a readable file, got {error}") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise InvalidModel(f"{path}: expected JSON, got {error}") from None


# -- Cloud Storage: a folder there is copied to a local one first


def _read_latest(directory: str) -> str | None:
    if not is_remote(directory):
        path = Path(directory) / LATEST
        return _read_text(path) if path.exists() else None
    from google.cloud.exceptions import NotFound

    try:
        return str(_bucket(directory).blob(f"{_prefix(directory)}{LATEST}").download_as_text())
    except NotFound:
        return None


def _local(path: str) -> Path:
    """The folder itself, or the local copy of a `gs://` one: a version never changes."""
    if not is_remote(path):
        return Path(path)
    copy = _copy_of(path)
    if not (copy / MANIFEST).exists():
        _download(path, copy)
    return copy


def drop_copy(path: str) -> None:
    """Delete the local copy of a `gs://` folder, if there is one; a model that was loaded from it
    lives on.
    """
    if is_remote(path):
        copy = _copy_of(path)
        (copy / MANIFEST).unlink(missing_ok=True)  # first: its presence says that the copy is whole
        shutil.rmtree(copy, ignore_errors=True)


def _copy_of(path: str) -> Path:
    digest = hashlib.sha256(path.encode()).hexdigest()[:16]
    return _copies(tempfile.gettempdir()) / digest


@cache
def _copies(parent: str) -> Path:
    """A new folder for this process's copies, which no other user could have filled; it goes when
    the process ends.
    """
    folder = Path(tempfile.mkdtemp(prefix="freshet-models-", dir=parent))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _download(path: str, copy: Path) -> None:
    copy.mkdir(parents=True, exist_ok=True)
    prefix = _prefix(path)
    blobs = {
        blob.name.removeprefix(prefix): blob for blob in _bucket(path).list_blobs(prefix=prefix)
    }
    if MANIFEST not in blobs:
        raise InvalidModel(f"{path}: expected a folder with {MANIFEST}, got {sorted(blobs)}")
    # The manifest last: its presence says that the copy is whole.
    for name in sorted(blobs, key=lambda name: name == MANIFEST):
        if "/" not in name and name:
            blobs[name].download_to_filename(str(copy / name))


def _bucket(path: str) -> Any:
    from google.cloud.storage import Client

    return Client().bucket(path.removeprefix("gs://").partition("/")[0])


def _prefix(path: str) -> str:
    inside = path.removeprefix("gs://").partition("/")[2].strip("/")
    return f"{inside}/" if inside else ""
