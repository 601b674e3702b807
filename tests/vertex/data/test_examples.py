"""Examples: features of the past without the future."""

from __future__ import annotations

import random
from collections import deque
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from pipeline.core.events import Event
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.moment import Moment
from pipeline.core.features.ranking import COLUMN
from pipeline.core.features.ranking_inputs import RankingContext
from pipeline.core.item_columns import ItemColumns, Seed
from pipeline.core.items import ItemRow, ItemStats
from pipeline.core.profile import UserProfile
from pipeline.core.profile_keys import profile_key
from pipeline.core.rate_priors import fitted_priors
from pipeline.core.vectors import VectorIndex
from tests.vertex import planted
from tests.vertex.folding import fold_by_hand
from tests.vertex.planted import event, shown
from vertex.data.examples import VIEWS, VectorsFrom, examples, vectors_at
from vertex.data.replay import in_order
from vertex.data.slates import logged_slates, viewed_slates

CATALOG = planted.catalog()


def test_logged_features_are_those_of_a_profile_folded_with_earlier_events_alone(
    log: list[Event],
) -> None:
    log = log[:3_000]
    slates = logged_slates(log)
    chosen = [slates[number] for number in sorted(random.Random(3).sample(range(len(slates)), 12))]
    profiles: dict[str, UserProfile] = {}
    stats: dict[str, ItemStats] = {}
    to_fold = deque(log)
    for slate in chosen:
        data = examples(log, [slate], CATALOG)
        while to_fold[0].time_ms < slate.time_ms:
            fold_by_hand(to_fold.popleft(), profiles, stats)
        profile = UserProfile.decode(
            profiles.get(profile_key(slate.asked_by), UserProfile()).encode()
        )
        items = ItemColumns.of(ItemRow(CATALOG[name], found) for name, found in stats.items())
        seeds = {name: Seed(found) for name, found in stats.items()}
        context = RankingContext(positions=slate.positions, priors=fitted_priors(items))
        for name in slate.items:
            items.put(ItemRow(CATALOG[name], stats.get(name, ItemStats())))
        moment = Moment(profile, items, slate.time_ms, seeds)
        expected = feature_matrix(moment, items.rows(slate.items), context)
        np.testing.assert_allclose(data.matrix, expected, rtol=1e-6, atol=1e-9)


def test_a_planted_future_changes_no_feature(log: list[Event]) -> None:
    slates = logged_slates(log)[:200]
    until = slates[-1].time_ms
    asker, target = slates[-1].asked_by, slates[-1].items[0]
    leak = [
        event(name, 0, product_id=target, event_id=f"leak-{number}-{name}", **who)
        for number in range(50)
        for name in ("click", "add_to_cart", "purchase", "impression")
        for who in (
            {"anonymous_id": asker.anonymous_id, "session_id": asker.session_id},
            {"user_id": "u9"},
        )
    ]
    # At the very moment of the last slate, and a second later.
    moments = [
        datetime.fromtimestamp(until / 1000, UTC),
        datetime.fromtimestamp(until / 1000 + 1, UTC),
    ]
    later = [msgspec.structs.replace(each, timestamp=moments[n % 2]) for n, each in enumerate(leak)]
    with_leak = examples(in_order([*log, *later]), slates, CATALOG)
    past_alone = examples([each for each in log if each.time_ms < until], slates, CATALOG)
    np.testing.assert_array_equal(with_leak.matrix, past_alone.matrix)


def test_a_click_in_the_slates_past_does_change_its_features(log: list[Event]) -> None:
    slates = logged_slates(log)[:200]
    asker, target = slates[-1].asked_by, slates[-1].items[0]
    moment = datetime.fromtimestamp(slates[-1].time_ms / 1000 - 1, UTC)
    early = event("click", 0, product_id=target, anonymous_id=asker.anonymous_id)
    data = examples(
        in_order([*log, msgspec.structs.replace(early, timestamp=moment)]), slates, CATALOG
    )
    assert data.between(199, 200).matrix[0, COLUMN["seen"]] == pytest.approx(1.0, abs=1e-4)


def test_a_slate_is_described_with_the_newest_vectors_learnt_before_it() -> None:
    unit = np.array([[1.0, 0.0]], np.float32)
    early, late = VectorIndex(["p1"], unit), VectorIndex(["p2"], unit)
    schedule = [VectorsFrom(100, early), VectorsFrom(200, late)]
    assert len(vectors_at(schedule, 99)) == 0
    assert vectors_at(schedule, 100) is early
    assert vectors_at(schedule, 199) is early
    assert vectors_at(schedule, 10_000) is late


def test_an_account_is_described_with_its_devices_past() -> None:
    past = event("view_product", 0, product_id="p1", anonymous_id="phone")
    log = in_order([past, *shown("r1", 60_000, "p1", "p2", user_id="u1", anonymous_id="phone")])
    data = examples(log, logged_slates(log), CATALOG)
    assert data.matrix[:, COLUMN["seen"]].tolist() == pytest.approx([1.0, 0.0], abs=1e-2)
    assert data.matrix[0, COLUMN["is_known"]] == 1.0


def test_what_was_viewed_is_set_among_what_could_have_been_offered() -> None:
    log = in_order(planted.views_of_pairs())
    data = examples(log, viewed_slates(log), CATALOG, seed=1)
    assert data.source == VIEWS
    assert len(data.times_ms) > 300
    assert (np.bincount(data.slate_of, data.labels) == 1).all()
    assert np.bincount(data.slate_of).max() <= 21
