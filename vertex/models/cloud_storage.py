"""Model folders in Cloud Storage: read through a local copy, written file by file."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from vertex.models.click_model import Files, InvalidModel

SCHEME = "gs://"
MANIFEST = "manifest.json"


def is_remote(path: str | Path) -> bool:
    """True where the path lies in Cloud Storage."""
    return str(path).startswith(SCHEME)


def read_object(directory: str, name: str) -> str | None:
    """The text of one object in a `gs://` folder; None where there is none."""
    from google.cloud.exceptions import NotFound

    try:
        return str(_bucket(directory).blob(f"{_prefix(directory)}{name}").download_as_text())
    except NotFound:
        return None


def write_object(directory: str, name: str, text: str) -> None:
    """Write one object into a `gs://` folder, over what was there."""
    _bucket(directory).blob(f"{_prefix(directory)}{name}").upload_from_string(text)


def write_new_folder(path: str, files: Files) -> None:
    """Write the files into a `gs://` folder, in their order.

    Raises:
        FileExistsError: when one of them is there already; none is written over.
    """
    from google.api_core.exceptions import PreconditionFailed

    bucket, prefix = _bucket(path), _prefix(path)
    try:
        for name, content in files.items():
            # Generation zero: only where there is nothing yet.
            bucket.blob(f"{prefix}{name}").upload_from_string(content, if_generation_match=0)
    except PreconditionFailed:
        raise FileExistsError(f"{path}: expected a new version, got one that exists") from None


def local_copy(path: str) -> Path:
    """The local copy of a `gs://` model folder, downloaded once: a version never changes.

    Raises:
        InvalidModel: when the folder has no manifest.
    """
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
    return copies_folder(tempfile.gettempdir()) / digest


@cache
def copies_folder(parent: str) -> Path:
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

    return Client().bucket(path.removeprefix(SCHEME).partition("/")[0])


def _prefix(path: str) -> str:
    inside = path.removeprefix(SCHEME).partition("/")[2].strip("/")
    return f"{inside}/" if inside else ""
