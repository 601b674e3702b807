"""Feast's Python feature server over Bigtable, for `tests.bench.features`; runs in `.venv-feast`.

    python -m tests.bench.engines.feast_server write FOLDER     values.json -> Bigtable
    python -m tests.bench.engines.feast_server serve FOLDER PORT

`FOLDER/values.json` is {"visitor": {id: [number, ...]}, "item": {...}}: a view of each kind, whose
features are f0, f1, ... The server is as `feast serve` starts it, with one worker that is never
replaced; the registry is a file.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

os.environ["FEAST_USAGE"] = "False"  # it would call home

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64

HOST = "127.0.0.1"
NAME = "feast_bench"


def open_store(folder: Path) -> FeatureStore:
    """The store of a folder."""
    online_store = {
        "type": "bigtable",
        "project_id": os.environ["GOOGLE_CLOUD_PROJECT"],
        "instance": os.environ["FRESHET_BIGTABLE_INSTANCE"],
    }
    config = RepoConfig(
        project=NAME,
        provider="local",
        registry=str(folder / "registry.db"),
        online_store=online_store,
        entity_key_serialization_version=3,
    )
    return FeatureStore(config=config)


def write(folder: Path) -> None:
    """Define the views and write their values into Bigtable."""
    store = open_store(folder)
    values = json.loads((folder / "values.json").read_text(encoding="utf-8"))
    for kind, rows in values.items():
        entity = Entity(name=kind, join_keys=[f"{kind}_id"], value_type=ValueType.STRING)
        frame = _frame(kind, rows)
        store.apply([entity, _view(entity, frame, folder)])
        store.write_to_online_store(kind, frame)


def _frame(kind: str, rows: dict[str, list[float]]) -> Any:
    features = [f"f{place}" for place in range(len(next(iter(rows.values()))))]
    frame = pd.DataFrame(rows.values(), columns=features).astype("float64")
    frame[f"{kind}_id"] = list(rows)
    frame["event_timestamp"] = pd.Timestamp(datetime.now(UTC))
    return frame


def _view(entity: Any, frame: Any, folder: Path) -> Any:
    path = folder / f"{entity.name}.parquet"
    frame.to_parquet(path)
    names = [name for name in frame.columns if name.startswith("f")]
    return FeatureView(
        name=entity.name,
        entities=[entity],
        ttl=timedelta(days=1),
        schema=[Field(name=name, dtype=Float64) for name in names],
        source=FileSource(path=str(path), timestamp_field="event_timestamp"),
    )


def main(command: str, folder: str, port: str = "0") -> None:
    """Write, or serve until ended."""
    if command == "write":
        write(Path(folder))
    else:
        open_store(Path(folder)).serve(HOST, int(port), max_requests=0, max_requests_jitter=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
