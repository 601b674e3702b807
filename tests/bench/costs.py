"""What an event costs the folds, and how large states are: one core, encoded states in a
dictionary, no network.

The traffic is the simulated shop's (`tests.simulator.history`), in messages of 20 events of one
visitor. Each step of the streaming graph is timed for itself, on states as large as they get:
profiles of visitors with a thousand events and more, items with 200 neighbours, scopes with 300
items, rows of 500 top queries. What a runner adds to a keyed element is measured on Beam's
FnApiRunner, whose worker speaks to its state over the Fn API as Dataflow's does, without a network
between them.
"""

from __future__ import annotations

import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import MAX_TIMESTAMP

from pipeline.core.catalog import Item
from pipeline.core.catalog_rows import parse_item
from pipeline.core.events import Event, decode_message, encode_message, parse_event
from pipeline.core.features.signals import Signals
from pipeline.core.fold import Fact, Folded, fold
from pipeline.core.items import (
    BOUGHT,
    MAX_NEIGHBOURS_KEPT,
    MAX_TRENDING,
    TOUCHED,
    VIEW,
    ItemStats,
    Trending,
)
from pipeline.core.privacy.address_counts import AddressCounts
from pipeline.core.profile import UserProfile
from pipeline.core.profile_keys import profile_key
from pipeline.core.queries import (
    MAX_TOP_QUERIES,
    MIN_VISITORS,
    QueryStats,
    TopQueries,
    TopQuery,
)
from pipeline.core.rules import Rules, anomalies, due, next_check
from pipeline.core.sessions import merged, runs
from pipeline.ops.rules_file import rules_of
from pipeline.steps.decode import event_row
from pipeline.steps.items import add_rank, sums
from pipeline.steps.queries import query_partials, top_partial
from tests.bench.profiles import life
from tests.simulator import catalog, history
from tests.simulator.shoppers import World

EVENTS_A_MESSAGE = 20
BUNDLES = (1, 10, 100)  # messages that are summed by item at once
SHARDS = 8  # of a trending scope, as Terraform sets it
SESSIONS = 800
LIVES = 10
LIFE_MESSAGES = 50
CYCLES = 2_000
ELEMENTS = 20_000
SESSION_GAP_MS = 1_800_000


@dataclass(frozen=True)
class Bundle:
    """What remains to be folded of a message where `messages` of them are summed at once.

    `sum_us`: summing, a message. `item_rows`, `scope_rows`, `query_rows`: elements that reach the
    folds of items, of trending scopes and of searches, a message.
    """

    messages: int
    sum_us: float
    item_rows: float
    scope_rows: float
    query_rows: float


@dataclass(frozen=True)
class Costs:
    """Measured: microseconds of one core, and bytes.

    `decode_us`, `row_us`: an event. `profile_us`, `session_us`, `address_us`: a message. `item_us`,
    `scope_us`, `query_us`, `top_us`: an element at the fold, state read and written. `element_us`:
    what the runner adds to each keyed element.
    """

    decode_us: float
    row_us: float
    profile_us: float
    session_us: float
    address_us: float
    item_us: float
    scope_us: float
    query_us: float
    top_us: float
    element_us: float
    event_bytes: float
    fact_bytes: float
    row_bytes: float
    profile_bytes: float
    item_bytes: float
    item_partial_bytes: float
    scope_bytes: float
    query_bytes: float
    top_bytes: float
    bundles: tuple[Bundle, ...]

    def bundle(self, messages: int) -> Bundle:
        """What was measured for bundles of so many messages.

        Raises KeyError for a size that was not.
        """
        return {bundle.messages: bundle for bundle in self.bundles}[messages]


def measure() -> Costs:
    """Measure; takes about a minute."""
    products = catalog.generate(seed=7)
    items = {item.item_id: item for item in map(parse_item, map(asdict, products))}
    bodies = messages(World(products))
    halves = bodies[: len(bodies) // 2], bodies[len(bodies) // 2 :]
    facts = [[_facts(body, items) for body in half] for half in halves]
    folds = {size: Folds(facts[0], facts[1], size) for size in BUNDLES}
    item_us, item_bytes = item_cycle(folds[1].partials)
    scope_us, scope_bytes = scope_cycle()
    query_us, query_bytes = query_cycle()
    top_us, top_bytes = top_cycle()
    profile_us, profile_bytes = profile_cycle(World(products), items)
    return Costs(
        **_decoding(halves[1], items),
        profile_us=profile_us,
        **_beside(facts[1]),
        item_us=item_us,
        scope_us=scope_us,
        query_us=query_us,
        top_us=top_us,
        element_us=element_us(),
        event_bytes=_mean(map(len, bodies)) / EVENTS_A_MESSAGE,
        fact_bytes=_mean(len(pickle.dumps(message, 5)) for message in facts[1][:500])
        / EVENTS_A_MESSAGE,
        profile_bytes=profile_bytes,
        item_bytes=item_bytes,
        item_partial_bytes=_mean(map(len, folds[1].partials)),
        scope_bytes=scope_bytes,
        query_bytes=query_bytes,
        top_bytes=top_bytes,
        bundles=tuple(found.bundle() for found in folds.values()),
    )


def messages(world: World, sessions: int = SESSIONS) -> list[bytes]:
    """Bodies of 20 events of one visitor each, in the order in which they were full."""
    arrived = datetime.now(UTC)
    open_: dict[str, list[Event]] = defaultdict(list)
    bodies = []
    for wire in history.generate(
        world, sessions=sessions, until=time.time(), run="costs", population=sessions // 3
    ):
        event = parse_event(dict(wire), ingest_time=arrived, backfill=True)
        waiting = open_[profile_key(event)]
        waiting.append(event)
        if len(waiting) == EVENTS_A_MESSAGE:
            bodies.append(encode_message(waiting))
            waiting.clear()
    return bodies


class Folds:
    """What is left to fold of the messages when `size` of them are summed at once, counted on the
    second half.
    """

    def __init__(
        self, warm_up: Sequence[list[Fact]], counted: Sequence[list[Fact]], size: int
    ) -> None:
        self.size, self.messages = size, len(counted)
        self._profiles: dict[str, UserProfile] = defaultdict(UserProfile)
        self._items: dict[str, ItemStats] = defaultdict(ItemStats)
        self._run(warm_up)
        self._run(counted)

    def bundle(self) -> Bundle:
        """What was found for this size."""
        return Bundle(
            self.size,
            sum_us=1e6 * self.seconds / self.messages,
            item_rows=len(self.partials) / self.messages,
            scope_rows=self.scope_rows / self.messages,
            query_rows=self.query_rows / self.messages,
        )

    def _run(self, messages: Sequence[list[Fact]]) -> None:
        self.seconds, self.partials = 0.0, list[bytes]()
        self.scope_rows = self.query_rows = 0
        for at in range(0, len(messages), self.size):
            folded = [self._folded(message) for message in messages[at : at + self.size]]
            began = time.thread_time()
            items, scopes = sums(folded, SHARDS)
            self.partials += [stats.encode() for stats in items.values()]
            self.query_rows += len(query_partials(folded))
            self.seconds += time.thread_time() - began
            ranks: dict[str, Trending] = {}
            for item_id, partial in items.items():
                self._items[item_id].merge(partial)
                add_rank(ranks, item_id, self._items[item_id], SHARDS)
            self.scope_rows += len(scopes) + len(ranks)

    def _folded(self, message: list[Fact]) -> Folded:
        profile = self._profiles[profile_key(message[0][0])]
        folded = fold(profile, message)
        profile.settle()
        return folded


def item_cycle(partials: Sequence[bytes]) -> tuple[float, float]:
    """Microseconds of folding a partial into an item with all its neighbours (read, merge, rank,
    write), its bytes.
    """
    stats = ItemStats.decode(partials[-1])
    now_ms = stats.newest_ms
    stats.link_all(
        (f"neighbour{number}", TOUCHED, 1.0, now_ms) for number in range(MAX_NEIGHBOURS_KEPT)
    )
    stats.link_all(
        (f"neighbour{number}", BOUGHT, 1.0, now_ms) for number in range(MAX_NEIGHBOURS_KEPT // 4)
    )
    encoded = stats.encode()

    def cycles() -> None:
        nonlocal encoded
        for partial in partials[:CYCLES]:
            total = ItemStats.decode(encoded)
            total.merge(ItemStats.decode(partial))
            add_rank({}, "item", total, SHARDS)
            encoded = total.encode()

    return 1e6 * _timed(cycles) / len(partials[:CYCLES]), len(encoded)


def scope_cycle() -> tuple[float, float]:
    """Microseconds of folding one item's popularity into a scope with all its items (read, merge,
    write), its bytes.
    """
    scope, addition = Trending(), Trending()
    for number in range(MAX_TRENDING):
        scope.rank(f"item{number}", 1_000.0 + number)
    scope.counts.add(VIEW, 1)
    addition.rank(f"item{MAX_TRENDING}", 1_500.0)
    addition.counts.add(VIEW, 1)
    encoded, partial = scope.encode(), addition.encode()

    def cycles() -> None:
        nonlocal encoded
        for _ in range(CYCLES):
            total = Trending.decode(encoded)
            total.merge(Trending.decode(partial))
            encoded = total.encode()

    return 1e6 * _timed(cycles) / CYCLES, len(encoded)


def query_cycle() -> tuple[float, float]:
    """Microseconds of folding a search into a query that is public (read, merge, rank, write), its
    bytes.
    """
    stats = QueryStats()
    for visitor in range(2 * MIN_VISITORS):
        stats.add(_search(f"visitor{visitor}"), "tall lamp")
    addition = QueryStats()
    addition.add(_search("visitor"), "tall lamp")
    encoded, partial = stats.encode(), addition.encode()

    def cycles() -> None:
        nonlocal encoded
        for _ in range(CYCLES):
            total = QueryStats.decode(encoded)
            total.merge(QueryStats.decode(partial))
            top_partial("tall lamp", total, revision=1)
            encoded = total.encode()

    return 1e6 * _timed(cycles) / CYCLES, len(encoded)


def top_cycle() -> tuple[float, float]:
    """Microseconds of folding one query into a full row of top queries (read, merge, write), its
    bytes.
    """
    top = TopQueries()
    for number in range(MAX_TOP_QUERIES):
        top.note(f"a query of {number}", TopQuery(1, 10.0 + number / MAX_TOP_QUERIES, 0.1, 0.4))
    encoded = top.encode()
    partial = TopQueries(1, {"a query of 7": TopQuery(2, 20.0, 0.1, 0.4)}).encode()

    def cycles() -> None:
        nonlocal encoded
        for _ in range(CYCLES):
            total = TopQueries.decode(encoded)
            total.merge(TopQueries.decode(partial))
            encoded = total.encode()

    return 1e6 * _timed(cycles) / CYCLES, len(encoded)


def _search(visitor: str) -> Event:
    wire = {
        "event_id": f"search-{visitor}",
        "event": "search",
        "anonymous_id": visitor,
        "session_id": "session",
        "timestamp": datetime.now(UTC).isoformat(),
        "query": "tall lamp",
    }
    return parse_event(wire, ingest_time=datetime.now(UTC), backfill=True)


def profile_cycle(world: World, items: dict[str, Item]) -> tuple[float, float]:
    """Microseconds of one message's cycle of a grown profile (read, fold, judge, speak, write), and
    its bytes.
    """
    rules, seconds, sizes = rules_of("default"), 0.0, []
    for number in range(LIVES):
        facts = life(world, number, items)
        profile = UserProfile()
        fold(profile, facts[: -LIFE_MESSAGES * EVENTS_A_MESSAGE])
        encoded = profile.encode()
        for at in range(
            len(facts) - LIFE_MESSAGES * EVENTS_A_MESSAGE, len(facts), EVENTS_A_MESSAGE
        ):
            began = time.thread_time()
            encoded = _one_cycle(encoded, facts[at : at + EVENTS_A_MESSAGE], rules)
            seconds += time.thread_time() - began
            sizes.append(len(encoded))
    return 1e6 * seconds / len(sizes), _mean(sizes)


def _one_cycle(encoded: bytes, message: list[Fact], rules: Rules) -> bytes:
    profile = UserProfile.decode(encoded)
    fold(profile, message)
    at_ms = profile.newest_ms
    signals = Signals(profile, at_ms)
    for anomaly in anomalies(rules.anomalies_of("visitor"), signals, profile.marks, at_ms, key="v"):
        profile.marks[anomaly.rule] = anomaly.until_ms
    for trigger in due(rules.campaigns, signals, profile.fired, at_ms, visitor="v"):
        profile.fired[trigger.rule] = at_ms
    next_check(rules.campaigns, signals, signals.when, profile.fired, at_ms)
    return profile.encode()


def element_us() -> float:
    """Microseconds that FnApiRunner spends on one keyed element whose state is read and written and
    timer set.
    """
    keyed = [(f"key{number % 500}", b"x" * 200) for number in range(ELEMENTS)]
    one, many = _through_runner(keyed[:100]), _through_runner(keyed)
    return 1e6 * (many - one) / (len(keyed) - 100)


def _through_runner(elements: list[tuple[str, bytes]]) -> float:
    began = time.process_time()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        keyed = (
            pipeline | beam.Create(elements) | beam.Reshuffle().with_output_types(tuple[str, bytes])
        )
        keyed | beam.ParDo(_Keeps())  # type: ignore[no-untyped-call]
    return time.process_time() - began


class _Keeps(beam.DoFn):
    STATE = ReadModifyWriteStateSpec("state", BytesCoder())
    TIMER = TimerSpec("timer", TimeDomain.WATERMARK)

    def process(
        self,
        element: tuple[str, bytes],
        state: Any = beam.DoFn.StateParam(STATE),  # noqa: B008, Beam declares state so
        timer: Any = beam.DoFn.TimerParam(TIMER),  # noqa: B008, and timers
    ) -> None:
        state.read()
        state.write(element[1])
        timer.set(MAX_TIMESTAMP)

    @on_timer(TIMER)
    def forget(self) -> None:
        pass


def _decoding(bodies: Sequence[bytes], items: dict[str, Item]) -> dict[str, float]:
    events = len(bodies) * EVENTS_A_MESSAGE
    decoded = _timed(lambda: [_facts(body, items) for body in bodies])
    facts = [_facts(body, items) for body in bodies]
    rows = [event_row(*fact).row for message in facts for fact in message]
    made = _timed(lambda: [event_row(*fact) for message in facts for fact in message])
    return {
        "decode_us": 1e6 * decoded / events,
        "row_us": 1e6 * made / events,
        "row_bytes": _mean(len(msgspec.json.encode(row)) for row in rows),
    }


def _beside(messages: Sequence[list[Fact]]) -> dict[str, float]:
    """What sessions and addresses cost a message."""
    visits: dict[str, Any] = {}
    counts = AddressCounts().encode()

    def summarize() -> None:
        for message in messages:
            key = profile_key(message[0][0])
            visits[key] = merged(
                [*([visits[key]] if key in visits else []), *runs(message, SESSION_GAP_MS)]
            )

    def watch() -> None:
        nonlocal counts
        for message in messages:
            state = AddressCounts.decode(counts)
            for event, _ in message:
                state.add(profile_key(event), event.time_ms)
            counts = state.encode()

    return {
        "session_us": 1e6 * _timed(summarize) / len(messages),
        "address_us": 1e6 * _timed(watch) / len(messages),
    }


def _facts(body: bytes, items: dict[str, Item]) -> list[Fact]:
    return [(event, items.get(event.product_id or "")) for event in decode_message(body)]


def _timed(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


if __name__ == "__main__":
    print(measure())
