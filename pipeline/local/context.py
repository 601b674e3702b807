"""The graph's shared state: watermarks, subscriptions, and steps that are set up once."""

# Beam's private classes are half typed, and their attributes are of the classes that we replace.
# mypy: disable-error-code="no-untyped-call,attr-defined,no-any-return,union-attr,override,arg-type"

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from apache_beam.pipeline import AppliedPTransform
from apache_beam.runners.direct.evaluation_context import EvaluationContext, _ExecutionContext
from apache_beam.runners.direct.util import TransformResult

from pipeline.local.state import StepContext
from pipeline.local.watermarks import Watermarks

if TYPE_CHECKING:
    from pipeline.local.evaluators import Step
    from pipeline.local.reading import Subscription


class LocalContext(EvaluationContext):
    """State that the evaluators share; a key whose state has become empty is forgotten."""

    def __init__(
        self,
        options: Any,
        bundles: Any,
        roots: Any,
        consumers: Any,
        names: Any,
        views: Any,
        clock: Any,
    ):
        super().__init__(options, bundles, roots, consumers, names, views, clock)
        self.clock = clock
        self.stopping = threading.Event()
        self.subscriptions: dict[AppliedPTransform, Subscription] = {}
        self.steps: dict[AppliedPTransform, Step] = {}
        self._watermark_manager = Watermarks(clock, roots, consumers, self._transform_keyed_states)

    @property
    def watermarks(self) -> Watermarks:
        found: Any = self._watermark_manager
        return found

    def get_execution_context(self, applied: AppliedPTransform) -> _ExecutionContext:
        states = self._transform_keyed_states[applied]
        execution: Any = _ExecutionContext(self.watermarks.get_watermarks(applied), states)
        execution._step_context = StepContext(states)
        return execution

    def handle_result(
        self, completed_bundle: Any, completed_timers: Any, result: TransformResult
    ) -> Any:
        committed = super().handle_result(completed_bundle, completed_timers, result)
        watermarks = self._watermark_manager.get_watermarks(result.transform)
        kept = self._transform_keyed_states[result.transform]
        for key, state in result.partial_keyed_state.items():
            watermarks.note_timers(key, state)
            if state.is_empty():
                del kept[key]
        return committed
