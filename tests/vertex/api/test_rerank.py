"""The order of a slate: by score within the rules, and one slot by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import UNSET

from pipeline.core.expressions.compiler import Expression, compile_expression
from pipeline.core.item_columns import ItemColumns
from pipeline.core.profile import UserProfile
from tests.vertex.api.fakes import NOW_MS, event, item, row, visitor
from vertex.api.config import Config
from vertex.api.placements import Placement, placement_of
from vertex.api.policy import EXPLORE_SLOT, Exploration
from vertex.api.ranking import Parts
from vertex.api.rerank import Ranked, Shown, arrange, arrange_groups, arrange_trending
from vertex.api.rules import AtMost, Boost, Candidates, Freshness, Pin, Repeats, Rule, Share

ITEMS = [item(index, category=f"c{index % 2}") for index in range(8)]
COLUMNS = ItemColumns.of(row(each) for each in ITEMS)


def one_of(*ids: str) -> Expression:
    """Accepts these ids."""
    return compile_expression(f"item_id in {list(ids)}", COLUMNS.fields.types)


def ranked(*scores: float, profile: UserProfile | None = None) -> Ranked:
    """Items p0, p1, ... with these scores, of which the first part alone counts."""
    ids = [each.item_id for each in ITEMS[: len(scores)]]
    terms = np.array([[score, 0.0, 0.0, 0.0] for score in scores])
    return Ranked(
        ids=ids,
        sources=["recent"] * len(ids),
        parts=Parts(["ctr", "recency", "category", "interest"], terms),
        candidates=Candidates(COLUMNS, COLUMNS.rows(ids), profile or UserProfile(), NOW_MS),
    )


def place(*rules: Rule, **settings: Any) -> Placement:
    placement = placement_of("home", "for_you", Config(project="demo-project", instance="freshet"))
    return msgspec.structs.replace(placement, rules=rules, **settings)


def order(shown: Sequence[Shown]) -> list[str]:
    return [each.id for each in shown]


def test_the_best_come_first_and_equal_ones_in_the_order_found() -> None:
    shown = arrange(ranked(0, 2, 1, 2, 0, 0, 0, 0), place(), 4, Exploration())
    assert order(shown) == ["p1", "p3", "p2", "p0"]
    assert [each.position for each in shown] == [0, 1, 2, 3]
    assert {each.propensity for each in shown} == {1.0}


def test_the_drawn_item_takes_its_slot_whatever_its_score() -> None:
    shown = arrange(ranked(8, 7, 6, 5, 4, 3, 2, 99), place(), 7, Exploration(7, 0.02))
    assert order(shown) == ["p0", "p1", "p2", "p3", "p4", "p7", "p6"]
    assert [each.propensity for each in shown] == [1.0] * EXPLORE_SLOT + [0.02, 1.0]


def test_what_chance_draws_changes_no_other_slot_whatever_the_rules_say() -> None:
    rules = (
        AtMost(name="categories", n=1, of="category", within=2),
        Pin(name="pin", item_id="p6", slot=1),
        Boost(name="boost", factor=5.0, where=one_of("p2", "p7")),
    )
    placement = place(*rules, diversity=0.5)
    scores = (8, 7, 6, 5, 4, 3, 2)

    without = order(arrange(ranked(*scores), placement, 7, Exploration(None, 0.9)))
    drawn = order(arrange(ranked(*scores, 99), placement, 7, Exploration(7, 0.02)))

    assert drawn[EXPLORE_SLOT] == "p7"
    assert [*drawn[:EXPLORE_SLOT], *drawn[EXPLORE_SLOT + 1 :]] == [
        *without[:EXPLORE_SLOT],
        *without[EXPLORE_SLOT + 1 :],
    ]


def test_a_boost_multiplies_and_the_parts_still_sum_to_the_score() -> None:
    boost = Boost(name="boost", factor=3.0, where=one_of("p1"))

    shown = arrange(ranked(1.0, 0.5, 0.25), place(boost), 3, Exploration())

    assert order(shown) == ["p1", "p0", "p2"]
    assert shown[0].score == 1.5
    assert shown[0].parts["rules"] == 1.0
    assert "rules" not in shown[1].parts
    for each in shown:
        assert sum(each.parts.values()) == pytest.approx(each.score)


def test_a_factor_below_one_buries() -> None:
    bury = Boost(name="bury", factor=0.1, where=one_of("p0"))
    assert order(arrange(ranked(1.0, 0.5), place(bury), 2, Exploration())) == ["p1", "p0"]


@pytest.mark.parametrize(
    ("from_ms", "until_ms", "holds"),
    [
        (None, None, True),
        (NOW_MS, NOW_MS + 1, True),
        (NOW_MS + 1, None, False),
        (None, NOW_MS, False),
    ],
)
def test_a_rule_holds_within_its_time_from_its_first_ms_to_before_its_last(
    from_ms: int | None, until_ms: int | None, holds: bool
) -> None:
    pin = Pin(name="pin", item_id="p1", slot=0, from_ms=from_ms, until_ms=until_ms)
    shown = arrange(ranked(1.0, 0.5), place(pin), 2, Exploration())
    assert (order(shown)[0] == "p1") is holds


def test_what_was_shown_and_not_touched_sinks_and_what_was_touched_does_not() -> None:
    profile = visitor(
        event("impression", "p0", 10),
        event("impression", "p1", 10),
        event("click", "p1", 5),
    )
    repeats = Repeats(name="repeats", factor=0.5)

    shown = arrange(ranked(1.0, 0.9, 0.6, profile=profile), place(repeats), 3, Exploration())

    assert order(shown) == ["p1", "p2", "p0"]
    assert shown[2].score == pytest.approx(0.5, abs=1e-3)


def test_repeats_are_forgotten_with_time() -> None:
    profile = visitor(event("impression", "p0", 10 * 86_400))
    repeats = Repeats(name="repeats", factor=0.5)
    shown = arrange(ranked(1.0, 0.9, profile=profile), place(repeats), 2, Exploration())
    assert order(shown) == ["p0", "p1"]


def test_what_was_published_lately_is_lifted_by_half_as_much_after_each_half_life() -> None:
    ages_ms = (0, 1_000, 2_000, None)
    items = ItemColumns.of(
        row(item(index, published_ms=None if age is None else NOW_MS - age))
        for index, age in enumerate(ages_ms)
    )
    rows = items.rows(["p0", "p1", "p2", "p3"])
    freshness = Freshness(name="freshness", weight=0.8, half_life_ms=1_000)

    multiplier = freshness.multiplier(Candidates(items, rows, UserProfile(), NOW_MS))

    assert multiplier.tolist() == pytest.approx([1.8, 1.4, 1.2, 1.0])


def test_a_window_and_a_share_choose_among_the_candidates() -> None:
    window = AtMost(name="categories", n=1, of="category", within=2)
    assert order(arrange(ranked(8, 1, 7, 2), place(window), 4, Exploration())) == [
        "p0",
        "p3",
        "p2",
        "p1",
    ]
    share = Share(name="promoted", where=one_of("p3"), low=0.5)
    assert order(arrange(ranked(8, 1, 7, 0), place(share), 2, Exploration())) == ["p0", "p3"]
    most = Share(name="promoted", where=one_of("p0", "p2"), high=0.5)
    assert order(arrange(ranked(8, 1, 7, 0), place(most), 2, Exploration())) == ["p0", "p1"]


def test_a_window_counts_by_a_text_of_the_shops_own() -> None:
    items = ItemColumns.of(
        row(item(index, attributes={"seller": seller})) for index, seller in enumerate("aab")
    )
    by_seller = AtMost(name="sellers", n=1, of="seller", within=2)
    found = ranked(3, 2, 1)
    candidates = Candidates(items, items.rows(found.ids), UserProfile(), NOW_MS)

    shown = arrange(
        msgspec.structs.replace(found, candidates=candidates), place(by_seller), 2, Exploration()
    )

    assert order(shown) == ["p0", "p2"]


def test_an_explanation_names_rank_and_what_each_rule_did() -> None:
    rules = (
        Boost(name="boost", factor=2.0, where=one_of("p3")),
        Pin(name="pin", item_id="p1", slot=0),
        AtMost(name="categories", n=1, of="category", within=2),
    )

    shown = arrange(ranked(4, 1, 3, 0.6, 2), place(*rules), 3, Exploration(), explain=True)

    said = [
        (each.id, each.explanation.rank, msgspec.to_builtins(each.explanation.rules))
        for each in shown
        if each.explanation is not UNSET
    ]
    assert said == [
        ("p1", 4, [{"rule": "pin", "placed": True}]),
        ("p0", 0, []),
        ("p3", 3, [{"rule": "boost", "multiplied": 2.0}]),
    ]


def test_without_the_wish_nothing_is_explained() -> None:
    (shown,) = arrange(ranked(1.0), place(), 1, Exploration())
    assert "explanation" not in msgspec.to_builtins(shown)


def test_groups_are_shown_by_their_best_item_in_its_order() -> None:
    placement = place()
    by_category = msgspec.structs.replace(
        placement, kind=msgspec.structs.replace(placement.kind, group="category")
    )
    shown = arrange_groups(ranked(0.1, 0.5, 0.9, 0.2), by_category, 5)
    assert [(each.id, each.score, each.position) for each in shown] == [
        ("c0", 0.9, 0),
        ("c1", 0.5, 1),
    ]


def test_trending_items_keep_their_order_and_say_their_score() -> None:
    first, second = arrange_trending(["p2", "p1"], {"p1": 0.5})
    assert (first.id, first.score, second.id, second.parts["popularity"]) == ("p2", 0.0, "p1", 0.5)
