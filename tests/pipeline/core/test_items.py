"""Item statistics and trending: laws on generated streams, smoothed rates, neighbours, bounds."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.decay import DAY_MS, HOUR_MS
from pipeline.core.events import Event
from pipeline.core.items import (
    CONVERSION_PRIOR,
    CTR_PRIOR,
    ITEM_CODES,
    MAX_NEIGHBOURS,
    MAX_TRENDING,
    ItemStats,
    Trending,
)
from tests.pipeline.core.streams import START_MS, Fact, assert_same, event, facts, laws, stats_of

WEEK_MS = 7 * DAY_MS


def trending_of(stream: list[Fact]) -> Trending:
    trending = Trending()
    for found, _ in stream:
        trending.add(found)
    return trending


# laws


@laws
@given(facts(), st.data())
def test_statistics_do_not_depend_on_order_or_on_how_a_stream_is_split(stream: list[Fact], data: st.DataObject) -> None:
    events = [found for found, _ in stream]
    before = {event.event_id: [f"n{number % 7}"] for number, event in enumerate(events)}

    def stats_of(part: list[Event]) -> ItemStats:
        stats = ItemStats()
        for found in part:
            stats.add(found, before[found.event_id])
        return stats

    shuffled = data.draw(st.permutations(events))
    cuts = sorted(data.draw(st.integers(0, len(events))) for _ in range(2))
    parts = [shuffled[: cuts[0]], shuffled[cuts[0] : cuts[1]], shuffled[cuts[1] :]]
    whole = stats_of(events)
    for order in itertools.permutations(parts):
        merged = ItemStats()
        for part in order:
            merged.merge(ItemStats.decode(stats_of(part).encode()))
        assert_same(merged, whole)
    right = stats_of(parts[1])
    right.merge(stats_of(parts[2]))
    grouped = stats_of(parts[0])
    grouped.merge(right)
    assert_same(grouped, whole)


@laws
@given(facts(), st.data())
def test_trending_does_not_depend_on_order_or_on_how_a_stream_is_split(stream: list[Fact], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(stream))
    cut = data.draw(st.integers(0, len(stream)))
    left, right = trending_of(shuffled[:cut]), trending_of(shuffled[cut:])
    other_way = trending_of(shuffled[cut:])
    other_way.merge(left)
    left.merge(Trending.decode(right.encode()))
    left.merge(Trending())
    assert_same(left, trending_of(stream))
    assert_same(other_way, trending_of(stream))


@laws
@given(facts(), st.integers(0, 30 * DAY_MS))
def test_rates_lie_between_nought_and_one_at_any_time(stream: list[Fact], after: int) -> None:
    stats = stats_of([found for found, _ in stream])
    now_ms = START_MS + after
    assert 0 < stats.ctr(now_ms) < 1 and 0 < stats.conversion(now_ms) < 1
    assert stats.views(now_ms) >= 0


@laws
@given(facts())
def test_states_are_read_as_they_were_written(stream: list[Fact]) -> None:
    stats, trending = stats_of([found for found, _ in stream]), trending_of(stream)
    stats.add_neighbour("other", START_MS)
    assert ItemStats.decode(stats.encode()) == stats
    assert Trending.decode(trending.encode()) == trending


# item statistics


def test_events_count_by_kind_and_other_events_do_not() -> None:
    names = ["view_product", "view_product", "media_play", "click", "add_to_cart", "purchase", "impression", "scroll"]
    stats = stats_of([event(name, n, product_id="p") for n, name in enumerate(names)])
    described = stats.describe(START_MS + 10_000)
    assert {k: v for k, v in described.items() if "_1h" not in k and isinstance(v, int)} == {
        "views": 3,
        "clicks": 1,
        "carts": 1,
        "purchases": 1,
        "impressions": 1,
    }
    assert described["views_1h"] == 3 and stats.newest_ms == START_MS + 6000


def test_codes_in_stored_states_keep_their_numbers() -> None:
    assert ITEM_CODES == {
        "view_product": 0,
        "click": 1,
        "add_to_cart": 2,
        "remove_from_cart": 3,
        "purchase": 4,
        "impression": 5,
        "media_play": 0,
    }


def test_views_halve_in_a_week() -> None:
    stats = stats_of([event(product_id="p"), event(at_s=1, product_id="p")])
    assert stats.views(START_MS + 1000 + WEEK_MS) == pytest.approx(1.0, rel=1e-5)


def test_rates_start_at_the_priors_mean_and_move_to_what_is_seen() -> None:
    assert ItemStats().ctr(START_MS) == CTR_PRIOR[0] / CTR_PRIOR[1]
    assert ItemStats().conversion(START_MS) == CONVERSION_PRIOR[0] / CONVERSION_PRIOR[1]
    shown = [event("impression", n / 1000, f"i{n}", product_id="p") for n in range(100)]
    clicked = [event("click", n / 1000, f"c{n}", product_id="p") for n in range(50)]
    assert stats_of(shown + clicked).ctr(START_MS) == pytest.approx((50 + 2) / (100 + 25), rel=1e-5)
    assert stats_of(shown).ctr(START_MS) < CTR_PRIOR[0] / CTR_PRIOR[1]


def test_more_clicks_than_impressions_is_no_rate_above_one() -> None:
    assert stats_of([event("click", n, f"c{n}", product_id="p") for n in range(500)]).ctr(START_MS + 500_000) < 1


def test_the_hour_counts_what_is_within_it_also_behind_an_event_five_minutes_ahead() -> None:
    stats = stats_of([event(at_s=-3599, product_id="p"), event("click", 300, product_id="p")])
    assert stats.describe(START_MS)["views_1h"] == 1
    assert stats.describe(START_MS + HOUR_MS)["views_1h"] == 0


def test_neighbours_weigh_more_the_more_often_and_the_later_they_were_seen() -> None:
    stats = ItemStats()
    stats.add(event(product_id="p"), ["a", "b"])
    stats.add(event(at_s=1, product_id="p"), ["a"])
    assert stats.neighbours(START_MS + 1000) == pytest.approx({"a": 2.0, "b": 1.0}, rel=1e-5)
    assert stats.neighbours(START_MS + WEEK_MS) == pytest.approx({"a": 1.0, "b": 0.5}, rel=1e-5)


def test_the_order_of_a_session_bends_a_neighbours_weight_no_more_than_the_docstring_says() -> None:
    early, late = ItemStats(), ItemStats()
    early.add_neighbour("a", START_MS)
    late.add_neighbour("a", START_MS + HOUR_MS)
    ratio = early.neighbours(START_MS + DAY_MS)["a"] / late.neighbours(START_MS + DAY_MS)["a"]
    assert 1 - 0.0042 < ratio < 1 - 0.004


def test_the_heaviest_neighbours_are_kept_when_stored() -> None:
    stats = ItemStats()
    for n in range(MAX_NEIGHBOURS + 10):
        for _ in range(1 + n % 2):
            stats.add_neighbour(f"p{n}", START_MS)
    kept = ItemStats.decode(stats.encode()).neighbours(START_MS)
    assert len(kept) == MAX_NEIGHBOURS and sum(weight > 1.5 for weight in kept.values()) == 30


def test_the_encoded_size_of_an_item_is_bounded_for_any_stream() -> None:
    random, stats, sizes = Random(3), ItemStats(), []
    for n in range(4000):
        found = event(random.choice(list(ITEM_CODES)), random.randrange(86_400), f"e{n}", product_id="p")
        stats.add(found, [f"neighbour-{random.randrange(3000)}"])
        if n % 500 == 499:
            sizes.append(len(stats.encode()))
    assert max(sizes) < 3000 and sizes[-1] < 1.1 * sizes[2]


# trending


def test_trending_weighs_a_purchase_as_five_views_and_an_impression_not_at_all() -> None:
    names = [("view_product", "a"), ("purchase", "b"), ("add_to_cart", "c"), ("impression", "d"), ("search", None)]
    trending = trending_of([(event(name, product_id=product), None) for name, product in names])
    top = trending.top(START_MS, 10)
    assert [item_id for item_id, _ in top] == ["b", "c", "a"]
    assert [score for _, score in top] == pytest.approx([5.0, 3.0, 1.0], rel=1e-9)


def test_a_purchase_of_yesterday_trends_less_than_a_view_of_now_and_ties_go_by_id() -> None:
    stream = [("purchase", -86_400, "old"), ("view_product", 0, "b"), ("view_product", 0, "a")]
    trending = trending_of([(event(name, at_s, product_id=product), None) for name, at_s, product in stream])
    assert [item_id for item_id, _ in trending.top(START_MS, 3)] == ["a", "b", "old"]
    assert [item_id for item_id, _ in trending.top(START_MS, 1)] == ["a"]


def test_the_most_popular_are_kept_when_stored() -> None:
    trending = Trending()
    for n in range(MAX_TRENDING + 50):
        trending.add(event("purchase" if n < 50 else "view_product", product_id=f"p{n}"))
    kept = Trending.decode(trending.encode())
    assert len(kept.scores.sums) == MAX_TRENDING
    assert {f"p{n}" for n in range(50)} <= set(kept.scores.sums)
