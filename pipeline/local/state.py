"""A key's state and timers, as one bundle sees them."""

# Beam's private classes are half typed, and their attributes are of the classes that we replace.
# mypy: disable-error-code="no-untyped-call,attr-defined,no-any-return,union-attr,override,arg-type"

from __future__ import annotations

from typing import Any

from apache_beam.runners.direct.direct_userstate import DirectUserStateContext
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.trigger import InMemoryUnmergedState
from apache_beam.transforms.userstate import RuntimeTimer
from apache_beam.utils.timestamp import Timestamp

from pipeline.local.times import micros_of


class KeyState(InMemoryUnmergedState):
    """A key's state. Copied without `deepcopy`: what it holds is replaced, never changed, but for
    its containers.
    """

    def __init__(self, defensive_copy: bool = False) -> None:
        super().__init__(defensive_copy=defensive_copy)
        self.timer_holds: dict[tuple[Any, str, str], int] = {}

    def copy(self) -> KeyState:
        other = KeyState(defensive_copy=self.defensive_copy)
        other.timer_holds = dict(self.timer_holds)
        other.global_state = {
            tag: {window: [*ids] for window, ids in value.items()}
            if isinstance(value, dict)
            else value
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
        """The event time that the watermark must not pass: the earliest at which a real-time timer
        was set.
        """
        if not self.timer_holds:
            return None
        waiting = {
            (window, timer, tag)
            for window, timers in self.timers.items()
            for timer, domain, tag in timers
            if domain == TimeDomain.REAL_TIME
        }
        self.timer_holds = {
            found: micros for found, micros in self.timer_holds.items() if found in waiting
        }
        return Timestamp(micros=min(self.timer_holds.values())) if self.timer_holds else None

    def earliest_timer(self, domain: str) -> int | None:
        times = [
            moment
            for timers in self.timers.values()
            for (_, found, _), moment in timers.items()
            if found == domain
        ]
        return micros_of(min(times)) if times else None


class StepContext:
    """The states that one bundle sees: copies, which replace the kept ones when the bundle is
    done."""

    def __init__(self, kept: dict[Any, KeyState]) -> None:
        self.existing_keyed_state = kept
        self.partial_keyed_state: dict[Any, KeyState] = {}

    def get_keyed_state(self, key: Any) -> KeyState:
        state = self.partial_keyed_state.get(key)
        if state is None:
            kept = self.existing_keyed_state.get(key)
            state = self.partial_keyed_state[key] = kept.copy() if kept else KeyState()
        return state


class HoldingTimer(RuntimeTimer):
    """A real-time timer that knows the event time of the element, or timer, that set it."""

    def __init__(self) -> None:
        super().__init__()
        self.input_micros = 0
        self.holds: dict[str, int] = {}

    def set(self, timestamp: Any, dynamic_timer_tag: str = "") -> None:
        super().set(timestamp, dynamic_timer_tag=dynamic_timer_tag)
        self.holds[dynamic_timer_tag] = self.input_micros


class UserState(DirectUserStateContext):
    """A DoFn's state and timers, with the watermark holds of its real-time timers, which Dataflow
    honours.

    Beam's own DirectRunner has none, so that what a timer holds back for a day there is not seen
    here.
    """

    def get_timer(
        self, timer_spec: Any, key: Any, window: Any, timestamp: Any, pane: Any
    ) -> RuntimeTimer:
        if timer_spec.time_domain != TimeDomain.REAL_TIME:
            return super().get_timer(timer_spec, key, window, timestamp, pane)
        found = self.cached_timers.setdefault(
            (self.key_coder.encode(key), window, timer_spec), HoldingTimer()
        )
        found.input_micros = micros_of(timestamp)
        return found

    def commit(self) -> None:
        super().commit()
        for (key, window, spec), timer in self.cached_timers.items():
            for tag, micros in timer.holds.items() if isinstance(timer, HoldingTimer) else ():
                self.step_context.get_keyed_state(key).hold(
                    window, f"user/{spec.name}", tag, micros
                )

    def holds(self) -> dict[bytes, Timestamp | None]:
        """By key of the bundle: what its timers hold the output watermark at."""
        return {
            key: state.earliest_timer_hold()
            for key, state in self.step_context.partial_keyed_state.items()
        }
