"""An answer: who asks, what is shown, with which odds, and what when a part is missing."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest

from functions.accept import sort_events
from functions.protocols.native.protocol import read_batch
from pipeline.core.catalog import Item
from pipeline.core.events import MAX_EVENT_BYTES
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.moment import Moment
from pipeline.core.features.ranking_inputs import RankingContext
from pipeline.core.fold import Folded
from pipeline.core.item_columns import ItemColumns, Seed
from pipeline.core.items import MAX_TRENDING, VIEW, Trending
from pipeline.core.privacy.policy import Privacy
from pipeline.core.profile import UserProfile
from pipeline.core.rate_priors import fitted_priors
from pipeline.steps.items import add_rank, sums
from pipeline.store.layout import GLOBAL_SCOPE, STUB_SCOPE
from tests.vertex.api.fakes import (
    NOW_MS,
    FakeRanker,
    FakeReader,
    Service,
    event,
    item,
    local_ranker,
    row,
    shop,
    trending_of,
    visitor,
    wire,
)
from vertex.api.config import Weights
from vertex.api.contract import Request
from vertex.api.policy import EXPLORE_SLOT
from vertex.api.timing import StageTimer

Answer = dict[str, Any]


async def ask(service: Service, **question: Any) -> Answer:
    if not len(service.items):
        await service.items.load()
    return await service.recommender.answer(Request(**question), StageTimer())


def known(*events: Any) -> dict[str, UserProfile]:
    return {"u#u1": visitor(*events, items=[item(index) for index in range(60)])}


async def test_a_slate_holds_k_items_in_order_of_score_each_with_its_parts() -> None:
    answer = await ask(
        Service(shop(profiles=known(event("view_product", "p3")))), user_id="u1", k=7
    )

    feed = answer["ranked_feed"]
    assert answer["recommendations"] == [shown.id for shown in feed]
    assert [shown.position for shown in feed] == list(range(7))
    assert [shown.score for shown in feed] == sorted((shown.score for shown in feed), reverse=True)
    for shown in feed:
        assert sum(shown.parts.values()) == pytest.approx(shown.score, abs=1e-6)
        assert shown.propensity == 1.0
    assert answer["served_by"] == "vertex"


async def test_weights_decide_what_comes_first() -> None:
    profiles = known(event("view_product", "p3"))
    by_recency = await ask(
        Service(shop(profiles=profiles), weights=Weights(0, 1, 0, 0)), user_id="u1", k=2
    )
    by_category = await ask(
        Service(shop(profiles=profiles), weights=Weights(0, 0, 1, 0)), user_id="u1", k=2
    )

    assert by_recency["recommendations"] == ["p3", "p4"]
    assert all(int(item_id[1:]) % 4 == 3 for item_id in by_category["recommendations"])


async def test_the_ranked_matrix_is_the_feature_matrix_of_the_same_state() -> None:
    """What training computes from a profile, items and a moment is what serving ranks, to the last
    bit.
    """
    stored = visitor(event("view_product", "p3", 30), items=[item(3)])
    service = Service(shop(profiles={"u#u1": stored}))
    pending = [wire("view_product", "p7", 1)]

    await ask(service, user_id="u1", session_id="s1", events=pending, k=10)

    profile = stored.copy()
    profile.add(event("view_product", "p7", 1), item(7))
    assert isinstance(service.ranker, FakeRanker)
    matrix = service.ranker.matrices[0]
    seeds = {name: Seed(service.reader.rows[name].stats) for name in ("p3", "p7")}
    items = ItemColumns.of(service.reader.rows.values())
    context = RankingContext(priors=fitted_priors(items))
    everything = feature_matrix(Moment(profile, items, NOW_MS, seeds), items.all_rows(), context)
    expected = {features.tobytes() for features in everything}
    assert len(matrix) == 60
    assert {features.tobytes() for features in matrix} == expected


async def test_what_is_in_the_cart_is_not_recommended() -> None:
    service = Service(shop(), weights=Weights(0, 1, 0, 0))
    seen = await ask(service, anonymous_id="a1", events=[wire("view_product", "p40", 1)], k=3)
    carted = await ask(service, anonymous_id="a1", events=[wire("add_to_cart", "p40", 1)], k=3)
    assert "p40" in seen["recommendations"] and "p40" not in carted["recommendations"]


async def test_an_answer_shows_nothing_of_a_profile_but_the_slate_unless_profiles_are_open() -> (
    None
):
    said = [
        event("view_product", "p3", 60),
        event("add_to_cart", "p5", 30),
        event("search", metadata={"query": "gift"}),
    ]
    service = Service(shop(profiles=known(*said)), profile_view=False)

    answer = await ask(service, user_id="u1", events=[wire("view_product", "p7", 1)], k=3)

    assert set(answer) == {
        "request_id",
        "recommendations",
        "ranked_feed",
        "personalized_banner",
        "placement",
        "title",
        "cursor",
        "served_by",
        "variant",
        "model_version",
        "events_ignored",
        "events_withheld",
        "took_ms",
    }
    entries = [msgspec.to_builtins(entry) for entry in answer["ranked_feed"]]
    assert [set(entry) for entry in entries] == [{"id", "position", "propensity"}] * 3


async def test_a_banner_for_a_user_id_that_anybody_may_guess_follows_from_the_slate_alone() -> None:
    profiles = {key: visitor(event("add_to_cart", "p5")) for key in ("u#u1", "a#a1")}
    service = Service(shop(profiles=profiles), profile_view=False)

    account, browser = [
        await ask(service, k=3, **who) for who in ({"user_id": "u1"}, {"anonymous_id": "a1"})
    ]
    keyed = Service(
        shop(profiles=profiles),
        profile_view=False,
        privacy=Privacy(user_key=b"sixteen bytes or more"),
    )
    proven = await ask(keyed, user_id="u1", k=3)

    best = service.reader.rows[account["recommendations"][0]].item
    assert account["personalized_banner"].id == f"category:{best.category}"
    assert browser["personalized_banner"].id == proven["personalized_banner"].id == "cart:p5"


class TestVisitor:
    async def test_pending_events_change_the_answer_before_they_are_stored(self) -> None:
        service = Service(shop(), weights=Weights(0, 1, 0, 0))

        answer = await ask(service, anonymous_id="a1", events=[wire("view_product", "p40", 1)], k=2)

        assert answer["recommendations"] == ["p40", "p41"]
        assert answer["profile"] == {
            "found": False,
            "events_total": 0,
            "newest_event_time": None,
            "last_event_id": None,
            "pending": 1,
        }

    async def test_a_click_of_a_clock_that_is_ahead_changes_the_answer_like_any_other(self) -> None:
        service = Service(shop(), weights=Weights(0, 1, 0, 0))

        answer = await ask(
            service, anonymous_id="a1", events=[wire("view_product", "p40", -30)], k=2
        )

        assert answer["recommendations"] == ["p40", "p41"]

    async def test_a_pending_event_without_an_id_has_the_one_that_the_collector_gives_it(
        self,
    ) -> None:
        unnamed = {**wire("view_product", "p40", 1), "event_id": None, "user_id": "u1"}
        batch = read_batch(json.dumps(unnamed).encode())
        (stored,) = sort_events(batch, datetime.fromtimestamp(NOW_MS / 1000, UTC)).events

        new = await ask(Service(shop()), user_id="u1", session_id="s1", events=[unnamed])
        old = await ask(
            Service(shop(profiles=known(stored))), user_id="u1", session_id="s1", events=[unnamed]
        )

        assert (new["profile"]["pending"], new["events_ignored"]) == (1, 0)
        assert old["profile"]["pending"] == 0

    async def test_pending_events_of_a_clock_that_is_hours_off_are_repaired_as_the_collector_does(
        self,
    ) -> None:
        service = Service(shop(), weights=Weights(0, 1, 0, 0))
        sent_at = event("x", ago_s=-5 * 3600).timestamp
        pending = [wire("view_product", "p40", -5 * 3600 + 2)]

        repaired = await ask(service, anonymous_id="a1", events=pending, sent_at=sent_at, k=2)
        believed = await ask(service, anonymous_id="a1", events=pending, k=2)

        assert (repaired["recommendations"], repaired["events_ignored"]) == (["p40", "p41"], 0)
        assert believed["events_ignored"] == 1

    async def test_a_pending_event_that_is_stored_already_changes_nothing(self) -> None:
        service = Service(shop(profiles=known(event("view_product", "p40", 1))))
        without = await ask(service, user_id="u1")

        again = await ask(service, user_id="u1", events=[wire("view_product", "p40", 1)])

        assert again["profile"]["pending"] == 0
        assert again["ranked_feed"] == without["ranked_feed"]

    async def test_broken_pending_events_are_counted_and_ignored(self) -> None:
        too_heavy = {**wire("view_product", "p1", 1), "metadata": {"text": "x" * MAX_EVENT_BYTES}}
        broken = [
            {"event": "view_product"},
            "no event",
            wire("view_product", "p1", 100 * 3600),
            too_heavy,
        ]

        answer = await ask(Service(shop()), user_id="u1", events=broken)

        assert answer["events_ignored"] == 4
        assert len(answer["recommendations"]) == 20

    async def test_both_ids_together_know_what_either_knows(self) -> None:
        profiles = {
            "u#u1": visitor(event("view_product", "p3", 20)),
            "a#a1": visitor(event("view_product", "p9", 10), event("click", "p9", 5)),
        }

        answer = await ask(Service(shop(profiles=profiles)), user_id="u1", anonymous_id="a1")

        assert answer["profile"]["events_total"] == 3
        assert {"p3", "p9"} <= set(answer["recommendations"])

    async def test_a_browser_that_was_merged_is_its_account(self) -> None:
        account = visitor(event("view_product", "p3", 20), event("view_product", "p9", 10))
        service = Service(shop(profiles={"u#u1": account, "a#a1": UserProfile(account="u#u1")}))

        answer = await ask(service, anonymous_id="a1")

        assert answer["ranked_feed"] == (await ask(service, user_id="u1"))["ranked_feed"]
        assert answer["profile"]["events_total"] == 2

    async def test_on_a_browser_that_was_merged_another_account_is_itself_alone(self) -> None:
        merged = {
            "u#u1": visitor(event("view_product", "p3", 20)),
            "a#a1": UserProfile(account="u#u1"),
        }
        other = visitor(event("view_product", "p40", 10))
        service = Service(shop(profiles={**merged, "u#u2": other}), weights=Weights(0, 1, 0, 0))

        answer = await ask(service, user_id="u2", anonymous_id="a1", k=2)
        nobody = await ask(service, user_id="u3", anonymous_id="a1")

        assert answer["recommendations"] == ["p40", "p41"]
        assert answer["profile"]["events_total"] == 1
        assert (nobody["profile"]["found"], nobody["profile"]["events_total"]) == (False, 0)

    async def test_the_stored_profile_is_not_changed_by_an_answer(self) -> None:
        service = Service(shop(profiles=known(event("view_product", "p3", 20))))
        before = service.reader.profiles["u#u1"].encode()

        await ask(service, user_id="u1", events=[wire("view_product", "p8", 1)])

        assert service.reader.profiles["u#u1"].encode() == before

    async def test_another_moment_reads_the_profile_as_it_stood_then(self) -> None:
        profiles = known(event("view_product", "p3", 600), event("view_product", "p40", 0))
        service = Service(shop(profiles=profiles), weights=Weights(0, 1, 0, 0))
        then = event("x", ago_s=300).timestamp

        answer = await ask(service, user_id="u1", as_of=then, k=1)

        assert answer["recommendations"] == ["p3"]


class TestShown:
    async def test_neither_the_current_nor_excluded_nor_sold_out_nor_bought_items(self) -> None:
        reader = shop(profiles=known(event("view_product", "p3", 9), event("purchase", "p4", 5)))
        reader.rows["p5"] = row(item(5, in_stock=False))

        answer = await ask(
            Service(reader),
            user_id="u1",
            placement="product",
            product_id="p6",
            exclude=["p7"],
            k=100,
        )

        assert not {"p3", "p4", "p5", "p6", "p7"} & set(answer["recommendations"])
        assert len(answer["recommendations"]) == 55

    async def test_shoppers_come_back_to_an_item_on_the_home_page_but_not_on_a_products(
        self,
    ) -> None:
        service = Service(shop(profiles=known(event("view_product", "p3", 9))))

        home = await ask(service, user_id="u1")
        product = await ask(service, user_id="u1", placement="product", product_id="p20")

        assert home["recommendations"][0] == "p3"
        assert "p3" not in product["recommendations"]

    async def test_a_products_page_shows_an_unknown_visitor_what_goes_with_it(self) -> None:
        service = Service(shop(), weights=Weights(0, 1, 0, 0))

        answer = await ask(service, placement="product", product_id="p20", k=5)

        assert answer["recommendations"][:2] == ["p21", "p22"]

    async def test_a_products_page_shows_what_goes_with_it_also_to_those_who_saw_it_long_ago(
        self,
    ) -> None:
        seen = known(event("view_product", "p20", 3600), event("view_product", "p3", 1))
        service = Service(shop(profiles=seen), weights=Weights(0, 1, 0, 0))

        answer = await ask(service, user_id="u1", placement="product", product_id="p20", k=5)

        assert answer["recommendations"][0] == "p21"

    async def test_stubs_are_not_shown_beside_a_catalog_unless_that_is_wanted(self) -> None:
        reader = shop()
        reader.rows["p0"] = row(item(0, stub=True), views=500)

        assert "p0" not in (await ask(Service(reader), k=100))["recommendations"]
        service = Service(reader, recommend_stubs=True)
        await ask(service)
        await service.items.refresh()
        assert "p0" in (await ask(service, k=100))["recommendations"]

    async def test_stubs_are_not_shown_while_the_catalog_has_not_been_read(self) -> None:
        reader = FakeReader(
            [row(item(0, stub=True), views=500)], known(event("view_product", "p0"))
        )
        reader.scopes[GLOBAL_SCOPE] = trending_of("p0")
        service = Service(reader)

        for _ in range(2):
            answer = await service.recommender.answer(Request(user_id="u1"), StageTimer())
            await service.items.refresh()

        assert "p0" in service.items.columns
        assert answer["recommendations"] == []

    async def test_without_a_catalog_what_is_trending_in_a_category_is_shown_by_what_events_said(
        self,
    ) -> None:
        rows = [row(item(index, stub=True), views=1 + index) for index in range(200)]
        reader = FakeReader(rows, known(event("view_product", "p3", metadata={"category": "c3"})))
        reader.scopes[STUB_SCOPE] = trending_of("p8", "p11", "p7", "p4")

        answer = await ask(Service(reader, weights=Weights(0, 0, 0, 0)), user_id="u1", k=6)

        assert [shown.id for shown in answer["ranked_feed"] if shown.source == "category"][:2] == [
            "p11",
            "p7",
        ]

    async def test_made_up_products_however_wanted_displace_nothing_of_the_catalog_that_is_trending(
        self,
    ) -> None:
        rows = [row(item(index), views=20) for index in range(20)]
        rows += [row(item(index, stub=True), views=60) for index in range(100, 400)]
        facts = [
            (event("view_product", each.item.item_id, n), None if each.item.stub else each.item)
            for each in rows
            for n in range(each.stats.counts.totals[VIEW])
        ]
        items, scopes = sums([Folded(facts, [])], 1)
        for item_id, stats in items.items():
            add_rank(scopes, item_id, stats, 1)
        reader = FakeReader(rows)
        stored = {
            key.removesuffix("#00"): Trending.decode(scope.encode())
            for key, scope in scopes.items()
        }
        reader.scopes = stored

        popular = await ask(Service(reader), variant="popular", k=20)
        shown = await ask(Service(reader, weights=Weights(0, 0, 0, 0)), k=20)

        assert stored[GLOBAL_SCOPE].scores.keys() == {f"p{index}" for index in range(20)}
        assert len(stored[STUB_SCOPE].scores) == MAX_TRENDING
        assert (
            all(entry.score > 0.9 for entry in popular["ranked_feed"])
            and len(popular["ranked_feed"]) == 20
        )
        assert {entry.source for entry in shown["ranked_feed"]} == {"trending"}

    async def test_only_scopes_of_the_catalogs_categories_are_read(self) -> None:
        reader = shop()
        pending = [
            wire("view_product", "p3", 2),
            wire("view_product", "x", 1, metadata={"category": "evil"}),
        ]

        await ask(Service(reader), user_id="u1", events=pending)

        assert {name for name in reader.read if name.startswith("category#")} == {"category#c3"}

    async def test_an_item_that_memory_lacks_is_shown_once_it_was_read(self) -> None:
        service = Service(shop())
        await service.items.load()
        service.reader.rows["p99"] = row(item(99), views=5)
        service.reader.rows["p3"] = row(item(3), neighbours=["p99"])
        pending = [wire("view_product", "p3", 1)]

        await service.items.ensure(["p3"], 0.0, 0.0)
        before = await ask(service, user_id="u1", events=pending, k=100)
        await service.items.refresh()
        after = await ask(service, user_id="u1", events=pending, k=100)

        assert "p99" not in before["recommendations"]
        assert "p99" in after["recommendations"]

    async def test_a_new_item_is_found_by_the_company_it_keeps_before_any_training(self) -> None:
        reader = shop(profiles=known(event("view_product", "p10", 1)))
        # what they saw beside it, and what p10 is seen with
        first_visitors = ["p11", "p12", "p13", "p14"]
        reader.rows["new"] = row(
            Item("new", category="elsewhere"), views=1, neighbours=first_visitors
        )

        answer = await ask(Service(reader), user_id="u1", k=100)

        assert {shown.id: shown.source for shown in answer["ranked_feed"]}["new"] == "context"


class TestExploration:
    async def slates(self, rate: float, n: int) -> list[Answer]:
        reader = shop(items=260)
        for index in range(250, 260):
            reader.rows[f"p{index}"] = row(item(index, "elsewhere"), impressions=3)
        service = Service(reader, explore_rate=rate)
        return [await ask(service) for _ in range(n)]

    async def test_at_rate_zero_everything_is_certain(self) -> None:
        for answer in await self.slates(0.0, 5):
            assert {shown.propensity for shown in answer["ranked_feed"]} == {1.0}

    async def test_propensities_are_the_frequencies_with_which_items_are_shown(self) -> None:
        answers = await self.slates(0.5, 600)

        slots = [answer["ranked_feed"][EXPLORE_SLOT] for answer in answers]
        explored = Counter(shown.id for shown in slots if shown.source == "explore")
        usual = [shown for shown in slots if shown.source != "explore"]
        assert len(usual) / 600 == pytest.approx(0.5, abs=0.07)
        assert {shown.propensity for shown in usual} == {0.5}
        assert set(explored) == {f"p{index}" for index in range(250, 260)}
        assert {shown.propensity for shown in slots if shown.source == "explore"} == {0.05}
        assert max(explored.values()) < 3 * min(explored.values())

    async def test_chance_touches_one_slot_only(self) -> None:
        for answer in await self.slates(1.0, 5):
            explored = [shown for shown in answer["ranked_feed"] if shown.source == "explore"]
            assert [shown.position for shown in explored] == [EXPLORE_SLOT]
            assert len(set(answer["recommendations"])) == 20

    async def test_a_short_slate_is_not_experimented_with(self) -> None:
        service = Service(shop(), explore_rate=1.0)

        answer = await ask(service, k=EXPLORE_SLOT)

        assert {shown.propensity for shown in answer["ranked_feed"]} == {1.0}


class TestPopular:
    async def test_the_control_arm_is_the_same_for_everybody_and_logged_alike(self) -> None:
        service = Service(shop(profiles=known(event("view_product", "p40"))))

        mine = await ask(service, user_id="u1", variant="popular", k=30)
        theirs = await ask(service, variant="popular", k=30)

        assert mine["recommendations"] == theirs["recommendations"]
        assert mine["recommendations"][:20] == [f"p{index}" for index in range(20)]
        assert set(mine) == set(await ask(service, user_id="u1"))
        assert mine["served_by"] == "trending"
        assert mine["profile"]["found"] is True

    async def test_scores_are_popularity_alone(self) -> None:
        answer = await ask(Service(shop()), variant="popular", k=3)

        for shown in answer["ranked_feed"]:
            assert shown.parts["popularity"] == shown.score
            assert sum(shown.parts.values()) == shown.score


class TestMissingParts:
    async def test_without_bigtable_what_was_trending_is_shown_from_memory(self) -> None:
        service = Service(shop(profiles=known(event("view_product", "p40"))))
        before = await ask(service, user_id="u1")
        service.reader.is_up = False

        during = await ask(service, user_id="u1")

        assert before["served_by"] == "vertex"
        assert during["served_by"] == "trending"
        assert during["recommendations"] == [f"p{index}" for index in range(20)]
        service.reader.is_up = True
        assert (await ask(service, user_id="u1"))["served_by"] == "vertex"

    async def test_with_nothing_in_memory_either_the_answer_is_empty_but_is_one(self) -> None:
        service = Service(FakeReader())
        service.reader.is_up = False

        answer = await service.recommender.answer(Request(user_id="u1"), StageTimer())

        assert answer["recommendations"] == []
        assert answer["served_by"] == "trending"

    async def test_without_the_predictor_the_process_ranks_with_its_own_model(self) -> None:
        service = Service(shop(profiles=known(event("view_product", "p40"))), ranker=local_ranker())

        answer = await ask(service, user_id="u1")

        assert answer["served_by"] == "local"
        assert answer["recommendations"][0] == "p40"

    async def test_an_unknown_visitor_gets_an_answer_too(self) -> None:
        answer = await ask(Service(shop()), anonymous_id="never seen")

        assert answer["profile"]["found"] is False
        assert len(answer["recommendations"]) == 20
        assert np.isfinite([shown.score for shown in answer["ranked_feed"]]).all()
