"""A published model folder: never written over, never half."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vertex.stored import small_files
from vertex.models.registry import latest_model
from vertex.training.publish import publish


def test_a_version_is_never_written_over(tmp_path: Path) -> None:
    publish(str(tmp_path), "v1", small_files())
    with pytest.raises(FileExistsError, match="v1"):
        publish(str(tmp_path), "v1", small_files())


def test_a_publication_that_fails_leaves_nothing_and_the_latest_as_it_was(tmp_path: Path) -> None:
    publish(str(tmp_path), "v1", small_files())
    with pytest.raises(FileNotFoundError):
        publish(str(tmp_path), "v2", {**small_files(), "no such folder/file": b""})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LATEST", "v1"]
    assert latest_model(tmp_path).version == "v1"
