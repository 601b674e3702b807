"""A table of BigQuery, of our own names of fields."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from google.api_core.exceptions import GoogleAPIError
from google.cloud import bigquery

from pipeline.ops.feeds.rows import Columns, FeedRow, InvalidFeed

PAGE_ROWS = 1_000


def table_rows(client: bigquery.Client, table: str, columns: Columns) -> Iterator[FeedRow]:
    """A row for each of the table's, counted from 1, read by pages.

    Args:
        client: of BigQuery.
        table: `dataset.table` or `project.dataset.table`.
        columns: makes items of its columns.

    Raises:
        InvalidFeed: the table cannot be read.
    """
    try:
        rows = client.list_rows(client.get_table(table), page_size=PAGE_ROWS)
        for number, row in enumerate(rows, start=1):
            values = {name: _plain(value) for name, value in row.items()}
            yield FeedRow(f"row {number}", columns.item(values))
    except (GoogleAPIError, ValueError) as error:
        raise InvalidFeed(f"expected a table that can be read, got {table} ({error})") from None


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value
