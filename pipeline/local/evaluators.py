"""Steps, set up once; Beam's own evaluation of them, with windows that are forgotten."""

# Beam's private classes are half typed, and their attributes are of the classes that we replace.
# mypy: disable-error-code="no-untyped-call,attr-defined,no-any-return,union-attr,override,arg-type"

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam import coders, pvalue
from apache_beam.internal import pickler
from apache_beam.pipeline import AppliedPTransform
from apache_beam.runners import common
from apache_beam.runners.direct import direct_runner
from apache_beam.runners.direct import transform_evaluator as evaluators
from apache_beam.runners.direct.util import TimerFiring, TransformResult
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.trigger import MergeableStateAdapter
from apache_beam.transforms.userstate import get_dofn_specs, is_stateful_dofn
from apache_beam.utils import counters
from apache_beam.utils.timestamp import TIME_GRANULARITY, Timestamp

from pipeline.local.context import LocalContext
from pipeline.local.reading import ReadPubSub
from pipeline.local.state import KeyState, StepContext, UserState

EXPIRY = "forget"  # name of the timer that forgets windows
Element = Any  # a WindowedValue, which is compiled and has no types


class _Output(common.Receiver):
    """Receiver of a step's outputs: another bundle each time."""

    bundle: Any = None

    def receive(self, element: Element) -> None:
        self.bundle.add(element)


class Step:
    """A DoFn that was set up once; Beam's DirectRunner pickles and sets it up for every bundle."""

    def __init__(self, context: LocalContext, applied: AppliedPTransform) -> None:
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
            self.user_state = UserState(None, dofn, self.key_coder)
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

    def begin(self, context: LocalContext, states: StepContext) -> list[Any]:
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
    """Beam's evaluation of a DoFn, on a `Step` that is kept. One with side inputs is left to
    Beam."""

    _step: Step | None = None

    def start_bundle(self) -> None:
        if self._applied_ptransform.side_inputs:
            super().start_bundle()
            return
        steps = self._evaluation_context.steps
        step = steps.get(self._applied_ptransform)
        if step is None or step.failed:
            step = steps[self._applied_ptransform] = Step(
                self._evaluation_context, self._applied_ptransform
            )
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
    """Beam's triggers. A timer of our own forgets a window, its elements and its hold, past the
    allowed lateness.
    """

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
        _forget_windows(
            state, timer_firing.timestamp - TIME_GRANULARITY - self.driver.allowed_lateness
        )
        self._await_expiry(state)
        self.keyed_holds[timer_firing.encoded_key] = state.get_earliest_hold()

    def _await_expiry(self, state: KeyState) -> None:
        state.clear_timer(None, EXPIRY, TimeDomain.WATERMARK)
        if windows := window_ids(state):
            last = min(window.end for window in windows) + self.driver.allowed_lateness
            state.set_timer(None, EXPIRY, TimeDomain.WATERMARK, last + TIME_GRANULARITY)


def _forget_windows(state: KeyState, until: Timestamp) -> None:
    """Forget the windows that end at `until` or before."""
    windows = window_ids(state)
    for window in [window for window in windows if window.end <= until]:
        for window_id in windows.pop(window):
            state.state.pop(window_id, None)
            state.timers.pop(window_id, None)
    if not windows:
        state.global_state.pop(MergeableStateAdapter.WINDOW_IDS.tag, None)


def window_ids(state: KeyState) -> dict[Any, list[int]]:
    """The ids under which Beam keeps the state of each window that has any."""
    found: dict[Any, list[int]] = state.get_global_state(MergeableStateAdapter.WINDOW_IDS, {})
    return found


class Registry(evaluators.TransformEvaluatorRegistry):
    def __init__(self, context: LocalContext) -> None:
        super().__init__(context)
        self._evaluators.update(
            {
                direct_runner._DirectReadFromPubSub: ReadPubSub,
                beam.ParDo: _ParDo,
                direct_runner._StreamingGroupAlsoByWindow: _GroupAlsoByWindow,
            }
        )
