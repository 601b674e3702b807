"""Watermarks of steps, by looking only at the keys that have something due."""

# Beam's private classes are half typed, and their attributes are of the classes that we replace.
# mypy: disable-error-code="no-untyped-call,attr-defined,no-any-return,union-attr,override,arg-type"

from __future__ import annotations

from typing import Any

from apache_beam.pipeline import AppliedPTransform
from apache_beam.runners.direct.util import TimerFiring
from apache_beam.runners.direct.watermark_manager import WatermarkManager, _TransformWatermarks
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import MAX_TIMESTAMP, TIME_GRANULARITY, Timestamp

from pipeline.local.state import KeyState
from pipeline.local.times import Earliest, micros_of


class StepWatermarks(_TransformWatermarks):
    """A step's watermarks and timers, by looking only at the keys that have something due."""

    def __init__(
        self, clock: Any, keyed_states: dict[Any, KeyState], transform: AppliedPTransform
    ) -> None:
        super().__init__(clock, keyed_states, transform)
        self._event_timers, self._real_timers, self._holds = Earliest(), Earliest(), Earliest()

    def note_timers(self, key: Any, state: KeyState) -> None:
        """Take over the timers of a state that was committed."""
        self._event_timers.set(key, state.earliest_timer(TimeDomain.WATERMARK))
        self._real_timers.set(key, state.earliest_timer(TimeDomain.REAL_TIME))

    def next_real_timer(self) -> int | None:
        """Time of the next real-time timer, in microseconds."""
        return self._real_timers.least()

    def hold(self, keyed_earliest_holds: dict[Any, Any]) -> None:
        with self._lock:
            for key, moment in keyed_earliest_holds.items():
                self._holds.set(
                    key, None if moment is None or moment == MAX_TIMESTAMP else micros_of(moment)
                )

    def refresh(self) -> bool:
        with self._lock:
            inputs = [upstream.output_watermark for upstream in self._input_transform_watermarks]
            pending = [
                micros
                for bundle in self._pending
                if (micros := _least_timestamp(bundle)) is not None
            ]
            if pending:
                inputs.append(Timestamp(micros=min(pending)) - TIME_GRANULARITY)
            self._input_watermark = max(self._input_watermark, min(inputs, default=MAX_TIMESTAMP))
            hold = self._holds.least()
            output = (
                self._input_watermark
                if hold is None
                else min(self._input_watermark, Timestamp(micros=hold))
            )
            advanced = output > self._output_watermark
            self._output_watermark = output
            return bool(advanced)

    def extract_transform_timers(self) -> tuple[list[TimerFiring], bool]:
        with self._lock:
            now = self._clock.time()
            due = self._event_timers.due(micros_of(self._input_watermark)) + self._real_timers.due(
                micros_of(now)
            )
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


class Watermarks(WatermarkManager):
    def __init__(self, clock: Any, roots: Any, consumers: Any, keyed_states: Any) -> None:
        super().__init__(clock, roots, consumers, keyed_states)
        steps = self._transform_to_watermarks
        steps.update({step: StepWatermarks(clock, keyed_states[step], step) for step in steps})
        for step in {step for found in consumers.values() for step in found}:
            self._update_input_transform_watermarks(step)

    def next_real_timer(self) -> int | None:
        """Time of the next real-time timer of any step, in microseconds."""
        return min(
            (t for w in self._transform_to_watermarks.values() if (t := w.next_real_timer())),
            default=None,
        )
