"""The streaming graph: Pub/Sub in; features in Bigtable, logs in BigQuery, campaigns and anomalies
on topics out.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import nullcontext

import apache_beam as beam
from apache_beam.io import ReadFromPubSub, WriteToPubSub
from apache_beam.options.pipeline_options import GoogleCloudOptions, SetupOptions
from apache_beam.pvalue import PCollection
from apache_beam.utils.shared import Shared

from pipeline.core.rules import Anomaly, Trigger
from pipeline.lease import LeaseHeld, lease_of
from pipeline.local.runner import runner_for
from pipeline.ops.rules_file import rules_of
from pipeline.options import FreshetOptions, arguments, as_options
from pipeline.runtime.metrics import Reporter
from pipeline.steps.addresses import WatchAddresses
from pipeline.steps.bigquery import AsRows, WriteRows
from pipeline.steps.bigtable import WriteToBigtable
from pipeline.steps.decode import BY_ADDRESS, BY_BROWSER, INVALID, LOG, Decode, dead_letter_rows
from pipeline.steps.items import FoldItems
from pipeline.steps.keyed_state import StateOptions
from pipeline.steps.profiles import ANOMALIES, FoldProfiles
from pipeline.steps.publish import as_message, rule_rows
from pipeline.steps.queries import FoldQueries
from pipeline.steps.sessions import SummarizeSessions, session_rows

FOLDS = ("events", "both")


def build(pipeline: beam.Pipeline, options: FreshetOptions) -> None:
    """Connect every step.

    Pub/Sub delivers at least once; the profile's fold drops what comes again, for all that follow.
    What a runner that is killed, or that repeats what is between steps, does to items and sessions:
    see `FoldItems`.
    """
    if options.read in FOLDS:
        fold_events(pipeline, options)
    if options.read in ("dead_letters", "both"):
        log_dead_letters(pipeline, options)


def fold_events(pipeline: beam.Pipeline, options: FreshetOptions) -> None:
    """Events to features and logs."""
    lease = lease_of(options)
    bigtable = lease.target
    state_options = StateOptions(bigtable, options.state_ttl_s, options.write_flush_s, lease)
    rules = rules_of(options.rules)
    links = Shared()  # one memory a process, for the two steps that it is given to

    messages = pipeline | "ReadEvents" >> _messages(options.events_subscription)
    decoded = messages | "Decode" >> Decode(bigtable, links)
    decoded[INVALID] | "LogInvalid" >> _rows_to("dead_letters", options)
    decoded[LOG] | "LogEvents" >> _rows_to("events", options)

    watched = decoded[BY_ADDRESS] | "WatchAddresses" >> WatchAddresses(rules)
    browsers = (decoded[BY_BROWSER], watched[BY_BROWSER]) | "Browsers" >> beam.Flatten()
    accounts = (decoded.facts, watched.marks) | "Accounts" >> beam.Flatten()

    profiles = {"browsers": browsers, "accounts": accounts} | "FoldProfiles" >> FoldProfiles(
        state_options, rules, links
    )
    profiles.writes | "WriteProfiles" >> WriteToBigtable(
        bigtable, options.write_after_commit, lease
    )

    items = profiles.new | "FoldItems" >> FoldItems(state_options, options.trending_shards)
    items | "WriteItems" >> WriteToBigtable(bigtable, options.write_after_commit, lease)

    queries = profiles.new | "FoldQueries" >> FoldQueries(state_options)
    queries | "WriteQueries" >> WriteToBigtable(bigtable, options.write_after_commit, lease)

    sessions = profiles.new | "SummarizeSessions" >> SummarizeSessions(
        options.session_gap_s, options.session_lateness_s
    )
    sessions | "LogSessions" >> _rows_to("sessions", options, session_rows)

    anomalies = (profiles.anomalies, watched[ANOMALIES]) | "Anomalies" >> beam.Flatten()
    _publish_and_log(profiles.campaigns, "campaigns", options.campaigns_topic, options)
    _publish_and_log(anomalies, "anomalies", options.anomalies_topic, options)


def log_dead_letters(pipeline: beam.Pipeline, options: FreshetOptions) -> None:
    """Dead letters of the collector, whole, to BigQuery."""
    messages = pipeline | "ReadDeadLetters" >> _messages(options.dead_letters_subscription)
    messages | "LogDeadLetters" >> _rows_to("dead_letters", options, dead_letter_rows)


def _publish_and_log(
    found: PCollection[Trigger | Anomaly], table: str, topic: str, options: FreshetOptions
) -> None:
    """Publish what the rules found, and log it."""
    name = table.capitalize()
    found | f"Log{name}" >> _rows_to(table, options, rule_rows)
    messages = found | f"{name}AsMessages" >> beam.Map(as_message)
    messages | f"Publish{name}" >> WriteToPubSub(topic, with_attributes=True)


def _messages(subscription: str) -> ReadFromPubSub:
    return ReadFromPubSub(subscription=subscription, with_attributes=True)


def _rows_to(table: str, options: FreshetOptions, as_rows: AsRows = list) -> WriteRows:
    project = options.view_as(GoogleCloudOptions).project
    return WriteRows(project, options.dataset, table, options.row_sink, as_rows)


def run(argv: list[str]) -> None:
    """Run until stopped. Arguments override what the environment says."""
    options = as_options([*arguments(os.environ), *argv])
    options.view_as(SetupOptions).save_main_session = False
    folding = lease_of(options).taken() if options.read in FOLDS else nullcontext()
    with (
        Reporter(),
        folding,
        beam.Pipeline(runner=runner_for(os.environ), options=options) as pipeline,
    ):
        build(pipeline, options)


def main(argv: list[str]) -> None:
    """Run until stopped; a job that is refused says why, in one line."""
    try:
        run(argv)
    except LeaseHeld as held:
        sys.exit(f"pipeline: {held}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("pipeline.metrics").setLevel(logging.INFO)
    main(sys.argv[1:])
