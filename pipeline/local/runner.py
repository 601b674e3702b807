"""Beam's DirectRunner for the local stack: no slower with more keys, and its stop loses nothing.

It runs the same graph with Beam's own evaluators, trigger driver and watermarks. What differs is said at each class;
docs/decisions/direct-runner.md says why. Only private parts of Beam are changed here and nowhere else, by subclasses,
so a new version of Beam asks for this file and its tests alone.
"""

# Beam's private classes are half typed, and their attributes are of the classes that we replace.
# mypy: disable-error-code="no-untyped-call,attr-defined,no-any-return,union-attr,override,arg-type"

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from types import FrameType
from typing import Any

import apache_beam as beam
from apache_beam import coders, pvalue
from apache_beam.internal import pickler
from apache_beam.options.value_provider import RuntimeValueProvider
from apache_beam.pipeline import AppliedPTransform
from apache_beam.runners import common
from apache_beam.runners.direct import direct_runner
from apache_beam.runners.direct import transform_evaluator as evaluators
from apache_beam.runners.direct.bundle_factory import BundleFactory
from apache_beam.runners.direct.clock import RealClock, TestClock
from apache_beam.runners.direct.consumer_tracking_pipeline_visitor import ConsumerTrackingPipelineVisitor
from apache_beam.runners.direct.direct_userstate import DirectUserStateContext
from apache_beam.runners.direct.evaluation_context import EvaluationContext, _ExecutionContext
from apache_beam.runners.direct.executor import TransformExecutor
from apache_beam.runners.direct.util import TimerFiring, TransformResult
from apache_beam.runners.direct.watermark_manager import WatermarkManager, _TransformWatermarks
from apache_beam.runners.worker import statesampler
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.trigger import InMemoryUnmergedState, MergeableStateAdapter
from apache_beam.transforms.userstate import RuntimeTimer, get_dofn_specs, is_stateful_dofn
from apache_beam.utils import counters
from apache_beam.utils.timestamp import MAX_TIMESTAMP, TIME_GRANULARITY, Timestamp
from google.api_core.exceptions import ServerError, TooManyRequests
from google.api_core.grpc_helpers import wrap_errors
from google.api_core.retry import Retry, if_exception_type
from google.pubsub_v1 import PullRequest

from pipeline.runtime.environ import pubsub_emulator
from pipeline.runtime.pubsub import subscriber_client

logger = logging.getLogger(__name__)

MIN_MESSAGES, MAX_MESSAGES = 10, 100  # of a bundle: as many as wait, fewer where a turn takes long
LONG_TURN_S = 0.5
PAUSE_S, LONG_PAUSE_S = 0.02, 0.1  # before the next pull, when nothing waited
PULL_S, RETRY_S = 10.0, 300.0
FLUSH_S = 1.0  # real-time timers that are due so soon belong to the message that set them
STOP_S = 6.0
EXPIRY = "forget"  # name of the timer that forgets windows

Element = Any  # a WindowedValue, which is compiled and has no types


def runner_for(environ: Mapping[str, str]) -> LeanDirectRunner | None:
    """The runner of the local stack, where PUBSUB_EMULATOR_HOST is set; None leaves the choice to the options."""
    return LeanDirectRunner() if pubsub_emulator(environ) else None


class LeanDirectRunner(direct_runner.BundleBasedDirectRunner):
    """Runs a graph in this process, one bundle at a time, each message's consequences before the next message.

    Pub/Sub messages are acknowledged when everything derived from them has been processed, so a process that is killed
    gets them again. SIGTERM, while `wait_until_finish` waits, makes it stop reading, finish and return.
    """

    def run_pipeline(self, pipeline: beam.Pipeline, options: Any) -> LeanResult:
        """Start it in a thread of its own."""
        clock = TestClock() if _uses_test_stream(pipeline) else RealClock()
        pipeline.replace_all(direct_runner._get_transform_overrides(options))
        graph = ConsumerTrackingPipelineVisitor()
        pipeline.visit(graph)
        context = _Context(
            options,
            BundleFactory(stacked=False),
            graph.root_transforms,
            graph.value_to_consumers,
            graph.step_names,
            graph.views,
            clock,
        )
        RuntimeValueProvider.set_runtime_options({})
        executor = _Executor(graph, context)
        executor.start()
        return LeanResult(executor, context)


class LeanResult(direct_runner.DirectPipelineResult):
    """A running pipeline."""

    def stop(self) -> None:
        """Ask it to finish: pull no more, process what was pulled, close all windows, fire the timers that are due.

        As draining does on Dataflow. `wait_until_finish` returns then, after `STOP_S` seconds at the latest.
        """
        self._executor.stop()

    def wait_until_finish(self, duration: Any = None) -> Any:
        """Wait for its end; SIGTERM asks for it, where this is the main thread."""
        with _on_signal(signal.SIGTERM, self.stop):
            return super().wait_until_finish(duration)


@contextlib.contextmanager
def _on_signal(number: signal.Signals, act: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        act()

    before = signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, before)


def _uses_test_stream(pipeline: beam.Pipeline) -> bool:
    found = []

    class Visitor(beam.pipeline.PipelineVisitor):
        def visit_transform(self, applied: AppliedPTransform) -> None:
            found.append(isinstance(applied.transform, TestStream))

    pipeline.visit(Visitor())
    return any(found)


# Times of many keys


class Earliest:
    """Times of keys, in microseconds, of which only the earliest are ever looked at.

    A heap whose entries are put right when they come to the top, so that a key whose time moves on and on (a timer
    set anew with every message) keeps one entry: O(log n) a change that comes earlier, O(1) one that comes later.
    """

    def __init__(self) -> None:
        self._times: dict[Hashable, int] = {}
        self._queued: dict[Hashable, int] = {}
        self._heap: list[tuple[int, int, Hashable]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._times)

    def set(self, key: Hashable, micros: int | None) -> None:
        """The key's time from now on; None: it has none."""
        if micros is None:
            self._times.pop(key, None)
            return
        self._times[key] = micros
        queued = self._queued.get(key)
        if queued is None or micros < queued:
            self._push(key, micros)

    def least(self) -> int | None:
        """The earliest time, None without any."""
        while self._heap:
            micros, _, key = self._heap[0]
            if self._queued.get(key) == micros == self._times.get(key):
                return micros
            self._correct()
        return None

    def due(self, micros: int) -> list[Any]:
        """Keys whose time has come at `micros`, earliest first; they keep their times."""
        found = []
        while (least := self.least()) is not None and least <= micros:
            found.append(heapq.heappop(self._heap)[2])
            del self._queued[found[-1]]
        for key in found:
            self._push(key, self._times[key])
        return found

    def _push(self, key: Hashable, micros: int) -> None:
        self._pushed += 1  # ties are told apart without comparing keys
        self._queued[key] = micros
        heapq.heappush(self._heap, (micros, self._pushed, key))

    def _correct(self) -> None:
        micros, _, key = heapq.heappop(self._heap)
        if self._queued.get(key) == micros:
            del self._queued[key]
            if key in self._times:
                self._push(key, self._times[key])


def _micros(moment: Any) -> int:
    """Microseconds of a timestamp or of seconds, rounded down."""
    return int(Timestamp.of(moment).to_precision(Timestamp.MICROS_PRECISION, allow_lossy_conversion=True).micros)


# State, timers, watermarks


class _State(InMemoryUnmergedState):
    """A key's state. Copied without `deepcopy`: what it holds is replaced, never changed, but for its containers."""

    def __init__(self, defensive_copy: bool = False) -> None:
        super().__init__(defensive_copy=defensive_copy)
        self.timer_holds: dict[tuple[Any, str, str], int] = {}

    def copy(self) -> _State:
        other = _State(defensive_copy=self.defensive_copy)
        other.timer_holds = dict(self.timer_holds)
        other.global_state = {
            tag: {window: [*ids] for window, ids in value.items()} if isinstance(value, dict) else value
            for tag, value in self.global_state.items()
        }
        for window, timers in self.timers.items():
            other.timers[window] = dict(timers)
        for window, tags in self.state.items():
            for tag, values in tags.items():
                if values:
                    other.state[window][tag] = values[:] if isinstance(values, list) else values
        return other

    def is_empty(self) -> bool:
        return not (
            self.global_state
            or any(self.timers.values())
            or any(values for tags in self.state.values() for values in tags.values())
        )

    def hold(self, window: Any, timer: str, tag: str, micros: int) -> None:
        """Remember the event time of the element that set a real-time timer."""
        self.timer_holds[window, timer, tag] = micros

    def earliest_timer_hold(self) -> Timestamp | None:
        """The event time that the watermark must not pass: the earliest at which a real-time timer was set."""
        if not self.timer_holds:
            return None
        waiting = {
            (window, timer, tag)
            for window, timers in self.timers.items()
            for timer, domain, tag in timers
            if domain == TimeDomain.REAL_TIME
        }
        self.timer_holds = {found: micros for found, micros in self.timer_holds.items() if found in waiting}
        return Timestamp(micros=min(self.timer_holds.values())) if self.timer_holds else None

    def earliest_timer(self, domain: str) -> int | None:
        times = [
            moment for timers in self.timers.values() for (_, found, _), moment in timers.items() if found == domain
        ]
        return _micros(min(times)) if times else None


class _StepContext:
    """The states that one bundle sees: copies, which replace the kept ones when the bundle is done."""

    def __init__(self, kept: dict[Any, _State]) -> None:
        self.existing_keyed_state = kept
        self.partial_keyed_state: dict[Any, _State] = {}

    def get_keyed_state(self, key: Any) -> _State:
        state = self.partial_keyed_state.get(key)
        if state is None:
            kept = self.existing_keyed_state.get(key)
            state = self.partial_keyed_state[key] = kept.copy() if kept else _State()
        return state


class _Watermarks(_TransformWatermarks):
    """A step's watermarks and timers, by looking only at the keys that have something due."""

    def __init__(self, clock: Any, keyed_states: dict[Any, _State], transform: AppliedPTransform) -> None:
        super().__init__(clock, keyed_states, transform)
        self._event_timers, self._real_timers, self._holds = Earliest(), Earliest(), Earliest()

    def note_timers(self, key: Any, state: _State) -> None:
        """Take over the timers of a state that was committed."""
        self._event_timers.set(key, state.earliest_timer(TimeDomain.WATERMARK))
        self._real_timers.set(key, state.earliest_timer(TimeDomain.REAL_TIME))

    def next_real_timer(self) -> int | None:
        """When the next real-time timer is due, in microseconds."""
        return self._real_timers.least()

    def hold(self, keyed_earliest_holds: dict[Any, Any]) -> None:
        with self._lock:
            for key, moment in keyed_earliest_holds.items():
                self._holds.set(key, None if moment is None or moment == MAX_TIMESTAMP else _micros(moment))

    def refresh(self) -> bool:
        with self._lock:
            inputs = [upstream.output_watermark for upstream in self._input_transform_watermarks]
            pending = [micros for bundle in self._pending if (micros := _least_timestamp(bundle)) is not None]
            if pending:
                inputs.append(Timestamp(micros=min(pending)) - TIME_GRANULARITY)
            self._input_watermark = max(self._input_watermark, min(inputs, default=MAX_TIMESTAMP))
            hold = self._holds.least()
            output = self._input_watermark if hold is None else min(self._input_watermark, Timestamp(micros=hold))
            advanced = output > self._output_watermark
            self._output_watermark = output
            return bool(advanced)

    def extract_transform_timers(self) -> tuple[list[TimerFiring], bool]:
        with self._lock:
            now = self._clock.time()
            due = self._event_timers.due(_micros(self._input_watermark)) + self._real_timers.due(_micros(now))
            fired = [
                TimerFiring(key, window, name, domain, moment, dynamic_timer_tag=tag)
                for key in dict.fromkeys(due)
                for window, (name, domain, moment, tag) in self._keyed_states[key].get_timers(
                    watermark=self._input_watermark, processing_time=now
                )[0]
            ]
            self._fired_timers.update(fired)
            return fired, len(self._real_timers) > 0


def _least_timestamp(bundle: Any) -> int | None:
    """The least timestamp of a committed bundle, in microseconds; looked for once."""
    try:
        found: int | None = bundle.least_timestamp
    except AttributeError:
        found = bundle.least_timestamp = min(
            (element.timestamp_micros for element in bundle.get_elements_iterable()), default=None
        )
    return found


class _WatermarkManager(WatermarkManager):
    def __init__(self, clock: Any, roots: Any, consumers: Any, keyed_states: Any) -> None:
        super().__init__(clock, roots, consumers, keyed_states)
        steps = self._transform_to_watermarks
        steps.update({step: _Watermarks(clock, keyed_states[step], step) for step in steps})
        for step in {step for found in consumers.values() for step in found}:
            self._update_input_transform_watermarks(step)

    def next_real_timer(self) -> int | None:
        """When the next real-time timer of any step is due, in microseconds."""
        return min((t for w in self._transform_to_watermarks.values() if (t := w.next_real_timer())), default=None)


class _Context(EvaluationContext):
    """What the evaluators share; a key whose state has become empty is forgotten."""

    def __init__(self, options: Any, bundles: Any, roots: Any, consumers: Any, names: Any, views: Any, clock: Any):
        super().__init__(options, bundles, roots, consumers, names, views, clock)
        self.clock = clock
        self.stopping = threading.Event()
        self.subscriptions: dict[AppliedPTransform, _Subscription] = {}
        self.steps: dict[AppliedPTransform, _Step] = {}
        self._watermark_manager = _WatermarkManager(clock, roots, consumers, self._transform_keyed_states)

    @property
    def watermarks(self) -> _WatermarkManager:
        found: Any = self._watermark_manager
        return found

    def get_execution_context(self, applied: AppliedPTransform) -> _ExecutionContext:
        states = self._transform_keyed_states[applied]
        execution: Any = _ExecutionContext(self.watermarks.get_watermarks(applied), states)
        execution._step_context = _StepContext(states)
        return execution

    def handle_result(self, completed_bundle: Any, completed_timers: Any, result: TransformResult) -> Any:
        committed = super().handle_result(completed_bundle, completed_timers, result)
        watermarks = self._watermark_manager.get_watermarks(result.transform)
        kept = self._transform_keyed_states[result.transform]
        for key, state in result.partial_keyed_state.items():
            watermarks.note_timers(key, state)
            if state.is_empty():
                del kept[key]
        return committed


# Reading


class _Subscription:
    """Takes what is there, waiting for nothing; to Beam's evaluator it looks like a subscriber client.

    Pulls that wait on the server would bring a lone message some milliseconds earlier. But the emulator does not notice
    when such a pull is given up, hands it the next message, and nobody sees that until its ack deadline is over.
    """

    def __init__(self) -> None:
        self._client = subscriber_client(pubsub_emulator(os.environ))
        self._retry = Retry(if_exception_type(ServerError, TooManyRequests), timeout=RETRY_S)
        # Past the client's own method, which warns of `return_immediately`: it is dear on Google Cloud, not here.
        self._pull = self._retry(wrap_errors(self._client.transport.pull))
        self._name = ""
        self._most = MIN_MESSAGES
        self._pulled_s = self._last_message_s = time.monotonic()
        self._taken: list[str] = []
        self._settled: deque[tuple[float, list[str]]] = deque()

    def pull(self, subscription: str, **unused: Any) -> Any:
        """What is there for one bundle."""
        self._name, self._pulled_s = subscription, time.monotonic()
        request = PullRequest(subscription=subscription, max_messages=self._most, return_immediately=True)
        response = self._pull(request, timeout=PULL_S)
        if response.received_messages:
            self._last_message_s = self._pulled_s
        return response

    def acknowledge(self, subscription: str, ack_ids: list[str]) -> None:
        """Remember them: `acknowledge_settled` acknowledges."""
        self._taken = list(ack_ids)

    def pause_s(self, now_s: float) -> float:
        """How long to wait before the next pull: the longer, up to a bound, the longer nothing has come."""
        quiet_s = now_s - self._last_message_s
        return 0.0 if self._last_message_s == self._pulled_s else min(max(quiet_s / 20, PAUSE_S), LONG_PAUSE_S)

    def settle(self, now_s: float, flushed_s: float) -> None:
        """What the last pull brought is processed, but for timers that fire until `flushed_s`."""
        if not self._taken:
            return
        self._settled.append((flushed_s, self._taken))
        self._taken = []
        if now_s - self._pulled_s > LONG_TURN_S:
            self._most = max(self._most // 2, MIN_MESSAGES)
        else:
            self._most = min(self._most * 2, MAX_MESSAGES)

    def acknowledge_settled(self, now_s: float) -> None:
        """Acknowledge what is processed, its timers included."""
        ids = []
        while self._settled and self._settled[0][0] <= now_s:
            ids += self._settled.popleft()[1]
        if ids:
            self._client.acknowledge(subscription=self._name, ack_ids=ids, retry=self._retry, timeout=PULL_S)

    def close(self) -> None:
        self._client.transport.close()


class _ReadPubSub(evaluators._PubSubReadEvaluator):
    """Beam's reading, from a `_Subscription`. When all is to stop, its watermark goes to the end of time."""

    def _get_subscriber_client(self, transform: AppliedPTransform) -> _Subscription:
        subscriptions = self._evaluation_context.subscriptions
        if transform not in subscriptions:
            subscriptions[transform] = _Subscription()
        return subscriptions[transform]

    def finish_bundle(self) -> TransformResult:
        if self._evaluation_context.stopping.is_set():
            return TransformResult(self, [], [], None, {None: None})
        return super().finish_bundle()


# Steps


class _Output(common.Receiver):
    """Where a step's outputs go: another bundle each time."""

    bundle: Any = None

    def receive(self, element: Element) -> None:
        self.bundle.add(element)


class _HoldingTimer(RuntimeTimer):
    """A real-time timer that knows the event time of the element, or timer, that set it."""

    def __init__(self) -> None:
        super().__init__()
        self.input_micros = 0
        self.holds: dict[str, int] = {}

    def set(self, timestamp: Any, dynamic_timer_tag: str = "") -> None:
        super().set(timestamp, dynamic_timer_tag=dynamic_timer_tag)
        self.holds[dynamic_timer_tag] = self.input_micros


class _UserState(DirectUserStateContext):
    """A DoFn's state and timers, with the watermark holds of its real-time timers, which Dataflow honours.

    Beam's own DirectRunner has none, so that what a timer holds back for a day there is seen by nobody here.
    """

    def get_timer(self, timer_spec: Any, key: Any, window: Any, timestamp: Any, pane: Any) -> RuntimeTimer:
        if timer_spec.time_domain != TimeDomain.REAL_TIME:
            return super().get_timer(timer_spec, key, window, timestamp, pane)
        found = self.cached_timers.setdefault((self.key_coder.encode(key), window, timer_spec), _HoldingTimer())
        found.input_micros = _micros(timestamp)
        return found

    def commit(self) -> None:
        super().commit()
        for (key, window, spec), timer in self.cached_timers.items():
            for tag, micros in timer.holds.items() if isinstance(timer, _HoldingTimer) else ():
                self.step_context.get_keyed_state(key).hold(window, f"user/{spec.name}", tag, micros)

    def holds(self) -> dict[bytes, Timestamp | None]:
        """By key of the bundle: what its timers hold the output watermark at."""
        return {key: state.earliest_timer_hold() for key, state in self.step_context.partial_keyed_state.items()}


class _Step:
    """A DoFn that was set up once; Beam's DirectRunner pickles and sets it up for every bundle."""

    def __init__(self, context: _Context, applied: AppliedPTransform) -> None:
        dofn = pickler.roundtrip(applied.transform.dofn)
        self.failed = False
        self.outputs = evaluators._TaggedReceivers(context)
        self._collections = {tag: _collection(applied, tag) for tag in applied.outputs}
        self.outputs.update({tag: _Output() for tag in applied.outputs})
        self.counters = counters.CounterFactory()
        self.key_coder = _key_coder(applied)
        self.timers: dict[str, Any] = {}
        self.user_state = None
        if is_stateful_dofn(dofn):
            self.timers = {f"user/{spec.name}": spec for spec in get_dofn_specs(dofn)[1]}
            self.user_state = _UserState(None, dofn, self.key_coder)
        self.runner = common.DoFnRunner(
            dofn,
            getattr(applied.transform, "args", []),
            getattr(applied.transform, "kwargs", {}),
            [],
            applied.inputs[0].windowing,
            tagged_receivers=self.outputs,
            step_name=applied.full_label,
            state=common.DoFnState(self.counters),
            user_state_context=self.user_state,
        )
        self.runner.setup()

    def begin(self, context: _Context, states: _StepContext) -> list[Any]:
        """Turn to new bundles and to the states of this bundle; the new bundles."""
        self.failed = True  # until it ends well
        for tag, collection in self._collections.items():
            self.outputs[tag].bundle = context.create_bundle(collection)
            self.outputs[tag].bundle.tag = tag
        if self.user_state:
            self.user_state.step_context = states
        self.runner.start()
        return [output.bundle for output in self.outputs.values()]


def _collection(applied: AppliedPTransform, tag: Any) -> Any:
    collection: Any = pvalue.PCollection(None, tag=tag)
    collection.producer = applied
    return collection


def _key_coder(applied: AppliedPTransform) -> coders.Coder:
    hint = applied.inputs[0].element_type
    if not is_stateful_dofn(applied.transform.dofn) or not hint or hint == Any:
        return coders.registry.get_coder(Any)
    return coders.registry.get_coder(hint).key_coder()


class _ParDo(evaluators._ParDoEvaluator):
    """Beam's evaluation of a DoFn, on a `_Step` that is kept. One with side inputs is left to Beam."""

    _step: _Step | None = None

    def start_bundle(self) -> None:
        if self._applied_ptransform.side_inputs:
            super().start_bundle()
            return
        steps = self._evaluation_context.steps
        step = steps.get(self._applied_ptransform)
        if step is None or step.failed:
            step = steps[self._applied_ptransform] = _Step(self._evaluation_context, self._applied_ptransform)
        self._step = step
        self.runner, self.user_timer_map, self.key_coder = step.runner, step.timers, step.key_coder
        self._bundles = step.begin(self._evaluation_context, self._step_context)

    def finish_bundle(self) -> TransformResult:
        if self._step is None:
            return super().finish_bundle()
        self.runner.finish()
        holds = None
        if self._step.user_state:
            self._step.user_state.commit()
            self._step.user_state.reset()
            holds = self._step.user_state.holds()
        self._step.failed = False
        return TransformResult(self, self._bundles, [], self._step.counters.get_counters(), holds)


class _GroupAlsoByWindow(evaluators._StreamingGroupAlsoByWindowEvaluator):
    """Beam's triggers. A timer of our own forgets a window, its elements and its hold, past the allowed lateness."""

    def process_element(self, element: Element) -> None:
        super().process_element(element)
        key = element.value.encoded_key
        state = self._step_context.get_keyed_state(key)
        self._await_expiry(state)

    def process_timer(self, timer_firing: TimerFiring) -> None:
        if timer_firing.name != EXPIRY:
            super().process_timer(timer_firing)
            return
        state = self._step_context.get_keyed_state(timer_firing.encoded_key)
        _forget_windows(state, timer_firing.timestamp - TIME_GRANULARITY - self.driver.allowed_lateness)
        self._await_expiry(state)
        self.keyed_holds[timer_firing.encoded_key] = state.get_earliest_hold()

    def _await_expiry(self, state: _State) -> None:
        state.clear_timer(None, EXPIRY, TimeDomain.WATERMARK)
        if windows := _window_ids(state):
            last = min(window.end for window in windows) + self.driver.allowed_lateness
            state.set_timer(None, EXPIRY, TimeDomain.WATERMARK, last + TIME_GRANULARITY)


def _forget_windows(state: _State, until: Timestamp) -> None:
    """Forget the windows that end at `until` or before."""
    windows = _window_ids(state)
    for window in [window for window in windows if window.end <= until]:
        for window_id in windows.pop(window):
            state.state.pop(window_id, None)
            state.timers.pop(window_id, None)
    if not windows:
        state.global_state.pop(MergeableStateAdapter.WINDOW_IDS.tag, None)


def _window_ids(state: _State) -> dict[Any, list[int]]:
    """The ids under which Beam keeps the state of each window that has any."""
    found: dict[Any, list[int]] = state.get_global_state(MergeableStateAdapter.WINDOW_IDS, {})
    return found


class _Registry(evaluators.TransformEvaluatorRegistry):
    def __init__(self, context: _Context) -> None:
        super().__init__(context)
        self._evaluators.update(
            {
                direct_runner._DirectReadFromPubSub: _ReadPubSub,
                beam.ParDo: _ParDo,
                direct_runner._StreamingGroupAlsoByWindow: _GroupAlsoByWindow,
            }
        )


# Running


class _Executor:
    """One thread that takes bundles through the graph in order, and reads only when none is left.

    Beam's executor asks for due timers between any two bundles and hands empty bundles through the whole graph.
    """

    def __init__(self, graph: ConsumerTrackingPipelineVisitor, context: _Context) -> None:
        self._consumers, self._context = graph.value_to_consumers, context
        self._registry = _Registry(context)
        self._ready: deque[TransformExecutor] = deque()
        self._pending = {
            root: self._registry.get_root_bundle_provider(root).get_root_bundles() for root in graph.root_transforms
        }
        self._failure: BaseException | None = None
        self._cancelled = False
        self._stop_at: float | None = None
        self._worker = threading.Thread(target=self._work, name="pipeline", daemon=True)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """Read no more and end when all that was read is processed."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + STOP_S
            self._context.stopping.set()

    def shutdown(self) -> None:
        """End after the bundle that is being processed."""
        self._cancelled = True
        self._context.stopping.set()
        self._worker.join()

    def await_completion(self) -> None:
        """Return when it has ended, or has not ended in time after it was asked to. Raises what ended it."""
        while self._worker.is_alive():
            self._worker.join(0.1)
            if self._stop_at is not None and time.monotonic() > self._stop_at:
                logger.warning("stopped before all was processed; what was not acknowledged comes again")
                return
        if self._failure:
            raise self._failure

    # called by TransformExecutor and EvaluationContext

    def submit(self, task: TransformExecutor) -> None:
        self._ready.append(task)

    def complete(self, task: TransformExecutor) -> None:
        """Nothing is counted here."""

    def handle_exception(self, task: TransformExecutor, error: BaseException) -> None:
        self._failure = error

    def handle_result(self, task: TransformExecutor, bundle: Any, result: TransformResult) -> None:
        committed = self._context.handle_result(bundle, task._fired_timers, result)
        for output in committed:
            if output.has_elements():
                for consumer in self._consumers.get(output.pcollection, ()):
                    self._schedule(consumer, output)
        if result.unprocessed_bundles:
            self._pending.setdefault(result.transform, []).extend(result.unprocessed_bundles)

    # the loop

    def _work(self) -> None:
        sampler = statesampler.StateSampler("", counters.CounterFactory())
        statesampler.set_current_tracker(sampler)
        try:
            while self._turn(sampler):
                pass
        except Exception as error:  # whatever it is, the waiting thread is to raise it
            self._failure = error
        finally:
            self._close()

    def _turn(self, sampler: Any) -> bool:
        """Process everything that is there, then fire timers or read; whether there is more to come."""
        while self._ready and not self._failure and not self._cancelled:
            self._ready.popleft().call(sampler)
        if self._failure or self._cancelled:
            return False
        self._context.schedule_pending_unblocked_tasks(self)
        if self._ready or self._fire_timers():
            return True
        self._settle()
        return self._await_flush() or self._read()

    def _fire_timers(self) -> bool:
        fired, _ = self._context.extract_all_timers()
        for step, timers in fired:
            self._schedule(step, self._context.create_empty_committed_bundle(step.inputs[0]), timers)
        return bool(fired)

    def _settle(self) -> None:
        timer_s, now_s = self._real_timer_in_s(), time.monotonic()
        flushed_s = now_s + FLUSH_S if timer_s is not None and timer_s <= FLUSH_S else now_s
        for subscription in self._context.subscriptions.values():
            subscription.settle(now_s, flushed_s)
            subscription.acknowledge_settled(now_s)

    def _await_flush(self) -> bool:
        """When stopping: wait for the next real-time timer that is about to fire; whether there was one."""
        wait_s = self._real_timer_in_s()
        if not self._context.stopping.is_set() or wait_s is None or wait_s > FLUSH_S:
            return False
        time.sleep(max(0.0, wait_s))
        return True

    def _read(self) -> bool:
        """Schedule what the roots have left to do; whether anything is left at all."""
        pending = {step: bundles for step, bundles in self._pending.items() if bundles}
        timer_s = self._real_timer_in_s()
        if not pending:
            return self._wait_for_the_end(timer_s)
        if pending.keys() <= self._context.subscriptions.keys():
            self._pause(timer_s)
        self._pending = {}
        for step, bundles in pending.items():
            if not self._context.is_done(step):
                for bundle in bundles:
                    self._schedule(step, bundle)
        return True

    def _pause(self, timer_s: float | None) -> None:
        """Wait while nothing comes, until the next real-time timer at most."""
        now_s = time.monotonic()
        pause_s = min(subscription.pause_s(now_s) for subscription in self._context.subscriptions.values())
        self._context.stopping.wait(pause_s if timer_s is None else max(0.0, min(pause_s, timer_s)))

    def _wait_for_the_end(self, timer_s: float | None) -> bool:
        """False when all is done; else what is left are real-time timers of a bounded source's events."""
        if self._context.stopping.is_set() or self._context.is_done():
            return False
        if timer_s is None:
            raise RuntimeError("steps wait for input that cannot come")
        time.sleep(max(0.0, min(LONG_PAUSE_S, timer_s)))
        return True

    def _real_timer_in_s(self) -> float | None:
        micros = self._context.watermarks.next_real_timer()
        return None if micros is None else micros / 1e6 - self._context.clock.time()

    def _schedule(self, step: AppliedPTransform, bundle: Any, timers: Any = ()) -> None:
        self._ready.append(TransformExecutor(self._registry, self._context, bundle, timers, step, self, self))

    def _close(self) -> None:
        with contextlib.suppress(Exception):  # the pipeline has ended, well or not
            for subscription in self._context.subscriptions.values():
                if not self._failure and not self._cancelled:
                    subscription.acknowledge_settled(float("inf"))
                subscription.close()
            for step in self._context.steps.values():
                step.runner.teardown()
