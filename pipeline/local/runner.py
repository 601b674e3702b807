"""Beam's DirectRunner for the local stack: no slower with more keys, and its stop loses nothing.

It runs the same graph with Beam's own evaluators, trigger driver and watermarks. What differs is
said at each class; docs/decisions/direct-runner.md says why. Only private parts of Beam are changed
here and nowhere else, by subclasses, so a new version of Beam asks for this folder and its tests
alone.
"""

# Beam's private classes are half typed, and their attributes are of the classes that we replace.
# mypy: disable-error-code="no-untyped-call,attr-defined,no-any-return,union-attr,override,arg-type"

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import apache_beam as beam
from apache_beam.options.value_provider import RuntimeValueProvider
from apache_beam.pipeline import AppliedPTransform
from apache_beam.runners.direct import direct_runner
from apache_beam.runners.direct.bundle_factory import BundleFactory
from apache_beam.runners.direct.clock import RealClock, TestClock
from apache_beam.runners.direct.consumer_tracking_pipeline_visitor import (
    ConsumerTrackingPipelineVisitor,
)
from apache_beam.runners.direct.executor import TransformExecutor
from apache_beam.runners.direct.util import TransformResult
from apache_beam.runners.worker import statesampler
from apache_beam.testing.test_stream import TestStream
from apache_beam.utils import counters

from pipeline.local.context import LocalContext
from pipeline.local.evaluators import Registry
from pipeline.local.reading import LONG_PAUSE_S
from pipeline.runtime.environ import pubsub_emulator

logger = logging.getLogger(__name__)
FLUSH_S = 1.0  # real-time timers that are due so soon belong to the message that set them
STOP_S = 6.0


def runner_for(environ: Mapping[str, str]) -> LeanDirectRunner | None:
    """The runner of the local stack, where PUBSUB_EMULATOR_HOST is set; None leaves the choice to
    the options.
    """
    return LeanDirectRunner() if pubsub_emulator(environ) else None


class LeanDirectRunner(direct_runner.BundleBasedDirectRunner):
    """Runs a graph in this process, one bundle at a time, each message's consequences before the
    next message.

    Pub/Sub messages are acknowledged when everything derived from them has been processed, so a
    process that is killed gets them again. SIGTERM, while `wait_until_finish` waits, makes it stop
    reading, finish and return.
    """

    def run_pipeline(self, pipeline: beam.Pipeline, options: Any) -> LeanResult:
        """Start it in a thread of its own."""
        clock = TestClock() if _uses_test_stream(pipeline) else RealClock()
        pipeline.replace_all(direct_runner._get_transform_overrides(options))
        graph = ConsumerTrackingPipelineVisitor()
        pipeline.visit(graph)
        context = LocalContext(
            options,
            BundleFactory(stacked=False),
            graph.root_transforms,
            graph.value_to_consumers,
            graph.step_names,
            graph.views,
            clock,
        )
        RuntimeValueProvider.set_runtime_options({})
        executor = Executor(graph, context)
        executor.start()
        return LeanResult(executor, context)


class LeanResult(direct_runner.DirectPipelineResult):
    """A running pipeline."""

    def stop(self) -> None:
        """Ask it to finish: pull no more, process what was pulled, close all windows, fire the
        timers that are due.

        As draining does on Dataflow. `wait_until_finish` returns then, after `STOP_S` seconds at
        the latest.
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

    class TransformVisitor(beam.pipeline.PipelineVisitor):
        def visit_transform(self, applied: AppliedPTransform) -> None:
            found.append(isinstance(applied.transform, TestStream))

    pipeline.visit(TransformVisitor())
    return any(found)


class Executor:
    """One thread that takes bundles through the graph in order, and reads only when none is left.

    Beam's executor asks for due timers between any two bundles and hands empty bundles through the
    whole graph.
    """

    def __init__(self, graph: ConsumerTrackingPipelineVisitor, context: LocalContext) -> None:
        self._consumers, self._context = graph.value_to_consumers, context
        self._registry = Registry(context)
        self._ready: deque[TransformExecutor] = deque()
        self._pending = {
            root: self._registry.get_root_bundle_provider(root).get_root_bundles()
            for root in graph.root_transforms
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
        """Return when it has ended, or has not ended in time after it was asked to.

        Raises what ended it.
        """
        while self._worker.is_alive():
            self._worker.join(0.1)
            if self._stop_at is not None and time.monotonic() > self._stop_at:
                logger.warning(
                    "stopped before all was processed; what was not acknowledged comes again"
                )
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
        except Exception as error:  # the waiting thread is to raise any error
            self._failure = error
        finally:
            self._close()

    def _turn(self, sampler: Any) -> bool:
        """Process everything that is there, then fire timers or read; whether there is more to
        come.
        """
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
            self._schedule(
                step, self._context.create_empty_committed_bundle(step.inputs[0]), timers
            )
        return bool(fired)

    def _settle(self) -> None:
        timer_s, now_s = self._real_timer_in_s(), time.monotonic()
        flushed_s = now_s + FLUSH_S if timer_s is not None and timer_s <= FLUSH_S else now_s
        for subscription in self._context.subscriptions.values():
            subscription.settle(now_s, flushed_s)
            subscription.acknowledge_settled(now_s)

    def _await_flush(self) -> bool:
        """Wait, when stopping, for the next real-time timer that is about to fire; True where there
        was one.
        """
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
        pause_s = min(
            subscription.pause_s(now_s) for subscription in self._context.subscriptions.values()
        )
        self._context.stopping.wait(pause_s if timer_s is None else max(0.0, min(pause_s, timer_s)))

    def _wait_for_the_end(self, timer_s: float | None) -> bool:
        """False when all is done; else what is left are real-time timers of a bounded source's
        events.
        """
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
        self._ready.append(
            TransformExecutor(self._registry, self._context, bundle, timers, step, self, self)
        )

    def _close(self) -> None:
        with contextlib.suppress(Exception):  # the pipeline has ended, well or not
            for subscription in self._context.subscriptions.values():
                if not self._failure and not self._cancelled:
                    subscription.acknowledge_settled(float("inf"))
                subscription.close()
            for step in self._context.steps.values():
                step.runner.teardown()
