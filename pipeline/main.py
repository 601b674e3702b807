"""The streaming graph: Pub/Sub in; profiles, items and trending in Bigtable, logs in BigQuery out."""

from __future__ import annotations

import logging
import os
import sys

import apache_beam as beam
from apache_beam.io import ReadFromPubSub
from apache_beam.options.pipeline_options import GoogleCloudOptions, SetupOptions

from pipeline.direct import runner_for
from pipeline.options import FreshetOptions, arguments, as_options
from pipeline.sinks import AsRows, WriteRows
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
    dead_letter_rows,
    session_rows,
)


def build(pipeline: beam.Pipeline, options: FreshetOptions) -> None:
    """Connect every step.

    Pub/Sub delivers at least once; the profile's fold drops what comes again, for all that follow. What a runner
    that is killed, or that repeats what is between steps, does to items and sessions: see `FoldItems`.
    """
    if options.read in ("events", "both"):
        fold_events(pipeline, options)
    if options.read in ("dead_letters", "both"):
        log_dead_letters(pipeline, options)


def fold_events(pipeline: beam.Pipeline, options: FreshetOptions) -> None:
    """Events to features and logs."""
    project = options.view_as(GoogleCloudOptions).project
    bigtable, ttl_s = Bigtable(project, options.bigtable_instance), options.state_ttl_s

    messages = pipeline | "ReadEvents" >> _messages(options.events_subscription)
    decoded = messages | "Decode" >> Decode(bigtable)
    decoded[INVALID] | "LogInvalid" >> _rows_to("dead_letters", options)
    decoded[LOG] | "LogEvents" >> _rows_to("events", options)

    profiles = decoded.facts | "FoldProfiles" >> FoldProfiles(bigtable, ttl_s)
    profiles.writes | "WriteProfiles" >> WriteToBigtable(bigtable, options.write_after_commit)

    items = profiles[NEW] | "FoldItems" >> FoldItems(bigtable, options.trending_shards, ttl_s)
    items | "WriteItems" >> WriteToBigtable(bigtable, options.write_after_commit)

    sessions = profiles[NEW] | "SummarizeSessions" >> SummarizeSessions(
        options.session_gap_s, options.session_lateness_s
    )
    sessions | "LogSessions" >> _rows_to("sessions", options, session_rows)


def log_dead_letters(pipeline: beam.Pipeline, options: FreshetOptions) -> None:
    """What the collector rejected, whole, to BigQuery."""
    messages = pipeline | "ReadDeadLetters" >> _messages(options.dead_letters_subscription)
    messages | "LogDeadLetters" >> _rows_to("dead_letters", options, dead_letter_rows)


def _messages(subscription: str) -> ReadFromPubSub:
    return ReadFromPubSub(subscription=subscription, with_attributes=True)


def _rows_to(table: str, options: FreshetOptions, as_rows: AsRows = list) -> WriteRows:
    project = options.view_as(GoogleCloudOptions).project
    return WriteRows(project, options.dataset, table, options.row_sink, as_rows)


def run(argv: list[str]) -> None:
    """Run until stopped. Arguments override what the environment says."""
    options = as_options([*arguments(os.environ), *argv])
    options.view_as(SetupOptions).save_main_session = False
    with beam.Pipeline(runner=runner_for(os.environ), options=options) as pipeline:
        build(pipeline, options)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    run(sys.argv[1:])
