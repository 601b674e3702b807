"""The circumstances of a request stand in the matrix, and training reads the same from events."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.core.catalog import Item
from pipeline.core.context import MAX_TRAITS, Context, context_of
from pipeline.core.decay import DAY_MS, HOUR_MS
from pipeline.core.features.context_columns import CONTEXT_FEATURES, TRAIT_COLUMNS, trait_sums
from pipeline.core.features.matrix import feature_matrix, prior_ctr
from pipeline.core.features.moment import Moment
from pipeline.core.features.ranking import COLUMN
from pipeline.core.features.ranking_inputs import RankingContext
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import ItemRow, ItemStats
from pipeline.core.profile import UserProfile
from tests.pipeline.core.streams import event

MONDAY_MS = round(datetime(2026, 11, 30, tzinfo=UTC).timestamp() * 1000)


def columns(context: Context, now_ms: int = MONDAY_MS) -> dict[str, float]:
    items = ItemColumns.of([ItemRow(Item("p"), ItemStats()), ItemRow(Item("q"), ItemStats())])
    moment = Moment(UserProfile(), items, now_ms)
    matrix = feature_matrix(moment, items.all_rows(), RankingContext(request=context))
    assert (matrix[0] == matrix[1]).all(), "the same for all candidates"
    return {feature.name: float(matrix[0, COLUMN[feature.name]]) for feature in CONTEXT_FEATURES}


def test_what_a_request_says_is_in_the_matrix() -> None:
    context = Context(country="NL", device="mobile", language="pt-BR", referrer_kind="email")
    found = columns(context)
    flags = ("device_mobile", "device_desktop", "from_search", "from_social", "from_campaign")
    assert [found[name] for name in flags] == [1, 0, 0, 0, 1]
    assert 0 < found["country"] <= 1 and 0 < found["language"] <= 1
    assert found["language"] == columns(Context(language="pt"))["language"]
    assert found["country"] == columns(Context(country="nl"))["country"]
    assert found["country"] != columns(Context(country="BE"))["country"]


def test_what_is_unknown_is_zero_and_the_prior_knows_nothing_of_any() -> None:
    clock = {"hour_sin", "hour_cos", "weekday_sin", "weekday_cos"}
    found = columns(Context())
    assert {name for name, value in found.items() if value} <= clock
    items = ItemColumns.of([ItemRow(Item("p"), ItemStats())])
    moment = Moment(UserProfile(), items, MONDAY_MS)
    known = Context(country="NL", device="mobile", language="nl", traits={"tier": "gold"})
    contexts = [RankingContext(), RankingContext(request=known)]
    plain, told = (prior_ctr(feature_matrix(moment, items.all_rows(), c)) for c in contexts)
    assert plain == told


@pytest.mark.parametrize(
    ("after_ms", "angles"),
    [
        (0, [0, 1, 0, 1]),
        (6 * HOUR_MS, [1, 0, np.sin(np.pi / 14), np.cos(np.pi / 14)]),
        (3 * DAY_MS, [0, 1, np.sin(6 * np.pi / 7), np.cos(6 * np.pi / 7)]),
    ],
)
def test_hour_and_weekday_go_round(after_ms: int, angles: list[float]) -> None:
    found = columns(Context(), MONDAY_MS + after_ms)
    names = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")
    assert [found[name] for name in names] == pytest.approx(angles, abs=1e-6)


def test_traits_are_told_apart_by_name_and_value() -> None:
    some = [
        {"tier": "gold"},
        {"tier": "silver"},
        {"level": "gold"},
        {"member": True},
        {"member": False},
        {"age": 42.0},
        {"age": 24.0},
    ]
    sums = [tuple(trait_sums(Context(traits=traits))) for traits in some]  # type: ignore[arg-type]
    assert len(set(sums)) >= len(some) - 2  # of so few numbers some may be equal
    assert all(len(each) == TRAIT_COLUMNS and any(each) for each in sums)
    together = trait_sums(Context(traits={"tier": "gold", "age": 42.0}))
    assert together == pytest.approx(np.add(sums[0], sums[5]))


def test_an_event_says_its_circumstances_in_the_same_words() -> None:
    traits = {"tier": "gold", "member": True, "nested": {"a": 1}, "big": 10**400, "x" * 65: 1}
    metadata = {
        "device_class": "mobile",
        "country": "NL",
        "language": "nl",
        "referrer_kind": "search",
        "traits": traits,
    }
    assert context_of(event(metadata=metadata)) == Context(
        device="mobile",
        country="NL",
        language="nl",
        referrer_kind="search",
        traits={"tier": "gold", "member": True},
    )
    assert context_of(event()) == Context()
    many = {f"t{n:02}": n for n in range(40)}
    assert list(context_of(event(metadata={"traits": many})).traits) == sorted(many)[:MAX_TRAITS]
