"""The warehouse and the catalog as the pipeline and the loader leave them, and a small model."""

from __future__ import annotations

from collections.abc import Sequence

from google.cloud import bigquery

from pipeline.core.events import Event
from pipeline.core.features.ranking import FEATURE_NAMES
from pipeline.core.vectors import VectorIndex
from pipeline.store.blocking import Store
from pipeline.store.layout import item_write
from tests.stack.bootstrap import bigquery_client
from tests.vertex import planted
from vertex.models.logistic import Logistic
from vertex.training.publish import model_files

CATALOG = planted.catalog()


def fill(env: dict[str, str], events: Sequence[Event]) -> None:
    """The warehouse and the catalog as the pipeline and the loader leave them, doubles included."""
    from pipeline.steps.decode import event_row  # it imports Beam

    rows = [
        event_row(each, CATALOG.get(each.product_id or "")).row for each in [*events, *events[:20]]
    ]
    client: bigquery.Client = bigquery_client(env)
    table = f"{env['GOOGLE_CLOUD_PROJECT']}.{env['FRESHET_DATASET']}.events"
    for start in range(0, len(rows), 2_000):
        batch = rows[start : start + 2_000]
        assert client.insert_rows_json(table, batch, row_ids=[None] * len(batch)) == []
    store = Store(env["GOOGLE_CLOUD_PROJECT"], env["FRESHET_BIGTABLE_INSTANCE"])
    store.write([item_write(item, 1) for item in CATALOG.values()])
    store.close()


def small_files() -> dict[str, bytes]:
    """The files of a model that says 0.5 to all."""
    manifest = {"version": "v1", "kind": "logistic", "feature_names": list(FEATURE_NAMES)}
    return model_files(manifest, Logistic(FEATURE_NAMES, {}, 0.0), VectorIndex.empty())
