"""The features on bytewax: a stateful operator keyed by visitor, one object a visitor, one
worker."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterable
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.files import FileSink, FileSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.run import cli_main

from tests.bench.engines.contract import (
    CODES,
    HALF_LIVES,
    INTEREST_WEIGHTS,
    RINGS,
    SEEN_IDS,
    WINDOWS,
    Event,
    Features,
)


class Decayed:
    """Sums by key, each as of its own newest time; an older weight is decayed before it is
    added."""

    def __init__(self, half_life_ms: int) -> None:
        self.half_life_ms = half_life_ms
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, key: str, weight: float, time_ms: int) -> None:
        value, as_of_ms = self.sums.get(key, (0.0, time_ms))
        if time_ms >= as_of_ms:
            self.sums[key] = (
                value * 2 ** ((as_of_ms - time_ms) / self.half_life_ms) + weight,
                time_ms,
            )
        else:
            self.sums[key] = (
                value + weight * 2 ** ((time_ms - as_of_ms) / self.half_life_ms),
                as_of_ms,
            )

    def at(self, now_ms: int) -> dict[str, float]:
        return {
            key: value * 2 ** ((as_of_ms - now_ms) / self.half_life_ms)
            for key, (value, as_of_ms) in self.sums.items()
        }


class Buckets:
    """Counts by type in the newest `length` buckets."""

    def __init__(self, width_ms: int, length: int) -> None:
        self.width_ms = width_ms
        self.length = length
        self.counts: dict[int, list[int]] = {}

    def add(self, code: int, time_ms: int) -> None:
        bucket = time_ms // self.width_ms
        self.counts.setdefault(bucket, [0] * len(CODES))[code] += 1
        if len(self.counts) > self.length:
            del self.counts[min(self.counts)]

    def totals(self, length_ms: int, now_ms: int) -> list[int]:
        first = (now_ms - length_ms) // self.width_ms
        inside = [counts for bucket, counts in self.counts.items() if bucket >= first]
        return [sum(column) for column in zip(*inside, strict=True)]


class VisitorLogic(StatefulBatchLogic[Event, Features, bytes]):  # type: ignore[misc]
    """All of a visitor's state; bytewax hands it the events that wait for the visitor, and the end
    of the stream.
    """

    def __init__(self) -> None:
        self.user_id = ""
        self.now_ms = 0
        self.seen: dict[str, int] = {}
        self.buckets = {width_ms: Buckets(width_ms, length) for width_ms, length in RINGS.items()}
        self.category = {name: Decayed(half_life_ms) for name, half_life_ms in HALF_LIVES.items()}
        self.brand = {name: Decayed(half_life_ms) for name, half_life_ms in HALF_LIVES.items()}

    def on_batch(self, values: list[Event]) -> tuple[Iterable[Features], bool]:
        for event in values:
            if event["event_id"] not in self.seen:
                self._count(event)
                self._remember(event["event_id"], event["time_ms"])
        return [], self.RETAIN

    def on_eof(self) -> tuple[Iterable[Features], bool]:
        return [self._features()], self.RETAIN

    def snapshot(self) -> bytes:
        return pickle.dumps(self)

    def _count(self, event: Event) -> None:
        self.user_id = event["user_id"]  # the operator does not tell the logic its key
        time_ms = event["time_ms"]
        self.now_ms = max(self.now_ms, time_ms)
        for buckets in self.buckets.values():
            buckets.add(CODES[event["event"]], time_ms)
        weight = INTEREST_WEIGHTS.get(event["event"])
        if weight:
            for name in HALF_LIVES:
                self.category[name].add(event["category"], weight, time_ms)
                if event["brand"]:
                    self.brand[name].add(event["brand"], weight, time_ms)

    def _remember(self, event_id: str, time_ms: int) -> None:
        self.seen[event_id] = time_ms
        if len(self.seen) > SEEN_IDS:
            _, oldest = min((time_ms, event_id) for event_id, time_ms in self.seen.items())
            del self.seen[oldest]

    def _features(self) -> Features:
        return Features(
            user_id=self.user_id,
            now_ms=self.now_ms,
            windows={
                name: self.buckets[width_ms].totals(length_ms, self.now_ms)
                for name, (length_ms, width_ms) in WINDOWS.items()
            },
            category={name: sums.at(self.now_ms) for name, sums in self.category.items()},
            brand={name: sums.at(self.now_ms) for name, sums in self.brand.items()},
        )


def decode(line: str) -> list[tuple[str, Event]]:
    """The events of a message under their visitors."""
    return [(event["user_id"], event) for event in json.loads(line)]


def restored(saved: bytes | None) -> VisitorLogic:
    """A visitor's logic, from a snapshot where there is one."""
    return pickle.loads(saved) if saved else VisitorLogic()


def flow(source: str, sink: str) -> Dataflow:
    """Messages in, every visitor's features out when the stream ends."""
    dataflow = Dataflow("features")
    messages = op.input("read messages", dataflow, FileSource(source))
    events = op.flat_map("decode", messages, decode)
    features = op.stateful_batch("fold visitors", events, restored)
    lines = op.map_value("encode", features, json.dumps)
    op.output("write features", lines, FileSink(Path(sink)))
    return dataflow


if __name__ == "__main__":
    cli_main(flow(*sys.argv[1:]))
