"""The tables of docs/features.md are those of the code, and what they promise of each feature
holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from pipeline.core import item_tapes, profile, session_totals
from pipeline.core.catalog import Item
from pipeline.core.features.context_columns import CLOCK_FEATURES
from pipeline.core.features.item import ITEM_FEATURES, SCOPE_FEATURES
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.moment import Moment
from pipeline.core.features.ranking import RANKING_FEATURES
from pipeline.core.features.ranking_inputs import RankingContext
from pipeline.core.features.visitor import VISITOR_FEATURES
from pipeline.core.fold import fold, item_sums
from pipeline.core.item_columns import ItemColumns, Seed
from pipeline.core.items import ItemRow, ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.rate_priors import fitted_priors
from pipeline.core.vectors import VectorIndex
from pipeline.ops import feature_docs
from tests.pipeline.core.streams import CATALOG, START_MS, Fact, disorder, disordered, laws, randoms

NOW_MS = START_MS + 9_999_999
ROUNDING = 1e-6  # of float32


def within(declared: str, value: Any) -> bool:
    """Whether a value is in its declared range: an interval, a set, a bound on how many, or any
    text for none.
    """
    if declared.startswith("{"):
        return value in {float(one) for one in declared.strip("{}").split(",")}
    if declared.startswith("at most"):
        return len(value) <= int(declared.removeprefix("at most")) and all(
            v >= 0 for v in value.values()
        )
    if " numbers in " in declared:
        count, _, interval = declared.partition(" numbers in ")
        return not value or (
            len(value) == int(count) and all(within(interval, one) for one in value)
        )
    if not declared:
        return isinstance(value, str)
    low, high = (float(bound.replace("∞", "inf")) for bound in declared[1:-1].split(","))
    above = value > low if declared[0] == "(" else value >= low - ROUNDING
    return bool(
        math.isfinite(value)
        and above
        and (value < high if declared[-1] == ")" else value <= high + ROUNDING)
    )


@pytest.mark.parametrize(
    ("declared", "inside", "outside"),
    [
        ("[0, 1]", [0, 0.5, 1], [-0.1, 1.1, math.nan]),
        ("(0, 64]", [0.1, 64], [0, 65]),
        ("[0, ∞)", [0, 1e300], [-1, math.inf]),
        ("{0, 1}", [0.0, 1], [0.5]),
        ("at most 2", [{}, {"a": 1.0, "b": 2}], [{"a": -1.0}, {"a": 1, "b": 1, "c": 1}]),
        ("2 numbers in [-1, 1]", [[], [0.0, -1.0]], [[0.0], [0.0, 2.0]]),
        ("", ["", "shoes"], [3]),
    ],
)
def test_a_declared_range_tells_what_is_in_it(
    declared: str, inside: list[Any], outside: list[Any]
) -> None:
    assert all(within(declared, value) for value in inside) and not any(
        within(declared, value) for value in outside
    )


# the document


def test_the_document_is_what_the_code_says() -> None:
    text = feature_docs.DOCUMENT.read_text("utf-8")
    assert feature_docs.documented(text) == text, "docs/features.md is stale: run `make docs`"


def test_every_feature_has_its_row_with_all_that_is_known_of_it() -> None:
    text = feature_docs.DOCUMENT.read_text("utf-8")
    features: list[Any] = [*VISITOR_FEATURES, *ITEM_FEATURES, *SCOPE_FEATURES, *RANKING_FEATURES]
    for feature in features:
        cells = (f"`{feature.name}`", feature.meaning, feature.formula, feature.unit, feature.range)
        assert f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" in text
        assert feature.meaning and feature.formula


def test_a_document_without_a_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="bounds: begin"):
        feature_docs.documented("# Features")
    begin, _ = feature_docs.markers("bounds")
    with pytest.raises(ValueError, match="bounds: end"):
        feature_docs.documented(begin)


def test_what_stands_between_the_markers_is_replaced_and_the_rest_stays() -> None:
    before = "\n".join(
        f"{begin}\n~old~\n{end}\n~own~"
        for begin, end in map(feature_docs.markers, feature_docs.parts())
    )
    text = feature_docs.documented(before)
    assert "~old~" not in text and text.count("~own~") == len(feature_docs.parts())
    assert feature_docs.documented(text) == text


def test_an_example_that_is_no_longer_there_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"feature_docs.py: expected a call Story\('nothing', ...\)"
    ):
        feature_docs.call_in(Path(feature_docs.__file__), "Story", "nothing")
    with pytest.raises(
        ValueError, match=r"feature_docs.py: expected a function that names 'no thing'"
    ):
        feature_docs.function_in(Path(feature_docs.__file__), "no " + "thing")


# defaults and ranges


def test_what_is_counted_among_what_is_kept_ranges_up_to_the_bound() -> None:
    ranges = {feature.name: feature.range for feature in VISITOR_FEATURES}
    bounds = {
        "session_items": session_totals.MAX_SESSION_ITEMS,
        "session_categories": session_totals.MAX_SESSION_CATEGORIES,
        "cart_items": profile.MAX_CART_ITEMS,
        "clicks_without_impression": item_tapes.MAX_SLATE_CLICKS,
        "same_purchases_10m": item_tapes.MAX_PURCHASES,
    }
    assert {name: ranges[name] for name in bounds} == {
        name: f"[0, {bound}]" for name, bound in bounds.items()
    }


def test_a_default_is_what_an_empty_state_gives() -> None:
    states: list[tuple[Iterable[Any], Any]] = [
        (VISITOR_FEATURES, UserProfile()),
        (ITEM_FEATURES, ItemStats()),
        (SCOPE_FEATURES, Trending()),
    ]
    for features, state in states:
        for feature in features:
            assert feature.value(state, NOW_MS) == feature.default, feature.name


def test_a_columns_default_is_what_an_unknown_visitor_and_a_bare_item_give() -> None:
    items = ItemColumns.of([ItemRow(Item("p"), ItemStats())])
    moment = Moment(UserProfile(), items, NOW_MS)
    [given_row] = feature_matrix(moment, items.all_rows(), RankingContext())
    defaults = {feature.name: feature.default for feature in RANKING_FEATURES}
    found = {f.name: float(v) for f, v in zip(RANKING_FEATURES, given_row, strict=True)}
    of_clock = {name: found[name] for name in CLOCK_FEATURES}
    assert found == pytest.approx(defaults | of_clock)


def assert_within(features: Iterable[Any], reading: Callable[[Any], Any]) -> None:
    for feature in features:
        value = reading(feature)
        assert within(feature.range, value), f"{feature.name}: {value} is not in {feature.range}"


def shop_of(streams: Iterable[list[Fact]]) -> tuple[dict[str, ItemStats], Trending]:
    """Items and the scope of all, of several visitors."""
    sums = item_sums([fold(UserProfile(), stream) for stream in streams])
    scope = Trending()
    for item_id, stats in sums.items():
        scope.counts.merge(stats.counts)
        popularity = stats.log2_popularity()
        if popularity is not None:
            scope.rank(item_id, popularity)
    return sums, scope


def read_at(random: Random, stream: list[Fact]) -> int:
    """A time of reading, from the newest event on to two months later."""
    return max((found.time_ms for found, _ in stream), default=START_MS) + random.choice(
        (0, 1, 60_000, 10**8, 5 * 10**9)
    )


@laws
@given(disordered(most=60), randoms())
def test_every_visitors_features_are_in_their_ranges(
    streams: tuple[list[Fact], list[Fact]], random: Random
) -> None:
    clean, messy = streams
    visitor, now_ms = UserProfile(), read_at(random, clean)
    fold(visitor, messy)
    assert_within(VISITOR_FEATURES, lambda feature: feature.value(visitor.copy(), now_ms))


@laws
@given(disordered(most=60), disordered(most=60), randoms())
def test_every_items_scopes_and_candidates_features_are_in_their_ranges(
    one: tuple[list[Fact], list[Fact]], two: tuple[list[Fact], list[Fact]], random: Random
) -> None:
    sums, scope = shop_of([one[1], two[1]])
    now_ms = read_at(random, [*one[0], *two[0]])
    for stats in sums.values():
        assert_within(ITEM_FEATURES, lambda feature, stats=stats: feature.value(stats, now_ms))  # type: ignore[misc]
    assert_within(SCOPE_FEATURES, lambda feature: feature.value(scope, now_ms))
    visitor = UserProfile()
    fold(visitor, disorder(random, one[0]))
    vectors = np.array([[random.gauss(0, 1) for _ in range(4)] for _ in CATALOG], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = ItemColumns.of(
        (ItemRow(item, sums.get(item_id, ItemStats())) for item_id, item in CATALOG.items()),
        VectorIndex(list(CATALOG), vectors),
    )
    seeds = {item_id: Seed(stats) for item_id, stats in sums.items()}
    moment = Moment(visitor, items, now_ms, seeds)
    context = RankingContext(product_id="p1", priors=fitted_priors(items))
    for values in feature_matrix(moment, items.all_rows(), context):
        found = dict(zip((feature.name for feature in RANKING_FEATURES), values, strict=True))
        assert_within(RANKING_FEATURES, lambda feature, found=found: float(found[feature.name]))  # type: ignore[misc]
