"""Slates of every kind of placement: what stands in them, and what never does."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.core.expressions.compiler import compile_expression
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import BOUGHT
from pipeline.core.profile import UserProfile
from pipeline.store.layout import GLOBAL_SCOPE
from tests.vertex.api.fakes import (
    NOW_MS,
    FakeRanker,
    FakeReader,
    Service,
    event,
    item,
    row,
    shop,
    trending_of,
    visitor,
)
from vertex.api.config import Config
from vertex.api.contract import PageRequest, Request, RowRequest
from vertex.api.placements import (
    DEFAULT,
    KINDS,
    POPULAR,
    Placement,
    Placements,
    built_in,
    placement_of,
)
from vertex.api.policy import EXPLORE_SLOT
from vertex.api.ranking import Prediction
from vertex.api.rules import AtMost, Pin
from vertex.api.situations import profile_of_views
from vertex.api.timing import StageTimer

Answer = dict[str, Any]
CONFIG = Config(project="demo-project", instance="freshet", explore_rate=0.0)


async def ask(service: Service, **question: Any) -> Answer:
    if not len(service.items):
        await service.items.load()
    return await service.recommender.answer(Request(**question), StageTimer())


async def ask_page(service: Service, *rows: RowRequest | str, **question: Any) -> Answer:
    if not len(service.items):
        await service.items.load()
    asked = [RowRequest(placement=each) if isinstance(each, str) else each for each in rows]
    return await service.recommender.answer_page(PageRequest(rows=asked, **question), StageTimer())


def known(*events: Any) -> dict[str, UserProfile]:
    return {"u#u1": visitor(*events, items=[item(index) for index in range(60)])}


def with_orders(reader: FakeReader, **bought: str) -> FakeReader:
    """Each item was bought in one session with these others, the first the most often."""
    for item_id, others in bought.items():
        for rank, other in enumerate(others.split()):
            reader.rows[item_id].stats.link(other, BOUGHT, 9.0 - rank, NOW_MS - 60_000)
    return reader


def placements(**blocks: Placement) -> Placements:
    home = placement_of(DEFAULT, "for_you", CONFIG)
    return Placements({DEFAULT: home, **blocks})


def block(name: str, kind: str, **settings: Any) -> Placement:
    return msgspec.structs.replace(placement_of(name, kind, CONFIG), **settings)


async def test_an_unknown_placement_is_answered_as_the_home_page_and_says_so() -> None:
    answer = await ask(Service(shop()), anonymous_id="a1", placement="checkout-sidebar")
    assert answer["placement"] == "home"
    assert len(answer["recommendations"]) == 20


async def test_a_page_of_today_is_answered_by_its_own_name() -> None:
    service = Service(shop())
    for name in ("home", "product", "cart", "category", "search"):
        answer = await ask(service, anonymous_id="a1", placement=name)
        assert answer["placement"] == name


async def test_similar_items_are_those_that_go_with_the_page_and_never_the_page_itself() -> None:
    profiles = known(*(event("view_product", f"p{index}", index + 1) for index in range(40, 48)))
    service = Service(shop(profiles=profiles))

    answer = await ask(service, user_id="u1", placement="similar", product_id="p10", k=5)

    assert "p10" not in answer["recommendations"]
    assert set(answer["recommendations"]) & {f"p{index}" for index in range(11, 16)}
    assert {shown.source for shown in answer["ranked_feed"]} <= {"covisit", "context", "category"}


async def test_several_items_are_the_seeds_of_one_slate() -> None:
    service = Service(with_orders(shop(), p10="p30", p20="p40"))

    answer = await ask(
        service, anonymous_id="a1", placement="bought_together", product_ids=["p10", "p20"]
    )

    assert answer["recommendations"] == ["p30", "p40"]
    assert answer["served_by"] == "sources"


async def test_what_goes_with_the_cart_was_bought_with_what_lies_in_it() -> None:
    profiles = known(event("add_to_cart", "p10", 60), event("view_product", "p20", 10))
    service = Service(with_orders(shop(profiles=profiles), p10="p30 p31", p20="p40"))

    answer = await ask(service, user_id="u1", placement="cart_complements", k=2)

    assert answer["recommendations"] == ["p30", "p31"]


async def test_recently_viewed_items_come_newest_first_and_nothing_fills_the_row() -> None:
    profiles = known(*(event("view_product", f"p{index}", 10 + index) for index in (3, 1, 2)))
    service = Service(shop(profiles=profiles))

    answer = await ask(service, user_id="u1", placement="recently_viewed")
    stranger = await ask(service, anonymous_id="a9", placement="recently_viewed")

    assert answer["recommendations"] == ["p1", "p2", "p3"]
    assert stranger["recommendations"] == []
    assert stranger["cursor"] is None


async def test_buy_again_holds_what_was_bought_newest_first() -> None:
    profiles = known(
        event("purchase", "p4", 600), event("purchase", "p6", 60), event("view_product", "p9", 1)
    )
    answer = await ask(Service(shop(profiles=profiles)), user_id="u1", placement="buy_again")
    assert answer["recommendations"] == ["p6", "p4"]


async def test_what_was_bought_can_be_hidden_long_after_it_left_the_cart() -> None:
    bought = [event("purchase", "p4", 600)]
    others = [event("view_product", f"p{index}", 60 + index) for index in range(5, 40)]
    profile = visitor(*bought, *others)
    profile.cart = {}
    shown = block("home", "for_you", hide=frozenset({"cart"}), k=60)
    hidden = block("home", "for_you", hide=frozenset({"cart", "bought"}), k=60)

    with_it, without = [
        await ask(
            Service(shop(profiles={"u#u1": profile}), placements=placements(home=home)),
            user_id="u1",
        )
        for home in (shown, hidden)
    ]

    assert "p4" in with_it["recommendations"]
    assert "p4" not in without["recommendations"]


async def test_what_is_popular_in_place_of_a_row_hides_what_the_row_hides() -> None:
    in_cart = known(event("add_to_cart", "p1"))
    service = Service(shop(profiles=in_cart))

    answer = await ask(service, user_id="u1", placement="similar", k=10)

    assert answer["served_by"] == "trending"
    assert "p0" in answer["recommendations"]
    assert "p1" not in answer["recommendations"]


async def test_trending_is_the_same_for_everybody() -> None:
    service = Service(shop(profiles=known(event("view_product", "p3"))))
    of_visitor = await ask(service, user_id="u1", placement="trending", k=10)
    of_stranger = await ask(service, anonymous_id="a9", placement="trending", k=10)
    assert of_visitor["recommendations"] == of_stranger["recommendations"]
    assert of_visitor["recommendations"] == [f"p{index}" for index in range(10)]


async def test_a_row_because_of_an_item_carries_its_title() -> None:
    service = Service(shop(profiles=known(event("view_product", "p7", 5))))

    answer = await ask(service, user_id="u1", placement="because_you_viewed", k=3)

    assert (answer["title"], answer["about"]) == ("Because you viewed Product 7", "p7")
    assert set(answer["recommendations"]) & {f"p{index}" for index in range(8, 13)}


async def test_the_title_names_no_viewed_item_for_a_user_id_that_anybody_may_guess() -> None:
    profiles = known(event("view_product", "p7", 5))
    service = Service(shop(profiles=profiles), profile_view=False)
    answer = await ask(service, user_id="u1", placement="because_you_viewed")
    assert answer["recommendations"]
    assert not {"title", "about"} & set(answer)


async def test_categories_stand_in_place_of_items_the_visitors_first() -> None:
    profiles = known(*(event("view_product", f"p{index}", index) for index in (2, 6, 10)))
    service = Service(shop(profiles=profiles))

    answer = await ask(service, user_id="u1", placement="categories")

    assert answer["recommendations"][0] == "c2"
    assert answer["ranked_feed"] == []  # an impression of a name would make it an item
    assert sorted(answer["recommendations"]) == ["c0", "c1", "c2", "c3"]
    assert "cursor" not in answer


async def test_brands_stand_in_place_of_items() -> None:
    answer = await ask(Service(shop()), anonymous_id="a1", placement="brands")
    assert answer["recommendations"] == ["brand"]


async def test_a_banner_is_a_placement_without_items() -> None:
    service = Service(shop(profiles=known(event("add_to_cart", "p5"))))
    answer = await ask(service, user_id="u1", placement="banner")
    assert answer["recommendations"] == []
    assert answer["personalized_banner"].product_id == "p5"


async def test_a_banner_speaks_of_what_its_placement_allows() -> None:
    profiles = known(event("add_to_cart", "p5", 60))
    home = block("home", "for_you", banner=("category",))
    without = block("plain", "for_you", banner=())
    service = Service(shop(profiles=profiles), placements=placements(home=home, plain=without))

    answer = await ask(service, user_id="u1")

    assert answer["personalized_banner"].id.startswith("category:")
    assert "personalized_banner" not in await ask(service, user_id="u1", placement="plain")


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_no_kind_shows_what_is_sold_out_excluded_or_on_the_page(kind: str) -> None:
    reader = with_orders(shop(), p0="p1 p2 p3 p4", p5="p1 p2 p3 p4")
    for gone in ("p1", "p3", "p7"):
        of = reader.rows[gone]
        reader.rows[gone] = row(msgspec.structs.replace(of.item, in_stock=False), views=50)
    events = [event(name, f"p{index}") for name in ("view_product", "purchase") for index in (1, 8)]
    profile = visitor(*events, event("add_to_cart", "p5"))
    reader.profiles = {"u#u1": profile}

    answer = await ask(
        Service(reader), user_id="u1", placement=kind, product_id="p0", exclude=["p2"], k=60
    )

    assert not {"p0", "p1", "p2", "p3", "p7"} & set(answer["recommendations"])


class _Ranker(FakeRanker):
    """Takes an item out of memory while it ranks, and gives its row to another."""

    columns: ItemColumns

    async def predict(
        self, matrix: np.ndarray[Any, Any], deadline_s: float | None = None
    ) -> Prediction:
        self.columns.remove("p4")
        self.columns.put(row(item(99, in_stock=False)))
        return await super().predict(matrix, deadline_s)


async def test_an_item_that_goes_while_the_ranker_is_asked_is_not_shown_nor_its_successor() -> None:
    ranker = _Ranker()
    service = Service(shop(profiles=known(event("view_product", "p3"))), ranker=ranker)
    await service.items.load()
    ranker.columns = service.items.columns

    answer = await ask(service, user_id="u1", k=60)

    assert not {"p4", "p99"} & set(answer["recommendations"])
    assert "p5" in answer["recommendations"]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("variant", ["personalized", "popular"])
async def test_every_kind_has_an_answer_for_a_stranger(kind: str, variant: Any) -> None:
    answer = await ask(Service(shop()), anonymous_id="a9", placement=kind, variant=variant)
    has_nothing = KINDS[kind].fallback != POPULAR or not KINDS[kind].items
    assert answer["recommendations"] or has_nothing


async def test_a_placement_that_finds_nothing_gives_way_to_its_fallback() -> None:
    again = block("again", "buy_again", fallback="trending")
    trending = block("trending", "trending")
    service = Service(shop(), placements=placements(again=again, trending=trending))

    answer = await ask(service, anonymous_id="a9", placement="again", k=3)

    assert answer["placement"] == "again"
    assert answer["recommendations"] == ["p0", "p1", "p2"]


async def test_without_bigtable_a_row_about_the_visitor_is_empty_and_others_are_popular() -> None:
    service = Service(shop())
    await service.items.load()
    await ask(service, anonymous_id="a9")
    service.reader.is_up = False

    viewed = await ask(service, user_id="u1", placement="recently_viewed")
    home = await ask(service, user_id="u1", placement="home")

    assert (viewed["recommendations"], viewed["served_by"]) == ([], "sources")
    assert len(home["recommendations"]) == 20
    assert home["served_by"] == "trending"


# rules


async def test_a_pinned_item_is_shown_though_no_source_found_it() -> None:
    rows = [row(item(index), views=5, impressions=50) for index in range(30)]
    rows.append(row(item(99, category="c9"), impressions=50))
    reader = FakeReader(rows)
    reader.scopes[GLOBAL_SCOPE] = trending_of(*(f"p{index}" for index in range(20)))
    pin = Pin(name="pin", item_id="p99", slot=2)
    trending = block("trending", "trending", rules=(pin,), sources={"trending": 1}, k=5)
    service = Service(reader, placements=placements(trending=trending))

    answer = await ask(service, anonymous_id="a1", placement="trending")

    assert answer["recommendations"] == ["p0", "p1", "p99", "p2", "p3"]


async def test_a_pinned_item_that_may_not_be_shown_is_not() -> None:
    pin = Pin(name="pin", item_id="p3", slot=0)
    home = block("home", "for_you", rules=(pin,))
    answer = await ask(
        Service(shop(), placements=placements(home=home)), anonymous_id="a1", exclude=["p3"]
    )
    assert "p3" not in answer["recommendations"]


async def test_no_three_items_in_a_row_are_of_one_category_where_a_rule_forbids_it() -> None:
    profiles = known(*(event("view_product", f"p{index}", index) for index in (2, 6, 10)))
    rule = AtMost(name="categories", n=2, of="category", within=3)
    home = block("home", "for_you", rules=(rule,))
    service = Service(shop(profiles=profiles), placements=placements(home=home))

    answer = await ask(service, user_id="u1")

    categories = [int(item_id[1:]) % 4 for item_id in answer["recommendations"]]
    trios = zip(categories, categories[1:], categories[2:], strict=False)
    assert all(len(set(trio)) > 1 for trio in trios)


async def test_an_explained_answer_names_the_features_of_each_item() -> None:
    service = Service(shop(profiles=known(event("view_product", "p3"))))
    answer = await ask(service, user_id="u1", explain=True, k=3)
    for rank, shown in enumerate(answer["ranked_feed"]):
        assert shown.explanation.rank == rank
        assert shown.explanation.features["is_known"] == 1.0
    assert answer["ranked_feed"][0].explanation.features["recency"] > 0


# filters


def filtered(name: str, kind: str, text: str, **settings: Any) -> Placement:
    fields = ItemColumns().fields.types
    return block(name, kind, filter=compile_expression(text, fields), **settings)


@pytest.mark.parametrize("variant", ["personalized", "popular"])
async def test_the_filter_of_a_placement_holds_on_every_path(variant: Any) -> None:
    profiles = known(*(event("view_product", f"p{index}", index) for index in (2, 6, 10)))
    home = filtered("home", "for_you", 'category = "c1"', explore=1.0)
    service = Service(shop(profiles=profiles), placements=placements(home=home))

    answer = await ask(service, user_id="u1", variant=variant)

    assert answer["recommendations"]
    assert all(int(item_id[1:]) % 4 == 1 for item_id in answer["recommendations"])


async def test_a_filter_that_the_sources_know_little_of_is_answered_from_all_items() -> None:
    rows = [row(item(index, category="c0"), views=9, impressions=50) for index in range(400)]
    rows += [row(item(index, category="rare"), impressions=50) for index in range(400, 410)]
    trending = filtered("trending", "trending", 'category = "rare"')
    service = Service(FakeReader(rows), placements=placements(trending=trending))

    answer = await ask(service, anonymous_id="a1", placement="trending", k=20)

    assert sorted(answer["recommendations"]) == [f"p{index}" for index in range(400, 410)]


# the endless feed


async def test_a_feed_shows_every_item_once_and_ends() -> None:
    service = Service(shop(items=70, profiles=known(event("view_product", "p3"))))
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(20):
        answer = await ask(service, user_id="u1", k=12, cursor=cursor)
        seen += answer["recommendations"]
        cursor = answer["cursor"]
        if cursor is None:
            break

    assert cursor is None
    assert len(seen) == len(set(seen))
    assert sorted(seen) == sorted(f"p{index}" for index in range(70))


async def test_the_popular_feed_does_not_repeat_either() -> None:
    service = Service(shop())
    first = await ask(service, variant="popular", k=5)
    second = await ask(service, variant="popular", k=5, cursor=first["cursor"])
    assert not set(first["recommendations"]) & set(second["recommendations"])


# pages


async def test_a_page_repeats_no_item_and_leaves_empty_rows_out() -> None:
    profiles = known(*(event("view_product", f"p{index}", index) for index in range(1, 9)))
    service = Service(shop(profiles=profiles))

    page = await ask_page(service, "home", "trending", "recently_viewed", "buy_again", user_id="u1")

    shown = [item_id for row in page["rows"] for item_id in row["recommendations"]]
    assert len(shown) == len(set(shown))
    assert {row["placement"] for row in page["rows"]} <= {"home", "trending", "recently_viewed"}
    assert all(row["recommendations"] for row in page["rows"])


async def test_the_row_with_the_likeliest_clicks_stands_first() -> None:
    profiles = known(*(event("view_product", f"p{index}", index) for index in (2, 6, 10)))
    service = Service(shop(profiles=profiles))

    page = await ask_page(
        service,
        RowRequest(placement="trending", k=4),
        RowRequest(placement="because_you_viewed", k=4),
        user_id="u1",
    )

    assert [row["row"] for row in page["rows"]] == [1, 0]


async def test_rows_because_of_items_are_about_one_each() -> None:
    profiles = known(event("view_product", "p7", 5), event("view_product", "p30", 60))
    service = Service(shop(profiles=profiles))

    page = await ask_page(
        service,
        RowRequest(placement="because_you_viewed", k=4),
        RowRequest(placement="because_you_viewed", k=4),
        user_id="u1",
    )

    assert sorted(row["about"] for row in page["rows"]) == ["p30", "p7"]


async def test_the_ranker_is_asked_once_for_a_page() -> None:
    service = Service(shop(profiles=known(event("view_product", "p3"))))
    await ask_page(service, "home", "similar", "categories", user_id="u1", product_id="p5")
    assert len(service.ranker.matrices) == 1  # type: ignore[attr-defined]


async def test_chance_in_one_row_takes_nothing_from_another() -> None:
    rows = [row(item(index), views=5, impressions=50) for index in range(220)]
    rows += [row(item(index), impressions=0) for index in range(220, 224)]
    two = [RowRequest(placement="home", k=10), RowRequest(placement="home", k=10)]

    page = await ask_page(Service(FakeReader(rows), explore_rate=1.0), *two, anonymous_id="a1")

    feeds = [row["ranked_feed"] for row in page["rows"]]
    shown = [each.id for feed in feeds for each in feed]
    assert len(shown) == len(set(shown)) == 20
    drawn = [feed[EXPLORE_SLOT] for feed in feeds]
    assert [each.source for each in drawn] == ["explore", "explore"]
    # of four new ones, then of the three that are left
    assert sorted(each.propensity for each in drawn) == [0.25, pytest.approx(1 / 3)]


def test_the_profile_of_views_has_touched_just_these_the_first_last() -> None:
    profile = profile_of_views([item(4), item(9)], NOW_MS)
    assert [item_id for item_id, _ in profile.recent_items(NOW_MS)] == ["p4", "p9"]
    assert (profile.last_item, profile.last_category) == ("p4", "c0")


def test_the_built_in_placements_hide_what_was_seen_where_the_setting_says_so() -> None:
    found = built_in(CONFIG)
    assert found.find("product").hide == {"cart", "seen"}
    assert found.find("home").hide == {"cart"}
    assert found.find("anything else") == found.find("home")
