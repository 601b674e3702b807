"""Triggers and anomalies, as messages for their topics and rows for their tables."""

from __future__ import annotations

from datetime import UTC, datetime

from apache_beam.io.gcp.pubsub import PubsubMessage

from pipeline.core.rules import Anomaly, Trigger
from pipeline.steps.bigquery import RowToInsert


def as_message(found: Trigger | Anomaly) -> PubsubMessage:
    """The Pub/Sub message."""
    return PubsubMessage(found.message(), found.attributes())


def rule_rows(found: Trigger | Anomaly) -> list[RowToInsert]:
    """The row of the table `campaigns` or `anomalies`, with its id as insert id."""
    return [RowToInsert(found.id, found.row(datetime.now(UTC)))]
