"""An empty warehouse for each test, on the local BigQuery, to be filled by hand."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from google.cloud import bigquery

from sql import schema
from tests.stack.bootstrap import bigquery_client


class Warehouse:
    """One dataset with all tables and views; rows go in by insertAll and come out as dicts."""

    def __init__(self, client: bigquery.Client, dataset: str, history_days: int = schema.EVERYTHING_DAYS) -> None:
        self.client = client
        self.dataset = dataset
        client.create_dataset(dataset)
        for statement in schema.statements(dataset, history_days):
            client.query_and_wait(statement)

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows, each with an insert id of its own, so that equal rows stay two."""
        ids = [uuid.uuid4().hex for _ in rows]
        errors = self.client.insert_rows_json(f"{self.dataset}.{table}", list(rows), row_ids=ids)
        assert errors == []

    def rows(self, table: str, order_by: str) -> list[dict[str, Any]]:
        """All rows of a table or view."""
        query = f"select * from `{self.dataset}.{table}` order by {order_by}"
        return [dict(row) for row in self.client.query_and_wait(query)]

    def clear(self) -> None:
        """Takes all rows out."""
        for table in schema.tables():
            self.client.query_and_wait(f"truncate table `{self.dataset}.{table.name}`")


@pytest.fixture(scope="session")
def bigquery_server(emulators: Mapping[str, str]) -> Iterator[bigquery.Client]:
    """A client of the local BigQuery."""
    client = bigquery_client(emulators)
    yield client
    client.close()


@pytest.fixture(scope="session")
def one_warehouse(bigquery_server: bigquery.Client) -> Warehouse:
    """One dataset for all tests here, because making it takes seconds."""
    return Warehouse(bigquery_server, f"sql_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def tables(one_warehouse: Warehouse) -> Iterator[Warehouse]:
    """An empty warehouse that looks back as far as there is."""
    yield one_warehouse
    one_warehouse.clear()
