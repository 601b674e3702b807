"""Rows into BigQuery: they land, they are retried, and a refusal names columns and not data."""

from __future__ import annotations

import json
import uuid
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline
from google.api_core.exceptions import NotFound, ServiceUnavailable
from google.cloud import bigquery
from requests.exceptions import ConnectionError as NoConnection

from pipeline.steps.bigquery import (
    MAX_REQUEST_TEXT,
    MAX_ROWS_A_REQUEST,
    RowsRefused,
    RowToInsert,
    WriteRows,
    _refused_row,
    insert,
    requests,
)
from pipeline.steps.decode import event_row
from tests.pipeline.core.streams import START, event

SECRET = "secret-of-a-visitor"


def rows_of(tag: str, count: int) -> list[RowToInsert]:
    return [event_row(event("scroll", n, f"{tag}-{n}", session_id=tag), None) for n in range(count)]


def landed(client: bigquery.Client, dataset: str, tag: str) -> list[str]:
    found = client.query_and_wait(
        f"select event_id from `{dataset}.events` where session_id = '{tag}'"
    )
    return sorted(row["event_id"] for row in found)


def write(dataset: str, table: str, batches: list[list[RowToInsert]]) -> None:
    pipeline = BeamPipeline(runner="BundleBasedDirectRunner", options=PipelineOptions([]))
    sink = WriteRows("demo-project", dataset, table, "insert_rows")
    pipeline | beam.Create(batches, reshuffle=False) | sink
    pipeline.run().wait_until_finish()


def test_rows_of_several_messages_land_each_once(
    bigquery_server: bigquery.Client, dataset: str, tag: str
) -> None:
    rows = rows_of(tag, 7)
    write(dataset, "events", [rows[:3], [], rows[3:]])
    assert landed(bigquery_server, dataset, tag) == [f"{tag}-{n}" for n in range(7)]


def test_a_bundle_of_more_rows_than_a_request_may_hold_lands_too(
    bigquery_server: bigquery.Client, dataset: str, tag: str
) -> None:
    write(dataset, "events", [rows_of(tag, MAX_ROWS_A_REQUEST + 3)])
    assert len(landed(bigquery_server, dataset, tag)) == MAX_ROWS_A_REQUEST + 3


def test_a_row_sent_twice_under_its_insert_id_lands_once(
    bigquery_server: bigquery.Client, dataset: str, tag: str
) -> None:
    for _ in range(2):
        insert(bigquery_server, f"demo-project.{dataset}.events", rows_of(tag, 2), 1)
    assert landed(bigquery_server, dataset, tag) == [f"{tag}-0", f"{tag}-1"]


def test_every_column_of_an_event_lands(
    bigquery_server: bigquery.Client, dataset: str, tag: str
) -> None:
    metadata = {
        "category": "c",
        "brand": "b",
        "price": 2.5,
        "query": "q",
        "request_id": "r",
        "placement": "home",
    }
    metadata |= {"variant": "v", "position": 3, "propensity": 0.25, "more": {"a": [1, "ü"]}}
    shown = event(
        "impression",
        0.25,
        tag,
        product_id="p",
        anonymous_id="a",
        ingest_time=START,
        metadata=metadata,
    )
    row = event_row(shown, None, "shop")
    write(dataset, "events", [[row]])
    [found] = bigquery_server.query_and_wait(
        f"select * from `{dataset}.events` where event_id = '{tag}'"
    )
    times = {
        name: found[name].isoformat(timespec="milliseconds")
        for name in ("timestamp", "ingest_time")
    }
    assert times == {name: row.row[name].replace("Z", "+00:00") for name in times}
    assert {name: found[name] for name in row.row if name not in times} == {
        name: value for name, value in row.row.items() if name not in times
    }


def test_refused_rows_are_told_by_column_and_never_by_content(
    bigquery_server: bigquery.Client, dataset: str, tag: str
) -> None:
    good, bad = rows_of(tag, 2)
    bad.row["timestamp"] = SECRET
    with pytest.raises(RowsRefused) as caught:
        insert(bigquery_server, f"demo-project.{dataset}.events", [good, bad], 1)
    assert "of 2 rows refused" in str(caught.value) and "timestamp" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_column_the_table_does_not_have_is_named(
    bigquery_server: bigquery.Client, dataset: str, tag: str
) -> None:
    [row] = rows_of(tag, 1)
    row.row["shoe_size"] = SECRET
    with pytest.raises(RowsRefused, match="shoe_size") as caught:
        insert(bigquery_server, f"demo-project.{dataset}.events", [row], 1)
    assert SECRET not in str(caught.value)


def test_refused_rows_end_the_pipeline_instead_of_being_lost(dataset: str, tag: str) -> None:
    [row] = rows_of(tag, 1)
    row.row["timestamp"] = SECRET
    with pytest.raises(RowsRefused):
        write(dataset, "events", [[row]])


class FakeClient:
    """Fails as it is told, then takes the rows."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.requests: list[tuple[list[dict[str, Any]], list[str | None]]] = []

    def insert_rows_json(
        self, table: str, rows: list[dict[str, Any]], row_ids: list[str | None], timeout: float
    ) -> list[Any]:
        if self.failures:
            raise self.failures.pop(0)
        self.requests.append((rows, row_ids))
        return []


def test_an_insert_is_tried_again_until_bigquery_takes_it_with_the_same_insert_ids() -> None:
    client = FakeClient(NoConnection(), ServiceUnavailable("no"))
    insert(client, "t", [RowToInsert("i", {"a": 1}), RowToInsert(None, {"a": 2})], 10)  # type: ignore[arg-type]
    assert client.requests == [([{"a": 1}, {"a": 2}], ["i", None])]


def test_an_insert_gives_up_when_its_time_is_over() -> None:
    client = FakeClient(*(NoConnection() for _ in range(20)))
    with pytest.raises(NoConnection):
        insert(client, "t", [RowToInsert("i", {})], 0.5)  # type: ignore[arg-type]
    assert 0 < len(client.failures) < 19 and client.requests == []


def test_requests_are_bounded_in_rows_and_in_text_and_lose_no_row() -> None:
    small = [RowToInsert(str(n), {"n": n}) for n in range(MAX_ROWS_A_REQUEST + 1)]
    large = [RowToInsert(str(n), {"metadata": "x" * 60_000}) for n in range(200)]
    assert [len(batch) for batch in requests(small)] == [MAX_ROWS_A_REQUEST, 1]
    batches = list(requests(large))
    assert [entry for batch in batches for entry in batch] == large
    assert max(len(batch) for batch in batches) * 60_000 <= MAX_REQUEST_TEXT
    assert [
        len(batch)
        for batch in requests([large[0]._replace(row={"metadata": "x" * MAX_REQUEST_TEXT * 2})])
    ] == [1]


def test_a_row_that_bigquery_refuses_becomes_a_dead_letter_whole() -> None:
    row = {"event_id": "e1", "metadata": SECRET}
    dead_letter = _refused_row(
        ("p:d.events", row, [{"location": "price", "reason": "invalid", "message": SECRET}])
    )
    assert (dead_letter["source"], dead_letter["field"]) == ("pipeline", "row of p:d.events")
    assert dead_letter["reason"] == "BigQuery refused it: price: invalid"
    assert json.loads(dead_letter["payload"]) == row


def test_beams_own_streaming_inserts_are_a_choice() -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(["--project=demo-project"]))
    rows = pipeline | beam.Create([[RowToInsert(uuid.uuid4().hex, {"a": 1})]])
    assert rows | WriteRows("demo-project", "d", "t", "streaming_inserts") is not None


def test_a_table_that_is_not_there_is_not_waited_for(
    bigquery_server: bigquery.Client, dataset: str, tag: str
) -> None:
    with pytest.raises(NotFound, match=tag):
        insert(bigquery_server, f"demo-project.{dataset}.no_{tag}", rows_of(tag, 1), 60)


def test_rows_are_made_of_elements_as_the_sink_is_told(
    bigquery_server: bigquery.Client, dataset: str, tag: str
) -> None:
    pipeline = BeamPipeline(runner="BundleBasedDirectRunner", options=PipelineOptions([]))
    sink = WriteRows(
        "demo-project", dataset, "events", "insert_rows", lambda count: rows_of(tag, count)
    )
    pipeline | beam.Create([2], reshuffle=False) | sink
    pipeline.run().wait_until_finish()
    assert landed(bigquery_server, dataset, tag) == [f"{tag}-0", f"{tag}-1"]


def test_an_unknown_sink_is_refused() -> None:
    with pytest.raises(
        ValueError, match="sink: expected one of insert_rows, streaming_inserts, got carrier_pigeon"
    ):
        WriteRows("demo-project", "d", "t", "carrier_pigeon")
