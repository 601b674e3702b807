"""The archived log, read back as the events it was written from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.pvalue import PBegin
from google.cloud import bigquery

from pipeline.core.events import Event, InvalidEvent, parse_event
from pipeline.dofn import LeanDoFn
from pipeline.metrics import Counter
from pipeline.sinks import bigquery_client

SLICE = timedelta(hours=1)
MAX_SLICES = 2_000
COLUMNS = "event_id, event, user_id, anonymous_id, session_id, product_id, timestamp, ingest_time, metadata"


class ReadLog(beam.PTransform):
    """Every row of the events table with an event time in [since, until), as encoded events, doubles included.

    One query an hour of event time (longer where that would be over 2,000 queries), so that a runner can spread them;
    each reads its partition alone. Rows whose event breaks the contract cannot come from the pipeline; they are counted
    as `backfill/invalid` and left out.

    Raises:
        ValueError: when the span is empty.
    """

    def __init__(self, project: str, dataset: str, since: datetime, until: datetime) -> None:
        super().__init__()
        if not since < until:
            raise ValueError(f"since: expected a time before until, {until.isoformat()}, got {since.isoformat()}")
        self._table, self._project = f"{project}.{dataset}.events", project
        self._span = since.isoformat(), until.isoformat()
        self._slices = list(slices(since, until))

    def count(self) -> int:
        """The number of rows that it will read: a query that scans the times of the span alone."""
        [(count,)] = _rows(self._project, f"select count(*) from `{self._table}`", self._span)
        return int(count)

    def expand(self, begin: PBegin) -> Any:
        read = beam.ParDo(_ReadSlice(self._project, self._table))
        return begin | "Slices" >> beam.Create(self._slices) | beam.Reshuffle() | "ReadSlice" >> read


class ReadFile(beam.PTransform):
    """Events of a file, one JSON object a line in the wire format.

    A line that breaks the contract is counted as `backfill/invalid` and left out. An event without `ingest_time` counts
    as having arrived when it happened.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def count(self) -> int | None:
        """The number of lines that it will read; None for a file elsewhere, which is not read twice to know."""
        if not os.path.exists(self._path):
            return None
        with open(self._path, "rb") as lines:
            return sum(1 for _ in lines)

    def expand(self, begin: PBegin) -> Any:
        return begin | beam.io.ReadFromText(self._path) | beam.ParDo(_ParseLine())


class _ReadSlice(LeanDoFn):
    def __init__(self, project: str, table: str) -> None:
        self._project, self._table = project, table
        self._read = Counter("backfill", "read")
        self._invalid = Counter("backfill", "invalid")

    def process(self, span: tuple[str, str]) -> Iterator[bytes]:
        for row in _rows(self._project, f"select {COLUMNS} from `{self._table}`", span):
            self._read.inc()
            try:
                yield encode_event(event_of(row))
            except (msgspec.DecodeError, msgspec.ValidationError):
                self._invalid.inc()


class _ParseLine(LeanDoFn):
    def __init__(self) -> None:
        self._read = Counter("backfill", "read")
        self._invalid = Counter("backfill", "invalid")

    def process(self, line: str) -> Iterator[bytes]:
        self._read.inc()
        try:
            fields = msgspec.json.decode(line)
            arrived = fields.get("ingest_time") or fields.get("timestamp")
            event = parse_event(fields, ingest_time=msgspec.convert(arrived, datetime).astimezone(UTC), backfill=True)
        except (InvalidEvent, msgspec.DecodeError, AttributeError, RecursionError, OverflowError):
            self._invalid.inc()
            return
        yield encode_event(event)


def _rows(project: str, select: str, span: tuple[str, str]) -> Iterator[Any]:
    """Rows that a query finds of a span of event time."""
    bounds = zip(("since", "until"), span, strict=True)
    times = [bigquery.ScalarQueryParameter(name, "TIMESTAMP", bound) for name, bound in bounds]
    client = bigquery_client(project)
    try:
        sql = f"{select} where timestamp >= @since and timestamp < @until"
        yield from client.query_and_wait(sql, job_config=bigquery.QueryJobConfig(query_parameters=times))
    finally:
        client.close()


def event_of(row: Mapping[str, Any]) -> Event:
    """The event that a row of the events table was written from.

    Raises:
        msgspec.DecodeError, msgspec.ValidationError: when it is none.
    """
    metadata = row["metadata"]
    return Event(
        event_id=row["event_id"],
        event=row["event"],
        timestamp=row["timestamp"],
        user_id=row["user_id"],
        anonymous_id=row["anonymous_id"],
        session_id=row["session_id"],
        product_id=row["product_id"],
        ingest_time=row["ingest_time"],
        metadata=_metadata.decode(metadata) if metadata else {},
    )


def slices(since: datetime, until: datetime) -> Iterator[tuple[str, str]]:
    """[since, until) in parts of an hour, or in 2,000 parts, as RFC 3339 texts."""
    start, length = since, max(SLICE, (until - since) / MAX_SLICES)
    while start < until:
        end = min(start + length, until)
        yield start.isoformat(), end.isoformat()
        start = end


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
