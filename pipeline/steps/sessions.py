"""Visits as session windows: partial summaries, each spanning its events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import IntervalWindow, Sessions, TimestampedValue, WindowFn
from apache_beam.utils.timestamp import Duration, Timestamp

from pipeline.core.privacy.consent import may_log
from pipeline.core.sessions import SessionSummary, merged, runs
from pipeline.core.trust import NewFacts
from pipeline.runtime.clock import now_ms
from pipeline.runtime.metrics import Counter
from pipeline.steps.bigquery import RowToInsert


class SpanSessions(Sessions):
    """Beam's Sessions for elements that span time: `(key, SessionSummary)` reaches from its first
    event to its last.
    """

    def assign(self, context: WindowFn.AssignContext) -> list[IntervalWindow]:
        _, summary = cast(tuple[str, SessionSummary], context.element)
        first, last = Timestamp(summary.first_ms / 1000), Timestamp(summary.last_ms / 1000)
        return [IntervalWindow(first, last + self.gap_size)]


@dataclass(slots=True)
class Visits:
    """Partial summaries of a message, one a visit; `too_late` counts events of those that ended
    longer ago than a session is kept.
    """

    summaries: list[SessionSummary]
    too_late: int


class MessageSummary:
    """New facts of a message into partial summaries; no clock."""

    def __init__(self, gap_s: float, lateness_s: float) -> None:
        self._gap_ms, self._kept_ms = round(gap_s * 1000), round((gap_s + lateness_s) * 1000)

    def summarize(self, new: NewFacts, now: int) -> Visits:
        """Sum what may be logged, by visit; `now` is in ms."""
        logged = [fact for fact in new.facts if may_log(fact[0])]
        summaries = list(runs(logged, self._gap_ms))
        oldest_ms = now - self._kept_ms
        return Visits(summaries, sum(one.events for one in summaries if one.last_ms < oldest_ms))


class SummarizeMessage(beam.DoFn):
    """`MessageSummary` on new facts by visitor; see `SummarizeSessions`."""

    def __init__(self, gap_s: float, lateness_s: float) -> None:
        self._summary = MessageSummary(gap_s, lateness_s)
        self._too_late = Counter("sessions", "too_late")

    def process(self, element: tuple[str, NewFacts]) -> Iterator[TimestampedValue]:
        key, new = element
        visits = self._summary.summarize(new, now_ms())
        self._too_late.inc(visits.too_late)
        for partial in visits.summaries:
            yield TimestampedValue((key, partial), Timestamp(partial.first_ms / 1000))


def session_rows(session: tuple[str, SessionSummary]) -> list[RowToInsert]:
    """The row of the sessions table."""
    key, summary = session
    return [RowToInsert(None, summary.row(key, datetime.now(UTC)))]


class SummarizeSessions(beam.PTransform):
    """Summarize each visit: `(profile key, SessionSummary)`, which `session_rows` makes a row of.

    Session windows of `gap_s` by event time, each message's events entering as one partial summary
    whose window spans them. Fires when the watermark passes the end and again for each late element
    within `lateness_s`, accumulating, so the newest row of a session is the whole of it. Beam
    drops, without counting, what comes when the watermark has passed its visit's end by more than
    `lateness_s`; the watermark is never ahead of the clock, so the counter `too_late`, events that
    are later than that by the clock, counts at least all that were dropped.

    A summary goes into the log: events whose visitor denied analytics are in none.
    """

    def __init__(self, gap_s: float = 1800.0, lateness_s: float = 3600.0) -> None:
        super().__init__()
        if gap_s <= 0 or lateness_s < 0:
            raise ValueError(
                f"gap_s and lateness_s: expected above 0 and at least 0, got {gap_s}, {lateness_s}"
            )
        self._gap_s, self._lateness_s = gap_s, lateness_s

    def expand(self, new: PCollection) -> Any:
        return (
            new
            | "Partials" >> beam.ParDo(SummarizeMessage(self._gap_s, self._lateness_s))
            | "Windows"
            >> beam.WindowInto(
                SpanSessions(self._gap_s),
                trigger=AfterWatermark(late=AfterCount(1)),
                accumulation_mode=AccumulationMode.ACCUMULATING,
                allowed_lateness=Duration.of(self._lateness_s),
            )
            | "Merge" >> beam.CombinePerKey(merged)
        )
