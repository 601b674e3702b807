"""Configuration of a training run, read once at start from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.runtime.environ import (
    bigquery_emulator,
    bigtable_instance,
    dataset_name,
    project_id,
    whole_number,
)

DEFAULT_MODEL_DIR = "build/models"
DEFAULT_DAYS = 30
MAX_DAYS = 36_500


@dataclass(frozen=True)
class Config:
    """Configuration of one training run.

    `days` counts back from the newest event of the log, so that an old log trains as a fresh one
    does.
    """

    project: str
    dataset: str
    instance: str
    model_dir: str = DEFAULT_MODEL_DIR
    days: int = DEFAULT_DAYS
    bigquery_emulator: str | None = None
    seed: int = 7

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> Config:
        """Read the environment.

        Raises:
            InvalidConfig: naming the variable, its value and what was expected.
        """
        return Config(
            project=project_id(environ),
            dataset=dataset_name(environ),
            instance=bigtable_instance(environ),
            model_dir=environ.get("FRESHET_MODEL_DIR") or DEFAULT_MODEL_DIR,
            days=whole_number(environ, "FRESHET_TRAINING_DAYS", DEFAULT_DAYS, 1, MAX_DAYS),
            bigquery_emulator=bigquery_emulator(environ),
        )
