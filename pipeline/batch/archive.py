"""The archived log, read back as the events it was written from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PBegin
from google.cloud import bigquery

from pipeline.core.event_log import ARCHIVE_COLUMNS
from pipeline.core.events import Event, parse_event
from pipeline.core.invalid_event import InvalidEvent
from pipeline.runtime.bigquery import bigquery_client
from pipeline.runtime.environ import bigquery_emulator
from pipeline.runtime.metrics import Counter

# BigQuery keeps at most 10 GB of a query's result, compressed; this many events stay below it.
MAX_QUERY_EVENTS = 10_000_000
PART_ROWS = 20_000


class Day(NamedTuple):
    """Number of events that the log holds of one day of event time (UTC), a partition of the
    table."""

    start: datetime
    events: int


class Span(NamedTuple):
    """Event times in [since, until), as RFC 3339 texts."""

    since: str
    until: str


class Part(NamedTuple):
    """Some rows of a query's result, the first of which is the row `start`, from 0."""

    result: bigquery.TableReference
    start: int


class ReadLog(beam.PTransform):
    """Every row of the events table with an event time in [since, until), as encoded events.

    Doubles are included. Rows whose event breaks the contract cannot come from the pipeline; they
    are counted as `backfill/invalid` and left out.

    A query is billed for whole partitions, which are days, so each day is scanned by one query
    alone: the queries together are billed for one scan of `ARCHIVE_COLUMNS`, and the event times, 8
    bytes a row, once more, since they are counted by day beforehand. A query reads as many days as
    hold `max_query_events` together: a sparse year is one query. The rows that it finds are read in
    parts, at no charge, which a runner can spread: a busy day has many readers.

    Raises:
        ValueError: when the span is empty.
    """

    def __init__(
        self,
        project: str,
        dataset: str,
        since: datetime,
        until: datetime,
        *,
        max_query_events: int = MAX_QUERY_EVENTS,
        part_rows: int = PART_ROWS,
    ) -> None:
        super().__init__()
        if not since < until:
            expected = f"expected a time before until, {until.isoformat()}"
            raise ValueError(f"since: {expected}, got {since.isoformat()}")
        self._table, self._project = f"{project}.{dataset}.events", project
        self._since, self._until = since, until
        self._max_query_events, self._part_rows = max_query_events, part_rows

    @cached_property
    def days(self) -> list[Day]:
        """The days of the span that hold events, in order, from a query of the event times
        alone."""
        columns = "timestamp_trunc(timestamp, day) as day, count(*) as events"
        span = Span(self._since.isoformat(), self._until.isoformat())
        with closing(bigquery_client(self._project, bigquery_emulator(os.environ))) as client:
            job = _query(client, columns, self._table, span, "group by day order by day")
            return [Day(*row) for row in job.result()]

    def count(self) -> int:
        """The number of rows that it will read."""
        return sum(day.events for day in self.days)

    def expand(self, begin: PBegin) -> Any:
        queries = list(spans(self._since, self._until, self.days, self._max_query_events))
        return (
            begin
            | "Spans" >> beam.Create(queries)
            | "SpreadQueries" >> beam.Reshuffle()
            | "Query" >> beam.ParDo(_QuerySpan(self._project, self._table, self._part_rows))
            | "SpreadParts" >> beam.Reshuffle()
            | "ReadPart" >> beam.ParDo(_ReadPart(self._project, self._part_rows))
        )


class ReadFile(beam.PTransform):
    """Events of a file, one JSON object a line in the wire format.

    A line that breaks the contract is counted as `backfill/invalid` and left out. An event without
    `ingest_time` counts as having arrived when it happened.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def count(self) -> int | None:
        """The number of lines that it will read; None for a file elsewhere, which is not read twice
        to know.
        """
        if not os.path.exists(self._path):
            return None
        with open(self._path, "rb") as lines:
            return sum(1 for _ in lines)

    def expand(self, begin: PBegin) -> Any:
        return begin | beam.io.ReadFromText(self._path) | beam.ParDo(_ParseLine())


class _QuerySpan(beam.DoFn):
    """A span to the parts of what its query found."""

    def __init__(self, project: str, table: str, part_rows: int) -> None:
        self._project, self._table, self._part_rows = project, table, part_rows

    def process(self, span: Span) -> Iterator[Part]:
        with closing(bigquery_client(self._project, bigquery_emulator(os.environ))) as client:
            job = _query(client, ", ".join(ARCHIVE_COLUMNS), self._table, span)
            found = job.result(max_results=1).total_rows or 0
        for start in range(0, found, self._part_rows):
            yield Part(job.destination, start)


class _ReadPart(beam.DoFn):
    """A part to its rows, as encoded events."""

    def __init__(self, project: str, part_rows: int) -> None:
        self._project, self._part_rows = project, part_rows
        self._read = Counter("backfill", "read")
        self._invalid = Counter("backfill", "invalid")

    def process(self, part: Part) -> Iterator[bytes]:
        with closing(bigquery_client(self._project, bigquery_emulator(os.environ))) as client:
            rows = client.list_rows(
                part.result, start_index=part.start, max_results=self._part_rows
            )
            for row in rows:
                self._read.inc()
                try:
                    yield encode_event(event_of(row))
                except (msgspec.DecodeError, msgspec.ValidationError):
                    self._invalid.inc()


class _ParseLine(beam.DoFn):
    def __init__(self) -> None:
        self._read = Counter("backfill", "read")
        self._invalid = Counter("backfill", "invalid")

    def process(self, line: str) -> Iterator[bytes]:
        self._read.inc()
        try:
            fields = msgspec.json.decode(line)
            arrived = fields.get("ingest_time") or fields.get("timestamp")
            event = parse_event(
                fields,
                ingest_time=msgspec.convert(arrived, datetime).astimezone(UTC),
                backfill=True,
            )
        except (InvalidEvent, msgspec.DecodeError, AttributeError, RecursionError, OverflowError):
            self._invalid.inc()
            return
        yield encode_event(event)


def _query(
    client: bigquery.Client, columns: str, table: str, span: Span, rest: str = ""
) -> bigquery.QueryJob:
    """Start a query of a span of event time; BigQuery scans the partitions of its days alone."""
    bounds = [
        bigquery.ScalarQueryParameter(name, "TIMESTAMP", bound)
        for name, bound in span._asdict().items()
    ]
    sql = f"select {columns} from `{table}` where timestamp >= @since and timestamp < @until {rest}"
    return client.query(sql, job_config=bigquery.QueryJobConfig(query_parameters=bounds))


def event_of(row: Mapping[str, Any]) -> Event:
    """The event that a row of the events table was written from.

    Raises:
        msgspec.DecodeError, msgspec.ValidationError: when it is none.
    """
    fields = {name: row[name] for name in ARCHIVE_COLUMNS}
    metadata = fields["metadata"]
    fields["metadata"] = _metadata.decode(metadata) if metadata else {}
    return Event(**fields)


def spans(since: datetime, until: datetime, days: Iterable[Day], max_events: int) -> Iterator[Span]:
    """[since, until) cut at midnights (UTC) into spans of at most `max_events` events each.

    A day with more is a span of its own. Days without events belong to a span too, so an event
    that was written after the count is read.
    """
    start, events = since, 0
    for day in days:
        if events and events + day.events > max_events:
            yield Span(start.isoformat(), day.start.isoformat())
            start, events = day.start, 0
        events += day.events
    yield Span(start.isoformat(), until.isoformat())


def encode_event(event: Event) -> bytes:
    """An event between two steps."""
    return _encoder.encode(event)


def decode_event(data: bytes) -> Event:
    """The event that `encode_event` wrote."""
    return _decoder.decode(data)


# JSON, as msgpack has no integers beyond 64 bits, and metadata may hold any.
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)
_metadata = msgspec.json.Decoder(dict[str, Any])
