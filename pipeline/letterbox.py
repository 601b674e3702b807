"""Dead letters where they lie: read from BigQuery or from a file of JSON lines, replayed to Pub/Sub, recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from google.cloud import bigquery
from google.pubsub_v1 import PublisherClient, PubsubMessage

from pipeline.core.deadletter import Examined, StoredLetter, messages, parcels
from pipeline.core.events import encode_message, format_time
from pipeline.installation import Installation
from pipeline.sinks import RowToInsert, insert, requests

GIVE_UP_AFTER_S = 60.0
PUBLISH_S = 60.0
IDS_AT_ONCE = 500
OPEN, EVERY = "dead_letters_open", "dead_letters_unique"
REPLAYED, SPLIT = "replayed", "split"

_COLUMNS = "letter_id, received_at, source, field, reason, payload, encoding, attributes"
_NULLABLE = ("source", "field", "reason")
_GROUPS = """
select
  source,
  field,
  reason,
  count(*) as letters,
  min(received_at) as first_at,
  max(received_at) as last_at,
  sum(count(*)) over () as total
from `{view}`
where {condition}
group by source, field, reason
order by letters desc, source, field, reason
limit {limit}
"""
_RECORDED = """
select distinct letter_id
from `{table}`
where replayed_at >= timestamp '2000-01-01 00:00:00+00' and letter_id in unnest(@ids)
"""


class InvalidFile(ValueError):
    """A file of letters that cannot be used as a whole: which lines, and why."""


@dataclass(frozen=True)
class Filters:
    """Which letters: None stands for any. `reason` is a part of the reason, `id` the first characters of the id."""

    since: datetime | None = None
    source: str | None = None
    field: str | None = None
    reason: str | None = None
    id: str | None = None
    limit: int | None = None

    def condition(self) -> str:
        """The SQL of the filters that are set, which are its parameters."""
        terms = {
            "since": "received_at >= @since",
            "source": "source = @source",
            "field": "field = @field",
            "reason": "strpos(reason, @reason) > 0",
            "id": "starts_with(letter_id, @id)",
        }
        return " and ".join([term for name, term in terms.items() if getattr(self, name) is not None] or ["true"])

    def job(self) -> bigquery.QueryJobConfig:
        """The values of `condition`."""
        kinds = {"since": "TIMESTAMP", "source": "STRING", "field": "STRING", "reason": "STRING", "id": "STRING"}
        values = {name: (kind, getattr(self, name)) for name, kind in kinds.items()}
        return bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ScalarQueryParameter(name, kind, value)
                for name, (kind, value) in values.items()
                if value is not None
            ]
        )


@dataclass(frozen=True)
class Group:
    """Letters of one source, field and reason. `total` counts those of all groups."""

    source: str
    field: str
    reason: str
    letters: int
    first_at: datetime
    last_at: datetime
    total: int


@dataclass
class Tally:
    """What a replay did: letters and events that went, letters that were split, letters that stay."""

    letters: int = 0
    events: int = 0
    messages: int = 0
    split: int = 0
    kept: int = 0


class LetterBox:
    """The dead letters of an installation; blocking."""

    def __init__(self, installation: Installation) -> None:
        self._at = installation
        self._client = installation.bigquery()

    def __enter__(self) -> LetterBox:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def groups(self, filters: Filters, view: str) -> list[Group]:
        """Letters by source, field and reason, most first; at most `filters.limit` groups, 100 unless said."""
        limit = 100 if filters.limit is None else filters.limit
        query = _GROUPS.format(view=self._at.table(view), condition=filters.condition(), limit=limit)
        rows = map(dict, self._client.query_and_wait(query, job_config=filters.job()))
        return [Group(**{**row, **{name: row[name] or "unknown" for name in _NULLABLE}}) for row in rows]

    def letters(self, filters: Filters, view: str) -> Iterator[StoredLetter]:
        """The letters, page by page; the oldest first where there is a limit."""
        tail = "" if filters.limit is None else f" order by received_at, letter_id limit {filters.limit}"
        query = f"select {_COLUMNS} from `{self._at.table(view)}` where {filters.condition()}{tail}"
        return map(_stored, self._client.query_and_wait(query, job_config=filters.job()))

    def not_recorded(self, letters: Iterable[StoredLetter]) -> Iterator[StoredLetter]:
        """Those of the letters of which no replay is recorded."""
        remaining = iter(letters)
        while batch := list(islice(remaining, IDS_AT_ONCE)):
            recorded = self._recorded([letter.letter_id for letter in batch])
            yield from (letter for letter in batch if letter.letter_id not in recorded)

    def replay(self, found: Iterable[Examined], now: Callable[[], datetime]) -> Tally:
        """Publish what passes, then record it; broken off in between, the next replay sends at most a parcel again.

        Such a repetition, or one that is asked for, counts once: events keep their ids. What a split leaves behind
        becomes letters of their own before the whole is recorded.
        """
        tally = Tally()
        with self._at.publisher() as publisher:
            for parcel in parcels(found):
                going = [letter for letter in parcel if letter.replayable]
                events = [event for letter in going for event in letter.replayable]
                tally.messages += self._publish(publisher, events, now()) if events else 0
                self._insert("dead_letters", [rest.row() for letter in going for rest in letter.remainders(now())])
                self._insert("dead_letters_replayed", [_outcome(letter, now()) for letter in going])
                tally.letters += len(going)
                tally.events += len(events)
                tally.split += sum(1 for letter in going if letter.refused)
                tally.kept += len(parcel) - len(going)
        return tally

    def _publish(self, publisher: PublisherClient, events: Iterable[Any], now: datetime) -> int:
        """One message after the other, each confirmed; how many they were."""
        attributes = {"schema_version": "1", "ingest_time": format_time(now), "backfill": "1", "replayed": "1"}
        count = 0
        for batch in messages(events):
            message = PubsubMessage(data=encode_message(batch), attributes=attributes)
            publisher.publish(topic=self._at.topic(), messages=[message], timeout=PUBLISH_S)
            count += 1
        return count

    def _insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        for batch in requests([RowToInsert(None, row) for row in rows]):
            insert(self._client, self._at.table(table), batch, GIVE_UP_AFTER_S)

    def _recorded(self, ids: list[str]) -> set[str]:
        job = bigquery.QueryJobConfig(query_parameters=[bigquery.ArrayQueryParameter("ids", "STRING", ids)])
        query = _RECORDED.format(table=self._at.table("dead_letters_replayed"))
        return {row["letter_id"] for row in self._client.query_and_wait(query, job_config=job)}


def read_letters(path: Path) -> Iterator[StoredLetter]:
    """The letters of a file of JSON lines; a payload may be a text or, for convenience, the JSON itself.

    Raises:
        InvalidFile: naming the first line that is no letter. `check_letters` finds that out beforehand.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            line = line.removeprefix(b"\xef\xbb\xbf").strip()  # some editors put a byte order mark first
            if line:
                yield _letter(line, f"{path.name} line {number}")


def check_letters(path: Path) -> int:
    """How many letters the file holds.

    Raises:
        InvalidFile: naming the first line that is no letter.
    """
    return sum(1 for _ in read_letters(path))


def write_letters(path: Path, letters: Iterable[StoredLetter]) -> None:
    """Write a file of JSON lines that only its owner may read, in one step."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(msgspec.json.encode(letter) + b"\n" for letter in letters)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


_line_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _letter(line: bytes, where: str) -> StoredLetter:
    try:
        fields = _line_decoder.decode(line)
        payload = bytes(fields.get("payload", b"")).strip()
        if payload.startswith((b"{", b"[")):
            fields["payload"] = msgspec.Raw(msgspec.json.encode(payload.decode()))
        return msgspec.json.decode(msgspec.json.encode(fields), type=StoredLetter)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        problem = error if isinstance(error, msgspec.MsgspecError) else type(error).__name__
        raise InvalidFile(f"{where}: expected a letter as export writes it ({problem})") from None


def _stored(row: bigquery.Row) -> StoredLetter:
    letter_id, received_at, source, field, reason, payload, encoding, attributes = tuple(row)
    return StoredLetter(
        letter_id=letter_id,
        received_at=format_time(received_at),
        source=source or "unknown",
        field=field or "unknown",
        reason=reason or "unknown",
        payload=payload or "",
        encoding=encoding or "utf-8",
        attributes=attributes or "{}",
    )


def _outcome(found: Examined, now: datetime) -> dict[str, Any]:
    return {
        "letter_id": found.letter.letter_id,
        "replayed_at": format_time(now),
        "outcome": SPLIT if found.refused else REPLAYED,
        "events": len(found.replayable),
        "refused": len(found.refused),
    }
