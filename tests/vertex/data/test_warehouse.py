"""The log as training reads it from BigQuery."""

from __future__ import annotations

from pipeline.core.catalog import Item, deleted_item, encode_item
from pipeline.core.timestamps import format_time
from pipeline.store.blocking import Store
from pipeline.store.layout import STUB, cell, item_write
from tests.stack.bootstrap import bigquery_client
from tests.vertex.planted import event
from tests.vertex.stored import fill
from vertex.data.warehouse import read_catalog, read_events


def test_a_deleted_item_is_not_learnt_from_also_where_events_name_it(fresh: dict[str, str]) -> None:
    store = Store(fresh["GOOGLE_CLOUD_PROJECT"], fresh["FRESHET_BIGTABLE_INSTANCE"])
    stub = cell(STUB, "gone", encode_item(Item("gone", stub=True)), 1)
    store.write([stub, item_write(deleted_item("gone"), 1), item_write(Item("here"), 1)])
    assert read_catalog(store) == {"here": Item("here")}
    store.close()


def test_what_a_visitor_sent_while_marked_is_not_learnt_from(warehouse: dict[str, str]) -> None:
    """A mark holds from its finding until, but not with, its end; and only for its visitor."""
    robot = [
        event("click", 1_000 * n, product_id="p1", anonymous_id="robot", event_id=f"robot-{n}")
        for n in range(6)
    ]
    person = [event("click", 2_000, product_id="p1", anonymous_id="person", event_id="person")]
    fill(warehouse, [*robot, *person])
    mark = {
        "id": "m1",
        "visitor": "a#robot",
        "rule": "clicks",
        "found_at": format_time(robot[2].timestamp),
        "marked_until": format_time(robot[4].timestamp),
    }
    table = f"{warehouse['GOOGLE_CLOUD_PROJECT']}.{warehouse['FRESHET_DATASET']}.anomalies"
    assert (
        bigquery_client(warehouse).insert_rows_json(table, [mark, mark], row_ids=[None, None]) == []
    )

    learnt = read_events(bigquery_client(warehouse), warehouse["FRESHET_DATASET"], days=30)

    assert [each.event_id for each in learnt] == [
        "robot-0",
        "robot-1",
        "person",
        "robot-4",
        "robot-5",
    ]
