"""Each feature of an item and of a scope by a story, and `describe` says the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS
from pipeline.core.embedding import CONTEXT_DIM, signature
from pipeline.core.features.item import ITEM_FEATURES, SCOPE_FEATURES
from pipeline.core.items import BOUGHT, CODE_NAMES, TOUCHED, ItemStats, Trending
from tests.pipeline.core.streams import START_MS, Fact, event, facts, laws, stats_of

OF_ITEM = {feature.name: feature for feature in ITEM_FEATURES}
OF_SCOPE = {feature.name: feature for feature in SCOPE_FEATURES}
KINDS = {
    "views": "view_product",
    "clicks": "click",
    "carts": "add_to_cart",
    "purchases": "purchase",
    "impressions": "impression",
}
SPANS_MS = {"5m": 5 * MINUTE_MS, "1h": HOUR_MS, "24h": DAY_MS}


def story() -> ItemStats:
    """Shoes, shown twice, viewed twice, bought once; touched with `a` and more with `b`, bought
    with `b`.
    """
    stats = ItemStats()
    for n, name in enumerate(
        ("impression", "impression", "view_product", "view_product", "purchase")
    ):
        stats.add(event(name, 0, f"e{n}", product_id="p"), "shoes")
    for name, kind, weight in (("a", TOUCHED, 1.0), ("b", TOUCHED, 3.0), ("b", BOUGHT, 1.0)):
        stats.link(name, kind, weight, START_MS)
    return stats


@pytest.mark.parametrize(
    ("name", "after_ms", "expected"),
    [
        ("category", 0, "shoes"),
        ("views_decayed_1h", HOUR_MS, 1.0),
        ("ctr", 0, 2 / (25 + 2)),
        ("conversion", 0, (1 + 0.5) / (2 + 25)),
        ("conversion", 7 * DAY_MS, (0.5 + 0.5) / (1 + 25)),
        ("neighbours", 7 * DAY_MS, {"b": 1.5, "a": 0.5}),
        ("bought_together", 0, {"b": 1.0}),
        ("popularity", 0, 7.0),
        ("popularity", 6 * HOUR_MS, 3.5),
    ],
)
def test_an_items_feature_is_what_its_story_tells(name: str, after_ms: int, expected: Any) -> None:
    found = OF_ITEM[name].value(story(), START_MS + after_ms)
    assert found == (expected if isinstance(expected, str) else pytest.approx(expected))


def test_the_context_vector_is_the_direction_of_the_neighbours() -> None:
    found = OF_ITEM["context_vector"].value(story(), START_MS)
    total = signature("item", "a", CONTEXT_DIM) + 3 * signature("item", "b", CONTEXT_DIM)
    assert found == pytest.approx(list(total / (total @ total) ** 0.5))


def test_a_scopes_trending_items_are_all_that_it_keeps_best_first() -> None:
    scope = Trending()
    for item_id, age in (("a", 1.0), ("b", 0.0), ("c", 2.0)):
        scope.rank(item_id, START_MS / (6 * HOUR_MS) - age)
    found = OF_SCOPE["trending"].value(scope, START_MS)
    assert list(found) == ["b", "a", "c"] and found == pytest.approx(
        {"b": 1.0, "a": 0.5, "c": 0.25}
    )


@pytest.mark.parametrize("kind", KINDS)
def test_events_of_items_and_scopes_are_counted_ever_in_windows_and_decayed(kind: str) -> None:
    stats = stats_of([event(KINDS[kind], 0, f"e{n}", product_id="p") for n in range(2)])
    scope = Trending()
    scope.counts.merge(stats.counts)
    for features, state in ((OF_ITEM, stats), (OF_SCOPE, scope)):
        readings: dict[str, Any] = {name: feature.value for name, feature in features.items()}
        assert readings[kind](state, START_MS) == 2
        assert readings[f"{kind}_decayed_7d"](state, START_MS + 7 * DAY_MS) == pytest.approx(1.0)
        for window, span_ms in SPANS_MS.items():
            found = [
                readings[f"{kind}_{window}"](state, START_MS + at)
                for at in (0, span_ms - 1, span_ms + HOUR_MS)
            ]
            assert found == [2, 2, 0]
        others = set(KINDS) - {kind}
        assert all(readings[other](state, START_MS) == 0 for other in others)


def test_every_feature_of_items_and_scopes_has_a_name_of_its_own() -> None:
    assert len(OF_ITEM) == len(ITEM_FEATURES) and len(OF_SCOPE) == len(SCOPE_FEATURES)
    assert set(KINDS) == set(CODE_NAMES.values())


@laws
@given(facts())
def test_what_an_item_describes_are_its_features(stream: list[Fact]) -> None:
    stats = stats_of([found for found, _ in stream])
    now_ms = max(stats.newest_ms, START_MS)
    described = stats.describe(now_ms)
    assert described == {name: OF_ITEM[name].value(stats, now_ms) for name in described}
    assert stats.counts.describe(now_ms).items() <= described.items()
