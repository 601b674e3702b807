"""Writes the model folder so that no reader ever sees half of it: files first, `LATEST` last."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core.vectors import VectorIndex
from vertex.models import item2vec
from vertex.models.click_model import ClickModel, Files
from vertex.models.cloud_storage import MANIFEST, is_remote, write_new_folder, write_object
from vertex.models.registry import LATEST


def model_files(manifest: Mapping[str, Any], ranker: ClickModel, vectors: VectorIndex) -> Files:
    """The files of a model folder by name. The manifest comes last: where it is, all is."""
    return {
        **ranker.save(),
        **item2vec.save(vectors),
        MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode(),
    }


def publish(directory: str, version: str, files: Files) -> str:
    """Put the folder of `version` into `directory`, on disk or `gs://`, and make it the latest; its
    path.

    Raises:
        FileExistsError: when there is such a version already.
    """
    if is_remote(directory):
        path = f"{directory.rstrip('/')}/{version}"
        write_new_folder(path, files)
        write_object(directory, LATEST, version)
        return path
    path = str(Path(directory) / version)
    _write_new_folder(Path(path), files)
    _replace(Path(directory) / LATEST, version)
    return path


def _write_new_folder(target: Path, files: Files) -> None:
    """Write the files under another name, and rename the folder when all are there."""
    if target.exists():
        raise FileExistsError(f"{target}: expected a new version, got one that exists")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
    try:
        for name, content in files.items():
            (draft / name).write_bytes(content)
        draft.chmod(0o755)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(f"{text}\n", encoding="utf-8")
    draft.replace(path)
