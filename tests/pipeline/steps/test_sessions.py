"""Visits as session windows: where one ends, what a late event does to it, and what comes too
late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.test_stream import TestStream as Script
from apache_beam.transforms.window import IntervalWindow, TimestampedValue, WindowFn
from apache_beam.utils.timestamp import Timestamp

from pipeline.core.events import Event
from pipeline.core.sessions import SessionSummary
from pipeline.core.trust import NewFacts
from pipeline.local.runner import LeanDirectRunner
from pipeline.steps.sessions import SpanSessions, SummarizeSessions, session_rows
from tests.pipeline.running import RUNNERS, START, Visitor, collect, outputs, run, script

GAP_S, LATENESS_S = 1800, 3600


def new(visitor: Visitor, *events: Event) -> tuple[str, NewFacts]:
    """What the fold of a message hands on."""
    return visitor.key, NewFacts([(event, None) for event in events], [], True)


class Visit:
    """A script of events and watermarks in seconds after `START`, and the rows that came out."""

    def __init__(self, visitor: Visitor, runner: type = LeanDirectRunner) -> None:
        self._visitor, self._stream, self._runner = visitor, Script(), runner

    def event(self, *at_s: float, name: str = "view_product") -> Visit:
        """One element, as the fold of a message gives it."""
        element = new(self._visitor, *(self._visitor.did(name, "p", s) for s in at_s))
        # Beam's time of a message is when it was published, not when its events were.
        self._stream.add_elements([TimestampedValue(element, START.timestamp() + max(at_s))])
        return self

    def watermark(self, at_s: float) -> Visit:
        self._stream.advance_watermark_to(Timestamp(START.timestamp() + at_s))
        return self

    def rows(self) -> list[tuple[str, float, int]]:
        """(start, length in s, events) of each row in the order of emission."""
        stream = self._stream.advance_watermark_to_infinity()
        sessions = SummarizeSessions(GAP_S, LATENESS_S)
        run(lambda p: collect(p | stream | sessions | beam.Map(session_rows), "rows"), self._runner)
        return [_visit(entry.row) for rows in outputs["rows"] for entry in rows]


def _visit(row: dict[str, Any]) -> tuple[str, float, int]:
    start, end = (datetime.fromisoformat(row[name]) for name in ("session_start", "session_end"))
    return start.strftime("%H:%M:%S"), (end - start).total_seconds(), row["events"]


def test_events_less_than_the_gap_apart_are_one_visit(visitor: Visitor) -> None:
    assert Visit(visitor).event(0).event(GAP_S - 0.001).rows() == [("12:00:00", GAP_S - 0.001, 2)]


def test_events_exactly_the_gap_apart_are_two_visits(visitor: Visitor) -> None:
    rows = Visit(visitor).event(0).event(GAP_S).rows()
    assert sorted(rows) == [("12:00:00", 0, 1), ("12:30:00", 0, 1)]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_message_that_spans_a_gap_is_two_visits_and_one_that_fills_it_joins_them(
    visitor: Visitor, runner: type
) -> None:
    rows = Visit(visitor, runner).event(0, GAP_S + 60).rows()
    assert sorted(rows) == [("12:00:00", 0, 1), ("12:31:00", 0, 1)]
    rows = Visit(visitor, runner).event(0, GAP_S + 60).event(900).rows()
    assert rows == [("12:00:00", GAP_S + 60, 3)]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_visit_is_emitted_when_the_watermark_passes_its_end_and_not_before(
    visitor: Visitor, runner: type
) -> None:
    visit = Visit(visitor, runner).event(0).watermark(GAP_S - 1).event(60).watermark(GAP_S + 61)
    assert visit.event(2 * GAP_S + 60).rows() == [("12:00:00", 60, 2), ("13:01:00", 0, 1)]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_late_event_refines_its_visit_with_a_row_that_holds_the_whole(
    visitor: Visitor, runner: type
) -> None:
    rows = Visit(visitor, runner).event(0, 60).watermark(GAP_S + 120).event(30).rows()
    assert rows == [("12:00:00", 60, 2), ("12:00:00", 60, 3)]


def test_a_late_event_can_begin_a_visit_earlier_or_end_it_later(visitor: Visitor) -> None:
    emitted = Visit(visitor).event(600).watermark(600 + GAP_S + 60)
    assert emitted.event(0).rows() == [("12:10:00", 0, 1), ("12:00:00", 600, 2)]
    emitted = Visit(visitor).event(600).watermark(600 + GAP_S + 60)
    assert emitted.event(1200).rows() == [("12:10:00", 0, 1), ("12:10:00", 600, 2)]


def test_a_late_event_can_join_two_visits(visitor: Visitor) -> None:
    rows = Visit(visitor).event(0).event(GAP_S + 600).watermark(2 * GAP_S + 700).event(1200).rows()
    assert sorted(rows[:2]) == [("12:00:00", 0, 1), ("12:40:00", 0, 1)]
    assert rows[-1] == ("12:00:00", GAP_S + 600, 3)


def test_an_event_within_the_lateness_counts_and_one_beyond_is_dropped(visitor: Visitor) -> None:
    end_s = GAP_S + LATENESS_S
    assert Visit(visitor).event(0).watermark(end_s).event(0).rows()[-1] == ("12:00:00", 0, 2)
    assert Visit(visitor).event(0).watermark(end_s + 1).event(0, 0.5).rows() == [("12:00:00", 0, 1)]


def test_visits_of_different_visitors_are_apart(tag: str) -> None:
    visitors = [Visitor(tag + "a"), Visitor(tag + "b")]
    stream = script([new(v, v.did("scroll", at_s=n)) for n, v in enumerate(visitors)])
    run(lambda p: collect(p | stream | SummarizeSessions() | beam.Map(session_rows), "rows"))
    assert sorted(rows[0].row["visitor"] for rows in outputs["rows"]) == [
        visitor.key for visitor in visitors
    ]


def test_events_whose_visit_ended_longer_ago_than_the_lateness_are_counted(
    visitor: Visitor,
) -> None:
    now = datetime.now(UTC)
    ages_s = (0, GAP_S + LATENESS_S - 60, GAP_S + LATENESS_S + 1)
    events = [
        Event(
            event_id=str(n),
            event="scroll",
            timestamp=now - timedelta(seconds=age_s),
            user_id=visitor.tag,
        )
        for n, age_s in enumerate(ages_s)
    ]
    stream = script([new(visitor, event) for event in events])
    counts = run(lambda p: collect(p | stream | SummarizeSessions(GAP_S, LATENESS_S), "rows"))
    assert counts["sessions/too_late"] == 1


@pytest.mark.parametrize(("gap_s", "lateness_s"), [(0, 1), (-1, 1), (1, -1)])
def test_a_gap_of_nothing_or_a_negative_lateness_is_refused(
    gap_s: float, lateness_s: float
) -> None:
    with pytest.raises(
        ValueError, match=f"gap_s and lateness_s: expected .* got {gap_s}, {lateness_s}"
    ):
        SummarizeSessions(gap_s, lateness_s)


def test_a_span_reaches_from_its_first_event_to_the_gap_after_its_last(visitor: Visitor) -> None:
    summary = SessionSummary()
    summary.add(visitor.did("scroll", at_s=90.5))
    summary.add(visitor.did("scroll", at_s=10))
    context = WindowFn.AssignContext(Timestamp(0), element=(visitor.key, summary))
    start = START.timestamp()
    assert SpanSessions(60).assign(context) == [
        IntervalWindow(Timestamp(start + 10), Timestamp(start + 150.5))
    ]
