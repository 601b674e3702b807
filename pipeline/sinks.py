"""Rows into BigQuery, two ways behind one PTransform."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from google.api_core.exceptions import GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from requests.exceptions import RequestException

logger = logging.getLogger(__name__)

MAX_ROWS_A_REQUEST = 500
GIVE_UP_AFTER_S = 300.0


class RowToInsert(NamedTuple):
    """One row; BigQuery drops rows with the same insert id that come within about a minute."""

    insert_id: str | None
    row: dict[str, Any]


class RowsRefused(RuntimeError):
    """BigQuery refused rows: the table does not fit the contract. Counts and reasons, never the rows."""


class WriteRows(beam.PTransform):
    """Write lists of `RowToInsert` to one table that exists.

    `insert_rows`: one streaming insert a bundle, retried for five minutes; for the DirectRunner, where Beam's sink
    costs more than all else. `streaming_inserts`: Beam's own `WriteToBigQuery`, for Dataflow.
    """

    def __init__(self, project: str, dataset: str, table: str, sink: str) -> None:
        super().__init__()
        self._table, self._sink = (project, dataset, table), sink

    def expand(self, rows: PCollection) -> Any:
        if self._sink == "insert_rows":
            return rows | beam.ParDo(_InsertRows(*self._table))
        project, dataset, table = self._table
        return (
            rows
            | "Rows" >> beam.FlatMap(lambda batch: [entry.row for entry in batch])
            | WriteToBigQuery(
                f"{project}:{dataset}.{table}",
                method=WriteToBigQuery.Method.STREAMING_INSERTS,
                create_disposition=BigQueryDisposition.CREATE_NEVER,
                write_disposition=BigQueryDisposition.WRITE_APPEND,
            )
        )


def bigquery_client(project: str) -> bigquery.Client:
    """A client for Google Cloud, or for the emulator that BIGQUERY_EMULATOR_HOST names (without credentials)."""
    if os.environ.get("BIGQUERY_EMULATOR_HOST"):
        return bigquery.Client(project=project, credentials=AnonymousCredentials())
    return bigquery.Client(project=project)


def insert(client: bigquery.Client, table: str, rows: list[RowToInsert], give_up_after_s: float) -> None:
    """Insert rows, retrying while BigQuery cannot be reached.

    Raises:
        RowsRefused: when BigQuery refuses rows.
        RequestException, GoogleAPIError: when it cannot be reached for `give_up_after_s` seconds.
    """
    deadline, pause_s = time.monotonic() + give_up_after_s, 0.1
    while True:
        try:
            errors = client.insert_rows_json(
                table, [entry.row for entry in rows], row_ids=[entry.insert_id for entry in rows], timeout=30
            )
            break
        except (RequestException, GoogleAPIError) as error:
            if time.monotonic() + pause_s > deadline:
                raise
            logger.warning("BigQuery did not take %d rows for %s: %s", len(rows), table, type(error).__name__)
            time.sleep(pause_s * random.uniform(0.5, 1.5))
            pause_s = min(pause_s * 2, 5.0)
    if errors:
        reasons = sorted({f"{e.get('location')}: {e.get('reason')}" for row in errors for e in row["errors"]})
        raise RowsRefused(f"{table}: {len(errors)} of {len(rows)} rows refused: {reasons[:5]}")


_clients: dict[str, bigquery.Client] = {}


class _InsertRows(beam.DoFn):
    def __init__(self, project: str, dataset: str, table: str) -> None:
        self._project, self._table = project, f"{project}.{dataset}.{table}"
        self._written = Metrics.counter("bigquery", table)
        self._pending: list[RowToInsert] = []

    def start_bundle(self) -> None:
        self._pending = []

    def process(self, rows: list[RowToInsert]) -> Iterator[None]:
        self._pending.extend(rows)
        yield from ()

    def finish_bundle(self) -> None:
        if self._project not in _clients:
            _clients[self._project] = bigquery_client(self._project)
        for start in range(0, len(self._pending), MAX_ROWS_A_REQUEST):
            batch = self._pending[start : start + MAX_ROWS_A_REQUEST]
            insert(_clients[self._project], self._table, batch, GIVE_UP_AFTER_S)
            self._written.inc(len(batch))
