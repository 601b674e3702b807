"""The dead letters in BigQuery: read by filters, recorded when they are replayed; blocking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from google.cloud import bigquery
from google.cloud.bigquery.retry import DEFAULT_RETRY

from functions.dead_letters.stored import StoredDeadLetter
from pipeline.core.timestamps import format_time
from pipeline.runtime.installation import Installation

OPEN, EVERY = "dead_letters_open", "dead_letters_unique"
MAX_GROUPS = 100
IDS_AT_ONCE = 500
INSERT_S = 60.0

_COLUMNS = "dead_letter_id, received_at, source, field, reason, payload, encoding, attributes"
_GROUPS = """
select
  coalesce(source, 'unknown') as source,
  coalesce(field, 'unknown') as field,
  coalesce(reason, 'unknown') as reason,
  count(*) as dead_letters,
  min(received_at) as first_at,
  max(received_at) as last_at,
  sum(count(*)) over () as total
from `{view}`
where {condition}
group by source, field, reason
order by dead_letters desc, source, field, reason
limit {limit}
"""
_RECORDED = """
select distinct dead_letter_id
from `{table}`
where replayed_at >= timestamp '2000-01-01 00:00:00+00' and dead_letter_id in unnest(@ids)
"""
_CONDITIONS = {
    "since": "received_at >= @since",
    "source": "source = @source",
    "field": "field = @field",
    "reason": "strpos(reason, @reason) > 0",
    "id": "starts_with(dead_letter_id, @id)",
}


class RowsNotInserted(RuntimeError):
    """BigQuery refused rows: the table does not fit them. Counts and reasons, never the rows."""


@dataclass(frozen=True)
class Filters:
    """A choice of dead letters; None stands for any.

    Attributes:
        reason: a part of the reason.
        id: the first characters of the id.
        limit: at most so many, the oldest; of groups the largest.
    """

    since: datetime | None = None
    source: str | None = None
    field: str | None = None
    reason: str | None = None
    id: str | None = None
    limit: int | None = None

    def values(self) -> dict[str, Any]:
        """The filters that are set, by name."""
        return {
            name: getattr(self, name) for name in _CONDITIONS if getattr(self, name) is not None
        }

    def condition(self) -> str:
        """The SQL of the filters that are set; their values are its parameters."""
        return " and ".join(_CONDITIONS[name] for name in self.values()) or "true"


@dataclass(frozen=True)
class Group:
    """Dead letters of one source, field and reason. `total` counts those of all groups."""

    source: str
    field: str
    reason: str
    dead_letters: int
    first_at: datetime
    last_at: datetime
    total: int


class DeadLetterTable:
    """The dead letters of an installation, in its dataset."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._client = installation.bigquery()

    def __enter__(self) -> DeadLetterTable:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def groups(self, filters: Filters, view: str) -> list[Group]:
        """Dead letters by source, field and reason, most first; at most 100 groups, or the
        limit."""
        query = _GROUPS.format(
            view=self._installation.table(view),
            condition=filters.condition(),
            limit=filters.limit or MAX_GROUPS,
        )
        return [Group(**dict(row)) for row in self._rows(query, filters.values())]

    def dead_letters(self, filters: Filters, view: str) -> Iterator[StoredDeadLetter]:
        """The dead letters, page by page; the oldest first where there is a limit."""
        source = f"`{self._installation.table(view)}`"
        query = f"select {_COLUMNS} from {source} where {filters.condition()}"
        if filters.limit is not None:
            query += f" order by received_at, dead_letter_id limit {filters.limit}"
        return map(_stored, self._rows(query, filters.values()))

    def not_recorded(self, dead_letters: Iterable[StoredDeadLetter]) -> Iterator[StoredDeadLetter]:
        """Those of the dead letters of which no replay is recorded."""
        remaining = iter(dead_letters)
        while batch := list(islice(remaining, IDS_AT_ONCE)):
            recorded = self._recorded([dead_letter.dead_letter_id for dead_letter in batch])
            yield from (
                dead_letter for dead_letter in batch if dead_letter.dead_letter_id not in recorded
            )

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Append rows to a table, trying again for a minute where BigQuery cannot be reached.

        Args:
            table: its name.
            rows: at most 10 MB of them.

        Raises:
            RowsNotInserted: when BigQuery refuses rows.
        """
        if not rows:
            return
        name = self._installation.table(table)
        errors = self._client.insert_rows_json(
            name, rows, retry=DEFAULT_RETRY.with_timeout(INSERT_S)
        )
        if errors:
            reasons = sorted(
                {f"{e.get('location')}: {e.get('reason')}" for row in errors for e in row["errors"]}
            )
            raise RowsNotInserted(
                f"{name}: {len(errors)} of {len(rows)} rows refused: {reasons[:5]}"
            )

    def _recorded(self, ids: list[str]) -> set[str]:
        query = _RECORDED.format(table=self._installation.table("dead_letters_replayed"))
        return {row["dead_letter_id"] for row in self._rows(query, {"ids": ids})}

    def _rows(self, query: str, values: Mapping[str, Any]) -> Iterable[bigquery.Row]:
        parameters = [_parameter(name, value) for name, value in values.items()]
        config = bigquery.QueryJobConfig(query_parameters=parameters)
        rows: Iterable[bigquery.Row] = self._client.query_and_wait(query, job_config=config)
        return rows


def _parameter(
    name: str, value: Any
) -> bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter:
    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, "STRING", value)
    kind = "TIMESTAMP" if isinstance(value, datetime) else "STRING"
    return bigquery.ScalarQueryParameter(name, kind, value)


def _stored(row: bigquery.Row) -> StoredDeadLetter:
    given = {name: value for name, value in dict(row).items() if value is not None}
    return StoredDeadLetter(
        **{"payload": "", **given, "received_at": format_time(row["received_at"])}
    )
