"""Streaming equals batch: `make parity` streams a data set, folds the same log in batch, and
compares every row.

The live pipeline reads messages from Pub/Sub and writes one Bigtable instance;
`pipeline.batch.backfill` reads what that pipeline logged in BigQuery and writes another. Then every
profile, item, trending and query row of the two is decoded and compared: floats to 1e-9, everything
else exactly. Three things are no features and are not compared: which event ids a profile remembers
beyond its horizon (`seen`, compared as a set up to there), when campaigns fired (`fired`, by the
wall clock), and how often a query's row was written (`revision`).

Data sets: a simulated one (shoppers, logins in mid-session, doubled messages, a bot, some events
that the collector took for a bot's and some whose visitors denied personalization), and a file in
REES46 columns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from google.pubsub_v1 import PubsubMessage

from pipeline.batch import backfill
from pipeline.core.catalog_rows import parse_item
from pipeline.core.decay import DecayedSums, DecayedVector
from pipeline.core.events import Event, encode_message, parse_event
from pipeline.core.items import LONG_HALF_LIFE_MS, ItemStats, Trending
from pipeline.core.profile import MAX_SEEN_IDS, UserProfile
from pipeline.core.queries import QueryStats, TopQueries
from pipeline.runtime.clock import now_ms
from pipeline.store.blocking import Store
from pipeline.store.layout import PROFILE, QUERY, STATS, TOP_QUERIES, TRENDING, item_write
from pipeline.store.tables import ensure_tables
from tests.simulator import catalog, history, replay
from tests.simulator.report import REPORTS, Progress, machine_line
from tests.simulator.shoppers import World
from tests.simulator.warehouse import Warehouse
from tests.stack import EMULATORS, Stack, StackError, running_stack
from tests.stack.readiness import publisher

MESSAGE_EVENTS = 20
PAUSE = timedelta(minutes=1)
# published at a time: Pub/Sub keeps no order, and a real backlog is not a day long
SLICE_MESSAGES = 200
PATIENCE_S = 120.0
SESSIONS = 400
DECODERS: dict[str, Callable[[bytes], Any]] = {
    PROFILE: UserProfile.decode,
    STATS: ItemStats.decode,
    TRENDING: Trending.decode,
    QUERY: QueryStats.decode,
    TOP_QUERIES: TopQueries.decode,
}
REL, ABS = 1e-9, 1e-12


def simulated(sessions: int, seed: int = 7) -> list[list[Event]]:
    """Messages of shoppers, up to now; half of them log in, some messages come twice, one visitor
    is a bot.

    One event in twenty is marked as a bot's, one in twenty as of a visitor who denied
    personalization.
    """
    rng = random.Random(seed)
    world = World(catalog.generate(seed=seed), seed)
    wire = history.generate(
        world, sessions=sessions, until=time.time(), run="parity", population=sessions // 3 + 1
    )
    known = [_judged(_known(dict(event), rng), rng) for event in wire]
    events = [parse_event(event, ingest_time=datetime.now(UTC), backfill=True) for event in known]
    return doubled(by_visitor(events) + _bot(rng, datetime.now(UTC)), rng)


def from_file(path: Path) -> list[list[Event]]:
    """Messages of a file in REES46 columns, in its order."""
    wire = [replay.wire_event(row, number) for number, row in enumerate(catalog.read_rees46(path))]
    return by_visitor(
        [parse_event(dict(e), ingest_time=datetime.now(UTC), backfill=True) for e in wire]
    )


def by_visitor(events: Iterable[Event], size: int = MESSAGE_EVENTS) -> list[list[Event]]:
    """Events in their order, as messages of one visitor each; one goes out when full, or after a
    minute's pause.
    """
    messages: list[list[Event]] = []
    open_: dict[str, list[Event]] = {}
    for event in events:
        browser = event.anonymous_id or event.user_id or ""
        message = open_.get(browser)
        if (
            message is None
            or len(message) == size
            or event.timestamp - message[-1].timestamp > PAUSE
        ):
            message = open_[browser] = []
            messages.append(message)
        message.append(event)
    return messages


def doubled(messages: list[list[Event]], rng: random.Random) -> list[list[Event]]:
    """The messages, every tenth a second time up to five messages later: well within a profile's
    memory of ids.
    """
    places = {
        place: rng.randint(1, 5) for place in rng.sample(range(len(messages)), len(messages) // 10)
    }
    late = sorted(
        ((place + later, messages[place]) for place, later in places.items()),
        key=lambda entry: entry[0],
    )
    stream: list[list[Event]] = []
    for place, message in enumerate(messages):
        while late and late[0][0] <= place:
            stream.append(late.pop(0)[1])
        stream.append(message)
    return stream + [message for _, message in late]


def differences(left: Any, right: Any, path: str = "") -> Iterator[str]:
    """Where two states differ: floats by more than 1e-9 of their size, anything else at all."""
    if isinstance(left, DecayedSums) and isinstance(right, DecayedSums):
        yield from differences(*_on_one_landmark(left, right), path)
    elif isinstance(left, msgspec.Struct) and type(left) is type(right):
        for name in left.__struct_fields__:
            yield from differences(getattr(left, name), getattr(right, name), f"{path}.{name}")
    elif isinstance(left, dict) and isinstance(right, dict):
        for key in left.keys() | right.keys():
            if key in left and key in right:
                yield from differences(left[key], right[key], f"{path}[{key!r}]")
            else:
                yield f"{path}[{key!r}] is only in the {'stream' if key in left else 'batch'}"
    elif isinstance(left, tuple) and isinstance(right, tuple) and len(left) == len(right):
        for place, (one, two) in enumerate(zip(left, right, strict=True)):
            yield from differences(one, two, f"{path}[{place}]")
    elif isinstance(left, float) and isinstance(right, float):
        if not math.isclose(left, right, rel_tol=REL, abs_tol=ABS):
            yield f"{path}: {left} in the stream, {right} in the batch"
    elif left != right:
        yield f"{path}: {left!r} in the stream, {right!r} in the batch"


def comparable(state: Any) -> Any:
    """The state without what is no feature, and vectors as numbers."""
    if isinstance(state, UserProfile):
        remembered = {state.seen[at : at + 4] for at in range(0, len(state.seen), 4)}
        if state.account:  # a pointer: when the browser was last seen by itself is nobody's concern
            return state.account
        state.fired = {}
        seen = sorted(remembered) if state.events_total <= MAX_SEEN_IDS else []
        vectors, state.taste.vectors, state.seen = _numbers(state.taste.vectors), b"", b""
        return (state, tuple(seen), vectors)
    if isinstance(state, ItemStats):
        scale = 2.0 ** (state.context.landmark - state.newest_ms // LONG_HALF_LIFE_MS)
        vectors = tuple(scale * number for number in _numbers(state.context.values))
        state.context = DecayedVector()
        return (state, vectors)
    if isinstance(state, TopQueries):  # a revision says how often a row was written
        replace = msgspec.structs.replace
        state.queries = {
            query: replace(found, revision=0) for query, found in state.queries.items()
        }
    return state


def compare(stream: Store, batch: Store) -> dict[str, Any]:
    """The report: how many rows of each kind, how many differ, and what the first differences
    are."""
    found: dict[str, Any] = {}
    examples: list[str] = []
    for kind, decode in DECODERS.items():
        left, right = dict(stream.scan(kind)), dict(batch.scan(kind))
        found[f"{kind}_rows"] = len(left)
        for key in sorted(left.keys() | right.keys()):
            if key in left and key in right:
                one, two = comparable(decode(left[key])), comparable(decode(right[key]))
                reasons = list(differences(one, two))[:2]
            else:
                reasons = [f"is only in the {'stream' if key in left else 'batch'}"]
            examples += [f"{kind} {len(examples)}: {reason}" for reason in reasons]
    return {
        "profiles": found["profile_rows"],
        "items": found["stats_rows"],
        "scopes": found["trending_rows"],
        "queries": found["query_rows"],
        "differences": len(examples),
        "examples": examples[:20],
    }


def run(
    name: str, messages: Sequence[Sequence[Event]], stack: Stack, say: Callable[[str], None]
) -> dict[str, Any]:
    """Stream, log, backfill, compare; the stack runs emulators and nothing else, and is empty."""
    env = stack.env
    stream = Store(env["GOOGLE_CLOUD_PROJECT"], env["FRESHET_BIGTABLE_INSTANCE"])
    instance = f"{env['FRESHET_BIGTABLE_INSTANCE']}-batch"
    ensure_tables(env["GOOGLE_CLOUD_PROJECT"], instance)
    batch = Store(env["GOOGLE_CLOUD_PROJECT"], instance)
    if name != "file":
        items = [parse_item(asdict(product)) for product in catalog.generate(seed=7)]
        for store in (stream, batch):
            # a tenth is unknown
            store.write([item_write(item, now_ms()) for item in items[: len(items) * 9 // 10]])
    began = time.monotonic()
    stack.start_process("pipeline")
    stack.wait_for("pipeline")
    sent = publish(stack, messages, say)
    stack.stop_process("pipeline")  # it finishes what it has read, and writes what waits
    streamed_s, began = time.monotonic() - began, time.monotonic()
    say(f"{name}: streamed in {streamed_s:.0f} s; folding the log in batch")
    times = [event.timestamp for message in messages for event in message]
    since, until = min(times).isoformat(), (max(times) + timedelta(seconds=1)).isoformat()
    code = backfill.run([f"--since={since}", f"--until={until}", f"--instance={instance}"], env)
    if code != 0:
        raise StackError(f"backfill: expected exit code 0, got {code}")
    report = {"events": sent, **compare(stream, batch), "streamed_s": round(streamed_s, 1)}
    report["batch_s"] = round(time.monotonic() - began, 1)
    stream.close()
    batch.close()
    return report


def in_own_stack(
    name: str, messages: Sequence[Sequence[Event]], say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """`run` in a stack of its own, which is stopped again."""
    before = dict(os.environ)
    try:
        with running_stack(f"parity-{name}", parts=EMULATORS, say=say) as stack:
            # Google's clients learn of their emulators in no other way
            os.environ.update(stack.env)
            return run(name, messages, stack, say)
    finally:
        os.environ.clear()
        os.environ.update(before)


def publish(stack: Stack, messages: Sequence[Sequence[Event]], say: Callable[[str], None]) -> int:
    """Publish the messages in order, each with an ingest time of its own, a slice when the log
    holds the last.

    Returns how many different events that is.
    """
    env, known, said = stack.env, set[str](), time.monotonic()
    topic = f"projects/{env['GOOGLE_CLOUD_PROJECT']}/topics/{env['FRESHET_EVENTS_TOPIC']}"
    start = datetime.now(UTC) - timedelta(hours=1)
    with publisher(env) as client, contextlib.closing(Warehouse(env)) as warehouse:
        for first in range(0, len(messages), SLICE_MESSAGES):
            batch = messages[first : first + SLICE_MESSAGES]
            moments = (start + timedelta(milliseconds=first + place) for place in range(len(batch)))
            bodies = [encode_message(_arrived(*pair)) for pair in zip(batch, moments, strict=True)]
            client.publish(topic=topic, messages=[PubsubMessage(data=body) for body in bodies])
            known |= {event.event_id for message in batch for event in message}
            _wait_until_logged(stack, warehouse, len(known))
            if time.monotonic() - said > 10:
                said = time.monotonic()
                say(f"{len(known):,} events streamed")
    return len(known)


def _arrived(message: Sequence[Event], moment: datetime) -> list[Event]:
    return [msgspec.structs.replace(event, ingest_time=moment) for event in message]


def _known(event: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Half of the shoppers have an account, and name it from the middle of each visit on."""
    browser = str(event.get("anonymous_id") or event.get("user_id"))
    number = random.Random(browser).random()
    if event.get("user_id") is None and number < 0.5 and rng.random() < 0.5:
        event["user_id"] = f"account-{browser}"
    return event


def _judged(event: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """As the collector writes down what it thinks of an event, and what the visitor says."""
    drawn = rng.random()
    if drawn < 0.1:
        consent = {"analytics": True, "personalization": False}
        said: dict[str, Any] = {"bot": "rate"} if drawn < 0.05 else {"consent": consent}
        event["metadata"] = {**event.get("metadata", {}), **said}
    return event


def _bot(rng: random.Random, now: datetime) -> list[list[Event]]:
    """A visitor who views 600 products in a minute and a half."""
    events = [
        Event(
            event_id=f"bot-{number}",
            event="view_product",
            timestamp=now - timedelta(seconds=100) + timedelta(milliseconds=150 * number),
            user_id="bot",
            session_id="bot",
            product_id=f"p{rng.randrange(1, 200):04d}",
        )
        for number in range(600)
    ]
    return by_visitor(events)


def _wait_until_logged(stack: Stack, warehouse: Warehouse, events: int) -> None:
    """Until the log holds every event. Raises TimeoutError when nothing comes for two minutes."""
    seen, since = -1, time.monotonic()
    while seen < events:
        stack.check()
        found = warehouse.log().distinct
        if found != seen:
            seen, since = found, time.monotonic()
        elif time.monotonic() - since > PATIENCE_S:
            raise TimeoutError(
                f"the log: expected {events:,} events, got {seen:,} in {PATIENCE_S:.0f} s"
            )
        time.sleep(0.05)


def _on_one_landmark(
    left: DecayedSums[Any], right: DecayedSums[Any]
) -> tuple[dict[Any, float], dict[Any, float]]:
    """The sums of both on the later landmark: which one a state is on says when it was touched, not
    what it holds.
    """
    landmark = max(left.landmark, right.landmark)
    one, two = (
        {k: math.ldexp(v, s.landmark - landmark) for k, v in s.sums.items()} for s in (left, right)
    )
    return one, two


def _numbers(values: bytes) -> tuple[float, ...]:
    return tuple(memoryview(values).cast("d")) if values else ()


def main(argv: Sequence[str]) -> int:
    """Exit code 0 when no row differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.parity", description=__doc__)
    parser.add_argument(
        "--file", type=Path, help="a file in REES46 columns, beside the simulated data"
    )
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="visits to simulate")
    options = parser.parse_args(argv)
    if options.file is not None and not options.file.is_file():
        print(f"parity: expected a file, got {options.file}", file=sys.stderr)
        return 2
    say = Progress()
    warnings.filterwarnings("ignore", message="Connecting to Bigtable emulator")
    names = ["simulated", *(["file"] if options.file is not None else [])]
    reports: dict[str, dict[str, Any]] = {}
    try:
        for name in names:
            messages = from_file(options.file) if name == "file" else simulated(options.sessions)
            reports[name] = in_own_stack(name, messages, say)
    except (StackError, TimeoutError) as error:
        print(f"parity: {error}", file=sys.stderr)
        return 1
    return _tell(reports)


def _tell(reports: dict[str, dict[str, Any]]) -> int:
    total = {
        key: sum(report[key] for report in reports.values())
        for key in ("profiles", "items", "differences")
    }
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / "parity.json"
    path.write_text(json.dumps({**total, "sets": reports}, indent=2) + "\n", encoding="utf-8")
    print(f"\nmachine: {machine_line()}")
    for name, report in reports.items():
        print(
            f"{name}: {report['events']:,} events, {report['profiles']:,} profiles, "
            f"{report['items']:,} items,"
            f" {report['scopes']:,} scopes, {report['queries']:,} queries:"
            f" {report['differences']} differences"
            f" (streamed in {report['streamed_s']} s, folded in batch in {report['batch_s']} s)"
        )
        for example in report["examples"]:
            print(f"  {example}")
    print(f"written to {path}")
    return 0 if total["differences"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
