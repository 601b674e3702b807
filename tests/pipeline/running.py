"""Runs steps of the pipeline on scripts of elements, and says what came out and what was counted
and stored.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream as Script
from apache_beam.utils.shared import Shared

from pipeline.core.catalog import Item, decode_item
from pipeline.core.events import Event, encode_message
from pipeline.core.fold import Fact, fold, item_sums
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.rules import Rules
from pipeline.local.runner import LeanDirectRunner
from pipeline.runtime.metrics import snapshot
from pipeline.steps.addresses import WatchAddresses
from pipeline.steps.bigtable import WriteToBigtable
from pipeline.steps.decode import BY_ADDRESS, BY_BROWSER, FACTS, INVALID, Decode
from pipeline.steps.items import FoldItems, add_rank, scope_counts
from pipeline.steps.keyed_state import StateOptions
from pipeline.steps.profiles import ANOMALIES, FoldProfiles
from pipeline.steps.queries import FoldQueries
from pipeline.store import layout
from pipeline.store.blocking import Bigtable, Store

START = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
START_MS = round(START.timestamp() * 1000)
# The runner of the local stack, and Beam's own, whose behaviour it must have.
RUNNERS = (LeanDirectRunner, BundleBasedDirectRunner)
# A script's clock and watermark start at 0, the folds set their timers by the wall: so late is past
# any of them.
LONG_S = 3e9

outputs: dict[str, list[Any]] = defaultdict(list)


def collect(values: Any, name: str) -> None:
    """Append the values to `outputs[name]`: the runner works in this process."""
    values | f"Collect {name}" >> beam.ParDo(_Collect(name))


class _Collect(beam.DoFn):
    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, value: Any) -> None:
        outputs[self._name].append(value)


def run(
    connect: Callable[[beam.Pipeline], object], runner: type = LeanDirectRunner
) -> Counter[str]:
    """Run what `connect` builds to its end; the outputs lie in `outputs`, what was counted is
    returned.
    """
    outputs.clear()
    before = _counts()
    pipeline = beam.Pipeline(runner=runner(), options=PipelineOptions(["--streaming"]))
    connect(pipeline)
    pipeline.run().wait_until_finish()
    found = _counts()
    found.subtract(before)
    return found


def _counts() -> Counter[str]:
    return Counter(
        {name: count for name, count in snapshot().items() if not name.endswith("_below")}
    )


def script(*bundles: Sequence[Any]) -> Script:
    """The values, bundle after bundle."""
    stream = Script()
    for values in bundles:
        stream.add_elements(values)
    stream.advance_watermark_to_infinity()
    return stream


def message(*events: Event, **attributes: str) -> PubsubMessage:
    return PubsubMessage(
        encode_message(list(events)), {"schema_version": "1", **attributes}, "m", None
    )


class Visitor:
    """Makes events of one visitor, on products and in categories whose names nothing else in the
    emulator has.
    """

    def __init__(self, tag: str) -> None:
        self.tag, self.key, self._count = tag, f"u#{tag}", 0

    @property
    def browser(self) -> str:
        """The key of the visitor's browser."""
        return f"a#a{self.tag}"

    def product(self, name: str) -> str:
        return f"{self.tag}-{name}"

    def did(self, name: str, product: str | None = None, at_s: float = 0, **fields: Any) -> Event:
        """An event `at_s` seconds after `START`, of the account and no browser unless `fields` say
        otherwise.
        """
        self._count += 1
        return Event(
            event_id=f"{self.tag}-e{self._count}",
            event=name,
            timestamp=START + timedelta(seconds=at_s),
            product_id=self.product(product) if product else None,
            ingest_time=START,
            **{"user_id": self.tag, "session_id": "s1", **fields},
        )

    def anonymously(
        self, name: str, product: str | None = None, at_s: float = 0, **fields: Any
    ) -> Event:
        """The same, of the browser and no account."""
        return self.did(
            name, product, at_s, **{"user_id": None, "anonymous_id": f"a{self.tag}", **fields}
        )

    def logged_in(
        self, name: str, product: str | None = None, at_s: float = 0, **fields: Any
    ) -> Event:
        """The same, of both."""
        return self.did(name, product, at_s, **{"anonymous_id": f"a{self.tag}", **fields})


def facts(*events: Event) -> tuple[str, list[Fact]]:
    """What a fold is given of one visitor's events, of which the catalog knows no item."""
    return FACTS, [(event, None) for event in events]


def browsing(visitor: Visitor) -> list[Event]:
    """A visit of 30 events on six products, each shown, viewed and clicked, some bought."""
    names = ["impression", "view_product", "click", "add_to_cart", "purchase"]
    return [visitor.did(names[n % 5], f"p{n % 6}", 10 * n) for n in range(30)]


def browsed(visitor: Visitor) -> dict[str, Item]:
    """The catalog of these six products, in two categories."""
    items = [Item(visitor.product(f"p{n}"), category=f"{visitor.tag}.c{n % 2}") for n in range(6)]
    return {item.item_id: item for item in items}


def disordered(events: list[Event], seed: int) -> list[PubsubMessage]:
    """The events in any order, a third of them twice, in messages of one to four."""
    random = Random(seed)
    disorder = events + random.sample(events, len(events) // 3)
    random.shuffle(disorder)
    messages = []
    while disorder:
        size = random.randint(1, 4)
        messages.append(message(*disorder[:size]))
        disorder = disorder[size:]
    return messages


def features(
    source: Bigtable,
    messages: Iterable[PubsubMessage],
    rules: Rules | None = None,
    shards: int = 1,
    flush_s: float = 0.0,
    runner: type = LeanDirectRunner,
) -> Counter[str]:
    """Decode, fold and write, as the whole pipeline does, each message in a bundle of its own."""

    def connect(pipeline: beam.Pipeline) -> None:
        state_options, links = StateOptions(source, flush_s=flush_s), Shared()
        decoded = pipeline | script(*([one] for one in messages)) | Decode(source, links)
        watched = decoded[BY_ADDRESS] | WatchAddresses(rules or Rules())
        browsers = (decoded[BY_BROWSER], watched[BY_BROWSER]) | "Browsers" >> beam.Flatten()
        accounts = (decoded.facts, watched.marks) | "Accounts" >> beam.Flatten()
        inputs = {"browsers": browsers, "accounts": accounts}
        profiles = inputs | FoldProfiles(state_options, rules, links)
        profiles.writes | "WriteProfiles" >> WriteToBigtable(source, after_commit=False)
        items = profiles.new | FoldItems(state_options, shards)
        items | "WriteItems" >> WriteToBigtable(source, after_commit=False)
        queries = profiles.new | FoldQueries(state_options)
        queries | "WriteQueries" >> WriteToBigtable(source, after_commit=False)
        collect(decoded[INVALID], "invalid")
        collect(decoded.facts, "by account")
        collect(profiles.writes, "profile writes")
        collect(items, "item writes")
        collect(profiles.new, "new")
        collect(profiles.campaigns, "campaigns")
        collect(profiles.anomalies, "anomalies")
        collect(watched[ANOMALIES], "address anomalies")

    return run(connect, runner)


class Clean:
    """What the features are when one visitor's events are folded in order, in one place."""

    def __init__(
        self, events: Iterable[Event], shards: int = 1, catalog: Mapping[str, Item] | None = None
    ) -> None:
        profile = UserProfile()
        in_order = sorted(events, key=lambda event: (event.timestamp, event.event_id))
        items = catalog or {}
        folded = [fold(profile, [(event, items.get(event.product_id or ""))]) for event in in_order]
        assert all(found.new for found in folded), "an event twice"
        self.profile = profile.copy()
        stats = item_sums(folded)
        self.scopes = scope_counts(folded, stats, shards)
        for item_id, found in stats.items():
            add_rank(self.scopes, item_id, found, shards)
        self.items = {item_id: ItemStats.decode(found.encode()) for item_id, found in stats.items()}


def stored_profile(store: Store, key: str) -> UserProfile:
    found = store.read(layout.PROFILE, key)
    assert found is not None, f"no profile under {key}"
    return UserProfile.decode(found[0])


def stored_items(store: Store, item_ids: Iterable[str]) -> dict[str, ItemStats]:
    found = store.read_many(layout.STATS, list(item_ids))
    return {item_id: ItemStats.decode(value) for item_id, (value, _) in found.items()}


def stored_stubs(store: Store, item_ids: Iterable[str]) -> dict[str, Item]:
    found = store.read_many(layout.STUB, list(item_ids))
    return {item_id: decode_item(value) for item_id, (value, _) in found.items()}


def stored_scopes(store: Store, rows: Iterable[str]) -> dict[str, Trending]:
    found = store.read_many(layout.TRENDING, list(rows))
    return {row: Trending.decode(value) for row, (value, _) in found.items()}
