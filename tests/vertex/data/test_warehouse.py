"""The log as training reads it from BigQuery."""

from __future__ import annotations

from pipeline.core.timestamps import format_time
from tests.stack.bootstrap import bigquery_client
from tests.vertex.planted import event
from tests.vertex.stored import fill
from vertex.data.warehouse import read_events


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
