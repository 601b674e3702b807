"""The replay: test, then learn; nothing of the future in a question, nothing lost or doubled in
silence.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator import catalog
from tests.simulator.client import Client
from tests.simulator.evaluation import K, Past, Score, eligible, sample
from tests.simulator.fakes import BACKFILL_KEY, FakeFreshet, serving
from tests.simulator.replay import (
    Backlog,
    Replay,
    Stalled,
    build_report,
    conclude,
    faults,
    show,
    wire_event,
)
from tests.simulator.warehouse import Held, LogCount


def row(
    second: int, item: str, session: str = "s1", kind: str = "view", user: str = "u1"
) -> dict[str, str]:
    return {
        "event_time": f"2019-10-01 00:{second // 60:02d}:{second % 60:02d} UTC",
        "event_type": kind,
        "product_id": item,
        "category_id": "77",
        "category_code": "electronics.audio" if item < "m" else "",
        "brand": "acme",
        "price": "9.50",
        "user_id": user,
        "user_session": session,
    }


def events_of(*rows: dict[str, str]) -> list[dict[str, Any]]:
    return [wire_event(found, number) for number, found in enumerate(rows)]


def walk(length: int) -> list[dict[str, str]]:
    """Views of three visitors, taking turns, over a handful of items."""
    return [row(n, "abcdez"[(n * n) % 6], f"s{n % 3}", user=f"u{n % 3}") for n in range(length)]


def test_a_row_becomes_one_event_at_its_true_time() -> None:
    event = wire_event(row(61, "x", kind="cart"), 12)
    assert event["event_id"] == "rees46-000000012" and event["event"] == "add_to_cart"
    assert event["timestamp"] == "2019-10-01T00:01:01.000Z"
    assert event["metadata"] == {"category": "cat.77", "brand": "acme", "price": 9.5}
    assert (event["user_id"], event["session_id"], event["product_id"]) == ("u1", "s1", "x")


def test_equal_rows_are_different_events_and_a_row_without_a_session_is_an_event_without_one() -> (
    None
):
    first, second, third = events_of(row(0, "a"), row(0, "a"), row(0, "a", session=""))
    assert first["event_id"] != second["event_id"] and "session_id" not in third


def test_only_views_that_are_not_the_first_of_their_session_are_asked_about() -> None:
    events = events_of(
        row(0, "a"),
        row(1, "b"),
        row(2, "c", "s2"),
        row(3, "a", kind="cart"),
        row(4, "a"),
        row(5, "d", ""),
    )
    assert eligible(events) == [1, 4]


def test_the_sample_is_even_over_the_whole_file_and_as_large_as_asked_for() -> None:
    assert sample(range(1_000), 4) == {0, 250, 500, 750}
    assert len(sample(range(11_989), 1_500)) == 1_500
    assert sample([3, 5], 10) == {3, 5}


def test_popular_so_far_counts_views_only_of_what_was_seen() -> None:
    past = Past({})
    for event in events_of(row(0, "a"), row(1, "b"), row(2, "b"), row(3, "c", kind="purchase")):
        past.add(event)
    assert past.popular() == ["b", "a"]


def test_covisitation_counts_each_pair_of_items_once_a_session() -> None:
    past = Past({})
    rows = [
        row(0, "a"),
        row(1, "b"),
        row(2, "a"),
        row(3, "b"),
        row(4, "a", "s2"),
        row(5, "c", "s2"),
    ]
    for event in events_of(*rows, row(6, "c", "s3"), row(7, "a", "s3")):
        past.add(event)
    assert past.together["a"] == {"b": 1, "c": 2}
    assert past.covisit("s3") == ["c", "b"]
    assert past.recent("s3") == ["a", "c"]


def test_the_category_baseline_lists_the_last_items_category_most_viewed_first() -> None:
    past = Past({"a": "x", "b": "x", "c": "x", "z": "y"})
    for event in events_of(row(0, "z"), row(1, "c"), row(2, "a", "s2"), row(3, "unknown", "s3")):
        past.add(event)
    assert past.category("s1") == ["a", "c", "b"]
    assert past.category("s3") == []


def test_a_hit_within_twenty_scores_its_reciprocal_rank_and_beyond_it_nothing() -> None:
    score = Score()
    ids = [f"i{n}" for n in range(30)]
    score.add("i1", {"freshet": ids, "popular": ids[1:]})
    score.add(f"i{K}", {"freshet": ids, "popular": ids[1:]})
    assert score.hit_rate()["freshet"] == 0.5 and score.hit_rate()["popular"] == 1.0
    assert score.mrr()["freshet"] == 0.25 and score.mrr()["popular"] == pytest.approx(
        (1 + 1 / 20) / 2
    )
    assert score.hit_rate()["covisit"] == 0.0


async def replayed(
    rows: list[dict[str, str]], wanted: int = 10_000
) -> tuple[Replay, FakeFreshet, Client]:
    events = events_of(*rows)
    fake = FakeFreshet(catalog.from_rees46(rows), delay_s=0.01)
    async with serving(fake), Client(fake.url, fake.url, backfill_key=BACKFILL_KEY) as client:
        replay = Replay(
            client,
            Past(dict.fromkeys("abcdez", "c")),
            speed=5_000,
            backlog=20,
            say=lambda line: None,
        )
        await replay.run(events, sample(eligible(events), wanted))
    return replay, fake, client


async def test_events_go_out_in_order_and_a_question_knows_all_before_and_nothing_after() -> None:
    rows = walk(120)
    replay, fake, client = await replayed(rows)
    assert [event["event_id"] for event in fake.events] == [
        event["event_id"] for event in events_of(*rows)
    ]
    assert replay.all.questions == len(eligible(events_of(*rows))) == len(fake.questions) == 117
    assert client.tally.accepted == 120
    for question in fake.questions:
        assert all(event["timestamp"] < question["as_of"] for event in question["events"])
        assert question["events"] and {e["session_id"] for e in question["events"]} == {
            question["session_id"]
        }


async def test_a_question_is_asked_only_when_every_earlier_event_is_confirmed() -> None:
    rows = walk(60)
    _, fake, _ = await replayed(rows, wanted=7)
    asked = 0
    taken = iter(fake.messages)
    confirmed: list[str] = []
    for what in fake.order:
        if what == "events":
            confirmed += [event["event_id"] for event in next(taken)]
        else:
            last_known = fake.questions[asked]["events"][-1]
            asked += 1
            assert last_known["event_id"] in confirmed
            index = len(confirmed)
            assert events_of(*rows)[index]["timestamp"] == fake.questions[asked - 1]["as_of"]
    assert asked == 7 and len(confirmed) == 60


async def test_views_of_items_new_to_the_session_are_scored_apart() -> None:
    rows = [row(0, "a"), row(1, "a"), row(2, "b"), row(3, "a")]
    replay, _, _ = await replayed(rows)
    assert (replay.all.questions, replay.novel.questions) == (3, 1)


async def test_a_pipeline_that_stands_still_stops_the_replay_by_name() -> None:
    fake = FakeFreshet([], delay_s=60)
    async with serving(fake), Client(fake.url, fake.url, backfill_key=BACKFILL_KEY) as client:
        backlog = Backlog(client, limit=1, stalled_s=0.1)
        event = events_of(row(0, "a"))[0]
        await client.send([event], backfill=True)
        backlog.sent([event, event])
        with pytest.raises(Stalled, match="event rees46-000000000"):
            await backlog.below_limit()


def test_a_backlog_smaller_than_a_message_is_refused() -> None:
    with pytest.raises(ValueError, match="backlog"):
        Replay(Client("http://a", "http://b"), Past({}), speed=1, backlog=5, say=print)


async def test_the_report_has_its_stable_keys_and_faults_name_what_is_wrong() -> None:
    replay, _, client = await replayed(walk(30))
    good = build_report(replay, client.tally, LogCount(30, 30), Held(3, 6, 30, 30), 2.0)
    assert {"events_sent", "events_in_log", "duplicates_in_log", "rejected", "questions"} < set(
        good
    )
    assert set(good["hit_rate_20"]) == set(good["mrr_20"]) >= {"freshet", "popular", "covisit"}
    assert good["events_per_s"] == 15.0 and faults(good) == []
    lost = build_report(replay, client.tally, LogCount(29, 28), Held(3, 6, 31, 30), 2.0)
    assert faults(lost) == [
        "2 accepted events are not in the log",
        "1 rows of the log double another",
        "the profiles counted 31 events, 30 were accepted",
    ]
    assert "30 sent, 0 rejected, 30 in the log, 0 doubled" in show(good)


async def test_the_exit_code_says_whether_every_event_is_in_exactly_once(tmp_path: Any) -> None:
    replay, _, client = await replayed(walk(30))
    said: list[str] = []
    held = Held(3, 6, 30, 30)
    good = build_report(replay, client.tally, LogCount(30, 30), held, 2.0)
    lost = build_report(replay, client.tally, LogCount(29, 29), held, 2.0)
    assert conclude(good, [], said.append, tmp_path) == 0
    assert conclude(lost, [], said.append, tmp_path) == 1
    assert conclude(good, ["broke off"], said.append, tmp_path) == 1
    assert said[-1] == "FAULT: broke off" and (tmp_path / "replay.json").is_file()
