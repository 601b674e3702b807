"""The same state as a Beam combiner: one batch pipeline on the FnApiRunner, one worker in this
process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from tests.bench.engines.contract import Event
from tests.bench.engines.ours_features import Visitor


class FoldVisitor(beam.CombineFn):
    """Beam may fold anywhere and merge anyhow: `Visitor` gives the same in every split."""

    def create_accumulator(self) -> Visitor:
        return Visitor()

    def add_input(self, accumulator: Visitor, event: Event) -> Visitor:
        accumulator.add(event)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Visitor]) -> Visitor:
        merged = Visitor()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: Visitor) -> Visitor:
        return accumulator


def decode(line: str) -> list[tuple[str, Event]]:
    """The events of a message under their visitors."""
    return [(event["user_id"], event) for event in json.loads(line)]


def encode(user_id: str, visitor: Visitor) -> str:
    """The visitor's features as a line."""
    return json.dumps(visitor.features(user_id))


def main(source: str, sink: str) -> None:
    """Read the messages in `source`, write the features to `sink`."""
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        (
            pipeline
            | "ReadMessages" >> beam.io.ReadFromText(source)
            | "Decode" >> beam.FlatMap(decode)
            | "FoldVisitors" >> beam.CombinePerKey(FoldVisitor())  # type: ignore[no-untyped-call]
            | "Encode" >> beam.MapTuple(encode)
            | "WriteFeatures" >> beam.io.WriteToText(sink, num_shards=1, shard_name_template="")
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
