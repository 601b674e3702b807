"""The features on Flink: a keyed process function over managed state, streaming mode, parallelism
one.

Python runs inside the JVM ("thread" mode), the faster of PyFlink's two ways to call it here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import Encoder
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSink, FileSource, StreamFormat
from pyflink.datastream.state import ValueStateDescriptor

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

END_OF_STREAM_MS = 2**63 - 2  # the watermark passes it once the source has ended

Buckets = dict[int, list[int]]
Sums = dict[str, tuple[float, int]]
State = dict[str, Any]


class FoldVisitor(KeyedProcessFunction):  # type: ignore[misc]
    """One state object a visitor, read and written once an event; a timer at the end of the stream
    reads it.
    """

    def open(self, runtime_context: RuntimeContext) -> None:
        self.visitor = runtime_context.get_state(
            ValueStateDescriptor("visitor", Types.PICKLED_BYTE_ARRAY())
        )

    def process_element(self, value: Event, ctx: KeyedProcessFunction.Context) -> None:
        state = self.visitor.value()
        if state is None:
            state = empty()
            ctx.timer_service().register_event_time_timer(END_OF_STREAM_MS)
        if value["event_id"] not in state["seen"]:
            count(state, value)
            remember(state["seen"], value["event_id"], value["time_ms"])
            self.visitor.update(state)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[str]:
        yield json.dumps(features(ctx.get_current_key(), self.visitor.value()))


def empty() -> State:
    """A visitor of whom nothing is known; plain containers, which pickle wherever the function
    runs.
    """
    return {
        "now_ms": 0,
        "seen": {},
        "buckets": {width_ms: {} for width_ms in RINGS},
        "category": {name: {} for name in HALF_LIVES},
        "brand": {name: {} for name in HALF_LIVES},
    }


def count(state: State, event: Event) -> None:
    """Add a new event to windows and interests."""
    time_ms = event["time_ms"]
    state["now_ms"] = max(state["now_ms"], time_ms)
    for width_ms, length in RINGS.items():
        add_to_buckets(
            state["buckets"][width_ms], CODES[event["event"]], time_ms // width_ms, length
        )
    weight = INTEREST_WEIGHTS.get(event["event"])
    if weight:
        for name, half_life_ms in HALF_LIVES.items():
            add_decayed(state["category"][name], event["category"], weight, time_ms, half_life_ms)
            if event["brand"]:
                add_decayed(state["brand"][name], event["brand"], weight, time_ms, half_life_ms)


def add_to_buckets(buckets: Buckets, code: int, bucket: int, length: int) -> None:
    """Count one in its bucket; the newest `length` buckets stay."""
    buckets.setdefault(bucket, [0] * len(CODES))[code] += 1
    if len(buckets) > length:
        del buckets[min(buckets)]


def add_decayed(sums: Sums, key: str, weight: float, time_ms: int, half_life_ms: int) -> None:
    """Add to a sum that stands as of its newest time; an older weight is decayed first."""
    total, as_of_ms = sums.get(key, (0.0, time_ms))
    if time_ms >= as_of_ms:
        sums[key] = total * 2 ** ((as_of_ms - time_ms) / half_life_ms) + weight, time_ms
    else:
        sums[key] = total + weight * 2 ** ((time_ms - as_of_ms) / half_life_ms), as_of_ms


def remember(seen: dict[str, int], event_id: str, time_ms: int) -> None:
    """Keep the newest `SEEN_IDS` ids."""
    seen[event_id] = time_ms
    if len(seen) > SEEN_IDS:
        _, oldest = min((time_ms, event_id) for event_id, time_ms in seen.items())
        del seen[oldest]


def features(user_id: str, state: State) -> Features:
    """What the state says at the time of its newest event."""
    now_ms = state["now_ms"]
    return Features(
        user_id=user_id,
        now_ms=now_ms,
        windows={
            name: totals(state["buckets"][width_ms], (now_ms - length_ms) // width_ms)
            for name, (length_ms, width_ms) in WINDOWS.items()
        },
        category={
            name: decayed(sums, now_ms, HALF_LIVES[name])
            for name, sums in state["category"].items()
        },
        brand={
            name: decayed(sums, now_ms, HALF_LIVES[name]) for name, sums in state["brand"].items()
        },
    )


def totals(buckets: Buckets, first: int) -> list[int]:
    """Counts by type from bucket `first` on; the newest event's bucket is always among them."""
    return [
        sum(column)
        for column in zip(*(buckets[each] for each in buckets if each >= first), strict=True)
    ]


def decayed(sums: Sums, now_ms: int, half_life_ms: int) -> dict[str, float]:
    """Every sum at `now_ms`."""
    return {
        key: total * 2 ** ((as_of_ms - now_ms) / half_life_ms)
        for key, (total, as_of_ms) in sums.items()
    }


def main(source: str, sink: str) -> None:
    """Read the messages in `source`, write the features to part files under the folder `sink`."""
    # the JVM's Python does not know the virtual environment
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    configuration = Configuration()
    configuration.set_string("python.execution-mode", "thread")
    configuration.set_string("pipeline.object-reuse", "true")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(1)
    environment.set_python_executable(sys.executable)
    messages = FileSource.for_record_stream_format(StreamFormat.text_line_format(), source).build()
    lines = FileSink.for_row_format(sink, Encoder.simple_string_encoder()).build()
    (
        environment.from_source(messages, WatermarkStrategy.no_watermarks(), "read messages")
        .flat_map(json.loads, output_type=Types.PICKLED_BYTE_ARRAY())
        .key_by(lambda event: event["user_id"], key_type=Types.STRING())
        .process(FoldVisitor(), output_type=Types.STRING())
        .sink_to(lines)
    )
    environment.execute("features")


if __name__ == "__main__":
    main(*sys.argv[1:])
