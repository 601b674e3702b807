"""Searches: statistics of each query that no order changes, and which queries others may see."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from math import log2
from unicodedata import combining, normalize

import msgspec

from pipeline.core.decay import DAY_MS, DecayedSums
from pipeline.core.events import Event

MIN_VISITORS = 5
"""A query is public, so that others may see it, once so many visitors have searched for it."""
MIN_LENGTH, MAX_LENGTH = 2, 80
"""Characters of a query that is counted."""
QUERY_HALF_LIFE_MS = 3 * DAY_MS
MAX_TOP_QUERIES = 500

# Stored states hold these codes: append, never renumber.
SEARCH, EMPTY, CLICKED = range(3)

# An address, a link, or seven digits with nothing but separators between them: a telephone number,
# an order, a card.
_PERSONAL = re.compile(r"@|://|www\.|(?:\d[\s.,()/+-]*){7}")


def normal_query(text: str) -> str:
    """The query as it is counted: lower case, single spaces, Unicode's NFKC; empty for none.

    Not counted is what is shorter or longer than a query, and what looks like personal data: an
    address, a link, seven digits in a row.
    """
    if _PERSONAL.search(text):
        return ""
    query = " ".join(normalize("NFKC", normalize("NFKC", text).lower()).split())
    if not MIN_LENGTH <= len(query) <= MAX_LENGTH or not query.isprintable():
        return ""
    return "" if _PERSONAL.search(query) else query


def plain_text(text: str) -> str:
    """The text without case and accents, as it is compared with what is typed."""
    if text.isascii():
        return text.lower()
    parts = normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not combining(part)).casefold()


def searched(event: Event) -> str:
    """The normal query of a search event; empty for another event, and for what is not counted."""
    if event.event != "search":
        return ""
    return normal_query(event.text("query"))


def query_key(query: str) -> str:
    """The name under which a query's statistics are stored: they do not say what was typed."""
    return blake2b(query.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


class SearchClick(msgspec.Struct, frozen=True, gc=False):
    """A search that a click came after: `weight` 1 adds it, -1 takes it back.

    It counts at `time_ms`, which is that of the search.
    """

    query: str
    weight: float
    time_ms: int


class QueryStats(msgspec.Struct, array_like=True, gc=False):
    """Statistics of one query: searches, those without a result, those that a click came after.

    All decay with a half-life of three days. `visitors` are the `MIN_VISITORS` smallest hashes of
    those who searched for it: enough to know that there are so many, in any order, and no more.
    Duplicates are dropped before they come here (see `UserProfile.add`).
    """

    newest_ms: int = 0
    counts: DecayedSums[int] = msgspec.field(default_factory=DecayedSums)
    visitors: set[int] = set()

    def add(self, event: Event, query: str) -> None:
        """Count one search event, whose normal query this is."""
        time_ms = event.time_ms
        self.newest_ms = max(self.newest_ms, time_ms)
        self._count(SEARCH, 1.0, time_ms)
        if event.number("results", 1.0) == 0:
            self._count(EMPTY, 1.0, time_ms)
        self.visitors.add(_visitor_hash(event, query))
        self._sample()

    def click(self, click: SearchClick) -> None:
        """Count, or take back, that a click came after a search."""
        self.newest_ms = max(self.newest_ms, click.time_ms)
        self._count(CLICKED, click.weight, click.time_ms)

    def merge(self, other: QueryStats) -> None:
        """Add everything `other` holds."""
        self.newest_ms = max(self.newest_ms, other.newest_ms)
        self.counts.merge(other.counts)
        self.visitors |= other.visitors
        self._sample()

    @property
    def is_public(self) -> bool:
        """True where `MIN_VISITORS` different visitors have searched for it."""
        return len(self.visitors) >= MIN_VISITORS

    def top(self, revision: int) -> TopQuery | None:
        """The query for others to see, as of a revision of its row; None for a private one."""
        searches = self.counts.sums.get(SEARCH, 0.0)
        if not self.is_public or searches <= 0:
            return None
        return TopQuery(
            revision=revision,
            log2_searches=self.counts.landmark + log2(searches),
            empty=_share(self.counts.sums.get(EMPTY, 0.0), searches),
            clicked=_share(self.counts.sums.get(CLICKED, 0.0), searches),
        )

    def encode(self) -> bytes:
        """The stored form, less what is zero but for rounding."""
        self.counts.keep_largest(len(self.counts.sums))
        return _VERSION + _encoder.encode(self)

    @staticmethod
    def decode(data: bytes) -> QueryStats:
        """The state that `encode` wrote; raises `msgspec.DecodeError` for other bytes."""
        return _stats_decoder.decode(memoryview(data)[1:])

    def _count(self, code: int, weight: float, time_ms: int) -> None:
        self.counts.add(code, weight, time_ms, QUERY_HALF_LIFE_MS)

    def _sample(self) -> None:
        if len(self.visitors) > MIN_VISITORS:
            self.visitors = set(sorted(self.visitors)[:MIN_VISITORS])


class TopQuery(msgspec.Struct, array_like=True, frozen=True, order=True, gc=False):
    """A public query: how often it is searched for, and what came of it.

    Attributes:
        revision: of the query's row, which only grows: the greatest is the newest.
        log2_searches: base-2 logarithm of the forward-decayed searches; it never falls. At `now_ms`
            there are `2 ** (log2_searches - now_ms / QUERY_HALF_LIFE_MS)`.
        empty, clicked: shares of those searches, in [0, 1]: without a result, and with a click
            after them.
    """

    revision: int
    log2_searches: float
    empty: float = 0.0
    clicked: float = 0.0

    def searches(self, now_ms: int) -> float:
        """Decayed searches (half-life 3 d)."""
        half_lives = self.log2_searches - now_ms / QUERY_HALF_LIFE_MS
        return float(2.0 ** min(max(half_lives, -1_000.0), 1_000.0))


class TopQueries(msgspec.Struct, array_like=True):
    """The 500 public queries of one shard that are searched for most.

    As `Trending` does it for items: their numbers never fall, so that the greatest are the same in
    any order, and one that had dropped out comes back with its whole weight.
    """

    newest_ms: int = 0
    queries: dict[str, TopQuery] = {}

    def note(self, query: str, found: TopQuery) -> None:
        """Take note of a query, unless a newer revision of it is known."""
        self.queries[query] = max(found, self.queries.get(query, found))

    def merge(self, other: TopQueries) -> None:
        """Add everything `other` holds."""
        self.newest_ms = max(self.newest_ms, other.newest_ms)
        for query, found in other.queries.items():
            self.note(query, found)

    def settle(self) -> None:
        """Cut to the 500 most searched for (ties by name)."""
        if len(self.queries) > MAX_TOP_QUERIES:
            most = sorted(self.queries.items(), key=lambda entry: (-entry[1].log2_searches, entry))
            self.queries = dict(most[:MAX_TOP_QUERIES])

    def encode(self) -> bytes:
        """The stored form, cut to its bounds."""
        self.settle()
        return _VERSION + _encoder.encode(self)

    @staticmethod
    def decode(data: bytes) -> TopQueries:
        """The state that `encode` wrote; raises `msgspec.DecodeError` for other bytes."""
        return _top_decoder.decode(memoryview(data)[1:])


def query_sums(events: Iterable[Event], clicks: Iterable[SearchClick]) -> dict[str, QueryStats]:
    """Partial statistics by query of some events, and of clicks that came after searches."""
    sums: dict[str, QueryStats] = {}
    for event in events:
        if query := searched(event):
            sums.setdefault(query, QueryStats()).add(event, query)
    for click in clicks:
        sums.setdefault(click.query, QueryStats()).click(click)
    return sums


def _visitor_hash(event: Event, query: str) -> int:
    """32 bits of who searched, other ones for each query: they do not say who searched for both.

    The browser is who searched where there is one, so that a login makes no second visitor.
    """
    visitor = f"{query}\n{event.anonymous_id or event.user_id}"
    digest = blake2b(visitor.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def _share(part: float, whole: float) -> float:
    return min(max(part / whole, 0.0), 1.0)


_VERSION = b"\x01"  # the first byte of a stored state, by which `store.decode` picks its decoder
_encoder = msgspec.msgpack.Encoder()
_stats_decoder = msgspec.msgpack.Decoder(QueryStats)
_top_decoder = msgspec.msgpack.Decoder(TopQueries)
