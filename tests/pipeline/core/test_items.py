"""Items, scopes and what is trending: laws on generated streams, rates, priors, what is dropped at
the bounds.
"""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS, DecayedSums
from pipeline.core.embedding import CONTEXT_DIM
from pipeline.core.events import Event
from pipeline.core.items import (
    BOUGHT,
    CONVERSION_PRIOR,
    CTR_PRIOR,
    ITEM_CODES,
    LONG_HALF_LIFE_MS,
    MAX_NEIGHBOURS,
    MAX_NEIGHBOURS_KEPT,
    MAX_TRENDING,
    SHORT_HALF_LIFE_MS,
    TOUCHED,
    TRENDING_HALF_LIFE_MS,
    VIEW,
    WATCHED,
    WINDOWS_MS,
    Counts,
    ItemStats,
    Trending,
)
from tests.pipeline.core.streams import (
    START_MS,
    Fact,
    assert_same,
    event,
    facts,
    laws,
    randoms,
    seeds,
    shuffled,
    split,
    stats_of,
)

WEEK_MS = 7 * DAY_MS
WIDTHS_MS = {"5m": MINUTE_MS, "1h": 5 * MINUTE_MS, "24h": HOUR_MS}
NAMES = sorted(ITEM_CODES)

# (code, ms after START_MS)
COUNTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2 * DAY_MS)), max_size=30)


def counts_of(stream: list[tuple[int, int]]) -> Counts:
    counts = Counts()
    for code, offset in stream:
        counts.add(code, START_MS + offset)
    return counts


def linked_stats(stream: list[Fact], before: dict[str, int]) -> ItemStats:
    """The fold of an item's events, each of which links it to a neighbour."""
    stats = ItemStats()
    for found, item in stream:
        stats.add(found, item.category if item is not None else "")
        neighbour = before[found.event_id]
        stats.link(f"n{neighbour}", TOUCHED if neighbour % 3 else BOUGHT, 1.0, found.time_ms)
    return stats


# laws


@laws
@given(COUNTS, randoms())
def test_counts_do_not_depend_on_order_or_grouping_and_zero_is_neutral(
    stream: list[tuple[int, int]], random: Random
) -> None:
    whole = counts_of(stream)
    assert_same(counts_of(shuffled(random, stream)), whole)
    parts = split(random, stream, 3)
    for order in itertools.permutations(parts):
        left, right, late = counts_of(order[0]), counts_of(order[1]), counts_of(order[0])
        left.merge(right)
        left.merge(counts_of(order[2]))
        left.merge(Counts())
        right.merge(counts_of(order[2]))
        late.merge(right)
        neutral = Counts()
        neutral.merge(late)
        assert_same(left, whole)
        assert_same(neutral, whole)


@laws
@given(
    COUNTS.filter(bool),
    st.integers(-5 * MINUTE_MS, 2 * DAY_MS),
    st.sampled_from(sorted(WINDOWS_MS)),
)
def test_windows_are_exact_to_one_bucket_at_any_read_time(
    stream: list[tuple[int, int]], after: int, window: str
) -> None:
    counts, window_ms, width_ms = counts_of(stream), WINDOWS_MS[window], WIDTHS_MS[window]
    now = max(offset for _, offset in stream) + (after if after < 0 else after % (2 * window_ms))
    for code in range(6):
        ages = [now - offset for found, offset in stream if found == code]
        counted = counts.window(code, window, START_MS + now)
        assert sum(0 <= age < window_ms for age in ages) <= counted
        assert counted <= sum(-width_ms < age < window_ms + width_ms for age in ages)


@laws
@given(facts(), randoms())
def test_statistics_do_not_depend_on_order_or_on_how_a_stream_is_split(
    stream: list[Fact], random: Random
) -> None:
    before = {found.event_id: number % 7 for number, (found, _) in enumerate(stream)}
    parts = split(random, shuffled(random, stream), 3)
    whole = linked_stats(stream, before)
    for order in itertools.permutations(parts):
        total = ItemStats()
        for part in order:
            total.merge(ItemStats.decode(linked_stats(part, before).encode()))
        total.merge(ItemStats())
        assert_same(total, whole)
    right = linked_stats(parts[1], before)
    right.merge(linked_stats(parts[2], before))
    grouped = linked_stats(parts[0], before)
    grouped.merge(right)
    assert_same(grouped, whole)


@laws
@given(facts())
def test_states_are_read_as_they_were_written(stream: list[Fact]) -> None:
    stats, trending = linked_stats(stream, {found.event_id: 1 for found, _ in stream}), Trending()
    for found, _ in stream:
        trending.rank(found.product_id or "", float(found.time_ms))
    trending.counts.merge(stats.counts)
    assert ItemStats.decode(stats.encode()) == stats
    assert Trending.decode(trending.encode()) == trending


@laws
@given(facts(), st.integers(0, 30 * DAY_MS))
def test_rates_lie_between_nought_and_one_at_any_time(stream: list[Fact], after: int) -> None:
    stats = stats_of([found for found, _ in stream])
    now_ms = START_MS + after
    assert 0 < stats.ctr(now_ms) < 1 and 0 < stats.conversion(now_ms) < 1
    assert stats.views(now_ms) >= 0


# item statistics


def test_events_count_by_kind_and_other_events_do_not() -> None:
    names = [
        "view_product",
        "view_product",
        "media_play",
        "click",
        "add_to_cart",
        "purchase",
        "impression",
        "scroll",
    ]
    stats = stats_of([event(name, n, product_id="p") for n, name in enumerate(names)])
    described = stats.describe(START_MS + 10_000)
    ever = {"views": 3, "clicks": 1, "carts": 1, "purchases": 1, "impressions": 1}
    assert {name: described[name] for name in ever} == ever
    for window in WINDOWS_MS:
        assert {name: described[f"{name}_{window}"] for name in ever} == ever
    assert stats.newest_ms == START_MS + 6000


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


def test_time_given_to_an_item_is_summed_and_counts_as_no_event() -> None:
    stream = [
        event("dwell", 0, product_id="p", metadata={"dwell_ms": 4_000}),
        event("media_play", 1, product_id="p", metadata={}),
        event("media_progress", 2, product_id="p", metadata={"watched_ms": 6_500}),
        event("dwell", 3, product_id="p", metadata={"dwell_ms": 10**9}),
    ]
    stats = stats_of(stream)
    assert stats.counts.decayed(WATCHED, START_MS) == pytest.approx(3610.5, rel=1e-4)
    assert stats.counts.totals == {VIEW: 1}
    assert stats_of(stream[::-1]).counts.long == stats.counts.long


def test_views_halve_in_a_week() -> None:
    stats = stats_of([event(product_id="p"), event(at_s=1, product_id="p")])
    assert stats.views(START_MS + 1000 + WEEK_MS) == pytest.approx(1.0, rel=1e-5)


def test_counts_decay_on_a_week_and_on_an_hour() -> None:
    counts = counts_of([(VIEW, 0)])
    assert counts.decayed(VIEW, START_MS + LONG_HALF_LIFE_MS) == pytest.approx(0.5)
    assert counts.short.value(VIEW, START_MS + HOUR_MS, SHORT_HALF_LIFE_MS) == pytest.approx(0.5)


def test_the_category_is_that_of_the_newest_event_that_has_one() -> None:
    stats = ItemStats()
    stats.add(event(at_s=5, product_id="p"), "new")
    stats.add(event(at_s=1, product_id="p"), "old")
    stats.add(event(at_s=9, product_id="p"))
    assert stats.category == "new" and ItemStats().category == ""


def test_rates_start_at_the_priors_mean_and_move_to_what_is_seen() -> None:
    assert ItemStats().ctr(START_MS) == CTR_PRIOR[0] / CTR_PRIOR[1]
    assert ItemStats().conversion(START_MS) == CONVERSION_PRIOR[0] / CONVERSION_PRIOR[1]
    shown = [event("impression", n / 1000, f"i{n}", product_id="p") for n in range(100)]
    clicked = [event("click", n / 1000, f"c{n}", product_id="p") for n in range(50)]
    assert stats_of(shown + clicked).ctr(START_MS) == pytest.approx((50 + 2) / (100 + 25), rel=1e-5)
    assert stats_of(shown + clicked).ctr(START_MS, (10.0, 20.0)) == pytest.approx(
        (50 + 10) / (100 + 20), rel=1e-5
    )
    assert stats_of(shown).ctr(START_MS) < CTR_PRIOR[0] / CTR_PRIOR[1]


def test_more_clicks_than_impressions_is_no_rate_above_one() -> None:
    assert (
        stats_of([event("click", n, f"c{n}", product_id="p") for n in range(500)]).ctr(
            START_MS + 500_000
        )
        < 1
    )


def test_windows_count_what_is_within_them_also_behind_an_event_five_minutes_ahead() -> None:
    ages_s = {"5m": 299, "1h": 3599, "24h": 86_399}
    # a minute before the hour, so that five minutes later begins a bucket of every ring
    now_s = -60
    ahead = event("click", now_s + 300, product_id="p")
    for window, age_s in ages_s.items():
        stats = stats_of([event(at_s=now_s - age_s, product_id="p"), ahead])
        assert stats.describe(START_MS + now_s * 1000)[f"views_{window}"] == 1
        assert (
            stats.describe(START_MS + now_s * 1000 + WINDOWS_MS[window] + HOUR_MS)[
                f"views_{window}"
            ]
            == 0
        )


# neighbours


def test_neighbours_weigh_more_the_more_often_and_the_later_they_were_seen() -> None:
    stats = ItemStats()
    for name, at_ms in (("a", 0), ("b", 0), ("a", 1000)):
        stats.link(name, TOUCHED, 1.0, START_MS + at_ms)
    assert list(stats.neighbours(START_MS)) == ["a", "b"]
    assert stats.neighbours(START_MS + 1000) == pytest.approx({"a": 2.0, "b": 1.0}, rel=1e-5)
    assert stats.neighbours(START_MS + WEEK_MS) == pytest.approx({"a": 1.0, "b": 0.5}, rel=1e-5)
    assert stats.bought_with(START_MS) == {}


def test_what_was_bought_with_it_stands_apart_from_what_was_touched_with_it() -> None:
    stats = ItemStats()
    stats.link("a", BOUGHT, 1.0, START_MS)
    assert (
        stats.bought_with(START_MS) == {"a": pytest.approx(1.0)}
        and stats.neighbours(START_MS) == {}
    )
    assert stats.context.direction() is None


def test_a_pair_that_was_taken_back_is_no_neighbour_once_stored() -> None:
    stats = ItemStats()
    for name, weight, at_ms in (("a", 1.0, 7), ("b", 1.0, 11), ("a", -1.0, 7)):
        stats.link(name, TOUCHED, weight, START_MS + at_ms * HOUR_MS)
    assert set(ItemStats.decode(stats.encode()).neighbours(START_MS)) == {"b"}


def test_the_heaviest_two_hundred_neighbours_are_stored_and_the_heaviest_fifty_read() -> None:
    for kind, reading in ((TOUCHED, ItemStats.neighbours), (BOUGHT, ItemStats.bought_with)):
        stats = ItemStats()
        for n in range(MAX_NEIGHBOURS_KEPT + 10):
            stats.link(f"p{n:03d}", kind, 2.0 if n >= 200 else 1.0, START_MS)
        stored = ItemStats.decode(stats.encode())
        weights: DecayedSums[str] = (
            stored.neighbour_weights if kind == TOUCHED else stored.bought_weights
        )
        assert set(weights.sums) == {f"p{n:03d}" for n in (*range(190), *range(200, 210))}
        assert list(reading(stored, START_MS)) == [
            f"p{n:03d}" for n in (*range(200, 210), *range(40))
        ]
        assert len(reading(stored, START_MS)) == MAX_NEIGHBOURS


@pytest.mark.parametrize("kept", [2, MAX_NEIGHBOURS_KEPT])
def test_up_to_two_hundred_neighbours_storing_after_each_changes_nothing(kept: int) -> None:
    pairs = [(f"p{n % kept}", float(1 + n % 3), n * HOUR_MS) for n in range(3 * kept)]
    stored, whole = ItemStats(), ItemStats()
    for name, weight, offset in pairs:
        whole.link(name, TOUCHED, weight, START_MS + offset)
    for name, weight, offset in shuffled(Random(1), pairs):
        stored.link(name, TOUCHED, weight, START_MS + offset)
        stored = ItemStats.decode(stored.encode())
    assert_same(stored, whole)


@pytest.mark.parametrize("fill", ["x", "😀"])
def test_the_encoded_size_of_an_item_is_bounded_for_any_stream(fill: str) -> None:
    random, stats = Random(3), ItemStats()
    for n in range(4000):
        name = f"{random.randrange(900):03d}".ljust(256, fill)
        stats.add(
            event(random.choice(NAMES), random.randrange(3 * 86_400), f"e{n}", product_id="p"), name
        )
        stats.link(
            name, random.choice((TOUCHED, BOUGHT)), 1.0, START_MS + random.randrange(3 * DAY_MS)
        )
    id_bytes = len("000".ljust(256, fill).encode())
    rings = (12 + 14 + 26) * 6 * 6
    bound = (2 * MAX_NEIGHBOURS_KEPT + 1) * (id_bytes + 12) + 8 * CONTEXT_DIM + rings + 512
    assert len(stats.encode()) <= bound
    assert (
        len(stats.neighbour_weights.sums) == len(stats.bought_weights.sums) == MAX_NEIGHBOURS_KEPT
    )


# popularity and trending


def test_popularity_weighs_a_purchase_as_five_views_and_an_impression_not_at_all() -> None:
    def popularity(*names: str) -> float | None:
        log2_popularity = stats_of(
            [event(name, product_id="p") for name in names]
        ).log2_popularity()
        return (
            None
            if log2_popularity is None
            else 2 ** (log2_popularity - START_MS / TRENDING_HALF_LIFE_MS)
        )

    weights = {name: popularity(name) for name in NAMES}
    assert weights == {
        "view_product": pytest.approx(1.0),
        "media_play": pytest.approx(1.0),
        "click": pytest.approx(1.0),
        "add_to_cart": pytest.approx(3.0),
        "purchase": pytest.approx(5.0),
        "remove_from_cart": None,
        "impression": None,
    }
    assert popularity("view_product", "purchase", "scroll") == pytest.approx(6.0)


def ranked(streams: dict[str, list[Event]]) -> Trending:
    trending = Trending()
    for item_id, stream in streams.items():
        popularity = stats_of(stream).log2_popularity()
        if popularity is not None:
            trending.rank(item_id, popularity)
    return trending


def test_what_trends_is_read_decayed_over_six_hours_best_first_and_ties_go_by_id() -> None:
    trending = ranked(
        {
            "b": [event(product_id="b")],
            "old": [event("purchase", -86_400, product_id="old")],
            "a": [event(product_id="a")],
        }
    )
    assert [item_id for item_id, _ in trending.top(START_MS, 3)] == ["a", "b", "old"]
    assert [weight for _, weight in trending.top(START_MS, 3)] == pytest.approx([1.0, 1.0, 5 / 16])
    assert dict(trending.top(START_MS + 6 * HOUR_MS, 1)) == {"a": pytest.approx(0.5)}
    assert Trending().top(START_MS, 5) == []


@laws
@given(st.integers(1, 60), randoms())
def test_rank_and_merge_commute_and_an_empty_scope_is_neutral(size: int, random: Random) -> None:
    def scope(ranks: list[tuple[str, float]]) -> Trending:
        found = Trending()
        for item_id, score in ranks:
            found.rank(item_id, score)
            found.newest_ms = max(found.newest_ms, START_MS + round(score))
            found.counts.add(VIEW, START_MS + round(score))
        return found

    ranks = [(f"p{random.randrange(9)}", random.uniform(0, 99)) for _ in range(size)]
    parts = split(random, ranks, 3)
    for order in itertools.permutations(parts):
        left, right, late = scope(order[0]), scope(order[1]), scope(order[0])
        left.merge(right)
        left.merge(Trending.decode(scope(order[2]).encode()))
        left.merge(Trending())
        right.merge(scope(order[2]))
        late.merge(right)
        assert_same(left, scope(ranks))
        assert_same(late, scope(shuffled(random, ranks)))


@given(seeds)
@laws
def test_the_top_300_are_the_exact_ones_in_any_order_and_split_though_items_dropped_out_in_between(
    seed: int,
) -> None:
    random = Random(seed)
    # Each item's popularity as its row told it, growing; whoever is told of last is told the most.
    told: list[tuple[str, float]] = []
    exact: dict[str, float] = {}
    for n in range(400):
        scores = sorted(random.uniform(70_000, 70_040) for _ in range(random.randint(1, 4)))
        told += [(f"p{n}", score) for score in scores]
        exact[f"p{n}"] = scores[-1]
    parts = split(random, shuffled(random, told), 3)
    totals = []
    for part in parts:
        total = Trending()
        for start in range(0, len(part), 50):
            addition = Trending()
            for item_id, score in part[start : start + 50]:
                addition.rank(item_id, score)
            total = Trending.decode(total.encode())
            total.merge(addition)
        totals.append(total)
    for order in itertools.permutations(totals):
        merged = Trending()
        for total in order:
            merged.merge(Trending.decode(total.encode()))
        merged = Trending.decode(merged.encode())
        best = sorted(exact, key=lambda name: (-exact[name], name))[:MAX_TRENDING]
        assert [item_id for item_id, _ in merged.top(START_MS, MAX_TRENDING)] == best
        assert merged.scores == {item_id: exact[item_id] for item_id in best}


def test_an_item_that_had_dropped_out_comes_back_with_its_whole_weight() -> None:
    trending = Trending()
    trending.rank("slow", 70_000.0)
    for n in range(MAX_TRENDING):
        trending.rank(f"p{n}", 70_001.0)
    trending = Trending.decode(trending.encode())
    assert "slow" not in trending.scores
    trending.rank("slow", 70_000.5 + 1)
    assert (
        trending.top(START_MS, 1)[0][0] == "slow"
        and len(Trending.decode(trending.encode()).scores) == MAX_TRENDING
    )


def test_of_equally_popular_items_beyond_the_bound_the_smallest_ids_are_stored() -> None:
    trending = Trending()
    for n in range(MAX_TRENDING + 50):
        trending.rank(f"p{n:03d}", 70_000.0)
    assert set(Trending.decode(trending.encode()).scores) == {
        f"p{n:03d}" for n in range(MAX_TRENDING)
    }


def test_the_encoded_size_of_a_scope_is_bounded() -> None:
    trending = Trending(newest_ms=START_MS)
    for n in range(1000):
        trending.rank(f"{n:03d}".ljust(256, "😀"), 70_000.0 + n)
        trending.counts.add(n % 6, START_MS + n * MINUTE_MS)
    assert (
        len(trending.encode()) <= MAX_TRENDING * (3 + 4 * 253 + 12) + (12 + 14 + 26) * 6 * 6 + 512
    )
