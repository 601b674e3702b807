"""`make train`: its configuration, its exit codes, what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.events import Event
from tests.vertex import planted
from tests.vertex.stored import fill, small_files
from vertex.models.registry import latest_model
from vertex.training import __main__ as command
from vertex.training.config import Config
from vertex.training.publish import publish

CATALOG = planted.catalog()


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ValueError, match="GOOGLE_CLOUD_PROJECT: required"):
        Config.from_env({})
    with pytest.raises(
        ValueError, match="FRESHET_TRAINING_DAYS: expected a whole number from 1 to 36500"
    ):
        Config.from_env({"GOOGLE_CLOUD_PROJECT": "p", "FRESHET_TRAINING_DAYS": "all"})


def test_the_command_changes_nothing_with_too_little_data_and_publishes_with_enough(
    warehouse: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], log: list[Event]
) -> None:
    env = {**warehouse, "FRESHET_MODEL_DIR": str(tmp_path)}
    publish(str(tmp_path), "v1", small_files())

    assert command.main({**env, "FRESHET_DATASET": "no_such"}) == 1
    assert "Not found: Dataset" in capsys.readouterr().err
    assert command.main(env) == command.TOO_LITTLE_DATA  # nothing at all
    fill(env, log[:300])
    assert command.main(env) == command.TOO_LITTLE_DATA
    assert (
        "too little data: learning: expected at least 60 slates with a click"
        in capsys.readouterr().err
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LATEST", "v1"]
    assert latest_model(tmp_path).version == "v1"

    fill(env, log[300:])
    assert command.main(env) == 0
    printed = capsys.readouterr().out
    assert "serving_auc" in printed and f"published {tmp_path}/" in printed
    for step in (
        f"reading events: 0 of {len(log):,}",
        "beginnings: 0 of 4",
        "replaying slates: 0 of ",
    ):
        assert step in printed
    model = latest_model(tmp_path)
    assert model.kind == "lightgbm"
    assert model.manifest["data"]["events"] == len(log)
    assert model.manifest["data"]["items"] == len(CATALOG)
