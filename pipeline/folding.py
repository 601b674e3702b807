"""The folds: visitors' facts into profiles, new facts into items, items into what is trending."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from zlib import crc32

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import store as bigtable
from pipeline.core.bots import is_bot
from pipeline.core.catalog import Item, encode_item, stub_item
from pipeline.core.decay import DAY_MS
from pipeline.core.fold import Fact, Folded, Pair, adopt, catalog_category, fold, item_sums, of_people
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.rules import Rules, anomalies, due, is_marked, next_check
from pipeline.core.visitor_features import Signals
from pipeline.decoding import ADOPT, FACTS, MARK, remember_account
from pipeline.dofn import LeanDoFn
from pipeline.keeping import Keeping, KeptState
from pipeline.metrics import Counter
from pipeline.store import now_ms

NEW, ACCOUNTS, CAMPAIGNS, ANOMALIES, RANKS = "new", "accounts", "campaigns", "anomalies", "ranks"

# Bigtable forgets what is old by its cell's time, so a browser's link to its account is written anew while it is used.
REFRESH_LINK_MS = DAY_MS


_GLOBAL = (GlobalWindow(),)  # made once: making it costs more than a row


class NewFacts(NamedTuple):
    """What a message added to one profile; `trusted` is False while the visitor is marked, and for what a bot did."""

    facts: list[Fact]
    pairs: list[Pair]
    trusted: bool


class FoldVisitors(KeptState):
    """One fold of profiles; see `transforms.FoldProfiles`, which uses it for browsers and then for accounts."""

    CAMPAIGN = TimerSpec("campaign", TimeDomain.REAL_TIME)

    def __init__(self, keeping: Keeping, rules: Rules) -> None:
        super().__init__(keeping, "fold")
        self._rules = rules
        self._visitor_anomalies = rules.anomalies_of("visitor")
        self._new = Counter("fold", "new")
        self._duplicate = Counter("fold", "duplicate")
        self._merged = Counter("fold", "merged")
        self._distrusted = Counter("fold", "distrusted")
        self._campaigns = Counter("rules", "campaigns")
        self._anomalies = Counter("rules", "anomalies")

    def process(
        self,
        element: tuple[str, tuple[str, Any]],
        state: Any = beam.DoFn.StateParam(KeptState.STATE),
        flush: Any = beam.DoFn.TimerParam(KeptState.FLUSH),
        final: Any = beam.DoFn.TimerParam(KeptState.FINAL),
        expiry: Any = beam.DoFn.TimerParam(KeptState.EXPIRY),
        campaign: Any = beam.DoFn.TimerParam(CAMPAIGN),
    ) -> Iterator[Any]:
        key, (kind, given) = element
        by_person = True
        kept = self._load(bigtable.PROFILE, key, state)
        profile = self._decode(UserProfile, kept)
        if profile is None:
            return
        if profile.account:
            yield from self._forward(key, profile.account, kind, given)
            newest_ms = _newest_ms(given) if kind == FACTS else 0
            if newest_ms < profile.newest_ms + REFRESH_LINK_MS:
                self._hold(kept, state, expiry)
                return
            profile.newest_ms = newest_ms
        elif kind == FACTS and key.startswith("a#") and (account := _account_of(given)):
            yield from self._move(profile, account, _newest_ms(given))
            yield from self._forward(key, account, kind, given)
        elif kind == MARK:
            if profile.marks.get(given.rule, 0) >= given.until_ms:
                return
            profile.marks[given.rule] = given.until_ms
            yield TaggedOutput(ANOMALIES, given)
        else:
            folded = self._fold(profile, kind, given)
            if kind == FACTS and not folded.new:
                return
            people = of_people(folded)
            yield from self._judge(key, profile, folded, people)
            by_person = bool(people.new) or not folded.new
        if by_person:  # else nobody is there to speak to
            yield from self._speak(key, profile, campaign)
        yield from self._keep(kept, profile.encode(), profile.newest_ms, state, flush, final, expiry)

    @on_timer(CAMPAIGN)
    def look_again(
        self,
        key: Any = beam.DoFn.KeyParam,
        state: Any = beam.DoFn.StateParam(KeptState.STATE),
        flush: Any = beam.DoFn.TimerParam(KeptState.FLUSH),
        final: Any = beam.DoFn.TimerParam(KeptState.FINAL),
        expiry: Any = beam.DoFn.TimerParam(KeptState.EXPIRY),
        campaign: Any = beam.DoFn.TimerParam(CAMPAIGN),
    ) -> Iterator[Any]:
        kept = self._load(bigtable.PROFILE, key, state)  # the state of a silent key may have been forgotten meanwhile
        profile = self._decode(UserProfile, kept)
        if profile is None:
            return
        before = dict(profile.fired)
        yield from self._speak(key, profile, campaign)
        if profile.fired != before:
            yield from self._keep(kept, profile.encode(), profile.newest_ms, state, flush, final, expiry)

    def _fold(self, profile: UserProfile, kind: str, given: Any) -> Folded:
        if kind == ADOPT:
            self._merged.inc()
            return Folded([], adopt(profile, bigtable.decode(UserProfile, given)))
        folded = fold(profile, given)
        self._new.inc(len(folded.new))
        self._duplicate.inc(len(given) - len(folded.new))
        return folded

    def _move(self, profile: UserProfile, account: str, newest_ms: int) -> Iterator[Any]:
        """Send all that is known of a browser on to the account, once; what remains says where it went."""
        if profile.events_total or profile.marks:
            yield TaggedOutput(ACCOUNTS, (account, (ADOPT, profile.encode())))
        empty = UserProfile(newest_ms=max(profile.newest_ms, newest_ms), account=account)
        for name in profile.__struct_fields__:
            setattr(profile, name, getattr(empty, name))

    def _forward(self, key: str, account: str, kind: str, given: Any) -> Iterator[Any]:
        """Send on what came for a browser: to the account that the event names, else to the one it was merged into."""
        if kind != FACTS:
            yield TaggedOutput(ACCOUNTS, (account, (kind, given)))
            return
        remember_account(key.removeprefix("a#"), account.removeprefix("u#"))
        by_account: dict[str, list[Fact]] = {}
        for fact in given:
            user_id = fact[0].user_id
            by_account.setdefault(f"u#{user_id}" if user_id else account, []).append(fact)
        for found, facts in by_account.items():
            yield TaggedOutput(ACCOUNTS, (found, (FACTS, facts)))

    def _judge(self, key: str, profile: UserProfile, folded: Folded, people: Folded) -> Iterator[Any]:
        """Say what is not what people do, and hand on what is new: what people did, and what a bot did, distrusted."""
        at_ms = profile.newest_ms
        if folded.new and self._visitor_anomalies:
            found = anomalies(self._visitor_anomalies, Signals(profile, at_ms), profile.marks, at_ms, key=key)
            for anomaly in found:
                profile.marks[anomaly.rule] = anomaly.until_ms
                self._anomalies.inc()
                yield TaggedOutput(ANOMALIES, anomaly)
        if people.new or people.pairs:
            trusted = not (profile.marks and is_marked(self._rules.anomalies, profile.marks, at_ms))
            self._distrusted.inc(0 if trusted else len(people.new))
            yield TaggedOutput(NEW, (key, NewFacts(people.new, people.pairs, trusted)))
        if people is not folded:
            bots = [fact for fact in folded.new if is_bot(fact[0])]
            self._distrusted.inc(len(bots))
            yield TaggedOutput(NEW, (key, NewFacts(bots, [], False)))

    def _speak(self, key: str, profile: UserProfile, campaign: Any) -> Iterator[Any]:
        """Trigger the campaigns that are due, and set the timer for the next that comes due in silence."""
        rules, now = self._rules.campaigns, now_ms()
        if not rules or not profile.events_total or is_marked(self._rules.anomalies, profile.marks, now):
            return
        signals = Signals(profile, now)
        for trigger in due(rules, signals, profile.fired, now, visitor=key):
            profile.fired[trigger.rule] = now
            self._campaigns.inc()
            yield TaggedOutput(CAMPAIGNS, trigger)
        next_ms = next_check(rules, signals, signals.when, profile.fired, now)
        if next_ms is not None:
            campaign.set(Timestamp(next_ms / 1000))
        else:
            campaign.clear()


def _newest_ms(facts: list[Fact]) -> int:
    return max(event.time_ms for event, _ in facts)


def _account_of(facts: list[Fact]) -> str:
    """The account that the first of the events to name one names; empty when none does."""
    named = [(event.timestamp, event.event_id, event.user_id) for event, _ in facts if event.user_id]
    return f"u#{min(named)[2]}" if named else ""


@beam.typehints.with_output_types(tuple[str, Any])
class SumByItem(LeanDoFn):
    """A bundle's new facts, summed by item and by scope: a hot item costs one element a bundle, not one an event."""

    def __init__(self, trending_shards: int) -> None:
        self._shards = trending_shards
        self._pending: list[NewFacts] = []

    def start_bundle(self) -> None:
        self._pending = []

    def process(self, element: tuple[str, NewFacts]) -> None:
        if element[1].trusted:
            self._pending.append(element[1])

    def finish_bundle(self) -> Iterator[Any]:
        items, scopes = sums([Folded(new.facts, new.pairs) for new in self._pending], self._shards)
        stubs: dict[str, Item] = {}
        for new in self._pending:
            for event, item in new.facts:
                if item is None and event.product_id is not None:
                    stubs.setdefault(event.product_id, stub_item(event))
        now = Timestamp(time.time())
        for item_id, stats in items.items():
            stub = encode_item(stubs[item_id]) if item_id in stubs else b""
            yield WindowedValue((item_id, (stats.encode(), stub)), now, _GLOBAL)
        for row, scope in scopes.items():
            yield TaggedOutput(RANKS, WindowedValue((row, scope.encode()), now, _GLOBAL))


class FoldItemRows(KeptState):
    """Partial statistics into each item's row; its popularity goes on to the scopes it belongs to."""

    def __init__(self, keeping: Keeping, trending_shards: int) -> None:
        super().__init__(keeping, "items")
        self._shards = trending_shards
        self._ranks: dict[str, Trending] = {}

    def start_bundle(self) -> None:
        super().start_bundle()
        self._ranks = {}

    def process(
        self,
        element: tuple[str, tuple[bytes, bytes]],
        state: Any = beam.DoFn.StateParam(KeptState.STATE),
        flush: Any = beam.DoFn.TimerParam(KeptState.FLUSH),
        final: Any = beam.DoFn.TimerParam(KeptState.FINAL),
        expiry: Any = beam.DoFn.TimerParam(KeptState.EXPIRY),
    ) -> Iterator[Any]:
        item_id, (addition, stub) = element
        kept = self._load(bigtable.STATS, item_id, state)
        total = self._decode(ItemStats, kept)
        if total is None:
            return
        unseen = not total.counts.totals  # there may be neighbours: bundles of a session overtake
        day = total.newest_ms // DAY_MS
        total.merge(bigtable.decode(ItemStats, addition))
        add_rank(self._ranks, item_id, total, self._shards)
        yield from self._keep(kept, total.encode(), total.newest_ms, state, flush, final, expiry)
        # Bigtable forgets a stub by its cell's time, so it is written anew on each day that the item is seen.
        if stub and total.counts.totals and (unseen or total.newest_ms // DAY_MS > day):
            yield bigtable.STUB, item_id, self._first_stub(item_id, stub), kept.revision

    def finish_bundle(self) -> Iterator[Any]:
        now = Timestamp(time.time())
        for row, scope in self._ranks.items():
            yield TaggedOutput(RANKS, WindowedValue((row, scope.encode()), now, _GLOBAL))
        self._ranks = {}

    def _first_stub(self, item_id: str, stub: bytes) -> bytes:
        """The stub that is stored, else this one: later events do not rename an item."""
        stored = self._keeping.source.store().read(bigtable.STUB, item_id)
        return stub if stored is None else stored[0]


class FoldScopes(KeptState):
    """Partial counts and popularities into each scope's row."""

    def __init__(self, keeping: Keeping) -> None:
        super().__init__(keeping, "scopes")

    def process(
        self,
        element: tuple[str, bytes],
        state: Any = beam.DoFn.StateParam(KeptState.STATE),
        flush: Any = beam.DoFn.TimerParam(KeptState.FLUSH),
        final: Any = beam.DoFn.TimerParam(KeptState.FINAL),
        expiry: Any = beam.DoFn.TimerParam(KeptState.EXPIRY),
    ) -> Iterator[Any]:
        row, addition = element
        kept = self._load(bigtable.TRENDING, row, state)
        total = self._decode(Trending, kept)
        if total is None:
            return
        total.merge(bigtable.decode(Trending, addition))
        yield from self._keep(kept, total.encode(), total.newest_ms, state, flush, final, expiry)


def sums(folded: Iterable[Folded], shards: int) -> tuple[dict[str, ItemStats], dict[str, Trending]]:
    """Partial statistics by item, and partial counts by scope's row, of some messages' new facts."""
    folded = list(folded)
    items = item_sums(folded)
    return items, scope_counts(folded, items, shards)


def scope_counts(folded: Iterable[Folded], items: dict[str, ItemStats], shards: int) -> dict[str, Trending]:
    """Counts by scope's row: each item's partial counts where its facts are of one category, else fact by fact.

    Categories are the catalog's: there are as many scopes as it has categories, whatever events say. What the catalog
    does not hold counts in a scope of its own, whatever it is called.
    """
    categories: dict[str, set[str | None]] = {}
    for new, _ in folded:
        for fact in new:
            if fact[0].product_id is not None:
                categories.setdefault(fact[0].product_id, set()).add(catalog_category(fact))
    by_category: dict[tuple[str | None, int], Trending] = {}

    def scope(category: str | None, item_id: str) -> Trending:
        return by_category.setdefault((category, shard_of(item_id, shards)), Trending())

    mixed = {item_id for item_id, found in categories.items() if len(found) > 1}
    for item_id, found in categories.items():
        if item_id not in mixed:
            [category] = found
            _count(scope(category, item_id), items[item_id])
    for new, _ in folded if mixed else ():
        for fact in new:
            item_id = fact[0].product_id or ""
            if item_id in mixed:
                alone = ItemStats()
                alone.add(fact[0])
                _count(scope(catalog_category(fact), item_id), alone)
    return _by_row(by_category)


def _count(scope: Trending, stats: ItemStats) -> None:
    scope.counts.merge(stats.counts)
    scope.newest_ms = max(scope.newest_ms, stats.newest_ms)


def _by_row(by_category: dict[tuple[str | None, int], Trending]) -> dict[str, Trending]:
    """By scope's row. What counted nothing is left out."""
    rows: dict[str, Trending] = {}
    for (category, shard), partial in by_category.items():
        if partial.counts.totals:
            for scope in _scopes(category):
                rows.setdefault(bigtable.trending_key(scope, shard), Trending()).merge(partial)
    return rows


def _scopes(category: str | None) -> list[str]:
    """The scopes of an item of this category; None is an item that the catalog does not hold."""
    if category is None:
        return [bigtable.STUB_SCOPE]
    return [bigtable.GLOBAL_SCOPE, *([bigtable.category_scope(category)] if category else [])]


def add_rank(ranks: dict[str, Trending], item_id: str, stats: ItemStats, shards: int) -> None:
    """Note an item's popularity, from all of its history, in the rows of its scopes.

    Made-up products would fill the catalog's scope, whose shards keep 300 each: they have another. An item that the
    catalog comes to hold moves at its next event, with its whole popularity, and grows no more where it was.
    """
    popularity = stats.log2_popularity()
    if popularity is None:
        return
    for scope in _scopes(stats.category if stats.in_catalog else None):
        row = bigtable.trending_key(scope, shard_of(item_id, shards))
        total = ranks.setdefault(row, Trending())
        total.newest_ms = max(total.newest_ms, stats.newest_ms)
        total.rank(item_id, popularity)


def shard_of(item_id: str, shards: int) -> int:
    """Which shard of its scopes an item is counted in."""
    return crc32(item_id.encode("utf-8", "surrogatepass")) % shards
