"""Writes the model folder so that no reader ever sees half of it: files first, `LATEST` last."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vertex.models.boosted_trees import ClickModel
from vertex.models.folder import (
    LATEST,
    MANIFEST,
    TREES,
    VECTOR_IDS,
    VECTORS,
    WEIGHTS,
    VectorIndex,
    is_remote,
)

Files = dict[str, bytes]


def model_files(manifest: Mapping[str, Any], ranker: ClickModel, vectors: VectorIndex) -> Files:
    """The files of a model folder by name. The manifest comes last: where it is, all is."""
    rows = io.BytesIO()
    np.save(rows, vectors.rows.astype(np.float32), allow_pickle=False)
    trees = {TREES: ranker.trees.encode()} if ranker.trees else {}
    return {
        WEIGHTS: json.dumps({"bias": ranker.bias, "weights": ranker.weights}, indent=2).encode(),
        **trees,
        VECTORS: rows.getvalue(),
        VECTOR_IDS: json.dumps(list(vectors)).encode(),
        MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode(),
    }


def publish(directory: str, version: str, files: Files) -> str:
    """Put the folder of `version` into `directory`, on disk or `gs://`, and make it the latest; its
    path.

    Raises:
        FileExistsError: when there is such a version already.
    """
    if is_remote(directory):
        return _publish_remote(directory, version, files)
    root = Path(directory)
    target = root / version
    if target.exists():
        raise FileExistsError(f"{target}: expected a new version, got one that exists")
    root.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=root))
    try:
        for name, content in files.items():
            (draft / name).write_bytes(content)
        draft.chmod(0o755)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _replace(root / LATEST, version)
    return str(target)


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(f"{text}\n", encoding="utf-8")
    draft.replace(path)


def _publish_remote(directory: str, version: str, files: Files) -> str:
    from google.api_core.exceptions import PreconditionFailed
    from google.cloud.storage import Client

    bucket, _, inside = directory.removeprefix("gs://").rstrip("/").partition("/")
    prefix = f"{inside}/" if inside else ""
    target = Client().bucket(bucket)
    try:
        for name, content in files.items():
            # Generation zero: only where there is nothing yet.
            target.blob(f"{prefix}{version}/{name}").upload_from_string(
                content, if_generation_match=0
            )
    except PreconditionFailed:
        raise FileExistsError(
            f"{directory}/{version}: expected a new version, got one that exists"
        ) from None
    target.blob(f"{prefix}{LATEST}").upload_from_string(version)
    return f"gs://{bucket}/{prefix}{version}"
