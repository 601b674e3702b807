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

from pipeline.runtime.bigquery import bigquery_client
from pipeline.store.blocking import Store
from vertex.data.progress import Say
from vertex.data.splits import NotEnoughData
from vertex.data.warehouse import read_catalog, read_events
from vertex.text_model import load_text_encoder
from vertex.training.config import Config
from vertex.training.publish import publish
from vertex.training.train import Trained, train

TOO_LITTLE_DATA = 3


def main(environ: Mapping[str, str]) -> int:
    """Run once; progress and metrics go to standard output."""
    try:
        config = Config.from_env(environ)
    except ValueError as error:
        return _failed(str(error))
    say = _progress(time.monotonic())
    say(f"reading {config.dataset}.events and the catalog")
    try:
        model = _trained(config, say)
    except NotEnoughData as error:
        unchanged = "no model was written, the one in use stays"
        return _failed(f"too little data: {error}; {unchanged}", TOO_LITTLE_DATA)
    except GoogleAPIError as error:
        return _failed(f"BigQuery or Bigtable did not answer: {error}; no model was written")
    path = publish(config.model_dir, model.manifest["version"], model.files)
    for line in report(model.manifest):
        say(line)
    say(f"published {path}")
    return 0


def _trained(config: Config, say: Say) -> Trained:
    store = Store(config.project, config.instance)
    try:
        catalog = read_catalog(store)
    finally:
        store.close()
    client = bigquery_client(config.project, config.bigquery_emulator)
    events = read_events(client, config.dataset, config.days, say)
    return train(
        events,
        catalog,
        now=datetime.now(UTC),
        seed=config.seed,
        say=say,
        encoder=load_text_encoder(),
    )


def _progress(started_s: float) -> Say:
    def say(line: str) -> None:
        print(f"train: {time.monotonic() - started_s:5.1f} s  {line}", flush=True)

    return say


def _failed(reason: str, code: int = 1) -> int:
    print(f"train: {reason}", file=sys.stderr)
    return code


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
