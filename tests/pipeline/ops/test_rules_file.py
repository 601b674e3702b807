"""A file of rules: what is read from it, and that everything wrong in it is named with its line."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.features.visitor import NUMERIC, VISITOR_FEATURES
from pipeline.core.rules import TIME_DRIVEN, AnomalyRule, CampaignRule, Condition, Rules
from pipeline.ops.rules_file import (
    DEFAULT_FILE,
    load,
    parse,
    rules_of,
    signal_range,
)
from pipeline.runtime.yaml_reader import InvalidFile
from tests.stack.prerequisites import REPO

CAMPAIGN = """\
campaigns:
  - name: cart
    conditions:
      cart_items: {at_least: 1}
    cooldown: 24h
    channel: email
"""
ANOMALY = """\
anomalies:
  - name: rate
    conditions:
      events_1m: {at_least: 300}
    severity: high
    marks: true
    mark_for: 30m
"""


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidFile) as caught:
        parse(text.encode(), "my.yaml")
    return list(caught.value.problems)


def problem(text: str) -> str:
    (only,) = problems(text)
    return only


# what is read


def test_a_file_becomes_the_rules_that_it_states() -> None:
    text = """
campaigns:
  - name: cart
    conditions:
      cart_items: {at_least: 1}
      cart_idle_s: {above: 90m, at_most: 7200}
      cart_value: {below: 99.5}
    cooldown: 7d
    channel: email
    payload: [cart_value, cart_items]
anomalies:
  - name: crowd
    of: address
    conditions:
      visitors_5m: {at_least: 300}
    severity: low
    marks: false
    mark_for: 45s
"""
    conditions = (
        Condition("cart_items", "at_least", 1.0),
        Condition("cart_idle_s", "above", 5400.0),
        Condition("cart_idle_s", "at_most", 7200.0),
        Condition("cart_value", "below", 99.5),
    )
    crowd = (Condition("visitors_5m", "at_least", 300.0),)
    assert parse(text.encode(), "my.yaml") == Rules(
        (CampaignRule("cart", conditions, 7 * 86_400_000, "email", ("cart_value", "cart_items")),),
        (AnomalyRule("crowd", crowd, "low", False, 45_000, "address"),),
    )


def test_a_rule_about_anomalies_is_about_visitors_unless_it_says_otherwise() -> None:
    assert parse(ANOMALY.encode(), "my.yaml").anomalies[0].of == "visitor"


def test_a_file_stands_alone_and_a_list_may_be_empty_or_absent(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(CAMPAIGN)
    assert [rule.name for rule in load(file).campaigns] == ["cart"]
    assert load(file).anomalies == ()
    assert parse(b"campaigns: []\nanomalies: []", "my.yaml") == Rules()


def test_every_feature_of_a_visitor_that_is_a_number_may_be_named_within_its_range() -> None:
    for feature in VISITOR_FEATURES:
        if feature.name in NUMERIC:
            low, high = signal_range(feature.range)
            assert low < high, feature.name
            text = CAMPAIGN.replace(
                "cart_items: {at_least: 1}", f"{feature.name}: {{above: {low:g}}}"
            )
            assert parse(text.encode(), "my.yaml").campaigns[0].conditions[0].signal == feature.name
    assert NUMERIC > TIME_DRIVEN
    with pytest.raises(ValueError, match=r"range: expected two numbers such as .*, got 'any'"):
        signal_range("any")


def test_an_option_names_the_default_rules_or_none_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(CAMPAIGN)
    assert rules_of("default") == load()
    assert rules_of("none") == Rules()
    assert rules_of(str(file)) == load(file)


def test_the_rules_that_freshet_comes_with_are_usable_and_of_every_kind() -> None:
    rules = load()
    assert {rule.name for rule in rules.campaigns} == {
        "cart_abandonment",
        "price_sensitive_discount",
        "onboarding",
        "win_back",
    }
    assert {condition.signal for rule in rules.anomalies for condition in rule.conditions} >= {
        "events_1m",
        "events_5m",
        "travel_kmh",
        "clicks_without_impression",
        "same_purchases_10m",
    }
    assert rules.anomalies_of("address")
    assert pickle.loads(pickle.dumps(rules)) == rules


def test_no_default_campaign_comes_true_for_ever_while_nothing_happens() -> None:
    for rule in load().campaigns:
        if any(condition.is_time_driven for condition in rule.conditions):
            ends = [c for c in rule.conditions if c.signal in TIME_DRIVEN and not c.is_lower]
            assert ends, rule.name


def test_every_default_rule_says_why() -> None:
    lines = DEFAULT_FILE.read_text().splitlines()
    for number, line in enumerate(lines):
        if "  - name: " in line:
            assert lines[number - 1].lstrip().startswith("#"), f"line {number + 1}: {line}"


# what is refused


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("cart_items", "cart_itms"),
            r"4: campaigns[0].conditions: expected one of .*, got 'cart_itms' (did you mean "
            r"cart_items?)",
        ),
        (
            ("at_least", "atleast"),
            "4: campaigns[0].conditions.cart_items: expected one of at_least, above, at_most, "
            "below, got 'atleast'"
            " (did you mean at_least?)",
        ),
        (("at_least: 1", "at_least: yes"), "4: …cart_items.at_least: expected a number, got 'yes'"),
        (("at_least: 1", "at_least: '1'"), "4: …cart_items.at_least: expected a number, got '1'"),
        (("at_least: 1", "at_least: 1h"), "4: …cart_items.at_least: expected a number, got '1h'"),
        (
            ("at_least: 1", "at_least: .nan"),
            "4: …cart_items.at_least: expected a number, got '.nan'",
        ),
        (
            ("at_least: 1", "at_least: 1:30"),
            "4: …cart_items.at_least: expected a number, got '1:30'",
        ),
        (
            ("at_least: 1", "at_least: [1]"),
            "4: …cart_items.at_least: expected a number, got a list",
        ),
        (("at_least: 1", ""), "4: …cart_items: expected keys with values, got nothing"),
        (("{at_least: 1}", "1"), "4: …cart_items: expected keys with values, got '1'"),
        (
            ("cart_items: {at_least: 1}", "idle_s: {above: soon}"),
            "4: …idle_s.above: expected seconds, or a span such as 30m, got 'soon'",
        ),
        (
            ("cooldown: 24h", "cooldown: 0h"),
            "5: campaigns[0].cooldown: expected a span above 0 .*, got '0h'",
        ),
        (
            ("cooldown: 24h", "cooldown: -1h"),
            "5: campaigns[0].cooldown: expected a span above 0 .*, got '-1h'",
        ),
        (
            ("cooldown: 24h", "cooldown: 24"),
            "5: campaigns[0].cooldown: expected a span .*, got '24'",
        ),
        (
            ("cooldown: 24h", "cooldown: 367d"),
            "5: campaigns[0].cooldown: expected a span .* up to 366d.*, got '367d'",
        ),
        (("    cooldown: 24h\n", ""), "2: campaigns[0].cooldown: expected a value, got nothing"),
        (
            ("channel: email", "channel: 5"),
            "6: campaigns[0].channel: expected up to 63 lowercase .*, got '5'",
        ),
        (
            ("name: cart", "name: Cart!"),
            "2: campaigns[0].name: expected up to 63 lowercase .*, got 'Cart!'",
        ),
        (
            ("channel: email", "chanel: email"),
            "2: campaigns[0].channel: expected a value, got nothing",
        ),
        (
            ("channel:", "payload: cart_items\n    channel:"),
            "6: campaigns[0].payload: expected a list, got .*",
        ),
        (
            ("channel:", "payload: [x]\n    channel:"),
            "6: campaigns[0].payload: expected one of .*, got 'x'",
        ),
        (
            ("channel:", "cooldown: 1h\n    channel:"),
            "6: campaigns[0]: expected each key once, got 'cooldown'",
        ),
        (
            ("campaigns:", "campaign:"),
            "1: rules: expected one of campaigns, anomalies, got 'campaign' .*",
        ),
        (("  - name", "    name"), "2: campaigns: expected a list, got keys with values"),
    ],
    ids=lambda value: " -> ".join(value) if isinstance(value, tuple) else "",
)
def test_a_campaign_that_is_wrong_is_named_by_line_field_expectation_and_value(
    change: tuple[str, str], expected: str
) -> None:
    pattern = ".*".join(
        re.escape(part) for part in expected.replace("…", "campaigns[0].conditions.").split(".*")
    )
    found = problems(CAMPAIGN.replace(*change, 1))
    assert any(re.fullmatch(f"my.yaml:{pattern}", text) for text in found), found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("severity: high", "severity: bad"),
            "5: anomalies[0].severity: expected one of low, medium, high, got 'bad'",
        ),
        (
            ("marks: true", "marks: maybe"),
            "6: anomalies[0].marks: expected true or false, got 'maybe'",
        ),
        (
            ("marks: true", "marks: 'true'"),
            "6: anomalies[0].marks: expected true or false, got 'true'",
        ),
        (
            ("mark_for: 30m", "mark_for: 31d"),
            "7: anomalies[0].mark_for: expected a span above 0 and up to 30d, such as 30m, 24h or "
            "7d, got '31d'",
        ),
        (
            ("    severity", "    of: adress\n    severity"),
            "5: anomalies[0].of: expected one of visitor, address, got 'adress' (did you mean "
            "address?)",
        ),
        (
            ("events_1m", "visitors_5m"),
            "4: anomalies[0].conditions: expected one of",
        ),
    ],
    ids=lambda value: " -> ".join(value) if isinstance(value, tuple) else "",
)
def test_an_anomaly_rule_that_is_wrong_is_named_too(change: tuple[str, str], expected: str) -> None:
    assert problem(ANOMALY.replace(*change, 1)).startswith(f"my.yaml:{expected}")


@pytest.mark.parametrize(
    ("signal", "bounds"),
    [
        ("churn_risk", "above: 1"),
        ("churn_risk", "at_least: 1.01"),
        ("cart_items", "below: 0"),
        ("cart_items", "at_most: -1"),
        ("cart_items", "at_least: 3, at_most: 2"),
        ("cart_items", "at_least: 3, below: 3"),
        ("idle_s", "above: 2h, below: 1h"),
        ("clicks_without_impression", "at_least: 9"),
    ],
)
def test_bounds_that_no_value_can_meet_are_refused(signal: str, bounds: str) -> None:
    text = CAMPAIGN.replace("cart_items: {at_least: 1}", f"{signal}: {{{bounds}}}")
    assert problem(text).startswith(
        f"my.yaml:4: campaigns[0].conditions.{signal}: expected bounds that a value of 0 "
    )


@pytest.mark.parametrize(
    ("signal", "bounds"),
    [
        ("churn_risk", "at_least: 1"),
        ("cart_items", "at_most: 0"),
        ("cart_items", "at_least: 3, at_most: 3"),
    ],
)
def test_bounds_that_one_value_alone_meets_are_accepted(signal: str, bounds: str) -> None:
    assert parse(
        CAMPAIGN.replace("cart_items: {at_least: 1}", f"{signal}: {{{bounds}}}").encode(), "my.yaml"
    ).campaigns


def test_a_name_used_twice_is_refused_with_both_lines_but_the_two_lists_may_share_one() -> None:
    twice = CAMPAIGN + CAMPAIGN.split("\n", 1)[1]
    assert (
        problem(twice)
        == "my.yaml:7: campaigns[1].name: expected a name that line 2 has not, got 'cart'"
    )
    assert parse((CAMPAIGN + ANOMALY.replace("rate", "cart")).encode(), "my.yaml").anomalies


def test_every_problem_is_named_at_once_in_the_order_of_the_lines() -> None:
    text = ANOMALY.replace("high", "grave").replace("30m", "0m") + CAMPAIGN.replace("24h", "soon")
    lines = [int(text.split(":")[1]) for text in problems(text)]
    assert lines == [5, 7, 12]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "my.yaml:1: rules: expected campaigns and anomalies, got an empty file"),
        (b"- a", "my.yaml:1: rules: expected keys with values, got a list"),
        (b"a: [", "my.yaml:1: expected YAML, got "),
        (b"a: 1\n---\nb: 2", "my.yaml:2: expected YAML, got "),
        (b"a: \xff\xfe", "my.yaml: expected YAML, got "),
        (
            b"campaigns: &all [*all]",
            "my.yaml:1: campaigns[0]: expected keys with values, got a list",
        ),
        (b"? [a]\n: 1", "my.yaml:1: rules: expected one of campaigns, anomalies, got a list"),
        (
            b"campaigns: !!python/object:os.system {}",
            "my.yaml:1: campaigns: expected a list, got nothing",
        ),
    ],
    ids=[
        "empty",
        "list",
        "cut off",
        "two documents",
        "not utf-8",
        "in itself",
        "key of no text",
        "python object",
    ],
)
def test_what_is_no_file_of_rules_is_refused_with_a_reason(content: bytes, expected: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        parse(content, "my.yaml")
    assert caught.value.problems[0].startswith(expected)
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(
        InvalidFile, match=r"no/rules\.yaml: expected a file that can be read, got No such file"
    ):
        load("no/rules.yaml")


def test_a_place_that_nothing_here_can_read_is_named() -> None:
    with pytest.raises(
        InvalidFile, match=r"ftp://shop/rules\.yaml: expected a file that can be read, got "
    ):
        rules_of("ftp://shop/rules.yaml")


# the command


@pytest.mark.parametrize(("severity", "status"), [("high", 0), ("grave", 1)])
def test_the_command_checks_a_file_before_it_goes_out(
    tmp_path: Path, severity: str, status: int
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(ANOMALY.replace("high", severity))
    command = [sys.executable, "-m", "pipeline.ops.rules_file", str(file)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert ("0 campaigns, 1 anomaly rules" in done.stdout) == (status == 0)
    assert (f"{file}:5: anomalies[0].severity: " in done.stderr) == (status == 1)
