"""Dead letters where they lie: read from BigQuery or from a file of JSON lines, replayed, recorded.

Our own events go to Pub/Sub. Those of vendors go through the collector: what it promises visitors (hashed ids, dropped
fields, consent by default) it has not done yet to fields that nobody had translated.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from google.cloud import bigquery
from google.pubsub_v1 import PublisherClient, PubsubMessage

from pipeline.collecting import Collector
from pipeline.core.deadletter import NATIVE, Examined, StoredLetter, messages, parcels
from pipeline.core.events import Event, encode_message, format_time
from pipeline.installation import Installation
from pipeline.steps.bigquery import RowToInsert, insert, requests

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
    """What a replay did: letters and events that went, letters that were split, letters that stay.

    `unsent` are letters of vendors that pass, but there was no collector to send them through. `rejected` are events
    that the collector did not take; each is a letter of its own, as what a split leaves behind.
    """

    letters: int = 0
    events: int = 0
    messages: int = 0
    split: int = 0
    kept: int = 0
    unsent: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Origin:
    """Attributes of the message that an event came with, or was to come with; None where the letter has none."""

    site: str | None
    sender: str | None


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

    def replay(self, found: Iterable[Examined], now: Callable[[], datetime], collector: Collector | None) -> Tally:
        """Send what passes, then record it; broken off in between, the next replay sends at most a parcel again.

        Such a repetition, or one that is asked for, counts once: events keep their ids. What a split leaves behind
        becomes letters of their own before the whole is recorded.

        Args:
            collector: for letters of vendors, which stay without one.
        """
        tally = Tally()
        with self._at.publisher() as publisher:
            for parcel in parcels(found):
                going = [letter for letter in parcel if letter.replayable]
                ours = [letter for letter in going if letter.letter.protocol() == NATIVE]
                vendors = [letter for letter in going if letter.letter.protocol() != NATIVE]
                self._publish_all(publisher, ours, now, tally)
                self._record(ours, {}, now, tally)
                if collector is not None:
                    self._record(vendors, _send_all(collector, vendors, now, tally), now, tally)
                tally.unsent += len(vendors) if collector is None else 0
                tally.kept += len(parcel) - len(going)
        return tally

    def _record(
        self, gone: Sequence[Examined], rejected: Mapping[str, int], now: Callable[[], datetime], tally: Tally
    ) -> None:
        outcomes = [_outcome(letter, rejected.get(letter.letter.letter_id, 0), now()) for letter in gone]
        self._insert("dead_letters", [rest.row() for letter in gone for rest in letter.remainders(now())])
        self._insert("dead_letters_replayed", outcomes)
        tally.letters += len(gone)
        tally.split += sum(1 for outcome in outcomes if outcome["outcome"] == SPLIT)

    def _publish_all(
        self, publisher: PublisherClient, letters: Sequence[Examined], now: Callable[[], datetime], tally: Tally
    ) -> None:
        """One message after the other, each of one site and sender and confirmed."""
        by_origin: dict[Origin, list[Event]] = {}
        for letter in letters:
            by_origin.setdefault(_origin(letter), []).extend(letter.replayable)
        for origin, events in by_origin.items():
            for batch in messages(events):
                self._publish(publisher, batch, now(), origin)
                tally.messages += 1
                tally.events += len(batch)

    def _publish(self, publisher: PublisherClient, events: list[Event], now: datetime, origin: Origin) -> None:
        attributes = {"schema_version": "1", "ingest_time": format_time(now), "backfill": "1", "replayed": "1"}
        attributes |= {name: value for name, value in asdict(origin).items() if value is not None}
        message = PubsubMessage(data=encode_message(events), attributes=attributes)
        publisher.publish(topic=self._at.topic(), messages=[message], timeout=PUBLISH_S)

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


def _origin(found: Examined) -> Origin:
    origin = found.letter.origin()
    return Origin(origin.get("site"), origin.get("sender"))


def _send_all(
    collector: Collector, letters: Sequence[Examined], now: Callable[[], datetime], tally: Tally
) -> Counter[str]:
    """One request after the other, each of one sender and confirmed; how many events of which letter were rejected."""
    rejected: Counter[str] = Counter()
    for by_server in (True, False):
        of_sender = [letter for letter in letters if (_origin(letter).sender == "server") is by_server]
        rejected += _send_of(of_sender, collector, now, tally, by_server=by_server)
    return rejected


def _send_of(
    letters: Sequence[Examined], collector: Collector, now: Callable[[], datetime], tally: Tally, *, by_server: bool
) -> Counter[str]:
    owners = iter([letter.letter.letter_id for letter in letters for _ in letter.replayable])
    rejected: Counter[str] = Counter()
    for batch in messages(event for letter in letters for event in letter.replayable):
        owners_of_batch = list(islice(owners, len(batch)))
        places = collector.send(batch, now(), by_server=by_server)
        rejected.update(owners_of_batch[place] for place in places)
        tally.messages += 1
        tally.events += len(batch) - len(places)
        tally.rejected += len(places)
    return rejected


def _outcome(found: Examined, rejected: int, now: datetime) -> dict[str, Any]:
    """`rejected` are those of its events that the collector did not take."""
    refused = len(found.refused) + rejected
    return {
        "letter_id": found.letter.letter_id,
        "replayed_at": format_time(now),
        "outcome": SPLIT if refused else REPLAYED,
        "events": len(found.replayable) - rejected,
        "refused": refused,
    }
