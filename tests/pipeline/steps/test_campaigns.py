"""Campaigns: told once when due, by an event or by a timer in silence, and to nobody who is
marked."""

from __future__ import annotations

import math
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_stream import TestStream as Script

from pipeline.core.rules import Rules, Trigger
from pipeline.ops.rules_file import load
from pipeline.steps.bigtable import WriteToBigtable
from pipeline.steps.decode import BY_BROWSER, Decode
from pipeline.steps.keyed_state import StateOptions
from pipeline.steps.profiles import FoldProfiles
from pipeline.store.blocking import Bigtable, Store
from tests.pipeline.running import (
    RUNNERS,
    START,
    Visitor,
    collect,
    features,
    message,
    outputs,
    run,
    stored_profile,
)

FILE = """
campaigns:
  - name: looks_around
    conditions:
      views_total: {at_least: 2}
    cooldown: 366d
    channel: onsite
    payload: [views_total, events_total]
  - name: left_cart
    conditions:
      cart_items: {at_least: 1}
      cart_idle_s: {at_least: 30s}
    cooldown: 366d
    channel: email
anomalies:
  - name: too_many
    conditions:
      searches_1m: {at_least: 3}
    severity: high
    marks: true
    mark_for: 1h
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    path: Path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(FILE)
    return load(path)


def now_s() -> float:
    """Seconds from `START` to now."""
    return time.time() - START.timestamp()


def in_silence(
    source: Bigtable,
    rules: Rules,
    visitor: Visitor,
    *at_s: float,
    idle_s: float = 27,
    ttl_s: float = 0.0,
    runner: type = RUNNERS[0],
) -> list[Trigger]:
    """What is told of a cart that lies for `idle_s`, while the watermark goes on to these times, in
    s from now.

    Then the job is drained.
    """
    now = math.ceil(time.time())
    cart = visitor.did("add_to_cart", "p", now - idle_s - START.timestamp())
    stream = Script().add_elements([message(cart)])
    for moment in at_s:
        stream.advance_watermark_to(now + moment)

    def connect(pipeline: beam.Pipeline) -> None:
        decoded = pipeline | stream.advance_watermark_to_infinity() | Decode(source)
        inputs = {"accounts": decoded.facts, "browsers": decoded[BY_BROWSER]}
        profiles = inputs | FoldProfiles(StateOptions(source, ttl_s), rules)
        profiles.writes | WriteToBigtable(source, after_commit=False)
        collect(profiles.campaigns, "campaigns")

    run(connect, runner)
    return outputs["campaigns"]


def test_a_campaign_is_told_when_an_event_makes_it_due_and_not_again_in_its_cooldown(
    source: Bigtable, store: Store, visitor: Visitor, rules: Rules
) -> None:
    views = [visitor.did("view_product", "p", n) for n in range(4)]
    counts = features(source, [message(view) for view in views], rules)
    [trigger] = outputs["campaigns"]
    assert (trigger.rule, trigger.channel, trigger.visitor) == (
        "looks_around",
        "onsite",
        visitor.key,
    )
    assert trigger.signals == {"views_total": 2, "events_total": 2}
    assert counts["rules/campaigns"] == 1
    assert stored_profile(store, visitor.key).fired == {"looks_around": trigger.at_ms}


def test_the_cooldown_outlives_the_job(source: Bigtable, visitor: Visitor, rules: Rules) -> None:
    features(source, [message(visitor.did("view_product", "p", n)) for n in range(2)], rules)
    assert len(outputs["campaigns"]) == 1
    features(source, [message(visitor.did("view_product", "p", n)) for n in range(2, 4)], rules)
    assert outputs["campaigns"] == []


def test_the_cooldown_outlives_the_login(source: Bigtable, visitor: Visitor, rules: Rules) -> None:
    before = [visitor.anonymously("view_product", "p", n) for n in range(2)]
    features(
        source,
        [message(event) for event in (*before, visitor.logged_in("view_product", "p", 3))],
        rules,
    )
    assert [trigger.visitor for trigger in outputs["campaigns"]] == [visitor.browser]


def test_a_login_may_make_a_campaign_due(source: Bigtable, visitor: Visitor, rules: Rules) -> None:
    views = [visitor.anonymously("view_product", "p"), visitor.logged_in("view_product", "p", 1)]
    features(source, [message(view) for view in views], rules)
    assert [trigger.visitor for trigger in outputs["campaigns"]] == [visitor.key]


def test_a_message_that_is_processed_again_tells_the_same_trigger(
    source: Bigtable, visitor: Visitor, rules: Rules
) -> None:
    views = [message(visitor.did("view_product", "p", n)) for n in range(2)]

    def connect(pipeline: beam.Pipeline) -> None:  # writes nothing, as if it had been killed
        decoded = (
            pipeline | Script().add_elements(views).advance_watermark_to_infinity() | Decode(source)
        )
        inputs = {"accounts": decoded.facts, "browsers": decoded[BY_BROWSER]}
        collect((inputs | FoldProfiles(StateOptions(source), rules)).campaigns, "campaigns")

    run(connect)
    [first] = outputs["campaigns"]
    run(connect)
    [again] = outputs["campaigns"]
    assert (again.id, again.attributes()) == (first.id, first.attributes())


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_cart_that_is_left_is_told_of_in_silence_when_its_time_has_come(
    source: Bigtable, store: Store, visitor: Visitor, rules: Rules, runner: type
) -> None:
    [trigger] = in_silence(source, rules, visitor, 6, runner=runner)
    assert (trigger.rule, trigger.visitor) == ("left_cart", visitor.key)
    assert 30 <= trigger.signals["cart_idle_s"] < 60
    assert stored_profile(store, visitor.key).fired == {"left_cart": trigger.at_ms}


@pytest.mark.parametrize("runner", RUNNERS)
def test_before_its_time_nothing_is_told_and_a_drained_job_waits_for_no_time_to_come(
    source: Bigtable, visitor: Visitor, rules: Rules, runner: type
) -> None:
    assert in_silence(source, rules, visitor, 2, idle_s=10, runner=runner) == []


def test_a_cart_is_told_of_though_its_state_was_forgotten_meanwhile(
    source: Bigtable, store: Store, visitor: Visitor, rules: Rules
) -> None:
    [trigger] = in_silence(source, rules, visitor, 2, 6, ttl_s=0.001)
    assert stored_profile(store, visitor.key).fired == {"left_cart": trigger.at_ms}


def test_who_has_bought_is_not_told_of(source: Bigtable, visitor: Visitor, rules: Rules) -> None:
    at_s = now_s() - 60
    events = [visitor.did("add_to_cart", "p", at_s), visitor.did("purchase", "p", at_s + 1)]
    features(source, [message(*events)], rules)
    assert outputs["campaigns"] == []


@pytest.mark.parametrize(("ago_s", "told"), [(60, []), (3700, ["looks_around"])])
def test_who_is_marked_is_told_of_only_when_the_mark_is_over(
    source: Bigtable, visitor: Visitor, rules: Rules, ago_s: float, told: list[str]
) -> None:
    searches = [visitor.did("search", at_s=now_s() - ago_s + n) for n in range(3)]
    views = [visitor.did("view_product", "p", now_s() - n) for n in range(2)]
    counts = features(source, [message(*searches), message(*views)], rules)
    assert [trigger.rule for trigger in outputs["campaigns"]] == told
    assert counts["rules/anomalies"] >= 1
