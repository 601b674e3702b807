"""Rows into BigQuery, two ways behind one PTransform."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import apache_beam as beam
import msgspec
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.io.gcp.bigquery_tools import RetryStrategy
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from google.api_core.exceptions import RetryError, ServerError, TooManyRequests
from google.cloud import bigquery
from requests.exceptions import RequestException

from pipeline.core.dead_letters import DeadLetter
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.packing import packed
from pipeline.options import ROW_SINKS
from pipeline.runtime.bigquery import bigquery_client
from pipeline.runtime.environ import bigquery_emulator

logger = logging.getLogger(__name__)

MAX_ROWS_A_REQUEST = 500
MAX_REQUEST_TEXT = 5_000_000
DEAD_LETTERS = "dead_letters"
GIVE_UP_AFTER_S = 300.0
# What passes by waiting; a missing table or right does not.
UNREACHABLE = (RequestException, ServerError, TooManyRequests, RetryError)


class RowToInsert(NamedTuple):
    """One row; BigQuery drops rows with the same insert id that come within about a minute."""

    insert_id: str | None
    row: dict[str, Any]


AsRows = Callable[[Any], list[RowToInsert]]


class RowsRefused(RuntimeError):
    """BigQuery refused rows: the table does not fit the contract.

    Counts and reasons, never the rows.
    """


class WriteRows(beam.PTransform):
    """Write elements to one table that exists; `as_rows` makes a list of `RowToInsert` of each.

    `insert_rows`: one streaming insert a bundle, retried for five minutes; for the DirectRunner,
    where Beam's sink costs more than all else. `streaming_inserts`: Beam's own `WriteToBigQuery`,
    for Dataflow; a row that BigQuery refuses becomes a dead letter.
    """

    def __init__(
        self, project: str, dataset: str, table: str, sink: str, as_rows: AsRows = list
    ) -> None:
        super().__init__()
        if sink not in ROW_SINKS:
            raise ValueError(f"sink: expected one of {', '.join(ROW_SINKS)}, got {sink}")
        self._table, self._sink, self._as_rows = (project, dataset, table), sink, as_rows

    def expand(self, rows: PCollection) -> Any:
        if self._sink == "insert_rows":
            return rows | beam.ParDo(_InsertRows(*self._table, self._as_rows))
        project, dataset, table = self._table
        as_rows = self._as_rows
        written = (
            rows
            | "Rows" >> beam.FlatMap(lambda element: [entry.row for entry in as_rows(element)])
            | "Write" >> _streaming_inserts(f"{project}:{dataset}.{table}")
        )
        if table == DEAD_LETTERS:
            return written
        return (
            written.failed_rows_with_errors
            | "Refused" >> beam.Map(_refused_row)
            | "WriteRefused" >> _streaming_inserts(f"{project}:{dataset}.{DEAD_LETTERS}")
        )


def _streaming_inserts(table: str) -> WriteToBigQuery:
    """Beam's sink. What BigQuery refuses for good comes out of it, where the default would try it
    for ever.
    """
    return WriteToBigQuery(
        table,
        method=WriteToBigQuery.Method.STREAMING_INSERTS,
        insert_retry_strategy=RetryStrategy.RETRY_ON_TRANSIENT_ERROR,
        create_disposition=BigQueryDisposition.CREATE_NEVER,
        write_disposition=BigQueryDisposition.WRITE_APPEND,
    )


def _refused_row(failed: tuple[str, dict[str, Any], Any]) -> dict[str, Any]:
    """The dead letter of a row `(table, row, errors)` that BigQuery refused, the row whole."""
    table, row, errors = failed
    reasons = sorted(
        {
            f"{error.get('location')}: {error.get('reason')}"
            for error in errors
            if isinstance(error, dict)
        }
    )
    refusal = InvalidEvent(
        f"row of {table}", f"BigQuery refused it: {'; '.join(reasons) or 'no reason given'}"
    )
    return DeadLetter.of(msgspec.json.encode(row), refusal, "pipeline", datetime.now(UTC), {}).row()


def insert(
    client: bigquery.Client, table: str, rows: list[RowToInsert], give_up_after_s: float
) -> None:
    """Insert rows, retrying while BigQuery cannot be reached.

    Raises:
        RowsRefused: when BigQuery refuses rows.
        RequestException, GoogleAPIError: when it cannot be reached for `give_up_after_s` seconds,
            and at once for what does not pass by waiting (a missing table, a missing right).
    """
    deadline, pause_s = time.monotonic() + give_up_after_s, 0.1
    while True:
        try:
            errors = client.insert_rows_json(
                table,
                [entry.row for entry in rows],
                row_ids=[entry.insert_id for entry in rows],
                timeout=30,
            )
            break
        except UNREACHABLE as error:
            if time.monotonic() + pause_s > deadline:
                raise
            logger.warning(
                "BigQuery did not take %d rows for %s: %s", len(rows), table, type(error).__name__
            )
            time.sleep(pause_s * random.uniform(0.5, 1.5))
            pause_s = min(pause_s * 2, 5.0)
    if errors:
        reasons = sorted(
            {f"{e.get('location')}: {e.get('reason')}" for row in errors for e in row["errors"]}
        )
        raise RowsRefused(f"{table}: {len(errors)} of {len(rows)} rows refused: {reasons[:5]}")


def requests(rows: list[RowToInsert]) -> Iterator[list[RowToInsert]]:
    """The rows in batches of at most 500 and about 5 MB of text (BigQuery takes 10 MB)."""
    return packed(rows, _size, (MAX_ROWS_A_REQUEST, MAX_REQUEST_TEXT))


def _size(entry: RowToInsert) -> tuple[int, int]:
    return 1, sum(len(value) for value in entry.row.values() if isinstance(value, str))


_clients: dict[tuple[str, str | None], bigquery.Client] = {}


def _client(project: str) -> bigquery.Client:
    """The process's client, made on first use and kept: a runner sets DoFns up again and again."""
    key = (project, bigquery_emulator(os.environ))
    if key not in _clients:
        _clients[key] = bigquery_client(*key)
    return _clients[key]


class _InsertRows(beam.DoFn):
    def __init__(self, project: str, dataset: str, table: str, as_rows: AsRows) -> None:
        self._as_rows = as_rows
        self._project, self._table = project, f"{project}.{dataset}.{table}"
        self._written = Metrics.counter("bigquery", table)
        self._pending: list[RowToInsert] = []

    def start_bundle(self) -> None:
        self._pending = []

    def process(self, element: Any) -> Iterator[None]:
        self._pending.extend(self._as_rows(element))
        yield from ()

    def finish_bundle(self) -> None:
        client = _client(self._project)
        for batch in requests(self._pending):
            insert(client, self._table, batch, GIVE_UP_AFTER_S)
            self._written.inc(len(batch))
