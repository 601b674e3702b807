"""Rules as data: when a campaign is due for a visitor, and what in the traffic is not what people
do.

A rule is a list of conditions on named signals, all of which must hold. What a signal is, the
features say; what a rule is, a file says (`pipeline.ops.rules_file`); here is only what follows
from the two. Nothing here knows a clock.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Literal, Protocol

import msgspec

from pipeline.core.timestamps import format_time

Bound = Literal["at_least", "above", "at_most", "below"]
Severity = Literal["low", "medium", "high"]
Subject = Literal["visitor", "address"]

# These grow while the visitor does nothing: a rule on them comes true without an event, so a timer
# has to ask.
TIME_DRIVEN = frozenset({"idle_s", "cart_idle_s", "churn_risk"})
# Rounding may leave a signal a hair below its bound at the time at which it was to reach it; ask
# again after so long.
RECHECK_MS = 1_000

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "at_least": operator.ge,
    "above": operator.gt,
    "at_most": operator.le,
    "below": operator.lt,
}
_LOWER_BOUNDS = frozenset({"at_least", "above"})


class When(Protocol):
    """Time at which a time-driven signal reaches a value if nothing else happens: the first such
    ms, or None for never.
    """

    def __call__(self, name: str, value: float, /) -> int | None: ...


class Condition(msgspec.Struct, frozen=True):
    """One bound on one signal, such as `cart_items at_least 1`.

    A signal that is no number (NaN) fulfils none.
    """

    signal: str
    bound: Bound
    value: float

    def holds(self, signals: Mapping[str, float]) -> bool:
        """True where the signal lies within the bound; `at_least` and `at_most` include the value
        itself.
        """
        return _HOLDS[self.bound](signals[self.signal], self.value)

    @property
    def is_lower(self) -> bool:
        """True where a growing signal comes to fulfil it (the others it comes to break)."""
        return self.bound in _LOWER_BOUNDS

    @property
    def is_time_driven(self) -> bool:
        """True where it may change without an event."""
        return self.signal in TIME_DRIVEN

    def opens_ms(self, when: When) -> int | None:
        """The first ms at which a growing signal fulfils this lower bound; None for never."""
        reached_ms = when(self.signal, self.value)
        return reached_ms + 1 if reached_ms is not None and self.bound == "above" else reached_ms

    def closes_ms(self, when: When) -> int | None:
        """The last ms at which a growing signal fulfils this upper bound; None for never ending."""
        reached_ms = when(self.signal, self.value)
        return reached_ms - 1 if reached_ms is not None and self.bound == "below" else reached_ms


class CampaignRule(msgspec.Struct, frozen=True):
    """A campaign: its conditions, its channel, and its cooldown.

    `cooldown_ms` (above 0) runs from one trigger of this rule to the next. `channel` is a text for
    the sender. `payload` names the signals that the trigger carries; empty means those of the
    conditions.
    """

    name: str
    conditions: tuple[Condition, ...]
    cooldown_ms: int
    channel: str
    payload: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_span("cooldown_ms", self.cooldown_ms)


class AnomalyRule(msgspec.Struct, frozen=True):
    """An anomaly: conditions that people do not meet.

    `of` says whose signals the conditions are about. With `marks`, traffic from the finding on
    stays out of item statistics, training and experiments for `mark_for_ms` (above 0); either way
    the finding is not repeated so long.
    """

    name: str
    conditions: tuple[Condition, ...]
    severity: Severity
    marks: bool
    mark_for_ms: int
    of: Subject = "visitor"

    def __post_init__(self) -> None:
        _check_span("mark_for_ms", self.mark_for_ms)


class Rules(msgspec.Struct, frozen=True):
    """All rules of a deployment; immutable and picklable, so that a runner can carry it to its
    workers.
    """

    campaigns: tuple[CampaignRule, ...] = ()
    anomalies: tuple[AnomalyRule, ...] = ()

    def anomalies_of(self, subject: Subject) -> tuple[AnomalyRule, ...]:
        """The anomaly rules about visitors, or those about addresses."""
        return tuple(rule for rule in self.anomalies if rule.of == subject)


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign that is due for a visitor. The same `id` again is the same trigger, emitted
    again."""

    id: str
    visitor: str
    rule: str
    channel: str
    at_ms: int
    signals: dict[str, float]

    def message(self) -> bytes:
        """The body of the Pub/Sub message: JSON with id, visitor, rule, channel, due_at,
        signals."""
        return msgspec.json.encode({**self._facts(), "signals": self.signals})

    def attributes(self) -> dict[str, str]:
        """The attributes of the Pub/Sub message, which a subscription can filter by."""
        return {"id": self.id, "rule": self.rule, "channel": self.channel}

    def row(self, emitted_at: datetime) -> dict[str, Any]:
        """The row of the BigQuery table `campaigns`."""
        return {
            **self._facts(),
            "signals": _json(self.signals),
            "emitted_at": format_time(emitted_at),
        }

    def _facts(self) -> dict[str, Any]:
        facts = {"id": self.id, "visitor": self.visitor, "rule": self.rule, "channel": self.channel}
        return {**facts, "due_at": _time(self.at_ms)}


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """A finding about a visitor, or about an address and then, if `visitor` is given, the visitor
    behind it.

    `until_ms` is when it may be found again, and with `marks` the end of the mark. Subject and
    visitor are keys.
    """

    id: str
    rule: str
    severity: Severity
    marks: bool
    at_ms: int
    until_ms: int
    signals: dict[str, float]
    visitor: str | None = None
    address: str | None = None

    def about(self, visitor: str) -> Anomaly:
        """The finding about an address as one about a visitor behind it, so that the visitor's
        events are marked.
        """
        return msgspec.structs.replace(self, id=_id("behind", self.id, visitor, 0), visitor=visitor)

    def message(self) -> bytes:
        """The body of the Pub/Sub message: JSON with the columns of the table, `signals` as an
        object.
        """
        return msgspec.json.encode({**self._facts(), "signals": self.signals})

    def attributes(self) -> dict[str, str]:
        """The attributes of the Pub/Sub message, which a subscription can filter by."""
        return {"id": self.id, "rule": self.rule, "severity": self.severity}

    def row(self, emitted_at: datetime) -> dict[str, Any]:
        """The row of the BigQuery table `anomalies`; `marked_until` is null where the rule does not
        mark.
        """
        return {
            **self._facts(),
            "signals": _json(self.signals),
            "emitted_at": format_time(emitted_at),
        }

    def _facts(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "visitor": self.visitor,
            "address": self.address,
            "rule": self.rule,
            "severity": self.severity,
            "found_at": _time(self.at_ms),
            "marked_until": _time(self.until_ms) if self.marks else None,
        }


def due(
    rules: Iterable[CampaignRule],
    signals: Mapping[str, float],
    fired: Mapping[str, int],
    now_ms: int,
    *,
    visitor: str,
) -> list[Trigger]:
    """The campaigns that are due for `visitor` at `now_ms`: conditions hold and the cooldown is
    over.

    `fired` maps a rule to the time in ms of its last trigger; the caller puts the new ones in. A
    rule is due again exactly `cooldown_ms` after. The id comes from visitor, rule and the
    cooldown's window of wall time, so that two triggers which keep the cooldown never share one,
    and a retry has the same unless it crosses the window's edge.
    """
    return [
        _trigger(rule, signals, now_ms, visitor)
        for rule in rules
        if _silent_until(rule, fired, now_ms) <= now_ms
        and all(c.holds(signals) for c in rule.conditions)
    ]


def next_check(
    rules: Iterable[CampaignRule],
    signals: Mapping[str, float],
    when: When,
    fired: Mapping[str, int],
    now_ms: int,
) -> int | None:
    """The earliest time after `now_ms` at which a campaign comes to be due if nothing else happens,
    or None.

    Only the signals of `TIME_DRIVEN` are followed into the future, the others are taken to stay as
    they are at `now_ms`. A rule that is due at `now_ms` itself is not in it: call `due` first, and
    put its triggers into `fired`.
    """
    times = [_comes_due(rule, signals, when, fired, now_ms) for rule in rules]
    later = [time_ms for time_ms in times if time_ms is not None and time_ms > now_ms]
    return min(later, default=None)


def anomalies(
    rules: Iterable[AnomalyRule],
    signals: Mapping[str, float],
    marked: Mapping[str, int],
    now_ms: int,
    *,
    key: str,
) -> list[Anomaly]:
    """Anomalies of the visitor or address `key` at `now_ms`, but for those found before that still
    hold.

    `marked` maps a rule to the `until_ms` of its last finding; the caller puts the new ones in. The
    rules are of one subject (`Rules.anomalies_of`), and `signals` are that subject's.
    """
    return [
        _anomaly(rule, signals, now_ms, key)
        for rule in rules
        if marked.get(rule.name, now_ms) <= now_ms
        and all(c.holds(signals) for c in rule.conditions)
    ]


def is_marked(rules: Iterable[AnomalyRule], marked: Mapping[str, int], time_ms: int) -> bool:
    """True where a mark holds at `time_ms`, from the finding until just before its end.

    Only marks of `rules` that mark: one whose rule is gone from the file no longer holds.
    """
    return any(
        rule.marks and marked[rule.name] - rule.mark_for_ms <= time_ms < marked[rule.name]
        for rule in rules
        if rule.name in marked
    )


def _comes_due(
    rule: CampaignRule,
    signals: Mapping[str, float],
    when: When,
    fired: Mapping[str, int],
    now_ms: int,
) -> int | None:
    opens_ms = max(now_ms, _silent_until(rule, fired, now_ms))
    for condition in rule.conditions:
        if condition.holds(signals):
            continue
        if not (condition.is_time_driven and condition.is_lower):
            return None
        opens = condition.opens_ms(when)
        if opens is None:
            return None
        opens_ms = max(opens_ms, opens if opens > now_ms else now_ms + RECHECK_MS)
    for condition in rule.conditions:
        if condition.is_time_driven and not condition.is_lower:
            closes_ms = condition.closes_ms(when)
            if closes_ms is not None and closes_ms < opens_ms:
                return None
    return opens_ms


def _silent_until(rule: CampaignRule, fired: Mapping[str, int], now_ms: int) -> int:
    if rule.name not in fired:
        return now_ms
    return fired[rule.name] + rule.cooldown_ms


def _trigger(
    rule: CampaignRule, signals: Mapping[str, float], now_ms: int, visitor: str
) -> Trigger:
    names = rule.payload or [condition.signal for condition in rule.conditions]
    return Trigger(
        id=_id("campaign", rule.name, visitor, now_ms // rule.cooldown_ms),
        visitor=visitor,
        rule=rule.name,
        channel=rule.channel,
        at_ms=now_ms,
        signals={name: signals[name] for name in names},
    )


def _anomaly(rule: AnomalyRule, signals: Mapping[str, float], now_ms: int, key: str) -> Anomaly:
    return Anomaly(
        id=_id("anomaly", rule.name, key, now_ms // rule.mark_for_ms),
        rule=rule.name,
        severity=rule.severity,
        marks=rule.marks,
        at_ms=now_ms,
        until_ms=now_ms + rule.mark_for_ms,
        signals={condition.signal: signals[condition.signal] for condition in rule.conditions},
        visitor=key if rule.of == "visitor" else None,
        address=key if rule.of == "address" else None,
    )


def _id(kind: str, rule: str, key: str, window: int) -> str:
    """32 hexadecimal digits; NUL separates, for no key holds it."""
    return blake2b(f"{kind}\0{rule}\0{key}\0{window}".encode(), digest_size=16).hexdigest()


def _time(time_ms: int) -> str:
    return format_time(datetime.fromtimestamp(time_ms / 1000, UTC))


def _json(signals: dict[str, float]) -> str:
    return msgspec.json.encode(signals).decode()


def _check_span(field: str, span_ms: int) -> None:
    if span_ms <= 0:
        raise ValueError(f"{field}: expected a span above 0 ms, got {span_ms}")
