"""When campaigns are due and anomalies found: every boundary, and timers that a step-by-step watch
agrees with.
"""

from __future__ import annotations

import json
import math
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.rules import (
    RECHECK_MS,
    Anomaly,
    AnomalyRule,
    CampaignRule,
    Condition,
    Rules,
    Trigger,
    anomalies,
    due,
    is_marked,
    next_check,
)
from tests.pipeline.core.streams import START_MS, laws

NOW = START_MS
HOUR_MS = 3_600_000
EMITTED = datetime(2025, 1, 1, 13, 0, 0, 500_000, tzinfo=UTC)


def where(**bounds: dict[str, float]) -> tuple[Condition, ...]:
    """Conditions as a file states them: signal={bound: value}."""
    return tuple(
        Condition(signal, bound, value)  # type: ignore[arg-type]
        for signal, bounded in bounds.items()
        for bound, value in bounded.items()
    )


def campaign(
    name: str = "cart", cooldown_ms: int = 24 * HOUR_MS, **bounds: dict[str, float]
) -> CampaignRule:
    return CampaignRule(name, where(**bounds), cooldown_ms, "email")


def anomaly(
    name: str = "rate", marks: bool = True, of: Any = "visitor", **bounds: dict[str, float]
) -> AnomalyRule:
    return AnomalyRule(
        name, where(**(bounds or {"events_1m": {"at_least": 300}})), "high", marks, HOUR_MS, of
    )


def are_due(
    rule: CampaignRule, fired_ms: int | None = None, now_ms: int = NOW, **signals: float
) -> list[Trigger]:
    return due(
        [rule], signals, {} if fired_ms is None else {rule.name: fired_ms}, now_ms, visitor="u#1"
    )


class Idle:
    """A visitor who does nothing: signals that grow by `rates[name]` a ms from `signals[name]` at
    `NOW`.
    """

    def __init__(self, signals: dict[str, float], rates: dict[str, float]) -> None:
        self.values, self.rates = signals, rates

    def at(self, now_ms: int) -> dict[str, float]:
        return {
            name: value + self.rates.get(name, 0.0) * (now_ms - NOW)
            for name, value in self.values.items()
        }

    def when(self, name: str, value: float, /) -> int | None:
        rate, missing = self.rates.get(name, 0.0), value - self.values[name]
        return None if rate == 0 else NOW + math.ceil(missing / rate)


ABANDONED = campaign(cart_items={"at_least": 1}, cart_idle_s={"at_least": 3600})


# conditions


@pytest.mark.parametrize(
    ("bound", "expected"),
    [("at_least", [0, 1, 1]), ("above", [0, 0, 1]), ("at_most", [1, 1, 0]), ("below", [1, 0, 0])],
)
def test_a_value_exactly_at_a_bound_counts_for_at_least_and_at_most_only(
    bound: str, expected: list[int]
) -> None:
    rule = campaign(cart_value={bound: 50.0})
    assert [len(are_due(rule, cart_value=value)) for value in (49.999, 50.0, 50.001)] == expected


def test_all_conditions_must_hold_and_two_bounds_of_one_signal_are_a_range() -> None:
    rule = campaign(cart_items={"at_least": 1}, cart_idle_s={"at_least": 10, "below": 20})
    facts = [(0, 15), (1, 9), (1, 10), (1, 19), (1, 20)]
    assert [bool(are_due(rule, cart_items=items, cart_idle_s=idle)) for items, idle in facts] == [
        0,
        0,
        1,
        1,
        0,
    ]


@pytest.mark.parametrize("bound", ["at_least", "above", "at_most", "below"])
def test_a_signal_that_is_no_number_fulfils_no_condition(bound: str) -> None:
    assert are_due(campaign(price_spread={bound: 1.0}), price_spread=math.nan) == []


def test_a_signal_that_nobody_computes_is_a_fault_and_not_a_condition_that_fails() -> None:
    with pytest.raises(KeyError, match="cart_items"):
        are_due(ABANDONED)


# triggers


def test_a_campaign_is_due_again_exactly_when_its_cooldown_ends() -> None:
    facts: dict[str, Any] = {"cart_items": 1.0, "cart_idle_s": 9e9}
    ends = NOW + ABANDONED.cooldown_ms
    assert [
        len(are_due(ABANDONED, NOW, now, **facts)) for now in (NOW, ends - 1, ends, ends + 1)
    ] == [0, 0, 1, 1]


def test_an_event_from_before_the_last_trigger_triggers_nothing() -> None:
    assert are_due(ABANDONED, NOW, NOW - 48 * HOUR_MS, cart_items=1.0, cart_idle_s=9e9) == []


def test_one_rules_cooldown_does_not_silence_another() -> None:
    rules = [
        campaign("one", cart_items={"at_least": 1}),
        campaign("two", cart_items={"at_least": 1}),
    ]
    found = due(rules, {"cart_items": 1.0}, {"one": NOW}, NOW, visitor="u#1")
    assert [trigger.rule for trigger in found] == ["two"]


def test_a_trigger_carries_its_payload_or_else_the_signals_of_its_conditions() -> None:
    facts: dict[str, Any] = {"cart_items": 2.0, "cart_idle_s": 3600.0, "cart_value": 59.8}
    rule = CampaignRule("cart", ABANDONED.conditions, HOUR_MS, "email", ("cart_value",))
    assert are_due(ABANDONED, **facts)[0].signals == {"cart_items": 2.0, "cart_idle_s": 3600.0}
    assert are_due(rule, **facts)[0].signals == {"cart_value": 59.8}


def test_a_retried_trigger_has_the_same_id_and_no_other_trigger_has_it() -> None:
    facts: dict[str, Any] = {"cart_items": 1.0, "cart_idle_s": 3600.0}
    start = NOW - NOW % ABANDONED.cooldown_ms  # a window of the cooldown begins
    first, retried = (are_due(ABANDONED, None, start + after, **facts)[0] for after in (0, 30_000))
    others = [
        are_due(ABANDONED, start, start + ABANDONED.cooldown_ms, **facts)[0],
        are_due(campaign("other", cart_items={"at_least": 1}), None, start, **facts)[0],
        due([ABANDONED], facts, {}, start, visitor="u#2")[0],
    ]
    assert first.id == retried.id
    assert len({first.id, *(other.id for other in others)}) == 4


@laws
@given(
    st.lists(st.integers(0, 100 * HOUR_MS), min_size=1, max_size=50), st.integers(1, 30 * HOUR_MS)
)
def test_triggers_that_keep_the_cooldown_never_share_an_id(
    offsets: list[int], cooldown_ms: int
) -> None:
    rule = campaign(cooldown_ms=cooldown_ms, cart_items={"at_least": 1})
    fired: dict[str, int] = {}
    ids: list[str] = []
    for offset in sorted(offsets):
        for trigger in due([rule], {"cart_items": 1.0}, fired, NOW + offset, visitor="u#1"):
            fired[rule.name] = trigger.at_ms
            ids.append(trigger.id)
    assert len(ids) == len(set(ids)) >= 1


def test_the_id_of_a_trigger_is_the_same_in_every_process_and_release() -> None:
    found = due(
        [ABANDONED],
        {"cart_items": 1.0, "cart_idle_s": 3600.0},
        {},
        1_735_732_800_000,
        visitor="u#1",
    )
    assert found[0].id == "e072d0e9ac1e4fa89ea57c24244e24e5"


def test_a_triggers_message_and_row_say_the_same() -> None:
    trigger = are_due(ABANDONED, cart_items=2.0, cart_idle_s=3600.0)[0]
    message, row = json.loads(trigger.message()), trigger.row(EMITTED)
    assert message == {
        "id": trigger.id,
        "visitor": "u#1",
        "rule": "cart",
        "channel": "email",
        "due_at": "2025-01-01T12:00:00.000Z",
        "signals": {"cart_items": 2.0, "cart_idle_s": 3600.0},
    }
    assert row == {**message, "signals": row["signals"], "emitted_at": "2025-01-01T13:00:00.500Z"}
    assert json.loads(row["signals"]) == message["signals"]
    assert trigger.attributes() == {"id": trigger.id, "rule": "cart", "channel": "email"}


@pytest.mark.parametrize("span_ms", [0, -1])
def test_a_rule_without_a_span_is_refused(span_ms: int) -> None:
    with pytest.raises(ValueError, match=f"cooldown_ms: expected a span above 0 ms, got {span_ms}"):
        CampaignRule("a", (), span_ms, "email")
    with pytest.raises(ValueError, match="mark_for_ms: expected a span above 0 ms"):
        AnomalyRule("a", (), "low", True, span_ms)


# timers


def test_the_timer_is_set_for_the_very_millisecond_at_which_the_cart_has_lain_long_enough() -> None:
    idle = Idle({"cart_items": 1.0, "cart_idle_s": 0.0}, {"cart_idle_s": 1 / 1000})
    at_ms = next_check([ABANDONED], idle.at(NOW), idle.when, {}, NOW)
    assert at_ms == NOW + HOUR_MS
    assert not are_due(ABANDONED, None, at_ms - 1, **idle.at(at_ms - 1))
    assert are_due(ABANDONED, None, at_ms, **idle.at(at_ms))


def test_above_is_reached_a_millisecond_after_at_least() -> None:
    idle = Idle({"idle_s": 0.0}, {"idle_s": 1 / 1000})
    times = [
        next_check([campaign(idle_s={b: 60})], idle.at(NOW), idle.when, {}, NOW)
        for b in ("at_least", "above")
    ]
    assert times == [NOW + 60_000, NOW + 60_001]


def test_no_timer_is_set_while_a_condition_fails_that_time_does_not_mend() -> None:
    idle = Idle({"cart_items": 0.0, "cart_idle_s": 0.0}, {"cart_idle_s": 1 / 1000})
    assert next_check([ABANDONED], idle.at(NOW), idle.when, {}, NOW) is None


def test_no_timer_is_set_for_what_is_never_reached() -> None:
    idle = Idle({"churn_risk": 0.2}, {})
    assert (
        next_check([campaign(churn_risk={"above": 1.0})], idle.at(NOW), idle.when, {}, NOW) is None
    )


def test_no_timer_is_set_for_what_has_grown_past_its_upper_bound() -> None:
    idle = Idle({"idle_s": 100.0}, {"idle_s": 1 / 1000})
    assert next_check([campaign(idle_s={"at_most": 99})], idle.at(NOW), idle.when, {}, NOW) is None


def test_the_earliest_rule_sets_the_timer() -> None:
    idle = Idle({"idle_s": 0.0}, {"idle_s": 1 / 1000})
    rules = [campaign(str(seconds), idle_s={"at_least": seconds}) for seconds in (300, 60, 600)]
    assert next_check(rules, idle.at(NOW), idle.when, {}, NOW) == NOW + 60_000
    assert next_check([], idle.at(NOW), idle.when, {}, NOW) is None


def test_a_rule_that_is_due_now_sets_no_timer_until_it_has_fired() -> None:
    idle = Idle({"idle_s": 100.0}, {"idle_s": 1 / 1000})
    rule = campaign(idle_s={"at_least": 60})
    assert next_check([rule], idle.at(NOW), idle.when, {}, NOW) is None
    assert (
        next_check([rule], idle.at(NOW), idle.when, {rule.name: NOW}, NOW) == NOW + rule.cooldown_ms
    )


def test_a_cooldown_that_outlasts_the_range_of_the_rule_leaves_no_timer() -> None:
    idle = Idle({"idle_s": 0.0}, {"idle_s": 1 / 1000})
    day_s = 24 * 3600
    for bound, value, expected in (
        ("at_most", day_s, NOW + day_s * 1000),
        ("at_most", day_s - 0.001, None),
        ("below", day_s, None),
        ("below", day_s + 0.001, NOW + day_s * 1000),
    ):
        rule = campaign(idle_s={"at_least": 60, bound: value})
        assert next_check([rule], idle.at(NOW), idle.when, {rule.name: NOW}, NOW) == expected, (
            bound,
            value,
        )


def test_a_bound_missed_by_rounding_is_looked_at_again_and_not_at_once() -> None:
    rule = campaign(churn_risk={"at_least": 0.8})
    found = next_check([rule], {"churn_risk": 0.8 - 1e-16}, lambda name, value: NOW, {}, NOW)
    assert found == NOW + RECHECK_MS


STEP_MS = 60_000
BOUNDS = st.dictionaries(
    st.sampled_from(["at_least", "above", "at_most", "below"]),
    st.integers(0, 60).map(float),
    max_size=2,
)


@laws
@given(
    st.lists(
        st.tuples(BOUNDS, BOUNDS, BOUNDS, st.integers(1, 40), st.integers(-40, 0)),
        min_size=1,
        max_size=4,
    ),
    st.tuples(*[st.integers(0, 60).map(float)] * 3),
)
def test_the_timer_agrees_with_asking_at_every_step(
    drawn: list[tuple[dict[str, float], dict[str, float], dict[str, float], int, int]],
    values: tuple[float, float, float],
) -> None:
    # one unit a minute and steps of a minute, so that every crossing falls on a step, and `above` a
    # ms after one
    names = ("cart_items", "idle_s", "cart_idle_s")
    idle = Idle(
        dict(zip(names, values, strict=True)), {"idle_s": 1 / STEP_MS, "cart_idle_s": 1 / STEP_MS}
    )
    rules, fired = [], {}
    for number, (*bounds, cooldown, ago) in enumerate(drawn):
        rules.append(
            campaign(str(number), cooldown * STEP_MS, **dict(zip(names, bounds, strict=True)))
        )
        fired[str(number)] = NOW + ago * STEP_MS
    waiting = [rule for rule in rules if not due([rule], idle.at(NOW), fired, NOW, visitor="u#1")]

    steps = (NOW + step * STEP_MS + late for step in range(101) for late in (0, 1))
    watched = next(
        (at for at in steps if at > NOW and due(waiting, idle.at(at), fired, at, visitor="u#1")),
        None,
    )

    assert next_check(waiting, idle.at(NOW), idle.when, fired, NOW) == watched


# anomalies


def found(
    rule: AnomalyRule,
    marked: dict[str, int] | None = None,
    now_ms: int = NOW,
    events_1m: float = 300.0,
) -> list[Anomaly]:
    return anomalies([rule], {"events_1m": events_1m}, marked or {}, now_ms, key="u#1")


def test_an_anomaly_is_found_at_its_bound_and_says_what_it_saw_and_how_long_it_marks() -> None:
    assert found(anomaly(), events_1m=299.0) == []
    (one,) = found(anomaly(), events_1m=300.0)
    assert (one.visitor, one.address, one.severity, one.marks) == ("u#1", None, "high", True)
    assert (one.at_ms, one.until_ms, one.signals) == (NOW, NOW + HOUR_MS, {"events_1m": 300.0})


@pytest.mark.parametrize("marks", [True, False])
def test_a_finding_is_not_repeated_until_it_ends(marks: bool) -> None:
    rule = anomaly(marks=marks)
    until = found(rule)[0].until_ms
    times = (NOW, until - 1, until)
    assert [len(found(rule, {rule.name: until}, now)) for now in times] == [0, 0, 1]
    assert found(rule, {rule.name: until}, until)[0].id != found(rule)[0].id


def test_a_mark_holds_from_finding_until_just_before_its_end_and_of_marking_rules_alone() -> None:
    marking, telling = anomaly("a"), anomaly("b", marks=False)
    until = NOW + HOUR_MS
    times = (NOW - 1, NOW, until - 1, until)
    assert [is_marked([marking, telling], {"a": until}, time_ms) for time_ms in times] == [
        False,
        True,
        True,
        False,
    ]
    assert not is_marked([marking, telling], {"b": until}, NOW)
    assert not is_marked([telling], {"a": until}, NOW)
    assert not is_marked([marking], {}, NOW)


def test_a_finding_about_an_address_can_be_told_of_each_visitor_behind_it() -> None:
    (one,) = anomalies([anomaly(of="address")], {"events_1m": 300.0}, {}, NOW, key="ip#1")
    behind, again, other = one.about("u#1"), one.about("u#1"), one.about("u#2")
    assert (one.visitor, one.address) == (None, "ip#1")
    assert (behind.visitor, behind.address, behind.until_ms) == ("u#1", "ip#1", one.until_ms)
    assert behind == again
    assert len({one.id, behind.id, other.id}) == 3


def test_an_anomalys_message_and_row_say_the_same_and_only_a_mark_has_an_end() -> None:
    (one,), (told,) = found(anomaly()), found(anomaly(marks=False))
    message, row = json.loads(one.message()), one.row(EMITTED)
    assert message == {
        "id": one.id,
        "visitor": "u#1",
        "address": None,
        "rule": "rate",
        "severity": "high",
        "found_at": "2025-01-01T12:00:00.000Z",
        "marked_until": "2025-01-01T13:00:00.000Z",
        "signals": {"events_1m": 300.0},
    }
    assert row == {
        **message,
        "signals": '{"events_1m":300.0}',
        "emitted_at": "2025-01-01T13:00:00.500Z",
    }
    assert told.row(EMITTED)["marked_until"] is None
    assert one.attributes() == {"id": one.id, "rule": "rate", "severity": "high"}


# rules as a whole


def test_rules_travel_to_a_worker_and_cannot_be_changed_there() -> None:
    rules = Rules((ABANDONED,), (anomaly("a"), anomaly("b", of="address")))
    assert pickle.loads(pickle.dumps(rules)) == rules
    assert hash(rules) == hash(pickle.loads(pickle.dumps(rules)))
    with pytest.raises(AttributeError):
        rules.campaigns = ()  # type: ignore[misc]


def test_rules_about_visitors_and_about_addresses_are_told_apart() -> None:
    rules = Rules((), (anomaly("a"), anomaly("b", of="address")))
    assert [rule.name for rule in rules.anomalies_of("visitor")] == ["a"]
    assert [rule.name for rule in rules.anomalies_of("address")] == ["b"]
