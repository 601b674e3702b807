"""From Pub/Sub messages to facts: parsing that never raises, the catalog beside each event, rows
for the log.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.pvalue import PCollection, TaggedOutput

from pipeline.core.catalog import Item
from pipeline.core.dead_letters import DeadLetter
from pipeline.core.events import Event, decode_message, profile_key
from pipeline.core.fold import Fact, category_of
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.consent import may_fold, may_log
from pipeline.core.timestamps import format_time
from pipeline.runtime.clock import now_ms
from pipeline.runtime.metrics import Counter, Distribution
from pipeline.steps.bigquery import RowToInsert
from pipeline.store.blocking import Bigtable

INVALID, LOG, BY_BROWSER, BY_ADDRESS = "invalid", "log", "by_browser", "by_address"

KNOWN_ITEM_TTL_S, UNKNOWN_ITEM_TTL_S = 300.0, 10.0
MAX_CACHED_ITEMS = 100_000
# Events later than this are counted as such: (counter, lateness in ms).
LATENESS_MS = (("late_1m", 60_000), ("late_1h", 3_600_000), ("late_24h", 86_400_000))

# What a fold is given: ("facts", [fact]), ("adopt", encoded profile) or ("mark", anomaly).
FACTS, ADOPT, MARK = "facts", "adopt", "mark"


@beam.typehints.with_output_types(tuple[str, Any])
class DecodeMessages(beam.DoFn):
    """Messages to facts; see `Decode`."""

    def __init__(self, source: Bigtable) -> None:
        self._source = source
        self._accepted = Counter("decode", "accepted")
        self._invalid = Counter("decode", "invalid")
        self._unknown_item = Counter("decode", "unknown_item")
        self._not_logged = Counter("decode", "not_logged")
        self._not_folded = Counter("decode", "not_folded")
        self._late = [(Counter("decode", name), late_ms) for name, late_ms in LATENESS_MS]
        self._lag = Distribution("decode", "system_lag_ms")

    def process(self, message: PubsubMessage) -> Iterator[Any]:
        attributes = message.attributes or {}
        try:
            events = decode_message(message.data)
        except InvalidEvent as error:
            self._invalid.inc()
            dead_letter = DeadLetter.of(
                message.data, error, "pipeline", datetime.now(UTC), attributes
            )
            yield TaggedOutput(INVALID, [RowToInsert(None, dead_letter.row())])
            return
        items = known_items(
            self._source,
            time.monotonic(),
            {event.product_id for event in events if event.product_id},
        )
        facts: list[Fact] = [(event, items.get(event.product_id or "")) for event in events]
        self._measure(message, facts)
        site, sender = attributes.get("site"), attributes.get("sender")
        rows = [event_row(event, item, site, sender) for event, item in facts if may_log(event)]
        self._not_logged.inc(len(facts) - len(rows))
        yield TaggedOutput(LOG, rows)
        folded = [fact for fact in facts if may_fold(fact[0])]
        self._not_folded.inc(len(facts) - len(folded))
        by_account: dict[str, list[Fact]] = defaultdict(list)
        by_browser: dict[str, list[Fact]] = defaultdict(list)
        for fact in folded:
            event = fact[0]
            if event.anonymous_id is None or (
                event.user_id is not None and known_account(event) == event.user_id
            ):
                by_account[profile_key(event)].append(fact)
            else:
                by_browser[f"a#{event.anonymous_id}"].append(fact)
        for key, found in by_account.items():
            yield key, (FACTS, found)
        for key, found in by_browser.items():
            yield TaggedOutput(BY_BROWSER, (key, (FACTS, found)))
        if folded and (address := attributes.get("address")):
            yield TaggedOutput(
                BY_ADDRESS, (address, [(profile_key(event), event.time_ms) for event, _ in folded])
            )

    def _measure(self, message: PubsubMessage, facts: list[Fact]) -> None:
        now = now_ms()
        self._accepted.inc(len(facts))
        self._unknown_item.inc(sum(1 for event, item in facts if event.product_id and item is None))
        lateness = [now - event.time_ms for event, _ in facts]
        for counter, late_ms in self._late:
            counter.inc(sum(1 for late in lateness if late > late_ms))
        if message.publish_time is not None:
            self._lag.update(now - round(message.publish_time.timestamp() * 1000))


def event_row(
    event: Event, item: Item | None, site: str | None = None, sender: str | None = None
) -> RowToInsert:
    """The row of the events table. `site` and `sender` are the message's, where it names them.

    The insert id is of all that the view `events_unique` tells events apart by, so that BigQuery
    drops no row for one that another sender or visitor wrote under the same event id.
    """
    metadata = event.metadata
    price = metadata.get("price")
    row = {
        "event_id": event.event_id,
        "event": event.event,
        "visitor": profile_key(event),
        "user_id": event.user_id,
        "anonymous_id": event.anonymous_id,
        "session_id": event.session_id,
        "product_id": event.product_id,
        "timestamp": format_time(event.timestamp),
        "ingest_time": format_time(event.ingest_time) if event.ingest_time else None,
        "category": category_of((event, item)) or None,
        "brand": (item.brand if item else "") or event.text("brand") or None,
        "price": item.price if price is None and item is not None else price,
        "query": metadata.get("query"),
        "request_id": metadata.get("request_id"),
        "placement": metadata.get("placement"),
        "variant": metadata.get("variant"),
        "position": int(event.number("position")) if metadata.get("position") is not None else None,
        "propensity": metadata.get("propensity"),
        "metadata": msgspec.json.encode(metadata).decode() if metadata else None,
        "site": site,
        "sender": sender,
    }
    return RowToInsert(
        _insert_id(site or "", sender or "", profile_key(event), event.identity), row
    )


def _insert_id(*parts: str) -> str:
    """32 hexadecimal digits, for BigQuery takes 128 characters and the parts may have more.

    No field of an event holds a line break.
    """
    return blake2b("\n".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def dead_letter_rows(message: PubsubMessage) -> list[RowToInsert]:
    """The row of a message of the dead-letters topic, with the message's id as insert id."""
    dead_letter = DeadLetter.received(message.data, message.attributes or {}, datetime.now(UTC))
    return [RowToInsert(message.message_id, dead_letter.row())]


_accounts: dict[str, str] = {}
_MAX_KNOWN_ACCOUNTS = 200_000


def remember_account(anonymous_id: str, user_id: str) -> None:
    """Note in this process that a browser's profile has been merged into the account's: its events
    need not ask.
    """
    if len(_accounts) >= _MAX_KNOWN_ACCOUNTS:
        _accounts.clear()
    _accounts[anonymous_id] = user_id


def known_account(event: Event) -> str | None:
    """The account that the event's browser belongs to, where the event names it and this process
    knows it merged.
    """
    return _accounts.get(event.anonymous_id or "") if event.user_id is not None else None


_items: dict[Bigtable, dict[str, tuple[Item | None, float]]] = defaultdict(dict)


def known_items(source: Bigtable, now_s: float, ids: set[str]) -> dict[str, Item]:
    """Those of the items that the catalog holds, from the process's cache where it is fresh.

    `now_s` is any clock that never goes back.
    """
    cache = _items[source]
    missing = [item_id for item_id in ids if cache.get(item_id, (None, 0.0))[1] <= now_s]
    if missing:
        found = source.store().read_items(missing)
        if len(cache) > MAX_CACHED_ITEMS:
            cache = _items[source] = {}  # not cleared: another thread may be reading it
            missing = [*ids]
            found = source.store().read_items(missing)
        for item_id in missing:
            item = found.get(item_id)
            ttl_s = UNKNOWN_ITEM_TTL_S if item is None else KNOWN_ITEM_TTL_S
            cache[item_id] = (item, now_s + ttl_s)
    return {item_id: item for item_id in ids if (item := cache[item_id][0]) is not None}


class Decode(beam.PTransform):
    """Turn messages into facts by visitor.

    Outputs: main and `BY_BROWSER`, `(profile key, ("facts", [(event, item)]))`, one element a
    message and visitor, by account and by browser; `BY_ADDRESS`, the message's visitors and times
    by network address, where the message's attribute `address` names one; `LOG`, one list of rows a
    message for the events table; `INVALID`, dead letters for bodies that are no message of ours. An
    event whose visitor denied analytics is in `LOG` no more than one whose visitor denied
    personalization is in the others. Never raises on input. The catalog is read from Bigtable and
    cached in the process for five minutes (an unknown item for ten seconds), so what is known of an
    item may be that old.
    """

    def __init__(self, source: Bigtable) -> None:
        super().__init__()
        self._source = source

    def expand(self, messages: PCollection) -> Any:
        decode = beam.ParDo(DecodeMessages(self._source))
        return messages | decode.with_outputs(INVALID, LOG, BY_BROWSER, BY_ADDRESS, main="facts")
