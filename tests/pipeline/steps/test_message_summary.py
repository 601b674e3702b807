"""The logic of sessions before their windows: a message's new facts into partial summaries."""

from __future__ import annotations

from pipeline.core.events import Event
from pipeline.core.trust import NewFacts
from pipeline.steps.sessions import MessageSummary, Visits
from tests.pipeline.running import START_MS, Visitor

GAP_S, LATENESS_S = 1800, 3600
KEPT_MS = (GAP_S + LATENESS_S) * 1000
VISITOR = Visitor("sessions")


def summarize(*events: Event, now: int = START_MS) -> Visits:
    new = NewFacts([(event, None) for event in events], [], trusted=True)
    return MessageSummary(GAP_S, LATENESS_S).summarize(new, now)


def test_a_message_is_one_summary_a_visit_in_the_order_of_time() -> None:
    found = summarize(*(VISITOR.did("scroll", at_s=at_s) for at_s in (GAP_S + 1, 0, 1)))
    assert [(one.first_ms - START_MS, one.events) for one in found.summaries] == [
        (0, 2),
        ((GAP_S + 1) * 1000, 1),
    ]


def test_a_merge_of_profiles_which_brings_pairs_and_no_events_is_no_visit() -> None:
    assert summarize() == Visits([], 0)


def test_an_event_whose_visitor_denied_analytics_is_in_no_summary() -> None:
    denied = VISITOR.did("scroll", metadata={"consent": {"analytics": False}})
    [summary] = summarize(VISITOR.did("scroll", at_s=1), denied).summaries
    assert summary.events == 1


def test_events_count_as_too_late_when_their_visit_ended_longer_ago_than_it_is_kept() -> None:
    visit = [VISITOR.did("scroll", at_s=at_s) for at_s in (-1, 0)]
    assert summarize(*visit, now=START_MS + KEPT_MS).too_late == 0
    assert summarize(*visit, now=START_MS + KEPT_MS + 1).too_late == 2
