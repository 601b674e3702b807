"""A filter holds for all that an answer shows, on whatever path it was found."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.context import Context
from pipeline.core.expressions.compiler import compile_expression
from pipeline.core.expressions.fields import FieldTypes, Kind
from pipeline.core.items import ItemRow
from pipeline.store.layout import GLOBAL_SCOPE
from tests.vertex.api.fakes import (
    FakeReader,
    Service,
    event,
    item,
    row,
    trending_of,
    visitor,
    wire,
)
from vertex.api.config import Config
from vertex.api.contract import InvalidRequest, PageRequest, Request, RowRequest
from vertex.api.placements import Placements, built_in, placement_of
from vertex.api.policy import EXPLORE_SLOT
from vertex.api.shelves import SHELF
from vertex.api.timing import StageTimer

Answer = dict[str, Any]
DENIED: Any = {"personalization": False}


def coloured(index: int, views: int = 5, impressions: int = 50) -> ItemRow:
    """Every third item is red, and some say nothing of their colour."""
    colour = ("red", "blue", "")[index % 3]
    attributes: dict[str, Any] = {"colour": colour} if colour else {}
    neighbours = [f"p{(index + step) % 60}" for step in range(1, 6)]
    made = item(index, attributes=attributes)
    return row(made, views=views, neighbours=neighbours, impressions=impressions)


def red_and_other() -> FakeReader:
    """60 items that few have not seen, of which 20 are trending."""
    reader = FakeReader(
        [coloured(index) for index in range(60)],
        {"u#u1": visitor(event("view_product", "p3"), items=[item(index) for index in range(60)])},
    )
    reader.scopes[GLOBAL_SCOPE] = trending_of(*(f"p{index}" for index in range(20)))
    return reader


def with_red_placement() -> Service:
    """Its placement `red` shows what is similar and red, else what `home` shows."""
    red = compile_expression('colour = "red"', FieldTypes({"colour": Kind.TEXT}))
    config = Config(project="demo-project", instance="freshet")
    known = built_in(config).by_name
    placement = placement_of("red", "similar", config)
    placement = msgspec.structs.replace(placement, filter=red, fallback="home")
    return Service(red_and_other(), placements=Placements({**known, "red": placement}))


async def ask(service: Service, **question: Any) -> Answer:
    if not len(service.items):
        await service.items.load()
    return await service.recommender.answer(Request(**question), StageTimer())


def is_red(item_id: str) -> bool:
    return int(item_id[1:]) % 3 == 0


async def test_only_what_the_filter_accepts_is_recommended() -> None:
    service = Service(red_and_other())
    answer = await ask(service, user_id="u1", k=12, filter='colour = "red"')
    assert len(answer["recommendations"]) == 12 and answer["served_by"] == "vertex"
    assert all(map(is_red, answer["recommendations"]))
    unfiltered = await ask(service, user_id="u1", k=12)
    assert not all(map(is_red, unfiltered["recommendations"]))


async def test_what_everybody_gets_is_filtered_too() -> None:
    service = Service(red_and_other())
    asked = {"user_id": "u1", "k": 12, "filter": 'colour = "red"'}
    for question in ({"variant": "popular"}, {"consent": DENIED}):
        answer = await ask(service, **asked, **question)
        assert answer["served_by"] == "trending" and len(answer["recommendations"]) == 12
        assert all(map(is_red, answer["recommendations"]))


async def test_a_filter_holds_while_bigtable_is_down() -> None:
    service = Service(red_and_other())
    await service.items.load()
    service.reader.is_up = False
    answer = await ask(service, user_id="u1", k=12, filter='colour = "red"')
    assert answer["served_by"] == "trending"
    assert len(answer["recommendations"]) > 5 and all(map(is_red, answer["recommendations"]))


async def test_the_filter_of_a_placement_holds_for_what_stands_in_for_it_too() -> None:
    service = with_red_placement()
    for question in ({"product_id": "p3"}, {}, {"variant": "popular"}):
        answer = await ask(service, user_id="u1", placement="red", k=8, **question)
        assert answer["recommendations"] and all(map(is_red, answer["recommendations"]))


async def test_a_filter_holds_for_each_row_of_a_page() -> None:
    service = Service(red_and_other())
    await service.items.load()
    rows = [RowRequest(placement=name, k=5) for name in ("home", "trending", "similar")]
    request = PageRequest(user_id="u1", product_id="p4", rows=rows, filter='colour = "red"')
    answer = await service.recommender.answer_page(request, StageTimer())
    shown = [item_id for row in answer["rows"] for item_id in row["recommendations"]]
    assert len(answer["rows"]) > 1 and all(map(is_red, shown))


async def test_items_that_a_filter_accepts_are_found_beyond_what_is_popular() -> None:
    common = [coloured(3 * index + 1) for index in range(SHELF)]
    rare = [coloured(3 * index, views=0) for index in range(2_000, 2_005)]
    service = Service(FakeReader([*common, *rare]))
    for question in ({}, {"variant": "popular"}, {"consent": DENIED}):
        answer = await ask(service, anonymous_id="a1", k=3, filter='colour = "red"', **question)
        assert len(answer["recommendations"]) == 3 and all(map(is_red, answer["recommendations"]))


async def test_a_filter_that_accepts_nothing_shows_nothing() -> None:
    answer = await ask(Service(red_and_other()), user_id="u1", filter="price > 1e6")
    assert answer["recommendations"] == []


async def test_chance_draws_of_what_the_filter_accepts() -> None:
    seen = [coloured(index) for index in range(330)]
    new = [coloured(index, views=0, impressions=0) for index in range(330, 360)]
    reader = FakeReader([*seen, *new])
    for _ in range(10):
        service = Service(reader, explore_rate=1.0)
        answer = await ask(service, anonymous_id="a1", k=10, filter='colour = "red"')
        drawn = answer["ranked_feed"][EXPLORE_SLOT]
        assert drawn.source == "explore" and is_red(drawn.id)


async def test_the_banner_points_to_no_item_of_the_cart_that_the_filter_forbids() -> None:
    service = Service(red_and_other())
    asked = {"anonymous_id": "a1", "filter": 'colour = "red"'}
    red = await ask(service, **asked, events=[wire("add_to_cart", "p6", 1)])
    blue = await ask(service, **asked, events=[wire("add_to_cart", "p7", 1)])
    assert red["personalized_banner"].product_id == "p6"
    assert not blue["personalized_banner"].id.startswith("cart")


async def test_a_filter_may_ask_about_visitor_and_context() -> None:
    service = Service(red_and_other())
    events = [wire("view_product", "p5", 1)]  # of category c1
    same = await ask(
        service, anonymous_id="a1", events=events, filter="category = visitor.category"
    )
    assert {int(item_id[1:]) % 4 for item_id in same["recommendations"]} == {1}
    where = 'colour = "red" or context.country = "nl"'
    abroad = await ask(
        service, anonymous_id="a1", k=12, filter=where, context=Context(country="be")
    )
    at_home = await ask(
        service, anonymous_id="a1", k=12, filter=where, context=Context(country="nl")
    )
    assert all(map(is_red, abroad["recommendations"]))
    assert not all(map(is_red, at_home["recommendations"]))


async def test_nobody_finds_out_by_filters_what_the_profile_of_another_says() -> None:
    asked = {"user_id": "u1", "filter": 'visitor.category = "c3"'}
    guessed = await ask(Service(red_and_other(), profile_view=False), **asked)
    opened = await ask(Service(red_and_other(), profile_view=True), **asked)
    assert guessed["recommendations"] == [] and opened["recommendations"]


async def test_a_wrong_filter_is_refused_before_anything_is_read() -> None:
    service = Service(red_and_other())
    await service.items.load()
    service.reader.read.clear()
    with pytest.raises(InvalidRequest) as caught:
        await ask(service, user_id="u1", filter="color = 'red'")
    assert caught.value.as_dict() == {
        "field": "filter",
        "reason": "column 1: expected a known field, such as colour",
        "value": "color",
    }
    assert service.reader.read == []
