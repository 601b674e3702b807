"""Watermarks: what the steps' timers hold back, on a runner that honours it as Dataflow does."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.testing.test_stream import TestStream as Script
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import TimerSpec, get_dofn_specs, is_stateful_dofn, on_timer
from apache_beam.transforms.window import GlobalWindows, Sessions, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from pipeline.core.events import Event
from pipeline.core.rules import Rules
from pipeline.main import build
from pipeline.ops.rules_file import load
from pipeline.options import arguments, as_options
from pipeline.steps.addresses import WatchAddresses
from pipeline.steps.decode import BY_ADDRESS, BY_BROWSER, Decode
from pipeline.steps.items import FoldItems
from pipeline.steps.keyed_state import KeyedState, StateOptions
from pipeline.steps.profiles import FoldProfiles
from pipeline.steps.sessions import SummarizeSessions
from pipeline.store.blocking import Bigtable
from tests.pipeline.running import Visitor, collect, message, outputs, run

DAY_S = 86_400.0
GAP_S, LATENESS_S, FLUSH_S = 1800.0, 3600.0, 1.0
MARK = "the watermark has passed"


def timers(pipeline: beam.Pipeline) -> set[tuple[type, str, str]]:
    """The timers of a graph: the DoFn that declares each, its name and its time domain."""
    found: set[tuple[type, str, str]] = set()

    class Stateful(PipelineVisitor):
        def visit_transform(self, applied: AppliedPTransform) -> None:
            dofn = getattr(applied.transform, "dofn", None)
            if dofn is not None and is_stateful_dofn(dofn):
                for spec in get_dofn_specs(dofn)[1]:
                    found.add((type(dofn), spec.name.removeprefix("ts-"), spec.time_domain))

    pipeline.visit(Stateful())
    return found


def test_the_only_timers_in_processing_time_are_those_that_end_a_flush_interval() -> None:
    options = as_options(arguments({"GOOGLE_CLOUD_PROJECT": "demo-project"}))
    pipeline = beam.Pipeline(options=options)
    build(pipeline, options)
    found = timers(pipeline)
    in_processing_time = [
        (dofn, name) for dofn, name, domain in found if domain == TimeDomain.REAL_TIME
    ]
    assert in_processing_time
    assert {name for _, name in in_processing_time} == {"flush"}
    assert all(issubclass(dofn, KeyedState) for dofn, _ in in_processing_time)
    assert {"expiry", "campaign"} <= {
        name for _, name, domain in found if domain == TimeDomain.WATERMARK
    }


def in_global_window() -> Any:
    return "InGlobalWindow" >> beam.WindowInto(GlobalWindows())


class Waits(beam.DoFn):
    """Sets a timer an hour ahead for each element, and passes the element on."""

    IN_EVENT_TIME = TimerSpec("event", TimeDomain.WATERMARK)
    IN_PROCESSING_TIME = TimerSpec("real", TimeDomain.REAL_TIME)

    def process(
        self,
        element: tuple[str, str],
        event: Any = beam.DoFn.TimerParam(IN_EVENT_TIME),
        real: Any = beam.DoFn.TimerParam(IN_PROCESSING_TIME),
    ) -> Iterator[tuple[str, str]]:
        key, domain = element
        timer = event if domain == TimeDomain.WATERMARK else real
        if domain == "clear":
            timer.clear()
        else:
            timer.set(Timestamp(3600))
        yield key, domain

    @on_timer(IN_EVENT_TIME)
    def in_event_time(self) -> None:
        """Nothing."""

    @on_timer(IN_PROCESSING_TIME)
    def in_processing_time(self) -> None:
        """Nothing."""


def order_of(stream: Script) -> list[str]:
    """The keys of windows in the order in which they closed, of a stream through `Waits`, and where
    `MARK` came.
    """

    def connect(pipeline: beam.Pipeline) -> None:
        elements = (
            pipeline | stream | beam.Map(lambda pair: pair).with_output_types(tuple[str, str])
        )
        waited = elements | beam.ParDo(Waits()).with_output_types(tuple[str, str])
        closed = (
            waited
            | beam.WindowInto(Sessions(10))
            | beam.GroupByKey()
            | beam.Keys()
            | in_global_window()
        )
        marks = elements | beam.Filter(lambda pair: pair[0] == MARK) | "Mark" >> beam.Keys()
        collect((closed, marks) | beam.Flatten(), "order")

    run(connect)
    found = outputs["order"]
    return found[: found.index(MARK) + 1]


def at(time_s: float, *elements: tuple[str, str]) -> list[Any]:
    return [TimestampedValue(element, time_s) for element in elements]


def marked(stream: Script, time_s: float) -> Script:
    """The stream, whose watermark then goes to `time_s`, and then `MARK`."""
    stream.advance_watermark_to(time_s).add_elements(at(time_s, (MARK, TimeDomain.WATERMARK)))
    return stream


def test_a_timer_in_processing_time_holds_the_watermark_and_one_in_event_time_does_not() -> None:
    event = marked(Script().add_elements(at(100, ("a", TimeDomain.WATERMARK))), 200)
    assert order_of(event.advance_watermark_to_infinity()) == ["a", MARK]

    real = marked(Script().add_elements(at(100, ("a", TimeDomain.REAL_TIME))), 200)
    assert order_of(real.advance_processing_time(3601).advance_watermark_to_infinity()) == [MARK]

    fired = (
        Script().add_elements(at(100, ("a", TimeDomain.REAL_TIME))).advance_processing_time(3601)
    )
    assert order_of(marked(fired, 200).advance_watermark_to_infinity()) == ["a", MARK]


def test_a_hold_is_that_of_the_element_which_set_the_timer_last_and_ends_when_it_is_cleared() -> (
    None
):
    later = Script().add_elements(at(100, ("a", TimeDomain.REAL_TIME))).advance_watermark_to(105)
    later.add_elements(at(150, ("a", TimeDomain.REAL_TIME)))
    assert order_of(
        marked(later, 140).advance_processing_time(3601).advance_watermark_to_infinity()
    ) == ["a", MARK]

    cleared = Script().add_elements(at(100, ("a", TimeDomain.REAL_TIME)))
    cleared.add_elements(at(101, ("a", "clear")))
    assert order_of(marked(cleared, 200).advance_watermark_to_infinity()) == ["a", MARK]


@pytest.fixture(scope="module")
def rules() -> Rules:
    """Those that an installation begins with; some wait for weeks."""
    return load()


class _IsMark(beam.DoFn):
    def process(self, element: tuple[str, Any]) -> Iterator[str]:
        if element[0] == f"u#{MARK}":
            yield MARK


def sessions(source: Bigtable, rules: Rules, stream: Script) -> None:
    """Fold a stream of messages as the pipeline does; sessions and the visitor `MARK` go to
    `outputs["order"]`.
    """

    def connect(pipeline: beam.Pipeline) -> None:
        state_options = StateOptions(source, ttl_s=DAY_S, flush_s=FLUSH_S)
        decoded = pipeline | stream | Decode(source)
        watched = decoded[BY_ADDRESS] | WatchAddresses(rules)
        browsers = (decoded[BY_BROWSER], watched[BY_BROWSER]) | "Browsers" >> beam.Flatten()
        accounts = (decoded.facts, watched.marks) | "Accounts" >> beam.Flatten()
        profiles = {"browsers": browsers, "accounts": accounts} | FoldProfiles(state_options, rules)
        collect(profiles.new | FoldItems(state_options), "items")
        closed = (
            profiles.new | SummarizeSessions(GAP_S, LATENESS_S) | beam.Keys() | in_global_window()
        )
        collect((closed, decoded.facts | beam.ParDo(_IsMark())) | beam.Flatten(), "order")

    run(connect)


def visit(visitor: Visitor, now_s: float) -> list[Any]:
    """A view and a purchase, in two messages, from one network address."""

    def of(name: str, at_s: float) -> Any:
        event = visitor.did(
            name, "p", at_s - datetime(2025, 1, 1, 12, tzinfo=UTC).timestamp(), user_id=visitor.tag
        )
        return TimestampedValue(message(event, address=f"net{visitor.tag}"), at_s)

    return [of("view_product", now_s), of("purchase", now_s + 0.5)]


def test_sessions_close_after_their_gap_while_the_state_of_those_who_have_bought_is_kept_for_a_day(
    source: Bigtable, visitor: Visitor, rules: Rules
) -> None:
    now_s = float(round(time.time()))
    stream = Script().advance_watermark_to(now_s - 1)
    for element in visit(visitor, now_s):
        stream.add_elements([element])
    # long past the flush; the script's clock begins at 0
    stream.advance_processing_time(now_s + 600)
    end_s = now_s + GAP_S + 2
    mark = Event(
        event_id=MARK, event="page_view", timestamp=datetime.fromtimestamp(end_s, UTC), user_id=MARK
    )
    stream.advance_watermark_to(end_s).add_elements([TimestampedValue(message(mark), end_s)])
    sessions(source, rules, stream.advance_watermark_to_infinity())
    assert outputs["order"][:2] == [visitor.key, MARK]


def test_a_drained_job_closes_the_sessions_that_are_open_at_once(
    source: Bigtable, visitor: Visitor, rules: Rules
) -> None:
    now_s = float(round(time.time()))
    stream = Script().advance_watermark_to(now_s - 1)
    for element in visit(visitor, now_s):
        stream.add_elements([element])
    sessions(source, rules, stream.advance_watermark_to_infinity())
    assert outputs["order"] == [visitor.key]
