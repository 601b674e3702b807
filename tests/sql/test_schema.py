"""The SQL files: read as promised, made of BigQuery's SQL, and the same tables wherever they go."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.event_log import LOG_COLUMNS
from pipeline.core.rules import Anomaly, Trigger
from pipeline.ops.rules_file import MAX_MARK_MS
from sql import schema
from tests.sql.conftest import Warehouse

FILES = sorted(schema.FOLDER.rglob("*.sql"))
CONTRACT = {
    "events": " ".join(LOG_COLUMNS),
    "sessions": "visitor session_start session_end events views clicks carts purchases impressions "
    "items"
    " categories revenue dwell_s top_category first_event emitted_at",
    "dead_letters": "received_at source field reason payload encoding attributes",
    "dead_letters_replayed": "dead_letter_id replayed_at outcome events refused",
    "campaigns": "id visitor rule channel due_at emitted_at signals",
    "anomalies": "id visitor address rule severity found_at marked_until emitted_at signals",
}
DUCKDB_ONLY = {
    "a cast with ::": r"::",
    "a list or map function": r"\b(list|list_\w+|map_\w+|struct_pack)\(|\barray_(sort|distinct|contains)\(",
    "a lambda": r"\blambda\b|\w+ -> ",
    "integer division": r"//",
    "a function of time": r"\b(strftime|strptime|date_part|epoch\w*|time_bucket|make_timestamp|age)\(",
    "an aggregate": r"\b(median|mode|quantile\w*|arg_max|arg_min|first|last|histogram|product)\(",
    "a keyword": r"\b(ilike|glob|using sample|asof|exclude|order by all|group by all|distinct "
    r"on)\b",
    "a type": r"\b(varchar|double|hugeint|ubigint|timestamptz|blob)\b",
}


RESERVED = frozenset(
    "all and any array as asc assert_rows_modified at between by case cast collate contains create "
    "cross cube current"
    " default define desc distinct else end enum escape except exclude exists extract false fetch "
    "following for from"
    " full group grouping groups hash having if ignore in inner intersect interval into is join "
    "lateral left like limit"
    " lookup merge natural new no not null nulls of on or order outer over partition preceding "
    "proto qualify range"
    " recursive respect right rollup rows select set some struct tablesample then to treat true "
    "unbounded union unnest"
    " using when where window with within".split()
)


def code(path: Path) -> str:
    return re.sub(r"--.*", "", path.read_text())


@pytest.mark.parametrize("name", list(CONTRACT))
def test_a_table_has_the_columns_of_the_contract_each_described(name: str) -> None:
    table = next(table for table in schema.tables() if table.name == name)
    assert [column.name for column in table.columns] == CONTRACT[name].split()
    assert all(len(column.description) > 5 for column in table.columns)
    assert table.description


def test_a_table_is_partitioned_by_a_time_that_is_never_null_and_clustered() -> None:
    for table in schema.tables():
        columns = {column.name: column for column in table.columns}
        assert (columns[table.partition].type, columns[table.partition].mode) == (
            "TIMESTAMP",
            "REQUIRED",
        )
        assert 1 <= len(table.clustering) <= 4
        assert set(table.clustering) <= set(columns)


def test_no_table_or_column_needs_quotes_because_bigquery_keeps_its_name_for_itself() -> None:
    for table in schema.tables():
        assert not {table.name, *(column.name for column in table.columns)} & RESERVED


def test_rows_of_triggers_and_findings_fit_their_tables() -> None:
    trigger = Trigger(id="1", visitor="u#1", rule="r", channel="email", at_ms=0, signals={})
    anomaly = Anomaly(
        id="1", rule="r", severity="low", marks=True, at_ms=0, until_ms=1, signals={}, visitor="u#1"
    )
    now = datetime(2025, 1, 1, tzinfo=UTC)
    assert set(trigger.row(now)) == set(CONTRACT["campaigns"].split())
    assert set(anomaly.row(now)) == set(CONTRACT["anomalies"].split())


def test_what_the_warehouse_made_is_what_the_files_say(tables: Warehouse) -> None:
    for table in schema.tables():
        made = tables.client.get_table(f"{tables.dataset}.{table.name}")
        assert made.time_partitioning is not None
        assert (made.time_partitioning.type_, made.time_partitioning.field) == (
            "DAY",
            table.partition,
        )
        assert made.clustering_fields == list(table.clustering)
        assert made.description == table.description
        fields = [(f.name, f.field_type, f.mode, f.description) for f in made.schema]
        assert fields == [(c.name, c.type, c.mode, c.description) for c in table.columns]


def test_making_the_warehouse_twice_keeps_its_rows(tables: Warehouse) -> None:
    row = {
        "received_at": "2025-01-01T12:00:00Z",
        "source": "collector",
        "field": "event",
        "reason": "required",
    }
    tables.insert("dead_letters", [row])
    for statement in schema.statements(f"demo-project.{tables.dataset}"):
        tables.client.query_and_wait(statement)
    assert len(tables.rows("dead_letters", "received_at")) == 1


def test_statements_come_as_tables_then_views_each_after_all_that_it_reads() -> None:
    made = [re.search(r"`freshet\.(\w+)`", statement) for statement in schema.statements("freshet")]
    names = [match.group(1) for match in made if match]
    assert names[: len(CONTRACT)] == sorted(CONTRACT)
    assert names[len(CONTRACT) :] == [view.name for view in schema.views()]
    for view in schema.views():
        assert view.reads and view.reads <= set(names[: names.index(view.name)])


def view(name: str, *reads: str, layer: str = "staging") -> schema.View:
    query = "\n".join(f"select x from `${{dataset}}.{read}`" for read in reads)
    return schema.View(name, layer, "purpose; grain", query)


def test_a_view_is_a_step_after_the_last_that_it_reads_whatever_they_are_called() -> None:
    given = [
        view("a", "b", "c", layer="marts"),
        view("b", "events"),
        view("c", "events", "d"),
        view("d", "events"),
        view("e", "a", layer="marts"),
    ]
    ordered = schema.in_order(given, {"events"})
    assert [(found.name, found.step) for found in ordered] == [
        ("b", 1),
        ("d", 1),
        ("c", 2),
        ("a", 3),
        ("e", 4),
    ]


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([view("a", "event")], "a: expected to read tables and views, got event"),
        (
            [view("a", "b"), view("b", "a")],
            "views: expected no circle, got (a reads b reads a|b reads a reads b)",
        ),
        ([view("a", "a")], "views: expected no circle, got a reads a"),
        (
            [view("a", "m"), view("m", "events", layer="marts")],
            "a: expected a staging view to read no mart, got m",
        ),
    ],
)
def test_a_reference_that_cannot_be_followed_is_named(
    views: list[schema.View], message: str
) -> None:
    with pytest.raises(schema.SchemaError, match=f"^{message}$"):
        schema.in_order(views, {"events"})


def test_no_two_files_make_the_same_name_and_none_is_numbered() -> None:
    names = [path.stem for path in FILES]
    assert len(names) == len(set(names)) == len(schema.tables()) + len(schema.views())
    assert not [name for name in names if name[0].isdigit()]


def test_one_statement_can_be_had_by_name() -> None:
    assert "create or replace view `p-1.freshet.funnel_daily`" in schema.ddl(
        "funnel_daily", "p-1.freshet"
    )
    with pytest.raises(schema.SchemaError, match=r"expected one of anomalies, .*, got 'nothing'"):
        schema.ddl("nothing", "freshet")


@pytest.mark.parametrize("dataset", ["", "a.b.c", "a`b", "my data"])
def test_a_dataset_that_could_break_out_of_its_quotes_is_refused(dataset: str) -> None:
    with pytest.raises(schema.SchemaError, match=r"dataset: expected dataset or project\.dataset"):
        schema.statements(dataset)


@pytest.mark.parametrize("days", [0, 36_501])
def test_a_history_out_of_bounds_is_refused(days: int) -> None:
    with pytest.raises(schema.SchemaError, match="history_days: expected 1 to 36500"):
        schema.statements("freshet", days)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_holds_only_bigquerys_sql(path: Path) -> None:
    for what, pattern in DUCKDB_ONLY.items():
        assert not re.search(pattern, code(path)), f"{path.name} has {what}"


@pytest.mark.parametrize(
    "text",
    [
        "x::int",
        "list_sort(a)",
        "list(x)",
        "array_sort(a)",
        "epoch_ms(t)",
        "order by all",
        "x ilike 'a'",
        "cast(x as varchar)",
        "a // b",
        "x -> x + 1",
    ],
)
def test_the_check_for_duckdbs_sql_finds_it(text: str) -> None:
    assert any(re.search(pattern, text) for pattern in DUCKDB_ONLY.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_follows_the_house_style(path: Path) -> None:
    text = path.read_text()
    assert [line.split(":")[0] for line in text.splitlines()[:3]] == [
        "-- purpose",
        "-- grain",
        "-- inputs",
    ]
    outside_quotes = re.sub(r"'[^']*'|`[^`]*`", "", code(path))
    assert outside_quotes == outside_quotes.lower(), "keywords and names are lowercase"
    assert all(len(line) <= 130 for line in text.splitlines())


def test_a_view_that_reads_a_table_filters_its_partition_column_first() -> None:
    partitions = {table.name: table.partition for table in schema.tables()}
    for view in schema.views():
        for name, partition in partitions.items():
            reads = view.query.count(f"from `${{dataset}}.{name}`\n")
            filtered = view.query.count(f"from `${{dataset}}.{name}`\n  where {partition} >= ")
            assert reads == filtered, f"{view.name} reads {name} without a filter on {partition}"


def test_events_trusted_looks_back_as_far_as_the_longest_mark() -> None:
    query = next(view.query for view in schema.views() if view.name == "events_trusted")
    assert f"interval ${{history_days}} day), interval {MAX_MARK_MS // 86_400_000} day)" in query


def test_what_terraform_reads_is_not_stale() -> None:
    assert schema.TERRAFORM_FILE.read_text() == schema.for_terraform(), "run `python -m sql.schema`"
    assert set(json.loads(schema.for_terraform())["tables"]) == set(CONTRACT)
