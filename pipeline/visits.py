"""Visits as session windows: partial summaries, each spanning its events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

from apache_beam.transforms.window import IntervalWindow, Sessions, TimestampedValue, WindowFn
from apache_beam.utils.timestamp import Timestamp

from pipeline.core.consent import may_log
from pipeline.core.sessions import SessionSummary, runs
from pipeline.dofn import LeanDoFn
from pipeline.folding import NewFacts
from pipeline.metrics import Counter
from pipeline.sinks import RowToInsert
from pipeline.store import now_ms


class SpanSessions(Sessions):
    """Beam's Sessions for elements that span time: `(key, SessionSummary)` reaches from its first event to its last."""

    def assign(self, context: WindowFn.AssignContext) -> list[IntervalWindow]:
        _, summary = cast(tuple[str, SessionSummary], context.element)
        first, last = Timestamp(summary.first_ms / 1000), Timestamp(summary.last_ms / 1000)
        return [IntervalWindow(first, last + self.gap_size)]


class SummarizeMessage(LeanDoFn):
    """One partial summary a message and visit; see `transforms.SummarizeSessions`."""

    def __init__(self, gap_s: float, lateness_s: float) -> None:
        self._gap_ms, self._kept_ms = round(gap_s * 1000), round((gap_s + lateness_s) * 1000)
        self._too_late = Counter("sessions", "too_late")

    def process(self, element: tuple[str, NewFacts]) -> Iterator[TimestampedValue]:
        key, new = element
        oldest_ms = now_ms() - self._kept_ms
        for partial in runs([fact for fact in new.facts if may_log(fact[0])], self._gap_ms):
            if partial.last_ms < oldest_ms:
                self._too_late.inc(partial.events)
            yield TimestampedValue((key, partial), Timestamp(partial.first_ms / 1000))


def session_rows(session: tuple[str, SessionSummary]) -> list[RowToInsert]:
    """The row of the sessions table."""
    key, summary = session
    return [RowToInsert(None, summary.row(key, datetime.now(UTC)))]
