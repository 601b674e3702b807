"""The snapshot of the items: one file of columns, from which the API starts without a scan.

The file is an uncompressed `.npz`: arrays by name, each with a checksum, and a header. It is
replaced in one step, so that a reader sees the old one or the new one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from pipeline.core.columns import Arrays, Rows
from pipeline.core.item_columns import ItemColumns

FORMAT = 2
"""Of the file. Another is refused: the job writes what the API of its own release reads."""
FILE_NAME = "items.npz"
_HEADER = "header"
_REMOTE = "gs://"


class InvalidSnapshot(Exception):
    """A snapshot that is missing, damaged or of another format; the message says which."""


class SnapshotHeader(msgspec.Struct, frozen=True):
    """Facts about a snapshot.

    Attributes:
        format: `FORMAT` of the writer.
        began_ms: when its scan began: what was written before is in it.
        items: how many it holds, most viewed first.
    """

    format: int
    began_ms: int
    items: int


def save_items(directory: str, items: ItemColumns, rows: Rows, began_ms: int) -> str:
    """Write these rows into a local or `gs://` folder, and return the file's place."""
    header = SnapshotHeader(FORMAT, began_ms, len(rows))
    arrays = {_HEADER: np.frombuffer(msgspec.json.encode(header), np.uint8), **items.saved(rows)}
    with _writing(directory) as draft:
        np.savez(draft, **arrays)  # type: ignore[arg-type]  # of its flag `allow_pickle`
    return f"{directory}/{FILE_NAME}"


def load_items(directory: str, items: ItemColumns, limit: int) -> SnapshotHeader:
    """Fill `items`, which are empty, with the first `limit` items of a folder's snapshot.

    Raises:
        InvalidSnapshot: when there is none that can be read; then `items` are not to be used.
    """
    try:
        with _reading(directory) as file, np.load(file) as arrays:
            header = _header(arrays)
            items.restore(arrays, min(header.items, limit))
    except InvalidSnapshot:
        raise
    except FileNotFoundError:
        raise InvalidSnapshot(f"expected a file {FILE_NAME}, got none") from None
    except Exception as error:  # a damaged file fails in many ways, Cloud Storage in others
        reason = f"{type(error).__name__}: {error}"
        raise InvalidSnapshot(f"expected a whole {FILE_NAME}, got {reason}") from error
    return header


def _header(arrays: Arrays) -> SnapshotHeader:
    content = arrays[_HEADER].tobytes()
    found = msgspec.json.decode(content).get("format")
    if found != FORMAT:
        raise InvalidSnapshot(f"expected format {FORMAT}, got {found!r}")
    return msgspec.json.decode(content, type=SnapshotHeader)


@contextmanager
def _writing(directory: str) -> Iterator[Path]:
    """A file to write; what is written takes the snapshot's place in the end."""
    if directory.startswith(_REMOTE):
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder, FILE_NAME)
            yield draft
            _blob(directory).upload_from_filename(str(draft))
        return
    Path(directory).mkdir(parents=True, exist_ok=True)
    draft = Path(directory, f"draft-{os.getpid()}-{FILE_NAME}")
    try:
        yield draft
        draft.replace(Path(directory, FILE_NAME))
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _reading(directory: str) -> Iterator[IO[bytes]]:
    """The file of a folder's snapshot, to read."""
    if not directory.startswith(_REMOTE):
        with Path(directory, FILE_NAME).open("rb") as file:
            yield file
        return
    from google.cloud.exceptions import NotFound

    with tempfile.TemporaryFile() as copy:
        try:
            _blob(directory).download_to_file(copy)
        except NotFound:
            raise FileNotFoundError(directory) from None
        copy.seek(0)
        yield copy


def _blob(directory: str) -> Any:
    """The object of a `gs://` folder's snapshot."""
    from google.cloud.storage import Client

    bucket, _, folder = directory.removeprefix(_REMOTE).partition("/")
    return Client().bucket(bucket).blob(f"{folder.strip('/')}/{FILE_NAME}".lstrip("/"))
