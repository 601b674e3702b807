"""`make train`: learn from what BigQuery holds, write a model folder, make it the latest.

Exit codes: 0 a model was published; 1 something is broken; 3 too little data, and nothing changed.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from google.api_core.exceptions import GoogleAPIError

from vertex.data.warehouse import read_catalog, read_events
from vertex.models.publish import publish
from vertex.training.config import Config
from vertex.training.train import NotEnoughData, train

TOO_LITTLE_DATA = 3


def main(environ: Mapping[str, str]) -> int:
    """Run once; progress and metrics go to standard output."""
    try:
        config = Config.from_env(environ)
    except ValueError as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"train: {time.monotonic() - started:5.1f} s  {line}", flush=True)

    say(f"reading {config.dataset}.events and the catalog")
    try:
        catalog = read_catalog(config)
        model = train(
            read_events(config, say), catalog, now=datetime.now(UTC), seed=config.seed, say=say
        )
    except NotEnoughData as error:
        print(
            f"train: too little data: {error}; no model was written, the one in use stays",
            file=sys.stderr,
        )
        return TOO_LITTLE_DATA
    except GoogleAPIError as error:
        print(
            f"train: BigQuery or Bigtable did not answer: {error}; no model was written",
            file=sys.stderr,
        )
        return 1
    path = publish(config.model_dir, model.manifest["version"], model.files)
    for line in report(model.manifest):
        say(line)
    say(f"published {path}")
    return 0


def report(manifest: dict[str, Any]) -> list[str]:
    """The metrics of model and prior, side by side, as lines of text."""
    model, prior = manifest["metrics"]["model"], manifest["metrics"]["prior"]
    slates = manifest["data"]["slates"]["evaluation"]
    header = f"{'on ' + format(slates, ',') + ' later slates':26}{'model':>9}{'prior':>9}"
    return [header, *(f"{name:26}{_number(model[name])}{_number(prior[name])}" for name in model)]


def _number(value: float | None) -> str:
    return f"{value:9.4f}" if value is not None else f"{'-':>9}"


if __name__ == "__main__":
    # Google's clients warn of their own internals.
    warnings.simplefilter("ignore")
    sys.exit(main(os.environ))
