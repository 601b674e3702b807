"""What a training run is told, once, by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_MODEL_DIR = "build/models"
DEFAULT_DAYS = 30


@dataclass(frozen=True)
class Config:
    """Where the log and the catalog are, and where the model goes.

    `days` counts back from the newest event of the log, so that an old log trains as a fresh one does.
    """

    project: str
    dataset: str
    instance: str
    model_dir: str = DEFAULT_MODEL_DIR
    days: int = DEFAULT_DAYS
    bigquery_emulator: str | None = None
    seed: int = 7

    def __post_init__(self) -> None:
        if self.days < 1:
            raise ValueError(f"days: expected at least 1, got {self.days}")

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> Config:
        """Read the environment; raises `ValueError` naming a variable that is missing or wrong."""
        return Config(
            project=_required(environ, "GOOGLE_CLOUD_PROJECT"),
            dataset=environ.get("FRESHET_DATASET") or "freshet",
            instance=environ.get("FRESHET_BIGTABLE_INSTANCE") or "freshet",
            model_dir=environ.get("FRESHET_MODEL_DIR") or DEFAULT_MODEL_DIR,
            days=_days(environ.get("FRESHET_TRAINING_DAYS") or str(DEFAULT_DAYS)),
            bigquery_emulator=environ.get("BIGQUERY_EMULATOR_HOST") or None,
        )


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise ValueError(f"{name}: expected in the environment, got {value!r}")
    return value


def _days(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"FRESHET_TRAINING_DAYS: expected a number of days of at least 1, got {text!r}")
    return int(text)
