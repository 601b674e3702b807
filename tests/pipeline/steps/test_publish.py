"""What the rules found, as messages and rows, with ids by which a retry is recognised."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from google.cloud import bigquery

from pipeline.core.rules import Anomaly, Trigger
from pipeline.steps.bigquery import WriteRows
from pipeline.steps.publish import as_message, rule_rows
from tests.pipeline.running import START_MS, run, script


def trigger(tag: str) -> Trigger:
    signals = {"cart_items": 2.0, "cart_idle_s": 3600.5}
    return Trigger(
        id=f"t{tag}", visitor="u#v", rule="left", channel="email", at_ms=START_MS, signals=signals
    )


def anomaly(tag: str, marks: bool = True) -> Anomaly:
    return Anomaly(
        id=f"x{tag}",
        rule="rate",
        severity="high",
        marks=marks,
        at_ms=START_MS,
        until_ms=START_MS + 60_000,
        signals={"events_1m": 300.0},
        visitor="u#v",
    )


def test_a_trigger_is_a_message_that_can_be_filtered_by_rule_and_channel() -> None:
    found = as_message(trigger("1"))
    assert found.attributes == {"id": "t1", "rule": "left", "channel": "email"}
    assert json.loads(found.data) == {
        "id": "t1",
        "visitor": "u#v",
        "rule": "left",
        "channel": "email",
        "due_at": "2025-01-01T12:00:00.000Z",
        "signals": {"cart_items": 2.0, "cart_idle_s": 3600.5},
    }


@pytest.mark.parametrize(("marks", "until"), [(True, "2025-01-01T12:01:00.000Z"), (False, None)])
def test_an_anomaly_is_a_message_that_can_be_filtered_by_rule_and_severity(
    marks: bool, until: str | None
) -> None:
    found = as_message(anomaly("1", marks))
    assert found.attributes == {"id": "x1", "rule": "rate", "severity": "high"}
    assert json.loads(found.data) == {
        "id": "x1",
        "visitor": "u#v",
        "address": None,
        "rule": "rate",
        "severity": "high",
        "found_at": "2025-01-01T12:00:00.000Z",
        "marked_until": until,
        "signals": {"events_1m": 300.0},
    }


@pytest.mark.parametrize("table", ["campaigns", "anomalies"])
def test_the_tables_take_the_rows_and_a_retry_within_the_minute_adds_none(
    emulators: Mapping[str, str],
    bigquery_server: bigquery.Client,
    dataset: str,
    tag: str,
    table: str,
) -> None:
    found = trigger(tag) if table == "campaigns" else anomaly(tag)
    sink = WriteRows(emulators["GOOGLE_CLOUD_PROJECT"], dataset, table, "insert_rows", rule_rows)
    for _ in range(2):
        run(lambda p: p | script([found]) | sink)
    rows = bigquery_server.query_and_wait(
        f"select id, visitor, rule from `{dataset}.{table}` where id = '{found.id}'"
    )
    assert [dict(row) for row in rows] == [{"id": found.id, "visitor": "u#v", "rule": found.rule}]


def test_the_insert_id_of_a_row_is_the_id_of_what_was_found() -> None:
    assert [
        row.insert_id for found in (trigger("1"), anomaly("1")) for row in rule_rows(found)
    ] == ["t1", "x1"]
