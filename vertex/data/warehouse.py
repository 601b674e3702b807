"""Inputs of training: the log of events from BigQuery, the catalog from Bigtable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.cloud import bigquery

from pipeline.core.catalog import Item
from pipeline.core.event_log import EVENT_COLUMNS, METADATA_COLUMNS
from pipeline.core.events import Event
from pipeline.store.blocking import Store
from pipeline.store.layout import ITEM, STUB
from pipeline.store.versions import decode
from vertex.data.progress import Say, told

_METADATA = tuple(name for name in METADATA_COLUMNS if name != "propensity")  # of no use to a model
_COLUMNS = (*EVENT_COLUMNS, *_METADATA)

# The view holds each event once, and none that its visitor sent while marked by an anomaly rule.
_EVENTS = f"""
with

events as (
  select {", ".join(_COLUMNS)}
  from `{{dataset}}.events_trusted`
  where timestamp >= @since and timestamp <= @until
)

select {", ".join(_COLUMNS)}
from events
order by timestamp, event_id
"""
_NEWEST = """
select
  max(timestamp) as newest,
  timestamp_sub(max(timestamp), interval {days} day) as since
from `{dataset}.events`
where timestamp >= timestamp '2000-01-01 00:00:00+00'
"""


def read_events(
    client: bigquery.Client, dataset: str, days: int, say: Say = lambda line: None
) -> list[Event]:
    """The trusted events of the newest `days` days of the log, each once, ordered by time and id.

    Older ones than the view `events_trusted` shows are not among them (Terraform's `history_days`).
    """
    span = _NEWEST.format(dataset=dataset, days=days)
    newest = next(iter(client.query_and_wait(span)))
    if newest["newest"] is None:
        return []
    bounds = [
        bigquery.ScalarQueryParameter("since", "TIMESTAMP", newest["since"]),
        bigquery.ScalarQueryParameter("until", "TIMESTAMP", newest["newest"]),
    ]
    job = bigquery.QueryJobConfig(query_parameters=bounds)
    rows = client.query_and_wait(_EVENTS.format(dataset=dataset), job_config=job)
    return events_of(told(rows, rows.total_rows or 0, "reading events", say))


def events_of(rows: Iterable[bigquery.Row]) -> list[Event]:
    """The events of the rows that the query above yields, in their order."""
    return [_event(tuple(row)) for row in rows]  # values() would copy each value deeply


def read_catalog(store: Store) -> dict[str, Item]:
    """Every item of Bigtable, by id, but for deleted ones; a stub where the catalog does not hold
    it. Raises `UnknownVersion`.
    """
    found = {key: decode(Item, value) for kind in (STUB, ITEM) for key, value in store.scan(kind)}
    return {key: item for key, item in found.items() if not item.deleted}


def _event(values: tuple[Any, ...]) -> Event:
    fields = dict(zip(EVENT_COLUMNS, values, strict=False))
    metadata = zip(_METADATA, values[len(EVENT_COLUMNS) :], strict=True)
    return Event(**fields, metadata={name: value for name, value in metadata if value is not None})
