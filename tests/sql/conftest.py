"""An empty warehouse for each test, the session's own on the local BigQuery, to be filled by
hand."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from google.cloud import bigquery

from tests.stack.bootstrap import bigquery_client, empty_warehouse


class Warehouse:
    """One dataset with all tables, empty, and views; rows go in by insertAll and come out as
    dicts."""

    def __init__(self, client: bigquery.Client, dataset: str) -> None:
        self.client = client
        self.dataset = dataset
        self._filled: set[str] = set()

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows, each with an insert id of its own, so that equal rows stay two."""
        ids = [uuid.uuid4().hex for _ in rows]
        self._filled.add(table)
        errors = self.client.insert_rows_json(f"{self.dataset}.{table}", list(rows), row_ids=ids)
        assert errors == []

    def rows(self, table: str, order_by: str) -> list[dict[str, Any]]:
        """All rows of a table or view."""
        query = f"select * from `{self.dataset}.{table}` order by {order_by}"
        return [dict(row) for row in self.client.query_and_wait(query)]

    def clear(self) -> None:
        """Takes out again what went in."""
        while self._filled:
            self.client.query_and_wait(f"truncate table `{self.dataset}.{self._filled.pop()}`")


@pytest.fixture(scope="session")
def bigquery_server(emulators: Mapping[str, str]) -> Iterator[bigquery.Client]:
    """A client of the local BigQuery."""
    client = bigquery_client(emulators)
    yield client
    client.close()


@pytest.fixture(scope="module")
def one_warehouse(bigquery_server: bigquery.Client, emulators: Mapping[str, str]) -> Warehouse:
    """The session's dataset, because making another takes seconds."""
    empty_warehouse(emulators)
    return Warehouse(bigquery_server, emulators["FRESHET_DATASET"])


@pytest.fixture
def tables(one_warehouse: Warehouse) -> Iterator[Warehouse]:
    """An empty warehouse that looks back as far as there is."""
    yield one_warehouse
    one_warehouse.clear()
