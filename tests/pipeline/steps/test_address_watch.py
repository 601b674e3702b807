"""The logic of addresses: events of one address into its counts, with no runner and no store."""

from __future__ import annotations

import msgspec

from pipeline.core.rules import AnomalyRule, Condition, Rules
from pipeline.steps.addresses import AddressWatch, Findings, Visit, Watched
from tests.pipeline.running import START_MS

MARK_FOR_MS = 3_600_000
FOUR = AnomalyRule(
    name="address_rate",
    conditions=(Condition("events_1m", "at_least", 4.0),),
    severity="medium",
    of="address",
    marks=True,
    mark_for_ms=MARK_FOR_MS,
)


def visits(*visitors: str, after_ms: int = 0) -> list[Visit]:
    return [(visitor, START_MS + after_ms + n) for n, visitor in enumerate(visitors)]


def add(watched: Watched, found: list[Visit], rule: AnomalyRule = FOUR) -> Findings:
    return AddressWatch(Rules(anomalies=(rule,))).add("net", watched, found)


def marked(findings: Findings) -> list[str]:
    return [visitor for visitor, _ in findings.marks]


def test_everybody_behind_an_address_that_sends_too_much_is_marked_once_a_message() -> None:
    findings = add(Watched(), visits("u#b", "a#a", "u#b", "a#a"))
    [anomaly] = findings.anomalies
    assert (anomaly.rule, anomaly.address, anomaly.visitor) == ("address_rate", "net", None)
    assert findings.marks == [("a#a", anomaly.about("a#a")), ("u#b", anomaly.about("u#b"))]


def test_counts_go_on_from_message_to_message_and_a_quiet_address_marks_nobody() -> None:
    watched = Watched()
    assert add(watched, visits("u#a", "u#a", "u#a")) == Findings([], [])
    assert marked(add(watched, visits("u#a", after_ms=10))) == ["u#a"]


def test_an_anomaly_that_lasts_is_told_once_and_marks_those_who_come_until_it_ends() -> None:
    watched = Watched()
    [anomaly] = add(watched, visits(*["u#a"] * 4)).anomalies
    last_ms = anomaly.until_ms - START_MS - 1
    later = add(watched, visits("u#b", after_ms=last_ms))
    assert (later.anomalies, marked(later)) == ([], ["u#b"])
    assert add(watched, visits("u#c", after_ms=last_ms + 1)) == Findings([], [])


def test_a_message_that_is_processed_again_finds_the_same_anomaly() -> None:
    one, two = (add(Watched(), visits(*["u#a"] * 4)) for _ in range(2))
    assert one.anomalies == two.anomalies != []


def test_a_rule_that_does_not_mark_is_told_and_marks_nobody() -> None:
    findings = add(Watched(), visits(*["u#a"] * 4), msgspec.structs.replace(FOUR, marks=False))
    assert (len(findings.anomalies), findings.marks) == (1, [])
