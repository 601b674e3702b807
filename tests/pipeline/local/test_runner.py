"""The runner of the local stack: it does what Beam's own does, reads at once, and its stop loses
nothing.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import contextlib
import copy
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import StrUtf8Coder
from apache_beam.io import ReadFromPubSub
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.direct.watermark_manager import _TransformWatermarks
from apache_beam.testing.test_stream import TestStream as Script
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow, Sessions, TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp
from google.pubsub_v1 import PubsubMessage
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Event, encode_message
from pipeline.local.runner import LeanDirectRunner, LeanResult, runner_for
from pipeline.local.state import KeyState
from pipeline.local.times import Earliest
from pipeline.local.watermarks import StepWatermarks
from tests.stack.bootstrap import bigquery_client
from tests.stack.prerequisites import REPO
from tests.stack.readiness import publisher, subscriber

STREAMING = PipelineOptions(["--streaming"])
LOOK_S = 0.25  # between two questions to the warehouse, each of which takes it a while
_outputs: dict[str, list[Any]] = defaultdict(list)


class _Collect(beam.DoFn):
    """Appends to `_outputs[name]`: the runner works in this process."""

    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, value: Any) -> None:
        _outputs[self._name].append(value)


def wait_until(
    condition: Callable[[], bool], patience_s: float = 60.0, pause_s: float = 0.01
) -> float:
    """Seconds until the condition held; fails when it does not in time."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < patience_s, "it did not happen in time"
        time.sleep(pause_s)
    return time.monotonic() - began


# Which runner


def test_the_runner_is_for_the_emulator_only() -> None:
    assert isinstance(runner_for({"PUBSUB_EMULATOR_HOST": "127.0.0.1:1"}), LeanDirectRunner)
    assert runner_for({}) is None


# The earliest of many times


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.none() | st.integers(0, 20), st.integers(0, 20))
    )
)
def test_the_earliest_times_are_those_of_a_full_scan_after_any_changes(
    changes: list[tuple[str, int | None, int]],
) -> None:
    times: dict[str, int] = {}
    earliest = Earliest()
    for key, at, now in changes:
        if at is None:
            times.pop(key, None)
        else:
            times[key] = at
        earliest.set(key, at)
        assert earliest.least() == min(times.values(), default=None)
        assert sorted(earliest.due(now)) == sorted(key for key, at in times.items() if at <= now)
        assert len(earliest) == len(times)


def test_a_time_that_moves_on_and_on_is_kept_once() -> None:
    earliest = Earliest()
    for at in range(1_000):
        earliest.set("key", at)
        assert earliest.due(at - 1) == []
    assert len(earliest._heap) <= 2


# Timers, against the runner's own scan


class _Clock:
    now = 0.0

    def time(self) -> float:
        return self.now


def _timers(watermarks: Any) -> tuple[set[tuple[Any, ...]], bool]:
    fired, waiting = watermarks.extract_transform_timers()
    return {
        (
            timer.encoded_key,
            timer.window,
            timer.name,
            timer.time_domain,
            timer.timestamp,
            timer.dynamic_timer_tag,
        )
        for timer in fired
    }, waiting


@pytest.mark.parametrize("seed", range(20))
def test_the_timers_that_fire_are_those_of_the_runners_own_scan_in_any_script(seed: int) -> None:
    random, clock = Random(seed), _Clock()
    states: dict[bytes, KeyState] = {}
    step: Any = "a step"
    lean, own = StepWatermarks(clock, states, step), _TransformWatermarks(clock, states, step)
    upstream = _TransformWatermarks(clock, {}, step)
    for watermarks in (lean, own):
        watermarks.update_input_transform_watermarks([upstream])
    seen = 0
    for _ in range(400):
        key = random.choice([b"a", b"b", b"c", b"d"])
        state = states[key].copy() if key in states else KeyState()
        window, name, tag = random.choice([1, 2]), random.choice("xy"), random.choice(["", "t"])
        domain = random.choice([TimeDomain.WATERMARK, TimeDomain.REAL_TIME])
        if random.random() < 0.7:
            moment = clock.now + random.uniform(-1, 8)
            state.set_timer(window, name, domain, Timestamp(moment), dynamic_timer_tag=tag)
        else:
            state.clear_timer(window, name, domain, dynamic_timer_tag=tag)
        states[key] = state
        lean.note_timers(key, state)

        clock.now += random.choice([0, 0.5])
        upstream._output_watermark = max(
            upstream._output_watermark, Timestamp(clock.now - random.uniform(0, 2))
        )
        assert own.refresh() == lean.refresh()
        found = _timers(lean)
        assert found == _timers(own)
        seen += len(found[0])
        for key, window, name, domain, _, tag in found[0]:
            states[key].clear_timer(window, name, domain, dynamic_timer_tag=tag)
            lean.note_timers(key, states[key])
    assert seen > 50


class _Alarms(beam.DoFn):
    """Sets and clears timers as its elements say; yields what fires, with what the state held."""

    SEEN = BagStateSpec("seen", StrUtf8Coder())
    EVENT = TimerSpec("event", TimeDomain.WATERMARK)
    REAL = TimerSpec("real", TimeDomain.REAL_TIME)

    def process(
        self,
        element: tuple[str, tuple[str, str, float]],
        seen: Any = beam.DoFn.StateParam(SEEN),
        event: Any = beam.DoFn.TimerParam(EVENT),
        real: Any = beam.DoFn.TimerParam(REAL),
    ) -> None:
        _, (domain, action, at_s) = element
        seen.add(f"{domain} {action} {at_s}")
        timer = event if domain == "event" else real
        if action == "set":
            timer.set(Timestamp(at_s))
        else:
            timer.clear()

    @on_timer(EVENT)
    def on_event(
        self,
        key: Any = beam.DoFn.KeyParam,
        at: Any = beam.DoFn.TimestampParam,
        seen: Any = beam.DoFn.StateParam(SEEN),
    ) -> Iterator[Any]:
        yield "event", key, float(at), sorted(seen.read())
        seen.clear()

    @on_timer(REAL)
    def on_real(
        self,
        key: Any = beam.DoFn.KeyParam,
        at: Any = beam.DoFn.TimestampParam,
        seen: Any = beam.DoFn.StateParam(SEEN),
    ) -> Iterator[Any]:
        yield "real", key, float(at), sorted(seen.read())


def _alarm_script(random: Random) -> Any:
    script = Script()
    for now_s in range(1, 60):
        action, domain = (
            random.choice(["set", "set", "set", "clear"]),
            random.choice(["event", "real"]),
        )
        what = domain, action, now_s + random.randint(1, 9)
        script.add_elements([TimestampedValue((random.choice("abc"), what), now_s)])
        if random.random() < 0.5:
            script.advance_watermark_to(Timestamp(now_s))
        if random.random() < 0.3:
            script.advance_processing_time(random.randint(1, 6))
    return script.advance_processing_time(1_000).advance_watermark_to_infinity()


def _run(runner: Any, name: str, connect: Callable[[Any], Any]) -> list[Any]:
    _outputs[name].clear()
    pipeline = beam.Pipeline(runner=runner, options=STREAMING)
    connect(pipeline) | "Collect" >> beam.ParDo(_Collect(name))
    pipeline.run().wait_until_finish()
    return list(_outputs[name])


@pytest.mark.parametrize("seed", range(5))
def test_a_step_with_timers_yields_what_it_yields_on_the_runners_own(seed: int) -> None:
    def connect(pipeline: Any) -> Any:
        return pipeline | _alarm_script(Random(seed)) | beam.ParDo(_Alarms())

    lean, own = (
        _run(runner, "alarms", connect)
        for runner in (LeanDirectRunner(), BundleBasedDirectRunner())
    )
    assert _by_key(lean) == _by_key(own) and len(lean) > 5


def _by_key(fired: list[Any]) -> list[Any]:
    """Each key's timers in their order; there is none between keys."""
    return sorted(fired, key=lambda timer: timer[1])


# Session windows, against the runner's own


def _visits(script: Script, lateness_s: float) -> Callable[[Any], Any]:
    def connect(pipeline: Any) -> Any:
        return (
            pipeline
            | script
            | beam.WindowInto(
                Sessions(10),
                trigger=AfterWatermark(late=AfterCount(1)),
                accumulation_mode=AccumulationMode.ACCUMULATING,
                allowed_lateness=Duration.of(lateness_s),
            )
            | beam.CombinePerKey(sum)
            | beam.Map(_with_window)
        )

    return connect


def _with_window(
    count: tuple[str, int], window: Any = beam.DoFn.WindowParam, pane: Any = beam.DoFn.PaneInfoParam
) -> tuple[Any, ...]:
    return (*count, float(window.start), float(window.end), pane.timing, pane.index)


@pytest.mark.parametrize("seed", range(5))
def test_visits_are_emitted_as_on_the_runners_own(seed: int) -> None:
    random, script = Random(seed), Script()
    for now_s in range(30, 150, 2):
        script.add_elements(
            [TimestampedValue((random.choice("abc"), 1), now_s - random.choice([0, 0, 1, 25]))]
        )
        if random.random() < 0.4:
            script.advance_watermark_to(Timestamp(now_s - 2))
    script.advance_watermark_to_infinity()
    lean = _run(LeanDirectRunner(), "lean", _visits(copy.copy(script), 1_000))
    # Beam's own raises a tuple, all emitted, when a longer visit has held a watermark back.
    with contextlib.suppress(TypeError):
        _run(BundleBasedDirectRunner(), "own", _visits(script, 1_000))
    assert sorted(lean) == sorted(_outputs["own"]) and len(lean) > 10


def test_a_visit_past_its_lateness_is_forgotten_and_a_lone_late_event_does_not_wake_it() -> None:
    script = (
        Script().add_elements([TimestampedValue(("a", 1), 0)]).advance_watermark_to(Timestamp(16))
    )
    script.add_elements([TimestampedValue(("a", 1), 9)]).advance_watermark_to_infinity()
    visits = _run(LeanDirectRunner(), "visits", _visits(script, 5))
    assert [visit[:4] for visit in visits] == [("a", 1, 0.0, 10.0), ("a", 1, 9.0, 19.0)]


def test_no_state_is_left_of_visits_that_are_over() -> None:
    script = Script()
    for number in range(30):
        script.add_elements([TimestampedValue((f"visitor {number}", 1), number)])
    script.advance_watermark_to(Timestamp(200)).add_elements([TimestampedValue(("last", 1), 200)])
    script.advance_watermark_to(Timestamp(202))
    pipeline = beam.Pipeline(runner=LeanDirectRunner(), options=STREAMING)
    _visits(script.advance_watermark_to_infinity(), 5)(pipeline)
    result: Any = pipeline.run()
    result.wait_until_finish()
    left = result._evaluation_context._transform_keyed_states
    assert [step.full_label for step, states in left.items() if states] == [
        "TestStream/_WatermarkController"
    ]


# On the Pub/Sub emulator


class Topic:
    """A topic of its own with one subscription, whose messages come again after ten seconds."""

    def __init__(self, env: Mapping[str, str], tag: str) -> None:
        project = f"projects/{env['GOOGLE_CLOUD_PROJECT']}"
        self._env, self.topic = env, f"{project}/topics/direct-{tag}"
        self.subscription = f"{project}/subscriptions/direct-{tag}"
        with publisher(env) as topics, subscriber(env) as subscriptions:
            topics.create_topic(name=self.topic)
            subscriptions.create_subscription(
                request={"name": self.subscription, "topic": self.topic, "ack_deadline_seconds": 10}
            )

    def publish(self, *bodies: bytes) -> None:
        with publisher(self._env) as client:
            client.publish(topic=self.topic, messages=[PubsubMessage(data=body) for body in bodies])

    def left(self, wait_s: float = 0.0) -> list[bytes]:
        """What nobody has taken, or all that comes in a while; it stays where it is."""
        found: list[bytes] = []
        end = time.monotonic() + wait_s
        with subscriber(self._env) as client:
            while True:
                request = {
                    "subscription": self.subscription,
                    "max_messages": 1_000,
                    "return_immediately": True,
                }
                with pytest.warns(DeprecationWarning, match="return_immediately"):
                    received = client.pull(request, timeout=10).received_messages
                found += [message.message.data for message in received]
                if time.monotonic() > end:
                    return found
                time.sleep(0.1)


@pytest.fixture
def topic(emulators: Mapping[str, str], tag: str) -> Topic:
    return Topic(emulators, tag)


@contextlib.contextmanager
def running(connect: Callable[[beam.Pipeline], None]) -> Iterator[LeanResult]:
    """A pipeline in this process, stopped at the end."""
    _outputs.clear()
    pipeline = beam.Pipeline(runner=LeanDirectRunner(), options=STREAMING)
    connect(pipeline)
    result: Any = pipeline.run()
    try:
        yield result
    finally:
        result.stop()
        result.wait_until_finish()


def _has(name: str, count: int) -> Callable[[], bool]:
    return lambda: len(_outputs[name]) == count


def _reading(
    *topics: Topic, step: Callable[[], beam.DoFn] | None = None
) -> Callable[[beam.Pipeline], None]:
    def connect(pipeline: beam.Pipeline) -> None:
        for number, topic in enumerate(topics):
            messages = pipeline | f"Read {number}" >> ReadFromPubSub(
                subscription=topic.subscription
            )
            if step:
                messages = messages | f"Step {number}" >> beam.ParDo(step())
            messages | f"Collect {number}" >> beam.ParDo(_Collect(f"{number}"))

    return connect


def test_a_lone_message_comes_at_once_however_long_nothing_came(topic: Topic) -> None:
    with running(_reading(topic)):
        topic.publish(b"first")
        wait_until(lambda: _outputs["0"] == [b"first"])
        time.sleep(2)
        topic.publish(b"second")
        assert wait_until(lambda: b"second" in _outputs["0"]) < 0.5


def test_an_empty_subscription_holds_no_other_one_up(
    topic: Topic, emulators: Mapping[str, str], tag: str
) -> None:
    other = Topic(emulators, f"{tag}-other")
    with running(_reading(topic, other)):
        topic.publish(b"here")
        wait_until(lambda: _outputs["0"] == [b"here"])
        time.sleep(1)
        other.publish(b"there")
        assert wait_until(lambda: _outputs["1"] == [b"there"]) < 0.5


def test_what_waits_comes_in_bundles_larger_than_beams(topic: Topic) -> None:
    topic.publish(*[b"%d" % n for n in range(300)])
    with running(_reading(topic, step=_CountBundles)):
        wait_until(lambda: sum(_outputs["0"]) == 300)
    assert max(_outputs["0"]) > 10 and len(_outputs["0"]) < 30


class _CountBundles(beam.DoFn):
    def setup(self) -> None:
        _outputs["set up"].append(1)

    def start_bundle(self) -> None:
        self._count = 0

    def process(self, message: bytes) -> None:
        self._count += 1

    def finish_bundle(self) -> Iterator[Any]:
        yield beam.utils.windowed_value.WindowedValue(self._count, Timestamp(0), (GlobalWindow(),))

    def teardown(self) -> None:
        _outputs["torn down"].append(1)


def test_a_step_is_set_up_once_and_torn_down_at_the_end(topic: Topic) -> None:
    with running(_reading(topic, step=_CountBundles)):
        for number in (1, 2, 3):
            topic.publish(b"message")
            wait_until(_has("0", number))
        assert _outputs["set up"] == [1] and not _outputs["torn down"]
    assert _outputs["set up"] == [1] and _outputs["torn down"] == [1]


class _Fail(beam.DoFn):
    def process(self, message: bytes) -> Iterator[bytes]:
        _outputs["tried"].append(message)
        raise ValueError("no")
        yield message


def test_a_step_that_fails_ends_the_pipeline_with_its_error_and_its_message_comes_again(
    topic: Topic,
) -> None:
    pipeline = beam.Pipeline(runner=LeanDirectRunner(), options=STREAMING)
    _reading(topic, step=_Fail)(pipeline)
    result = pipeline.run()
    topic.publish(b"message")
    with pytest.raises(ValueError, match="no"):
        result.wait_until_finish()
    assert wait_until(lambda: topic.left() == [b"message"], 15) > 5


class _FailOnce(beam.DoFn):
    SEEN = ReadModifyWriteStateSpec("seen", StrUtf8Coder())

    def process(
        self, element: tuple[str, str], seen: Any = beam.DoFn.StateParam(SEEN)
    ) -> Iterator[str]:
        before = seen.read() or ""
        seen.write(before + element[1])
        yield before + element[1]
        if element[1] == "b" and len(_outputs["failed"]) < 1:
            _outputs["failed"].append(True)
            raise ValueError("once")


def test_a_bundle_that_is_tried_again_finds_the_state_as_it_was_before() -> None:
    script = (
        Script().add_elements([("k", "a")]).add_elements([("k", "b")]).add_elements([("k", "c")])
    )
    _outputs.clear()
    found = _run(LeanDirectRunner(), "tries", lambda p: p | script | beam.ParDo(_FailOnce()))
    assert found == ["a", "ab", "abc"] and _outputs["failed"] == [True]


class _Flush(beam.DoFn):
    """Holds messages back for half a second."""

    HELD = BagStateSpec("held", StrUtf8Coder())
    FLUSH = TimerSpec("flush", TimeDomain.REAL_TIME)

    def process(
        self,
        element: tuple[str, bytes],
        held: Any = beam.DoFn.StateParam(HELD),
        flush: Any = beam.DoFn.TimerParam(FLUSH),
    ) -> None:
        held.add(element[1].decode())
        flush.set(Timestamp(time.time() + 0.5))

    @on_timer(FLUSH)
    def on_flush(self, held: Any = beam.DoFn.StateParam(HELD)) -> Iterator[str]:
        yield from held.read()
        held.clear()


def _flushing(topic: Topic) -> Callable[[beam.Pipeline], None]:
    def connect(pipeline: beam.Pipeline) -> None:
        messages = pipeline | ReadFromPubSub(subscription=topic.subscription)
        keyed = messages | beam.ParDo(_Seen()) | beam.Map(lambda message: ("key", message))
        keyed | beam.ParDo(_Flush()) | "Collect" >> beam.ParDo(_Collect("flushed"))

    return connect


class _Seen(beam.DoFn):
    def process(self, message: bytes) -> Iterator[bytes]:
        _outputs["seen"].append(message)
        yield message


def test_a_real_time_timer_fires_when_it_is_due_while_nothing_comes(topic: Topic) -> None:
    with running(_flushing(topic)):
        topic.publish(b"held")
        wait_until(lambda: bool(_outputs["seen"]))
        assert 0.4 < wait_until(lambda: bool(_outputs["flushed"])) < 0.7


def test_a_stop_waits_for_timers_that_are_about_to_fire(topic: Topic) -> None:
    with running(_flushing(topic)):
        topic.publish(b"held")
        wait_until(lambda: bool(_outputs["seen"]))
    assert _outputs["flushed"] == ["held"]
    assert topic.left() == []


def test_a_stop_closes_the_windows(topic: Topic) -> None:
    def connect(pipeline: beam.Pipeline) -> None:
        messages = pipeline | ReadFromPubSub(subscription=topic.subscription) | beam.ParDo(_Seen())
        windows = messages | beam.Map(lambda message: ("key", 1)) | beam.WindowInto(Sessions(1800))
        windows | beam.CombinePerKey(sum) | "Collect" >> beam.ParDo(_Collect("visits"))

    with running(connect):
        topic.publish(b"one", b"two")
        wait_until(lambda: len(_outputs["seen"]) == 2)
        assert _outputs["visits"] == []
    assert _outputs["visits"] == [("key", 2)]


def test_what_a_stop_finds_unprocessed_is_there_for_the_next_reader_at_once(topic: Topic) -> None:
    with running(_reading(topic, step=_Slow)):
        topic.publish(*[b"%d" % n for n in range(500)])
        wait_until(lambda: bool(_outputs["0"]))
    left = topic.left(wait_s=1)
    assert len(left) >= 300
    assert sorted([*_outputs["0"], *left]) == sorted(b"%d" % n for n in range(500))


class _Slow(beam.DoFn):
    def process(self, message: bytes) -> Iterator[bytes]:
        time.sleep(0.005)
        yield message


# The pipeline as a process


class Process:
    """`pipeline.main` as the stack runs it."""

    def __init__(self, env: Mapping[str, str], log: Path, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "pipeline.main", "--read=events", *arguments]
        self._env, self._log = {**os.environ, **env}, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("a") as output:
            self._process = subprocess.Popen(
                self._command, cwd=REPO, env=self._env, stdout=output, stderr=subprocess.STDOUT
            )

    def stop(self) -> None:
        """As a deploy would: SIGTERM, upon which it ends well."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(10) == 0, self._log.read_text()[-4000:]

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def process(warehouse: Mapping[str, str], tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Makes processes of the pipeline, which are gone at the end."""
    made: list[Process] = []

    def make(*arguments: str) -> Process:
        made.append(Process(warehouse, tmp_path / "pipeline.log", *arguments))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def _messages(tag: str, numbers: range) -> list[bytes]:
    """A message a number, of five events of one of seven visitors."""
    return [
        encode_message([_view(f"{tag}-{number}-{n}", f"v{number % 7}") for n in range(5)])
        for number in numbers
    ]


def _view(event_id: str, visitor: str) -> Event:
    now = datetime.now(UTC)
    return Event(
        event_id=event_id,
        event="view_product",
        timestamp=now,
        user_id=visitor,
        product_id="p",
        ingest_time=now,
    )


def _count(env: Mapping[str, str], what: str, table: str) -> int:
    client = bigquery_client(env)
    try:
        [row] = client.query_and_wait(
            f"select coalesce({what}, 0) as n from `{env['FRESHET_DATASET']}.{table}`"
        )
        return int(row.n)
    finally:
        client.close()


def _logged(env: Mapping[str, str]) -> int:
    return _count(env, "count(distinct event_id)", "events")


def test_stopped_in_mid_stream_and_started_again_the_pipeline_counts_every_event_once(
    warehouse: Mapping[str, str], topic: Topic, process: Callable[..., Process], tag: str
) -> None:
    pipeline = process(f"--events_subscription={topic.subscription}")
    pipeline.start()
    topic.publish(*_messages(tag, range(1_000)))
    wait_until(lambda: _logged(warehouse) > 0, pause_s=LOOK_S)
    pipeline.stop()

    topic.publish(*_messages(tag, range(1_000, 1_050)))
    pipeline.start()
    wait_until(lambda: _logged(warehouse) == 1_050 * 5, 90, LOOK_S)
    pipeline.stop()
    assert _count(warehouse, "count(*)", "events_unique") == 1_050 * 5
    # Not the view of the latest: to it, a visit that a stop has cut and its rest that began before
    # are one.
    assert _count(warehouse, "sum(events)", "sessions") == 1_050 * 5


def test_killed_in_mid_stream_the_pipeline_gets_again_what_it_had_not_processed(
    warehouse: Mapping[str, str], topic: Topic, process: Callable[..., Process], tag: str
) -> None:
    pipeline = process(f"--events_subscription={topic.subscription}")
    pipeline.start()
    topic.publish(*_messages(tag, range(1_000)))
    wait_until(lambda: _logged(warehouse) > 0, pause_s=LOOK_S)
    pipeline.kill()

    pipeline.start()
    wait_until(lambda: _logged(warehouse) == 1_000 * 5, 90, LOOK_S)
    assert _count(warehouse, "count(*)", "events_unique") == 1_000 * 5
    pipeline.stop()
