"""Counters of this process: they add up over bundles, steps and runners, and the log line holds
nothing else.
"""

from __future__ import annotations

import json
import logging
import pickle
import time
from datetime import UTC, datetime, timedelta

import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage

from pipeline.core.rules import AnomalyRule, Condition, Rules
from pipeline.runtime.metrics import Counter, Distribution, Reporter, report, snapshot
from pipeline.store.blocking import Bigtable
from tests.pipeline.running import START, Visitor, features, message


def distrusted_searches() -> Rules:
    enough = (Condition("searches_24h", "at_least", 2),)
    return Rules(anomalies=(AnomalyRule("searches", enough, "high", True, 3_600_000),))


def test_a_run_counts_all_that_it_took_dropped_merged_and_wrote(
    source: Bigtable, visitor: Visitor
) -> None:
    now_s = (datetime.now(UTC) - START) / timedelta(seconds=1)
    before = visitor.anonymously("view_product", "p", now_s)
    login = visitor.logged_in("identify", at_s=now_s + 1)
    searches = [visitor.did("search", at_s=now_s + 2 + n) for n in range(3)]
    late = [visitor.did("scroll", at_s=now_s - late_s) for late_s in (90, 4_000, 90_000)]
    messages = [
        message(before),
        message(login, login),
        *map(message, searches),
        message(before, *late),
    ]
    counts = features(
        source, [*messages, PubsubMessage(b"?", {}, "m", None)], distrusted_searches()
    )

    decode = ("accepted", "invalid", "unknown_item", "late_1m", "late_1h", "late_24h")
    assert [counts[f"decode/{name}"] for name in decode] == [10, 1, 2, 3, 2, 1]
    fold = ("new", "duplicate", "merged", "distrusted", "coalesced")
    # Of the browser one, of the account seven, from the second search on not to be trusted: it is
    # the newest.
    assert [counts[f"fold/{name}"] for name in fold] == [8, 2, 1, 5, 0]
    assert counts["rules/anomalies"] == 1
    # Profiles: browser and link; merge, login, three searches, late ones. Item: stub, state. Scope:
    # two changes.
    assert counts["bigtable/written"] + counts["bigtable/coalesced"] == (2 + 1 + 1 + 3 + 1) + 4


def test_what_is_counted_in_a_copy_that_a_runner_unpickled_adds_up(tag: str) -> None:
    counter = Counter("test", tag)
    for copy in (counter, pickle.loads(pickle.dumps(counter))):
        copy.inc(2)
    counter.inc(0)
    assert snapshot()[f"test/{tag}"] == 4


def test_nothing_counted_is_not_told(tag: str) -> None:
    Counter("test", tag).inc(0)
    assert f"test/{tag}" not in snapshot()


def test_a_distribution_tells_what_half_and_99_of_100_values_stay_below(tag: str) -> None:
    distribution = Distribution("test", tag)
    for value in [0] * 10 + [3] * 88 + [1000] * 2:
        distribution.update(value)
    distribution.update(-5)  # a clock that is ahead
    found = snapshot()
    assert (found[f"test/{tag}_p50_below"], found[f"test/{tag}_p99_below"]) == (4, 1024)


def test_the_log_line_is_json_with_the_counts_and_no_payload(
    source: Bigtable, visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    secret = visitor.did("search", metadata={"query": "a secret wish"})
    features(source, [message(secret), PubsubMessage(b"a secret body", {}, "m", None)])
    with caplog.at_level(logging.INFO, "pipeline.metrics"):
        report()
    [line] = [
        json.loads(record.message) for record in caplog.records if record.name == "pipeline.metrics"
    ]
    assert (line["severity"], line["message"]) == ("INFO", "pipeline")
    assert line["metrics"] == snapshot()
    assert line["metrics"]["decode/accepted"] >= 1
    assert all(isinstance(count, int) for count in line["metrics"].values())
    assert "secret" not in caplog.text and visitor.key not in caplog.text


def test_a_reporter_tells_what_it_is_given_to_tell() -> None:
    told: list[int] = []
    with Reporter(every_s=60.0, log=lambda: told.append(1)):
        assert told == []
    assert told == [1]


def test_a_reporter_tells_again_and_again_and_once_more_at_the_end(
    tag: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "pipeline.metrics"):
        with Reporter(every_s=0.02):
            deadline = time.monotonic() + 10
            while len(caplog.records) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            told = len(caplog.records)
            Counter("test", tag).inc()
        assert told >= 2
        assert json.loads(caplog.records[-1].message)["metrics"][f"test/{tag}"] == 1
        ended = len(caplog.records)
        time.sleep(0.1)
        assert len(caplog.records) == ended
