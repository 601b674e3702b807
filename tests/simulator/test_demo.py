"""The demo's report: stable keys, and an exit code that tells when something was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.simulator.client import Tally
from tests.simulator.demo import Config, conclude
from tests.simulator.demo_report import build_report, faults, show
from tests.simulator.freshness import Freshness
from tests.simulator.traffic import Outcome
from tests.simulator.warehouse import LogCount

ISSUE_KEYS = {
    *("events_sent", "events_accepted", "events_in_log", "ctr", "lift", "lift_ci"),
    *("freshness_profile_ms", "freshness_recommendation_ms", "api_ms"),
}


def outcome() -> Outcome:
    found = Outcome(visits=40, events=900, seconds=20.0)
    for number in range(40):
        key = ("personalized" if number % 2 else "popular", f"shopper-{number}")
        found.impressions[key] = 20
        found.clicks[key] = 1 + (number % 2) + number % 3
    return found


def report(**changes: Any) -> dict[str, Any]:
    tally = Tally(sent=1_000, accepted=1_000, api_ms=[5.0, 9.0], served_by={"vertex": 2})
    freshness = Freshness([300.0, 500.0], [320.0, 540.0], probes=2)
    built = build_report(outcome(), freshness, tally, LogCount(1_000, 1_000))
    return {
        **built,
        "history_events": 100,
        "model_version": "m1",
        "lost": {},
        "events_in_profiles": 1_000,
        **changes,
    }


def test_the_report_has_the_stable_keys() -> None:
    built = report()
    assert set(built) >= ISSUE_KEYS
    assert set(built["freshness_profile_ms"]) == {"p50", "p95", "p99"} and set(built["api_ms"]) == {
        "p50",
        "p99",
    }
    assert built["lift_ci"][0] < built["lift"] < built["lift_ci"][1]
    assert built["ctr"]["personalized"] > built["ctr"]["popular"]


def test_people_can_read_it() -> None:
    text = show(report())
    assert "1,000 sent, 1,000 accepted, 1,000 in the log" in text
    assert (
        "CTR personalized" in text
        and "95% interval" in text
        and "collector answer to changed profile" in text
    )


def test_a_run_with_no_click_says_that_the_lift_is_unknown() -> None:
    built = {**build_report(Outcome(), Freshness(), Tally(), LogCount(0, 0)), "history_events": 0}
    text = show({**built, "model_version": "m1", "lost": {}})
    assert "nobody came" in text and "unknown" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"lost": {"events": 2, "by_name": {"click": 2}, "first": ["a-1"]}},
            "missing from the log",
        ),
        ({"events_rejected": 1, "rejections": [{"field": "timestamp"}]}, "timestamp"),
        ({"events_unconfirmed": 3}, "never confirmed 3 events"),
        ({"freshness_lost": 1}, "1 saw no change"),
        ({"broken_visits": 1}, "1 visits broke off"),
        ({"events_in_profiles": 1_001}, "the profiles counted 1001 events"),
    ],
)
def test_each_loss_is_named_and_makes_the_exit_code_1(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    lines: list[str] = []
    [fault] = faults(report(**change))
    assert said in fault
    assert conclude(report(**change), lines.append, tmp_path) == 1
    assert conclude(report(), lines.append, tmp_path) == 0


def test_the_configuration_comes_from_the_environment_and_refuses_nonsense_by_name() -> None:
    assert Config.from_env({}) == Config()
    assert Config.from_env({"DEMO_SECONDS": "30", "PORTS": "auto"}) == Config(
        seconds=30.0, ports="auto"
    )
    with pytest.raises(ValueError, match="DEMO_SECONDS: expected a number above 0, got 'soon'"):
        Config.from_env({"DEMO_SECONDS": "soon"})
