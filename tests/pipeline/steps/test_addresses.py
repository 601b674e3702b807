"""Anomalies: who sends what no person sends is marked, and counts for nobody else while the mark
lasts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.test_stream import TestStream as Script

from pipeline.core.rules import Rules
from pipeline.ops.rules_file import load
from pipeline.steps.addresses import WatchAddresses
from pipeline.steps.decode import BY_ADDRESS, LOG, Decode
from pipeline.steps.profiles import ANOMALIES
from pipeline.steps.sessions import SummarizeSessions, session_rows
from pipeline.store.blocking import Bigtable, Store
from tests.pipeline.core.streams import assert_same
from tests.pipeline.running import (
    LONG_S,
    RUNNERS,
    START_MS,
    Clean,
    Visitor,
    collect,
    features,
    message,
    outputs,
    run,
    script,
    stored_items,
    stored_profile,
)

HOUR_MS = 3_600_000
FILE = """
anomalies:
  - name: rate
    conditions:
      events_1m: {at_least: 5}
    severity: high
    marks: true
    mark_for: 1h
  - name: told_only
    conditions:
      searches_24h: {at_least: 1}
    severity: low
    marks: false
    mark_for: 1h
  - name: address_rate
    of: address
    conditions:
      events_1m: {at_least: 4}
    severity: medium
    marks: true
    mark_for: 1h
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    path: Path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(FILE)
    return load(path)


@pytest.mark.parametrize("runner", RUNNERS)
def test_who_is_too_fast_is_marked_and_from_then_on_counts_for_no_item_but_in_the_own_profile(
    source: Bigtable, store: Store, visitor: Visitor, rules: Rules, runner: type
) -> None:
    views = [
        visitor.did("view_product", "p", n, metadata={"category": f"{visitor.tag}.c"})
        for n in range(7)
    ]
    counts = features(source, [message(view) for view in views], rules, runner=runner)
    [anomaly] = outputs["anomalies"]
    assert (anomaly.rule, anomaly.visitor, anomaly.address) == ("rate", visitor.key, None)
    assert (anomaly.at_ms, anomaly.until_ms) == (START_MS + 4_000, START_MS + 4_000 + HOUR_MS)
    assert (counts["rules/anomalies"], counts["fold/distrusted"]) == (1, 3)

    clean = Clean(views)
    clean.profile.marks = {"rate": anomaly.until_ms}
    assert_same(stored_profile(store, visitor.key), clean.profile)
    assert stored_items(store, [visitor.product("p")])[visitor.product("p")].counts.totals == {0: 4}
    assert [len(new.facts) for _, new in outputs["new"]] == [1] * 7


def test_a_mark_ends_when_its_time_is_over(
    source: Bigtable, store: Store, visitor: Visitor, rules: Rules
) -> None:
    fast = [visitor.did("view_product", "p", n) for n in range(5)]
    late = [visitor.did("view_product", "p", 4 + 3600 + after_s) for after_s in (-0.001, 0)]
    features(source, [message(*fast), message(late[0]), message(late[1])], rules)
    assert [new.trusted for _, new in outputs["new"]] == [False, False, True]
    assert stored_items(store, [visitor.product("p")])[visitor.product("p")].counts.totals == {0: 1}


def test_a_mark_outlives_the_job_and_the_login(
    source: Bigtable, visitor: Visitor, rules: Rules
) -> None:
    features(source, [message(*[visitor.anonymously("scroll", at_s=n) for n in range(5)])], rules)
    features(
        source,
        [message(visitor.logged_in("scroll", at_s=300)), message(visitor.did("scroll", at_s=301))],
        rules,
    )
    assert [(key, new.trusted) for key, new in outputs["new"]] == [(visitor.key, False)] * 2


def test_what_is_only_told_marks_nobody(source: Bigtable, visitor: Visitor, rules: Rules) -> None:
    features(source, [message(visitor.did("search", at_s=n)) for n in range(2)], rules)
    assert [anomaly.rule for anomaly in outputs["anomalies"]] == ["told_only"]
    assert [new.trusted for _, new in outputs["new"]] == [True, True]


def watched(pipeline: beam.Pipeline, source: Bigtable, stream: Script, rules: Rules) -> Any:
    return (pipeline | stream | Decode(source))[BY_ADDRESS] | WatchAddresses(rules)


def test_everybody_behind_an_address_that_sends_too_much_is_marked(
    source: Bigtable, store: Store, visitor: Visitor, rules: Rules
) -> None:
    net = {"address": f"net{visitor.tag}"}
    others = Visitor(f"other{visitor.tag}")
    burst = [visitor.did("scroll", at_s=n) for n in range(2)] + [
        others.anonymously("scroll", at_s=n) for n in range(2)
    ]
    after = [visitor.did("view_product", "p", 10), others.anonymously("view_product", "p", 11)]
    counts = features(
        source, [message(*burst, **net), *(message(event, **net) for event in after)], rules
    )

    [found] = outputs["address anomalies"]
    assert (found.rule, found.address, found.visitor) == ("address_rate", net["address"], None)
    assert {(anomaly.visitor, anomaly.address) for anomaly in outputs["anomalies"]} == {
        (visitor.key, net["address"]),
        (others.browser, net["address"]),
    }
    assert len({found.id, *(anomaly.id for anomaly in outputs["anomalies"])}) == 3
    assert stored_profile(store, visitor.key).marks == {"address_rate": found.until_ms}
    assert stored_profile(store, others.browser).marks == {"address_rate": found.until_ms}
    assert stored_items(store, [visitor.product("p"), others.product("p")]) == {}
    assert (counts["rules/address_anomalies"], counts["fold/distrusted"]) == (1, 2)


def test_a_browser_that_belongs_to_an_account_has_its_mark_there(
    source: Bigtable, store: Store, visitor: Visitor, rules: Rules
) -> None:
    features(source, [message(visitor.logged_in("identify"))])
    burst = message(
        *[visitor.anonymously("scroll", at_s=n) for n in range(1, 5)], address=f"net{visitor.tag}"
    )
    features(source, [burst], rules)
    assert "address_rate" in stored_profile(store, visitor.key).marks
    assert stored_profile(store, visitor.browser).marks == {}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(("silence_s", "found"), [(LONG_S, 0), (1, 1)])
def test_an_address_is_forgotten_when_it_is_silent(
    source: Bigtable, visitor: Visitor, rules: Rules, silence_s: float, found: int, runner: type
) -> None:
    half = [
        message(*[visitor.did("scroll", at_s=n) for n in range(2)], address=f"net{visitor.tag}")
        for _ in range(2)
    ]
    stream = Script().add_elements(half[:1]).advance_watermark_to(silence_s).add_elements(half[1:])
    stream.advance_watermark_to_infinity()
    run(lambda p: collect(watched(p, source, stream, rules)[ANOMALIES], "anomalies"), runner)
    assert len(outputs["anomalies"]) == found


def test_marked_traffic_is_still_in_the_log_and_in_the_sessions(
    source: Bigtable, visitor: Visitor, rules: Rules
) -> None:
    burst = [visitor.did("view_product", "p", n) for n in range(6)]
    features(source, [message(event) for event in burst], rules)
    new = list(outputs["new"])
    assert not new[-1][1].trusted
    run(lambda p: collect(p | script(new) | SummarizeSessions() | beam.Map(session_rows), "rows"))
    assert [entry.row["events"] for rows in outputs["rows"] for entry in rows] == [6]
    run(lambda p: collect((p | script([message(*burst)]) | Decode(source))[LOG], LOG))
    assert [len(rows) for rows in outputs[LOG]] == [6]
