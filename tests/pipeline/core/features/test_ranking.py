"""The feature matrix: each column by hand, the shape and finiteness for any visitor, and the prior
on top of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import e, log, log1p

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog import Item
from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS
from pipeline.core.embedding import CONTEXT_DIM, item_vector
from pipeline.core.events import Event
from pipeline.core.features.churn import churn_risk
from pipeline.core.features.context_columns import CLOCK_FEATURES
from pipeline.core.features.conversion import conversion_likelihood
from pipeline.core.features.matrix import feature_matrix, prior_ctr
from pipeline.core.features.moment import Moment
from pipeline.core.features.ranking import COLUMN, FEATURE_NAMES, PRIOR_WEIGHTS, RANKING_FEATURES
from pipeline.core.features.ranking_inputs import RankingContext
from pipeline.core.item_columns import ItemColumns, Seed
from pipeline.core.items import BOUGHT, TOUCHED, ItemRow, ItemStats
from pipeline.core.profile import UserProfile
from pipeline.core.rate_priors import RatePrior, RatePriors
from pipeline.core.vectors import VectorIndex
from tests.pipeline.core.streams import (
    CATALOG,
    START_MS,
    Fact,
    event,
    facts,
    laws,
    profile_of,
    stats_of,
)

HALF_HOUR_MS = 30 * MINUTE_MS
ROWS = [ItemRow(item, ItemStats()) for item in CATALOG.values()]
UP = np.array([1.0, 0.0], np.float32)
RIGHT = np.array([0.0, 1.0], np.float32)


def row(item_id: str = "p", stats: ItemStats | None = None, **fields: object) -> ItemRow:
    return ItemRow(Item(item_id, **fields), stats if stats is not None else ItemStats())  # type: ignore[arg-type]


def of(*events: Event, item: Item | None = None) -> UserProfile:
    return profile_of([(found, item) for found in events])


def value(
    name: str,
    profile: UserProfile | None = None,
    candidate: ItemRow | None = None,
    context: RankingContext | None = None,
    now_ms: int = START_MS,
    seeds: Mapping[str, Seed] | None = None,
) -> float:
    """One feature of one candidate."""
    rows = [candidate or row()]
    matrix = matrix_of(profile or UserProfile(), rows, context, now_ms, seeds=seeds)
    return float(matrix[0, COLUMN[name]])


def matrix_of(
    profile: UserProfile,
    rows: Sequence[ItemRow],
    context: RankingContext | None = None,
    now_ms: int = START_MS,
    vectors: VectorIndex | None = None,
    seeds: Mapping[str, Seed] | None = None,
) -> np.ndarray:
    """The features of these items, where no other is in memory."""
    items = ItemColumns.of(rows, vectors)
    ids = [each.item.item_id for each in rows]
    moment = Moment(profile, items, now_ms, seeds)
    return feature_matrix(moment, items.rows(ids), context or RankingContext())


def seen_with(**weights: int) -> Seed:
    return Seed(stats_seen_with(**weights))


def stats_seen_with(**weights: int) -> ItemStats:
    stats = ItemStats()
    for item_id, times in weights.items():
        for _ in range(times):
            stats.link(item_id, TOUCHED, 1.0, START_MS)
    return stats


# shape


def test_columns_go_by_name_in_the_order_of_the_list() -> None:
    assert tuple(feature.name for feature in RANKING_FEATURES) == FEATURE_NAMES and len(
        FEATURE_NAMES
    ) == len(COLUMN)
    assert [COLUMN[name] for name in FEATURE_NAMES] == list(range(len(FEATURE_NAMES)))
    assert set(PRIOR_WEIGHTS) <= set(FEATURE_NAMES)
    # A trained model names its columns: the first ones stay where they are.
    assert FEATURE_NAMES[:4] == ("position", "is_current", "recency", "seen")
    assert FEATURE_NAMES[23:25] == ("is_known", "brand_interest_30m")


def test_no_candidates_give_no_rows_but_all_columns() -> None:
    matrix = matrix_of(UserProfile(), [])
    assert matrix.shape == (0, len(FEATURE_NAMES)) and matrix.dtype == np.float32
    assert prior_ctr(matrix).shape == (0,)


def test_an_unknown_visitor_and_a_bare_item_give_defaults() -> None:
    matrix = matrix_of(UserProfile(), [row()])
    filled = {
        name: float(matrix[0, COLUMN[name]])
        for name in FEATURE_NAMES
        if matrix[0, COLUMN[name]] and name not in CLOCK_FEATURES
    }
    assert filled == {
        "item_ctr": pytest.approx(0.08),
        "item_conversion": pytest.approx(0.02),
        "idle_minutes": pytest.approx(log1p(30 * 24 * 60)),
        "age": pytest.approx(log1p(365 * 24)),
    }


VECTORS = st.sampled_from(
    [
        VectorIndex.empty(),
        VectorIndex(["p1", "p2"], np.stack([UP, RIGHT])),
        VectorIndex(["p2", "p1"], np.stack([-UP, UP])),
    ]
)


@laws
@given(facts(), st.integers(-HOUR_MS, 400 * DAY_MS), VECTORS, st.sampled_from(["p1", None]))
def test_every_feature_of_any_visitor_at_any_time_is_finite_and_a_click_is_possible_and_not_certain(
    stream: list[Fact], after: int, vectors: VectorIndex, product_id: str | None
) -> None:
    profile = profile_of(stream)
    stats = stats_of([found for found, _ in stream])
    for item_id in CATALOG:
        stats.link(item_id, TOUCHED, 1.0, START_MS)
        stats.link(item_id, BOUGHT, 1.0, START_MS)
    rows = [*ROWS, row("p1", stats), row("x", price=1e300)]
    seeds = {"p1": Seed(stats), "p2": Seed(ItemStats())}
    now_ms = max(profile.newest_ms, START_MS) + after
    context = RankingContext(product_id=product_id)
    matrix = matrix_of(profile, rows, context, now_ms, vectors, seeds)
    assert matrix.shape == (len(rows), len(FEATURE_NAMES)) and matrix.dtype == np.float32
    assert np.isfinite(matrix).all()
    probabilities = prior_ctr(matrix)
    assert probabilities.shape == (len(rows),) and probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()


@laws
@given(facts())
def test_a_candidates_features_do_not_depend_on_the_others(stream: list[Fact]) -> None:
    profile, now_ms = profile_of(stream), START_MS + DAY_MS
    together = matrix_of(profile, ROWS, now_ms=now_ms)
    alone = np.concatenate([matrix_of(profile, [one], now_ms=now_ms) for one in ROWS])
    # A product of matrices may round differently by their size.
    assert np.allclose(together, alone, rtol=1e-6, atol=1e-6)


# each column by hand


def test_position_is_what_training_says_and_nought_when_serving() -> None:
    rows = [row("a"), row("b")]
    shown = matrix_of(UserProfile(), rows, RankingContext(positions=[3, 7]))
    assert shown[:, 0].tolist() == [3, 7]
    assert matrix_of(UserProfile(), rows)[:, 0].tolist() == [0, 0]


def test_is_current_marks_the_item_on_the_page() -> None:
    assert value("is_current", context=RankingContext(product_id="p")) == 1
    assert (
        value("is_current", context=RankingContext(product_id="other")) == value("is_current") == 0
    )


def test_recency_of_a_touched_item_halves_in_half_an_hour() -> None:
    profile = of(event(product_id="p"))
    assert value("recency", profile) == 1
    assert value("recency", profile, now_ms=START_MS + HALF_HOUR_MS) == pytest.approx(0.5)
    assert value("recency", profile, row("other")) == 0


def test_recency_of_a_linked_item_is_the_links_strength_times_the_freshness() -> None:
    profile = of(event(product_id="a"), event(at_s=1800, product_id="b"))
    seeds = {"a": seen_with(p=4, q=2), "b": seen_with(q=8, p=2)}
    # p: from a 1 x 0.5, from b 0.25 x 1; q: from a 0.5 x 0.5, from b 1 x 1
    assert value(
        "recency", profile, row("p"), None, START_MS + HALF_HOUR_MS, seeds
    ) == pytest.approx(0.5)
    assert value(
        "recency", profile, row("q"), None, START_MS + HALF_HOUR_MS, seeds
    ) == pytest.approx(1.0)


def test_seen_halves_in_a_day() -> None:
    profile = of(event(product_id="p"))
    assert value("seen", profile, now_ms=START_MS + DAY_MS) == pytest.approx(0.5)
    assert value("seen", profile, row("other")) == 0


def test_revisit_halves_with_each_item_touched_since() -> None:
    profile = of(*(event(at_s=n, product_id=f"p{n}") for n in range(4)))
    rows = [row(f"p{n}") for n in range(5)]
    found = matrix_of(profile, rows, now_ms=START_MS + 4000)
    assert found[:, COLUMN["revisit"]].tolist() == [0.125, 0.25, 0.5, 1.0, 0.0]


def test_covisits_are_shares_of_the_strongest_and_older_items_weigh_less() -> None:
    profile = of(event(product_id="a"), event(at_s=1, product_id="b"))
    seeds = {"a": seen_with(p=4, q=2), "b": seen_with(q=8, p=2)}
    now_ms = START_MS + 1000
    assert value("covisit_last", profile, row("p"), None, now_ms, seeds) == pytest.approx(0.25)
    assert value("covisit_last", profile, row("q"), None, now_ms, seeds) == pytest.approx(1.0)
    assert value("covisit_recent", profile, row("p"), None, now_ms, seeds) == pytest.approx(
        0.25 + 2 ** (-1 / 3)
    )
    assert value("covisit_recent", profile, row("q"), None, now_ms, seeds) == pytest.approx(
        1 + 0.5 * 2 ** (-1 / 3)
    )


def test_an_item_is_linked_to_itself_as_strongly_as_to_its_strongest_neighbour() -> None:
    profile = of(event(product_id="a"), event(at_s=1, product_id="b"))
    seeds = {"b": seen_with(q=8)}
    assert value("covisit_last", profile, row("b"), None, START_MS + 1000, seeds) == 1
    assert value("covisit_last", profile, row("a"), None, START_MS + 1000, seeds) == 0
    assert value(
        "covisit_recent", profile, row("a"), None, START_MS + 1000, seeds
    ) == pytest.approx(2 ** (-1 / 3))


def test_only_the_last_ten_items_are_links() -> None:
    profile = of(*(event(at_s=n, product_id=f"p{n}") for n in range(12)))
    items = ItemColumns.of(row(f"p{n}") for n in range(12))
    found = Moment(profile, items, START_MS + 12_000).links
    assert items.ids(found.rows) == [f"p{n}" for n in range(11, 1, -1)]
    assert found.counts.tolist() == [1] * 10
    assert found.weights[3] == pytest.approx(0.5)
    assert found.ages_ms[0] == 1000
    assert found.strengths[0] == 1.0


@pytest.mark.parametrize(
    ("category", "expected"),
    [("shoes.boots", 1), ("shoes.sandals", 0.5), ("shoes", 0.5), ("hats.boots", 0), ("", 0)],
)
def test_category_match_is_whole_for_the_last_category_and_half_for_its_department(
    category: str, expected: float
) -> None:
    profile = of(event(product_id="a"), item=Item("a", category="shoes.boots"))
    assert value("category_match", profile, row(category=category)) == expected
    assert value("category_match", UserProfile(), row(category=category)) == 0


def test_interest_in_category_and_brand_are_shares_on_both_half_lives() -> None:
    profile = UserProfile()
    profile.add(event(at_s=-7 * 86_400, product_id="a"), Item("a", category="old", brand="x"))
    profile.add(event(product_id="b"), Item("b", category="new", brand="y"))
    old = row(category="old", brand="x")
    assert value("category_interest", profile, old) == pytest.approx(1 / 3)
    assert value("category_interest_30m", profile, old) == pytest.approx(2.0**-336, abs=1e-12)
    assert value("category_interest_30m", profile, row(category="new")) == pytest.approx(1.0)
    assert value("brand_interest", profile, old) == pytest.approx(1 / 3)
    assert value("brand_interest", profile, row(brand="z")) == 0


def test_price_gap_is_the_distance_of_logarithms() -> None:
    profile = of(event(product_id="a"), item=Item("a", price=10.0))
    assert value("price_gap", profile, row(price=10 * e)) == pytest.approx(1.0)
    assert value("price_gap", profile, row(price=10 / e)) == pytest.approx(1.0)
    assert value("price_gap", profile, row(price=0.0)) == 0
    assert value("price_gap", UserProfile(), row(price=5.0)) == 0


def test_log_price_is_of_one_more() -> None:
    assert value("log_price", candidate=row(price=99.0)) == pytest.approx(log(100))


def test_in_cart_marks_what_lies_there_now() -> None:
    assert value("in_cart", of(event("add_to_cart", product_id="p"))) == 1
    assert (
        value(
            "in_cart",
            of(event("add_to_cart", product_id="p"), event("purchase", 1, product_id="p")),
        )
        == 0
    )


def test_shown_before_counts_impressions_of_this_item_decayed() -> None:
    profile = of(*(event("impression", -n, f"i{n}", product_id="p") for n in range(4)))
    assert value("shown_before", profile) == pytest.approx(log(5), rel=1e-4)
    assert value("shown_before", profile, now_ms=START_MS + DAY_MS) == pytest.approx(
        log(3), rel=1e-4
    )
    assert value("shown_before", profile, row("other")) == 0


def test_similarity_is_the_cosine_with_the_session() -> None:
    between = (UP + RIGHT) / np.sqrt(np.float32(2))
    vectors = VectorIndex(["a", "p", "n"], np.stack([UP, between, -UP]))
    rows = [row("p"), row("n"), row("unknown")]
    found = matrix_of(of(event(product_id="a")), rows, vectors=vectors)
    assert found[:, COLUMN["similarity"]].tolist() == pytest.approx([2**-0.5, -1, 0])
    nobody = matrix_of(UserProfile(), rows, vectors=vectors)
    assert nobody[:, COLUMN["similarity"]].tolist() == [0, 0, 0]


def test_the_session_vector_is_a_unit_vector_in_which_older_items_weigh_less() -> None:
    profile = of(event(product_id="a"), event(at_s=1, product_id="b"))
    items = ItemColumns.of([], VectorIndex(["a", "b"], np.stack([UP, RIGHT])))
    vector = Moment(profile, items, START_MS + 1000).session_vector
    assert vector is not None and vector.dtype == np.float32
    assert vector[0] / vector[1] == pytest.approx(2 ** (-1 / 3)) and np.linalg.norm(
        vector
    ) == pytest.approx(1)
    assert Moment(profile, ItemColumns(), START_MS + 1000).session_vector is None


def test_item_rates_are_smoothed() -> None:
    kinds = [("impression", 75), ("click", 18), ("view_product", 25), ("purchase", 2)]
    events = [event(k, 0, f"{k}{n}", product_id="p") for k, count in kinds for n in range(count)]
    candidate = row("p", stats_of(events))
    assert value("item_ctr", candidate=candidate) == pytest.approx((18 + 2) / (75 + 25))
    assert value("item_conversion", candidate=candidate) == pytest.approx((2 + 0.5) / (25 + 25))
    assert value("item_ctr", candidate=candidate) == pytest.approx(candidate.stats.ctr(START_MS))
    assert value("item_conversion", candidate=candidate) == pytest.approx(
        candidate.stats.conversion(START_MS)
    )


def test_item_views_decay_on_two_half_lives() -> None:
    candidate = row(
        "p", stats_of([event(at_s=0, event_id=f"e{n}", product_id="p") for n in range(8)])
    )
    assert value(
        "item_views_7d", candidate=candidate, now_ms=START_MS + 7 * DAY_MS
    ) == pytest.approx(log(5))
    assert value("item_views_1h", candidate=candidate, now_ms=START_MS + HOUR_MS) == pytest.approx(
        log(5)
    )


def test_activity_counts_what_was_done_on_purpose_in_five_minutes_and_a_day() -> None:
    profile = of(
        event(at_s=-3600, product_id="a"),
        event(product_id="b"),
        event("scroll", 1),
        event("click", 2),
    )
    assert value("events_5m", profile, now_ms=START_MS + 2000) == pytest.approx(log(3))
    assert value("events_24h", profile, now_ms=START_MS + 2000) == pytest.approx(log(4))


def test_session_events_are_those_of_the_newest_session() -> None:
    profile = of(
        event("scroll", 0, session_id="a"),
        event("scroll", 1, session_id="b"),
        event("x", 2, session_id="b"),
    )
    assert value("session_events", profile, now_ms=START_MS + 2000) == pytest.approx(log(3))


@pytest.mark.parametrize(
    ("idle_ms", "minutes"), [(0, 0), (90_000, 1.5), (-1000, 0), (40 * DAY_MS, 30 * 24 * 60)]
)
def test_idle_minutes_are_counted_from_the_newest_event_to_a_month(
    idle_ms: int, minutes: float
) -> None:
    assert value("idle_minutes", of(event("scroll")), now_ms=START_MS + idle_ms) == pytest.approx(
        log1p(minutes)
    )


def test_is_known_tells_a_visitor_with_events_from_one_without() -> None:
    assert value("is_known", of(event("scroll"))) == 1 and value("is_known") == 0


def test_present_interest_in_the_brand_is_a_share_on_half_an_hour() -> None:
    profile = UserProfile()
    profile.add(event(at_s=-1800, product_id="a"), Item("a", brand="x"))
    profile.add(event(product_id="b"), Item("b", brand="y"))
    assert value("brand_interest_30m", profile, row(brand="x")) == pytest.approx(1 / 3)
    assert value("brand_interest_30m", profile, row(brand="z")) == 0


def bought_with(**weights: int) -> Seed:
    stats = ItemStats()
    for item_id, weight in weights.items():
        stats.link(item_id, BOUGHT, weight, START_MS)
    return Seed(stats)


def test_bought_together_is_the_strongest_share_beside_the_last_item_or_the_cart() -> None:
    profile = of(
        event("add_to_cart", product_id="a"),
        event("add_to_cart", product_id="b"),
        event(at_s=9, product_id="c"),
    )
    seeds = {
        "a": bought_with(p=1, q=4),
        "b": bought_with(p=4, q=2),
        "c": bought_with(r=1),
        "x": bought_with(s=1),
    }
    shares = {
        item_id: value("bought_together", profile, row(item_id), seeds=seeds) for item_id in "pqrs"
    }
    assert shares == {"p": 1.0, "q": 1.0, "r": 1.0, "s": 0.0}
    alone = {"a": bought_with(p=1, q=4), "c": seen_with(p=9)}
    assert value("bought_together", profile, row("p"), seeds=alone) == 0.25


def cosine(one: np.ndarray, two: np.ndarray) -> float:
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


def test_taste_similarity_is_of_all_that_was_touched_and_session_similarity_of_just_now() -> None:
    profile = UserProfile()
    old, new = Item("a", category="shoes", brand="x"), Item("b", category="hats", brand="y")
    profile.add(event(product_id="a"), old)
    profile.add(event(at_s=7 * 86_400, product_id="b"), new)
    vectors = {
        item.item_id: item_vector(item.item_id, item.category, item.brand) for item in (old, new)
    }
    for item in (old, new):
        taste, session = (
            value(name, profile, ItemRow(item, ItemStats()))
            for name in ("taste_similarity", "session_similarity")
        )
        assert taste == pytest.approx(
            cosine(vectors[item.item_id], 0.5 * vectors["a"] + vectors["b"]), abs=1e-6
        )
        assert session == pytest.approx(cosine(vectors[item.item_id], vectors["b"]), abs=1e-6)
    assert (
        value("taste_similarity", UserProfile(), row("a"))
        == value("session_similarity", UserProfile(), row("a"))
        == 0
    )


def test_an_item_never_seen_is_liked_for_its_category_and_brand() -> None:
    profile = of(
        *(event(at_s=n, product_id=f"a{n}") for n in range(9)),
        item=Item("a", category="shoes", brand="x"),
    )
    alike, stranger = (
        row("new", category="shoes", brand="x"),
        row("other", category="tools", brand="y"),
    )
    for name in ("taste_similarity", "session_similarity"):
        assert value(name, profile, alike) > 0.5 > value(name, profile, stranger)


def test_context_similarity_is_the_cosine_of_the_company_that_items_keep() -> None:
    profile = of(event(product_id="a"))
    seeds = {"a": seen_with(x=3, y=1)}
    same, apart = row("p", stats_seen_with(x=3, y=1)), row("q", stats_seen_with(z=1))
    assert value("context_similarity", profile, same, seeds=seeds) == pytest.approx(1.0, abs=1e-3)
    assert abs(value("context_similarity", profile, apart, seeds=seeds)) < 0.5
    assert value("context_similarity", profile, row("bare"), seeds=seeds) == 0
    assert (
        value("context_similarity", profile, same)
        == value("context_similarity", UserProfile(), same)
        == 0
    )


def test_the_context_vector_is_a_unit_vector_in_which_older_items_weigh_less() -> None:
    profile = of(event(product_id="a"), event(at_s=1, product_id="b"))
    seeds = {"a": seen_with(x=1), "b": seen_with(y=5)}
    vector = Moment(profile, ItemColumns(), START_MS + 1000, seeds).context_vector
    x, y = (seeds[item_id].context for item_id in "ab")
    assert vector is not None and x is not None and y is not None
    assert vector.shape == (CONTEXT_DIM,) and np.linalg.norm(vector) == pytest.approx(1)
    assert vector == pytest.approx((2 ** (-1 / 3) * x + y) / np.linalg.norm(2 ** (-1 / 3) * x + y))
    assert Moment(profile, ItemColumns(), START_MS + 1000).context_vector is None


def test_carts_of_an_item_halve_in_a_week() -> None:
    carts = row("p", stats_of([event("add_to_cart", 0, f"e{n}", product_id="p") for n in range(8)]))
    assert value("item_carts_7d", candidate=carts) == pytest.approx(log(9))
    assert value("item_carts_7d", candidate=carts, now_ms=START_MS + 7 * DAY_MS) == pytest.approx(
        log(5)
    )


def test_popularity_of_an_item_halves_in_six_hours() -> None:
    carts = row("p", stats_of([event("add_to_cart", 0, f"e{n}", product_id="p") for n in range(8)]))
    assert value("item_trending", candidate=carts) == pytest.approx(log(25))
    assert value("item_trending", candidate=carts, now_ms=START_MS + 6 * HOUR_MS) == pytest.approx(
        log(13)
    )


def test_item_rates_take_the_prior_of_their_category() -> None:
    shoes, hats = row("p", category="shoes"), row("q", category="hats")
    by_code = np.array([(1.0, 10.0), (30.0, 100.0)])  # of no category, and of shoes
    context = RankingContext(priors=RatePriors(ctr=RatePrior((1.0, 10.0), by_code)))
    matrix = matrix_of(UserProfile(), [shoes, hats], context)
    assert matrix[:, COLUMN["item_ctr"]].tolist() == pytest.approx([0.3, 0.1])
    assert matrix[:, COLUMN["item_conversion"]].tolist() == pytest.approx([0.02, 0.02])


def test_the_visitors_estimates_are_the_same_in_the_matrix() -> None:
    profile = of(
        event("add_to_cart", product_id="a"), event("dwell", 1, metadata={"dwell_ms": 9000})
    )
    now_ms = START_MS + 3 * DAY_MS
    assert value("conversion_likelihood", profile, now_ms=START_MS) == pytest.approx(
        conversion_likelihood(profile, START_MS)
    )
    assert value("churn_risk", profile, now_ms=now_ms) == pytest.approx(churn_risk(profile, now_ms))
    assert value("session_dwell", profile, now_ms=now_ms) == pytest.approx(log(10))


# the prior


def prior(**features: float) -> float:
    matrix = np.zeros((1, len(FEATURE_NAMES)), np.float32)
    for name, number in features.items():
        matrix[0, COLUMN[name]] = number
    return float(prior_ctr(matrix)[0])


def test_the_prior_is_the_logistic_of_bias_and_weights() -> None:
    assert prior() == pytest.approx(1 / (1 + e**3), rel=1e-5)
    assert prior(covisit_last=1, item_ctr=0.1) == pytest.approx(
        1 / (1 + e ** (3 - 1.0 - 0.4)), rel=1e-5
    )


def test_the_prior_likes_what_is_close_to_the_visitor_and_tires_of_what_was_shown() -> None:
    for better in (
        "recency",
        "covisit_last",
        "category_match",
        "category_interest",
        "similarity",
        "item_ctr",
    ):
        assert prior(**{better: 1.0}) > prior(), better
    for worse in ("price_gap", "shown_before", "position"):
        assert prior(**{worse: 1.0}) < prior(), worse


def test_the_prior_ranks_the_last_items_neighbour_above_its_department_above_a_stranger() -> None:
    profile = of(event(product_id="a"), item=Item("a", category="shoes.boots"))
    rows = [
        row("far", category="hats"),
        row("near", category="shoes.sandals"),
        row("next", category="shoes.boots"),
    ]
    seeds = {"a": seen_with(next=3)}
    far, near, following = prior_ctr(matrix_of(profile, rows, seeds=seeds))
    assert far < near < following


@pytest.mark.parametrize("extreme", [1e6, 1e30])
def test_the_prior_of_extreme_features_is_neither_nought_nor_one(extreme: float) -> None:
    assert 0 < prior(position=extreme) < 0.01 and 0.99 < prior(covisit_last=extreme) < 1


def test_the_age_of_an_item_counts_from_its_publication() -> None:
    published = [START_MS - 3_600_000, START_MS + 3_600_000]
    rows = [row(f"p{place}", published_ms=time) for place, time in enumerate(published)]

    ages = matrix_of(UserProfile(), rows)[:, COLUMN["age"]]

    assert ages.tolist() == [pytest.approx(log1p(1.0)), 0.0]
