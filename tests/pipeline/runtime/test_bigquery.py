"""Clients of BigQuery."""

from __future__ import annotations

from pipeline.runtime.bigquery import bigquery_client


def test_a_client_asks_the_emulator_without_credentials(emulators: dict[str, str]) -> None:
    with bigquery_client("demo-project", emulators["BIGQUERY_EMULATOR_HOST"]) as client:
        assert (
            str(client._connection.API_BASE_URL).rstrip("/") == emulators["BIGQUERY_EMULATOR_HOST"]
        )
        assert [row["one"] for row in client.query_and_wait("select 1 as one")] == [1]
