"""From Pub/Sub messages to facts: parsing that never raises, the catalog beside each event, rows
for the log.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.utils.shared import Shared

from pipeline.core.catalog import Item
from pipeline.core.dead_letters import DeadLetter
from pipeline.core.events import Event, decode_message
from pipeline.core.fold import Fact, category_of
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.consent import may_fold, may_log
from pipeline.core.profile_keys import browser_key, profile_key
from pipeline.core.timestamps import format_time
from pipeline.runtime.clock import now_ms
from pipeline.runtime.metrics import Counter, Distribution
from pipeline.steps.bigquery import RowToInsert
from pipeline.store.blocking import Bigtable

INVALID, LOG, BY_BROWSER, BY_ADDRESS = "invalid", "log", "by_browser", "by_address"

KNOWN_ITEM_TTL_S, UNKNOWN_ITEM_TTL_S = 300.0, 10.0
MAX_CACHED_ITEMS = 100_000
MAX_LINKS = 200_000
# Events later than this are counted as such: (counter, lateness in ms).
LATENESS_MS = (("late_1m", 60_000), ("late_1h", 3_600_000), ("late_24h", 86_400_000))

# What a fold is given: ("facts", [fact]), ("adopt", encoded profile) or ("mark", anomaly).
FACTS, ADOPT, MARK = "facts", "adopt", "mark"


class CatalogCache:
    """Items of the catalog: a known one is cached for five minutes, an unknown one for ten seconds.

    The threads of a process share one.

    Args:
        read: reads those of some items that the catalog holds.
        max_items: at about so many, the cache starts anew.
    """

    def __init__(
        self,
        read: Callable[[Sequence[str]], Mapping[str, Item]],
        max_items: int = MAX_CACHED_ITEMS,
    ) -> None:
        self._read, self._max_items = read, max_items
        self._cached: dict[str, tuple[Item | None, float]] = {}

    def items(self, ids: set[str], now_s: float) -> dict[str, Item]:
        """Those of the items that the catalog holds.

        `now_s` is any clock that never goes back.
        """
        cached = self._cached
        missing = [item_id for item_id in ids if cached.get(item_id, (None, 0.0))[1] <= now_s]
        if missing:
            if len(cached) > self._max_items:
                cached = self._cached = {}  # not cleared: another thread may be reading it
                missing = [*ids]
            found = self._read(missing)
            for item_id in missing:
                item = found.get(item_id)
                ttl_s = UNKNOWN_ITEM_TTL_S if item is None else KNOWN_ITEM_TTL_S
                cached[item_id] = (item, now_s + ttl_s)
        return {item_id: item for item_id in ids if (item := cached[item_id][0]) is not None}


class AccountLinks:
    """Accounts that browsers were merged into, as far as this process knows.

    An event of such a browser that names the account goes there at once. The process's steps share
    one; what it lacks costs a way by the browser's profile and no more.
    """

    def __init__(self, max_links: int = MAX_LINKS) -> None:
        self._max_links = max_links
        self._accounts: dict[str, str] = {}

    def add(self, anonymous_id: str, user_id: str) -> None:
        """Note that the browser's profile has been merged into the account's."""
        if len(self._accounts) >= self._max_links:
            self._accounts.clear()
        self._accounts[anonymous_id] = user_id

    def holds(self, event: Event) -> bool:
        """True where the event's browser is known to belong to the account that the event names."""
        if event.user_id is None or event.anonymous_id is None:
            return False
        return self._accounts.get(event.anonymous_id) == event.user_id


@dataclass(slots=True)
class Decoded:
    """Content of one message.

    Attributes:
        facts: each event, beside its item where the catalog holds it.
        rows: of the events that may be logged.
        by_account, by_browser: facts that may be folded, by profile key.
        visits: of these facts, (profile key, time in ms).
    """

    facts: list[Fact]
    rows: list[RowToInsert]
    by_account: dict[str, list[Fact]] = field(default_factory=lambda: defaultdict(list))
    by_browser: dict[str, list[Fact]] = field(default_factory=lambda: defaultdict(list))
    visits: list[tuple[str, int]] = field(default_factory=list)


class Decoder:
    """One message into rows, and into facts by visitor; no clock, no counters."""

    def __init__(self, catalog: CatalogCache, links: AccountLinks) -> None:
        self._catalog, self._links = catalog, links

    def decode(self, body: bytes, attributes: Mapping[str, str], now_s: float) -> Decoded:
        """Decode a message.

        Args:
            body: the message's data.
            attributes: the message's; `site` and `sender` go into the rows.
            now_s: the clock of the catalog's cache.

        Raises:
            InvalidEvent: for a body that is no message of ours.
        """
        events = decode_message(body)
        ids = {event.product_id for event in events if event.product_id}
        items = self._catalog.items(ids, now_s)
        facts: list[Fact] = [(event, items.get(event.product_id or "")) for event in events]
        site, sender = attributes.get("site"), attributes.get("sender")
        rows = [event_row(event, item, site, sender) for event, item in facts if may_log(event)]
        decoded = Decoded(facts, rows)
        for fact in facts:
            if may_fold(fact[0]):
                self._route(fact, decoded)
        return decoded

    def _route(self, fact: Fact, decoded: Decoded) -> None:
        """Add the fact by its browser, unless there is none or its account is known."""
        event = fact[0]
        key = profile_key(event)
        decoded.visits.append((key, event.time_ms))
        if event.anonymous_id is None or self._links.holds(event):
            decoded.by_account[key].append(fact)
        else:
            decoded.by_browser[browser_key(event.anonymous_id)].append(fact)


@beam.typehints.with_output_types(tuple[str, Any])
class DecodeMessages(beam.DoFn):
    """`Decoder` on messages; see `Decode`."""

    def __init__(self, source: Bigtable, links: Shared) -> None:
        self._source, self._catalog, self._links = source, Shared(), links
        self._accepted = Counter("decode", "accepted")
        self._invalid = Counter("decode", "invalid")
        self._unknown_item = Counter("decode", "unknown_item")
        self._not_logged = Counter("decode", "not_logged")
        self._not_folded = Counter("decode", "not_folded")
        self._late = [(Counter("decode", name), late_ms) for name, late_ms in LATENESS_MS]
        self._lag = Distribution("decode", "system_lag_ms")

    def setup(self) -> None:
        catalog = self._catalog.acquire(lambda: catalog_of(self._source))
        self._decoder = Decoder(catalog, self._links.acquire(AccountLinks))

    def process(self, message: PubsubMessage) -> Iterator[Any]:
        attributes = message.attributes or {}
        try:
            decoded = self._decoder.decode(message.data, attributes, time.monotonic())
        except InvalidEvent as error:
            self._invalid.inc()
            yield TaggedOutput(INVALID, [_invalid_row(message, error)])
            return
        self._measure(message, decoded)
        yield TaggedOutput(LOG, decoded.rows)
        for key, facts in decoded.by_account.items():
            yield key, (FACTS, facts)
        for key, facts in decoded.by_browser.items():
            yield TaggedOutput(BY_BROWSER, (key, (FACTS, facts)))
        if decoded.visits and (address := attributes.get("address")):
            yield TaggedOutput(BY_ADDRESS, (address, decoded.visits))

    def _measure(self, message: PubsubMessage, decoded: Decoded) -> None:
        now, facts = now_ms(), decoded.facts
        self._accepted.inc(len(facts))
        self._unknown_item.inc(sum(1 for event, item in facts if event.product_id and item is None))
        self._not_logged.inc(len(facts) - len(decoded.rows))
        self._not_folded.inc(len(facts) - len(decoded.visits))
        lateness = [now - event.time_ms for event, _ in facts]
        for counter, late_ms in self._late:
            counter.inc(sum(1 for late in lateness if late > late_ms))
        if message.publish_time is not None:
            self._lag.update(now - round(message.publish_time.timestamp() * 1000))


def catalog_of(source: Bigtable) -> CatalogCache:
    """A cache of the catalog that a Bigtable instance holds."""
    return CatalogCache(lambda ids: source.store().read_items(ids))


def event_row(
    event: Event, item: Item | None, site: str | None = None, sender: str | None = None
) -> RowToInsert:
    """The row of the events table. `site` and `sender` are the message's, where it names them.

    The insert id is of all that distinguishes events in the view `events_unique`, so that BigQuery
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


def _invalid_row(message: PubsubMessage, error: InvalidEvent) -> RowToInsert:
    dead_letter = DeadLetter.of(
        message.data, error, "pipeline", datetime.now(UTC), message.attributes or {}
    )
    return RowToInsert(None, dead_letter.row())


class Decode(beam.PTransform):
    """Turn messages into facts by visitor.

    Outputs: main and `BY_BROWSER`, `(profile key, ("facts", [(event, item)]))`, one element a
    message and visitor, by account and by browser; `BY_ADDRESS`, the message's visitors and times
    by network address, where the message's attribute `address` names one; `LOG`, one list of rows a
    message for the events table; `INVALID`, dead letters for bodies that are no message of ours. An
    event whose visitor denied analytics is in `LOG` no more than one whose visitor denied
    personalization is in the others. Never raises on input. The catalog is read from Bigtable and
    cached in the process for five minutes (an unknown item for ten seconds), so what is known of an
    item may be that old. `links` is the handle of the process's `AccountLinks`, which the folds of
    profiles fill.
    """

    def __init__(self, source: Bigtable, links: Shared | None = None) -> None:
        super().__init__()
        self._source, self._links = source, links or Shared()

    def expand(self, messages: PCollection) -> Any:
        decode = beam.ParDo(DecodeMessages(self._source, self._links))
        return messages | decode.with_outputs(INVALID, LOG, BY_BROWSER, BY_ADDRESS, main="facts")
