"""The streaming graph: Pub/Sub in; profiles, items and trending in Bigtable, logs in BigQuery out."""

from __future__ import annotations

import logging
import os
import sys

import apache_beam as beam
from apache_beam.io import ReadFromPubSub
from apache_beam.options.pipeline_options import GoogleCloudOptions, SetupOptions

from pipeline.options import FreshetOptions, arguments, as_options
from pipeline.sinks import WriteRows
from pipeline.transforms import (
    INVALID,
    LOG,
    NEW,
    Bigtable,
    Decode,
    FoldItems,
    FoldProfiles,
    SummarizeSessions,
    WriteToBigtable,
)


def build(pipeline: beam.Pipeline, options: FreshetOptions) -> None:
    """Connect every step. Delivery is at least once end to end; the folds are idempotent, so nothing counts twice."""
    project = options.view_as(GoogleCloudOptions).project
    bigtable, ttl_s = Bigtable(project, options.bigtable_instance), options.state_ttl_s

    def rows_to(table: str) -> WriteRows:
        return WriteRows(project, options.dataset, table, options.row_sink)

    messages = pipeline | "ReadEvents" >> ReadFromPubSub(
        subscription=options.events_subscription, with_attributes=True
    )
    decoded = messages | "Decode" >> Decode(bigtable)
    decoded[INVALID] | "LogDeadLetters" >> rows_to("dead_letters")
    decoded[LOG] | "LogEvents" >> rows_to("events")

    profiles = decoded.facts | "FoldProfiles" >> FoldProfiles(bigtable, ttl_s)
    profiles.writes | "WriteProfiles" >> WriteToBigtable(bigtable)

    items = profiles[NEW] | "FoldItems" >> FoldItems(bigtable, options.trending_shards, ttl_s)
    items | "WriteItems" >> WriteToBigtable(bigtable)

    sessions = profiles[NEW] | "SummarizeSessions" >> SummarizeSessions(
        options.session_gap_s, options.session_lateness_s
    )
    sessions | "LogSessions" >> rows_to("sessions")


def run(argv: list[str]) -> None:
    """Run until stopped. Arguments override what the environment says."""
    options = as_options([*arguments(os.environ), *argv])
    options.view_as(SetupOptions).save_main_session = False
    with beam.Pipeline(options=options) as pipeline:
        build(pipeline, options)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    run(sys.argv[1:])
