"""Negatives of a log of views: items that could have been offered."""

from __future__ import annotations

import random

import pytest

from pipeline.core.catalog import Item
from pipeline.core.features.moment import Moment
from pipeline.core.profile import UserProfile
from tests.vertex.planted import event
from vertex.candidates import SOURCES
from vertex.data.negatives import Offers, choice
from vertex.data.replay import World


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
    offered = offers.at(Moment(UserProfile(), world.columns, viewed.time_ms))
    assert offered == (["known"] if catalog else ["made-up", "known"])


def test_an_item_of_any_source_that_serves_could_have_been_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World({})
    world.add(event("view_product", 0, product_id="found-by-another"))
    another = world.columns.rows(["found-by-another"])
    monkeypatch.setitem(SOURCES, "another", (lambda situation: another, 1))
    moment = Moment(UserProfile(), world.columns, 0)
    assert Offers(world).at(moment) == ["found-by-another"]


def test_a_view_of_what_could_not_have_been_offered_teaches_nothing() -> None:
    assert choice("stranger", ["p1", "p2"], random.Random(0)) is None
    assert choice("p1", ["p1"], random.Random(0)) is None
    assert sorted(choice("p1", ["p1", "p2"], random.Random(0)) or []) == ["p1", "p2"]
