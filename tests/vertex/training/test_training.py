"""Training: features of the past without the future, a ranker that finds what is there, a folder
that is whole.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from google.cloud import bigquery

from pipeline.core.catalog import Item
from pipeline.core.events import Event, format_time, profile_key
from pipeline.core.features.candidates import Context
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.ranking import COLUMN, FEATURE_NAMES
from pipeline.core.fold import fold, item_sums
from pipeline.core.items import ItemRow, ItemStats, fitted_priors
from pipeline.core.profile import UserProfile
from pipeline.core.vectors import VectorIndex
from pipeline.store import Store, item_write
from tests.stack.bootstrap import bigquery_client
from tests.vertex import planted
from tests.vertex.planted import event
from vertex.candidates import SOURCES
from vertex.data.examples import IMPRESSIONS, VIEWS, Dataset, VectorsFrom, examples, vectors_at
from vertex.data.negatives import Offers, choice
from vertex.data.replay import World, in_order
from vertex.data.sequences import session_items
from vertex.data.slates import logged_slates, viewed_slates
from vertex.data.splits import NotEnoughData, split
from vertex.data.warehouse import read_events
from vertex.evaluation.evaluate import evaluate
from vertex.evaluation.metrics import auc, calibration_error, log_loss, mean_ndcg
from vertex.models import item2vec
from vertex.models.boosted_trees import MONOTONE
from vertex.models.folder import latest_model
from vertex.models.logistic import Logistic
from vertex.training import __main__ as command
from vertex.training.config import Config
from vertex.training.prior import PRIOR
from vertex.training.publish import model_files, publish
from vertex.training.train import Trained, train

NOW = datetime(2025, 3, 5, tzinfo=UTC)
CATALOG = planted.catalog()


def quiet(_: str) -> None:
    return None


def shown(request: str, at_ms: float, *items: str, **who: Any) -> list[Event]:
    return [
        event("impression", at_ms, product_id=name, request_id=request, position=position, **who)
        for position, name in enumerate(items)
    ]


@pytest.fixture(scope="module")
def log() -> list[Event]:
    return in_order(planted.clicks_on_cheap_things())


@pytest.fixture(scope="module")
def trained(log: list[Event]) -> Trained:
    return train(log, CATALOG, now=NOW, seed=7, say=quiet)


# -- slates


def test_the_items_of_one_request_are_one_slate_in_the_order_they_were_shown() -> None:
    (slate,) = logged_slates(in_order(shown("r1", 0, "p3", "p1", "p2")))
    assert (slate.items, slate.positions) == (("p3", "p1", "p2"), (0, 1, 2))


def test_an_item_is_clicked_when_a_click_or_a_view_names_it_and_the_slate() -> None:
    clicks = [
        event("click", 9, product_id="p1", request_id="r1"),
        event("view_product", 9, product_id="p2", request_id="r1"),
        event("click", 9, product_id="p3", request_id="another"),
        event("view_product", 9, product_id="p3"),
        event("add_to_cart", 9, product_id="p3", request_id="r1"),
    ]
    (slate,) = logged_slates(in_order([*shown("r1", 0, "p1", "p2", "p3"), *clicks]))
    assert slate.clicked == {"p1", "p2"}


def test_a_click_that_overtook_the_impressions_dates_the_slate() -> None:
    early = event("click", 400, product_id="p1", request_id="r1")
    (slate,) = logged_slates(in_order([*shown("r1", 1_000, "p1", "p2"), early]))
    assert slate.time_ms == early.time_ms


def test_an_item_reported_twice_is_shown_once() -> None:
    (slate,) = logged_slates(in_order([*shown("r1", 0, "p1", "p2"), *shown("r1", 50, "p1")]))
    assert slate.items == ("p1", "p2")


def test_impressions_of_no_request_are_no_slate() -> None:
    assert logged_slates([event("impression", 0, product_id="p1")]) == []


def test_visitors_who_share_an_event_id_keep_their_events() -> None:
    mine = shown("r1", 0, "p1")[0]
    others = [
        msgspec.structs.replace(mine, **other)
        for other in ({"user_id": "other"}, {"product_id": "p2"})
    ]
    assert len(in_order([mine, *others, mine])) == 3


def test_doubles_of_an_event_count_once() -> None:
    twice = shown("r1", 0, "p1") * 2
    assert in_order(twice) == twice[:1]


# -- no future, no skew


def fold_by_hand(
    each: Event, profiles: dict[str, UserProfile], stats: dict[str, ItemStats]
) -> None:
    """What the pipeline's fold makes of a message of one event: the monoids, and nothing of the
    training code.
    """
    key = profile_key(each)
    profile = profiles.get(key, UserProfile())
    folded = fold(profile, [(each, CATALOG.get(each.product_id or ""))])
    assert folded.new
    profiles[key] = UserProfile.decode(profile.encode())
    for name, partial in item_sums([folded]).items():
        found = stats.get(name, ItemStats())
        found.merge(partial)
        stats[name] = ItemStats.decode(found.encode())


def folded_by_hand(events: Sequence[Event]) -> tuple[dict[str, UserProfile], dict[str, ItemStats]]:
    """The profiles and items of all these events."""
    profiles: dict[str, UserProfile] = {}
    stats: dict[str, ItemStats] = {}
    for each in events:
        fold_by_hand(each, profiles, stats)
    return profiles, stats


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
        rows = [ItemRow(CATALOG[name], stats.get(name, ItemStats())) for name in slate.items]
        priors = fitted_priors([ItemRow(CATALOG[name], found) for name, found in stats.items()])
        context = Context(seeds=stats, positions=slate.positions, priors=priors)
        expected = feature_matrix(profile, rows, context, slate.time_ms)
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


def assert_holds(world: World, stats: dict[str, ItemStats]) -> None:
    """Assert that the world's items have these statistics, floats to rounding."""
    assert sorted(world.item_ids()) == sorted(stats)
    for name, state in stats.items():
        held = world.stats(name)
        assert held is not None
        assert (held.newest_ms, held.category_at) == (state.newest_ms, state.category_at)
        assert held.counts == state.counts
        assert held.log2_popularity() == state.log2_popularity()
        for kind in ("neighbour_weights", "bought_weights"):
            weights, expected = getattr(held, kind), getattr(state, kind)
            assert weights.landmark == expected.landmark
            assert weights.sums == pytest.approx(expected.sums, rel=1e-9)
        assert held.context.landmark == state.context.landmark
        np.testing.assert_allclose(
            np.frombuffer(held.context.values), np.frombuffer(state.context.values), atol=1e-9
        )


def test_the_world_is_what_the_pipeline_would_hold(log: list[Event]) -> None:
    world = World(CATALOG)
    for each in [*log[:3_000], *log[:50]]:  # redelivered events included
        world.add(each)
    profiles, stats = folded_by_hand(log[:3_000])
    assert world.profiles == profiles
    assert_holds(world, stats)


@pytest.mark.parametrize("max_pairs_waiting", [20, 100_000])
def test_the_world_is_the_same_whether_items_are_read_meanwhile_or_not(
    max_pairs_waiting: int,
) -> None:
    log = in_order(planted.views_of_pairs())
    world = World(CATALOG, max_pairs_waiting)
    for number, each in enumerate(log):
        world.add(each)
        if number % 3 == 0:
            world.rows([log[number // 2].product_id or ""])
    assert_holds(world, folded_by_hand(log)[1])


# -- logs of views alone


@pytest.mark.parametrize("catalog", [{}, {"known": Item("known")}])
def test_beside_a_catalog_no_product_that_only_events_name_is_offered_as_trending(
    catalog: dict[str, Item],
) -> None:
    world = World(catalog)
    offers = Offers(world)
    for number, name in enumerate(["known", *["made-up"] * 9]):
        viewed = event("view_product", number, product_id=name)
        world.add(viewed)
        offers.add(viewed, world.item(name))
    offered = offers.at(UserProfile(), VectorIndex.empty(), viewed.time_ms)
    assert offered == (["known"] if catalog else ["made-up", "known"])


def test_an_item_of_any_source_that_serves_could_have_been_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SOURCES, "another", (lambda situation: ["found-by-another"], 1))
    assert Offers(World({})).at(UserProfile(), VectorIndex.empty(), 0) == ["found-by-another"]


def test_views_that_follow_another_in_their_session_are_questions() -> None:
    views = [
        event("view_product", at_ms, product_id=name, session_id=session)
        for at_ms, name, session in [
            (0, "p1", "s1"),
            (1, "p2", "s1"),
            (2, "p3", "s2"),
            (3, "p4", "s1"),
        ]
    ]
    assert [slate.clicked for slate in viewed_slates(in_order(views))] == [{"p2"}, {"p4"}]


def test_what_was_viewed_is_set_among_what_could_have_been_offered() -> None:
    log = in_order(planted.views_of_pairs())
    data = examples(log, viewed_slates(log), CATALOG, seed=1)
    assert data.source == VIEWS
    assert len(data.times_ms) > 300
    assert (np.bincount(data.slate_of, data.labels) == 1).all()
    assert np.bincount(data.slate_of).max() <= 21


def test_a_view_of_what_could_not_have_been_offered_teaches_nothing() -> None:
    assert choice("stranger", ["p1", "p2"], random.Random(0)) is None
    assert choice("p1", ["p1"], random.Random(0)) is None
    assert sorted(choice("p1", ["p1", "p2"], random.Random(0)) or []) == ["p1", "p2"]


def test_a_ranker_is_learnt_from_views_alone() -> None:
    model = train(planted.views_of_pairs(), CATALOG, now=NOW, seed=7, say=quiet)
    assert model.manifest["data"]["source"] == VIEWS
    assert model.manifest["metrics"]["model"]["ndcg"] > 0.6


# -- item2vec


def test_items_viewed_together_lie_close_together() -> None:
    vectors = item2vec.fit(session_items(planted.views_of_pairs()), seed=7)
    together = [float(vectors[f"p{n}"] @ vectors[f"p{n + 1}"]) for n in range(0, 60, 2)]
    apart = [float(vectors[f"p{n}"] @ vectors[f"p{(n + 30) % 60}"]) for n in range(0, 60, 2)]
    assert np.mean(together) > np.mean(apart) + 0.1


def test_the_same_log_and_seed_give_the_same_vectors() -> None:
    sessions = session_items(planted.views_of_pairs(60))
    first, second = item2vec.fit(sessions, seed=7), item2vec.fit(sessions, seed=7)
    assert list(first) == list(second)
    np.testing.assert_array_equal(first.rows, second.rows)


def test_sessions_keep_apart_and_impressions_are_no_interest() -> None:
    events = [
        event("view_product", 0, product_id="p1", session_id="s1"),
        event("view_product", 1, product_id="p9", session_id="s2"),
        event("impression", 2, product_id="p5", session_id="s1"),
        event("click", 3, product_id="p2", session_id="s1"),
        event("view_product", 4, product_id="p2", session_id="s1"),
    ]
    assert session_items(events) == [["p1", "p2"]]


def test_nothing_to_learn_gives_an_empty_index() -> None:
    assert len(item2vec.fit([], seed=7)) == 0


# -- the ranker


def test_the_planted_signal_is_found_where_the_prior_sees_none(trained: Trained) -> None:
    metrics = trained.manifest["metrics"]
    assert trained.manifest["kind"] == "lightgbm"
    assert metrics["prior"]["serving_auc"] < 0.75
    assert metrics["model"]["serving_auc"] > metrics["prior"]["serving_auc"] + 0.1
    assert metrics["model"]["ndcg"] > metrics["prior"]["ndcg"] + 0.05
    assert metrics["model"]["log_loss"] < metrics["prior"]["log_loss"]
    assert metrics["model"]["calibration"] == pytest.approx(1.0, abs=0.25)


def test_what_a_shop_would_be_surprised_to_see_reversed_names_columns_of_the_matrix() -> None:
    assert MONOTONE.keys() <= set(FEATURE_NAMES)
    assert set(MONOTONE.values()) == {-1, 1}


def test_the_same_log_and_seed_give_the_same_model(log: list[Event], trained: Trained) -> None:
    again = train(random.Random(4).sample(log, len(log)), CATALOG, now=NOW, seed=7, say=quiet)
    assert again.files == trained.files


def test_where_clicks_are_chance_the_prior_stays_with_honest_chances(log: list[Event]) -> None:
    slates = [replace(slate, clicked=frozenset()) for slate in logged_slates(log)]
    data = examples(log, slates, CATALOG)
    labels = (np.random.default_rng(5).random(len(data.labels)) < 0.1).astype(np.int8)
    fitted = PRIOR.fit(replace(data, labels=labels))
    assert fitted.score(data.matrix).mean() == pytest.approx(labels.mean(), rel=0.01)


def test_the_fitted_prior_ranks_as_the_prior_does(log: list[Event]) -> None:
    data = examples(log, logged_slates(log), CATALOG)
    order = np.argsort(PRIOR.score(data.matrix), kind="stable")
    assert (np.diff(PRIOR.fit(data).score(data.matrix)[order]) >= -1e-6).all()


# -- splits and too little data


def dataset(times_ms: Sequence[int], clicked: bool = True) -> Dataset:
    n = len(times_ms)
    return Dataset(
        IMPRESSIONS,
        np.zeros((n, len(FEATURE_NAMES)), np.float32),
        np.full(n, int(clicked), np.int8),
        np.arange(n),
        np.array(times_ms),
    )


def test_each_part_of_the_split_is_later_than_the_one_before() -> None:
    parts = split(dataset(range(1_000)))
    assert [len(part.times_ms) for part in parts] == [700, 150, 150]
    assert parts[0].times_ms.max() < parts[1].times_ms.min()
    assert parts[1].times_ms.max() < parts[2].times_ms.min()


def test_slates_of_one_moment_stay_on_one_side_of_the_split() -> None:
    learning, stopping, _ = split(dataset([number // 100 for number in range(1_000)]))
    assert set(learning.times_ms).isdisjoint(stopping.times_ms)


@pytest.mark.parametrize(
    "events", [[], shown("r1", 0, "p1"), planted.clicks_on_cheap_things(visits=8)]
)
def test_too_little_data_is_refused_with_what_is_missing(events: list[Event]) -> None:
    with pytest.raises(NotEnoughData, match=r"learning: expected at least 60 .* got"):
        train(events, CATALOG, now=NOW, seed=7, say=quiet)


# -- metrics


def test_auc_counts_pairs_and_halves_ties() -> None:
    labels, scores = np.array([1.0, 0, 1, 0]), np.array([0.9, 0.1, 0.5, 0.5])
    assert auc(labels, scores) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert np.isnan(auc(np.ones(3), np.ones(3)))


def test_log_loss_is_the_mean_surprise() -> None:
    assert log_loss(np.array([1.0, 0.0]), np.array([0.8, 0.4])) == pytest.approx(
        -(np.log(0.8) + np.log(0.6)) / 2
    )


def test_ndcg_is_one_for_clicks_on_top_and_chance_for_no_opinion() -> None:
    labels, slate_of = np.array([0.0, 1, 0]), np.array([4, 4, 4])
    assert mean_ndcg(labels, np.array([0.1, 0.9, 0.2]), slate_of) == pytest.approx(1.0)
    assert mean_ndcg(labels, np.array([0.9, 0.1, 0.2]), slate_of) == pytest.approx(1 / np.log2(4))
    chance = np.mean(1 / np.log2([2, 3, 4]))
    assert mean_ndcg(labels, np.zeros(3), slate_of) == pytest.approx(chance)


def test_ndcg_leaves_out_slates_without_clicks_or_choice() -> None:
    labels, scores = np.array([1.0, 0, 0, 1]), np.array([2.0, 1, 5, 1])
    assert mean_ndcg(labels, scores, np.array([0, 0, 1, 2])) == pytest.approx(1.0)
    assert np.isnan(mean_ndcg(np.zeros(2), np.zeros(2), np.array([0, 0])))


def test_calibration_error_is_zero_for_the_true_chance() -> None:
    labels = np.tile([1.0, 0, 0, 0], 100)
    assert calibration_error(labels, np.full(400, 0.25)) == pytest.approx(0.0, abs=0.02)
    assert calibration_error(labels, np.full(400, 0.75)) == pytest.approx(0.5, abs=0.02)


def test_ranking_is_judged_free_of_position() -> None:
    matrix = np.zeros((4, len(FEATURE_NAMES)), np.float32)
    matrix[:, COLUMN["position"]] = [0, 1, 2, 3]
    data = Dataset(
        IMPRESSIONS,
        matrix,
        np.array([1, 0, 0, 0], np.int8),
        np.zeros(4, np.int64),
        np.zeros(1, np.int64),
    )
    metrics = evaluate(PRIOR.score, data)
    assert metrics["auc"] == 1.0
    assert metrics["serving_auc"] == 0.5


# -- the folder


def test_what_was_trained_is_what_is_served(
    log: list[Event], trained: Trained, tmp_path: Path
) -> None:
    publish(str(tmp_path), trained.manifest["version"], trained.files)
    model = latest_model(tmp_path)
    assert model.version == trained.manifest["version"] == "20250305T000000000Z"
    assert len(model.vectors) > 50
    data = examples(log, logged_slates(log), CATALOG)
    cheap = np.expm1(data.matrix[:, COLUMN["log_price"]]) < planted.CHEAP
    predicted = model.score(data.matrix, FEATURE_NAMES)
    assert predicted[cheap].mean() > predicted[~cheap].mean() + 0.2


def test_the_manifest_says_what_was_learnt_from_what(trained: Trained) -> None:
    data = trained.manifest["data"]
    assert data["source"] == IMPRESSIONS
    assert data["slates"].keys() == {"learning", "stopping", "evaluation"}
    assert data["first_event"] == "2025-03-01T00:00:00.000Z"
    json.dumps(trained.manifest, allow_nan=False)


def small_files() -> dict[str, bytes]:
    manifest = {"version": "v1", "kind": "logistic", "feature_names": list(FEATURE_NAMES)}
    return model_files(manifest, Logistic(FEATURE_NAMES, {}, 0.0), VectorIndex.empty())


def test_a_version_is_never_written_over(tmp_path: Path) -> None:
    publish(str(tmp_path), "v1", small_files())
    with pytest.raises(FileExistsError, match="v1"):
        publish(str(tmp_path), "v1", small_files())


def test_a_publication_that_fails_leaves_nothing_and_the_latest_as_it_was(tmp_path: Path) -> None:
    publish(str(tmp_path), "v1", small_files())
    with pytest.raises(FileNotFoundError):
        publish(str(tmp_path), "v2", {**small_files(), "no such folder/file": b""})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LATEST", "v1"]
    assert latest_model(tmp_path).version == "v1"


# -- the command


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ValueError, match="GOOGLE_CLOUD_PROJECT: required"):
        Config.from_env({})
    with pytest.raises(
        ValueError, match="FRESHET_TRAINING_DAYS: expected a whole number from 1 to 36500"
    ):
        Config.from_env({"GOOGLE_CLOUD_PROJECT": "p", "FRESHET_TRAINING_DAYS": "all"})


def fill(env: dict[str, str], events: Sequence[Event]) -> None:
    """The warehouse and the catalog as the pipeline and the loader leave them, doubles included."""
    from pipeline.steps.decode import event_row  # it imports Beam

    rows = [
        event_row(each, CATALOG.get(each.product_id or "")).row for each in [*events, *events[:20]]
    ]
    client: bigquery.Client = bigquery_client(env)
    table = f"{env['GOOGLE_CLOUD_PROJECT']}.{env['FRESHET_DATASET']}.events"
    for start in range(0, len(rows), 2_000):
        batch = rows[start : start + 2_000]
        assert client.insert_rows_json(table, batch, row_ids=[None] * len(batch)) == []
    store = Store(env["GOOGLE_CLOUD_PROJECT"], env["FRESHET_BIGTABLE_INSTANCE"])
    store.write([item_write(item, 1) for item in CATALOG.values()])
    store.close()


def test_what_a_visitor_sent_while_marked_is_not_learnt_from(warehouse: dict[str, str]) -> None:
    """A mark holds from its finding until, but not with, its end; and only for its visitor."""
    robot = [
        event("click", 1_000 * n, product_id="p1", anonymous_id="robot", event_id=f"robot-{n}")
        for n in range(6)
    ]
    person = [event("click", 2_000, product_id="p1", anonymous_id="person", event_id="person")]
    fill(warehouse, [*robot, *person])
    mark = {
        "id": "m1",
        "visitor": "a#robot",
        "rule": "clicks",
        "found_at": format_time(robot[2].timestamp),
        "marked_until": format_time(robot[4].timestamp),
    }
    table = f"{warehouse['GOOGLE_CLOUD_PROJECT']}.{warehouse['FRESHET_DATASET']}.anomalies"
    assert (
        bigquery_client(warehouse).insert_rows_json(table, [mark, mark], row_ids=[None, None]) == []
    )

    learnt = read_events(bigquery_client(warehouse), warehouse["FRESHET_DATASET"], days=30)

    assert [each.event_id for each in learnt] == [
        "robot-0",
        "robot-1",
        "person",
        "robot-4",
        "robot-5",
    ]


def test_the_command_changes_nothing_with_too_little_data_and_publishes_with_enough(
    warehouse: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], log: list[Event]
) -> None:
    env = {**warehouse, "FRESHET_MODEL_DIR": str(tmp_path)}
    publish(str(tmp_path), "v1", small_files())

    assert command.main({**env, "FRESHET_DATASET": "no_such"}) == 1
    assert "Not found: Dataset" in capsys.readouterr().err
    assert command.main(env) == command.TOO_LITTLE_DATA  # nothing at all
    fill(env, log[:300])
    assert command.main(env) == command.TOO_LITTLE_DATA
    assert (
        "too little data: learning: expected at least 60 slates with a click"
        in capsys.readouterr().err
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LATEST", "v1"]
    assert latest_model(tmp_path).version == "v1"

    fill(env, log[300:])
    assert command.main(env) == 0
    printed = capsys.readouterr().out
    assert "serving_auc" in printed and f"published {tmp_path}/" in printed
    for step in (
        f"reading events: 0 of {len(log):,}",
        "beginnings: 0 of 4",
        "replaying slates: 0 of ",
    ):
        assert step in printed
    model = latest_model(tmp_path)
    assert model.kind == "lightgbm"
    assert model.manifest["data"]["events"] == len(log)
    assert model.manifest["data"]["items"] == len(CATALOG)
