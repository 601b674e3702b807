"""A caller's list comes back whole, in the visitor's order, also where a part is missing."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.items import ItemRow
from pipeline.core.privacy.consent import StatedConsent
from pipeline.core.privacy.signals import Signal
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
    visitor,
    wire,
)
from vertex.api.config import Weights
from vertex.api.contract import RankRequest, Request
from vertex.api.items import MAX_FOUND
from vertex.api.rank import brought_by
from vertex.api.timing import StageTimer

Answer = dict[str, Any]
NO_PERSONALIZATION = StatedConsent(analytics=True, personalization=False)
LIST = ["p9", "p3", "p20", "p4"]


async def rank(service: Service, items: list[str], **question: Any) -> Answer:
    if not len(service.items):
        await service.items.load()
    request = RankRequest(items=items, **question)
    return await service.list_ranker.answer(request, StageTimer())


def known_visitor() -> FakeReader:
    """A shop in which u1 has viewed p3."""
    viewed = visitor(event("view_product", "p3"), items=[item(3)])
    return shop(profiles={"u#u1": viewed})


async def test_a_list_is_ordered_by_the_visitors_scores() -> None:
    service = Service(known_visitor(), weights=Weights(0, 1, 0, 0))

    answer = await rank(service, LIST, user_id="u1", explain=True)

    # p3 was viewed; p4 is its strongest neighbour; the others are alike and keep their order
    assert answer["ranked"] == ["p3", "p4", "p9", "p20"]
    assert (answer["served_by"], answer["variant"]) == ("vertex", "personalized")
    assert (answer["unknown"], answer["out_of_stock"]) == ([], [])
    scores = [each["score"] for each in answer["explained"]]
    assert scores == sorted(scores, reverse=True)
    for each in answer["explained"]:
        assert sum(each["parts"].values()) == pytest.approx(each["score"], abs=1e-6)


async def test_an_items_features_are_those_that_recommendations_rank() -> None:
    service = Service(known_visitor())
    every = [f"p{index}" for index in range(60)]

    await rank(service, every, user_id="u1")
    await service.recommender.answer(Request(user_id="u1"), StageTimer())

    assert isinstance(service.ranker, FakeRanker)
    of_list, of_slate = service.ranker.matrices
    assert {each.tobytes() for each in of_list} == {each.tobytes() for each in of_slate}


async def test_a_click_that_is_not_stored_yet_changes_the_order() -> None:
    service = Service(shop(), weights=Weights(0, 1, 0, 0))
    pending = [wire("view_product", "p20", 1)]

    before = await rank(service, LIST, anonymous_id="a1")
    after = await rank(service, LIST, anonymous_id="a1", events=pending)

    assert (before["ranked"][0], after["ranked"][0]) == ("p9", "p20")


async def test_unknown_ids_come_last_in_the_callers_order_and_are_named() -> None:
    service = Service(shop(), weights=Weights(0, 1, 0, 0))

    answer = await rank(service, ["x2", "p9", "x1", "p3"], anonymous_id="a1")

    assert answer["ranked"] == ["p9", "p3", "x2", "x1"]
    assert answer["unknown"] == ["x2", "x1"]


async def test_an_id_given_again_is_ranked_once_where_it_was_given_first() -> None:
    service = Service(shop(), weights=Weights(0, 0, 0, 0))
    answer = await rank(service, ["p9", "x1", "p3", "p9", "x1"], keep=1.0)
    assert answer["ranked"] == ["p9", "p3", "x1"]


@pytest.mark.parametrize(
    "change",
    [
        {"in_stock": False},
        {"expires_ms": NOW_MS - 1},
        {"published_ms": NOW_MS + 60_000},
    ],
)
async def test_items_that_cannot_be_sold_now_come_after_the_others_and_are_named(
    change: dict[str, Any],
) -> None:
    reader = known_visitor()
    for item_id in ("p3", "p9"):
        known = reader.rows[item_id]
        gone = msgspec.structs.replace(known.item, **change)
        reader.rows[item_id] = ItemRow(gone, known.stats)
    service = Service(reader, weights=Weights(0, 1, 0, 0))

    answer = await rank(service, ["x1", *LIST], user_id="u1")

    assert answer["ranked"] == ["p4", "p20", "p3", "p9", "x1"]
    assert answer["out_of_stock"] == ["p3", "p9"]


async def test_an_item_of_which_memory_knows_nothing_yet_is_read() -> None:
    service = Service(shop())
    await service.items.load()
    service.reader.rows["p99"] = row(item(99))

    answer = await rank(service, ["p99", "p1"])

    assert answer["unknown"] == []


async def test_no_more_unknown_ids_are_read_than_a_request_may_wait_for() -> None:
    service = Service(shop())
    await service.items.load()
    service.reader.read.clear()
    made_up = [f"x{number}" for number in range(1_000)]

    answer = await rank(service, made_up)
    again = await rank(service, made_up[:MAX_FOUND])

    assert service.reader.read == made_up[:MAX_FOUND]  # and not a second time
    assert answer["unknown"] == made_up == answer["ranked"]
    assert again["served_by"] == "caller"


async def test_keep_weighs_the_callers_order_against_the_visitors() -> None:
    service = Service(known_visitor(), weights=Weights(0, 1, 0, 0))
    assert (await rank(service, LIST, user_id="u1", keep=100.0))["ranked"] == LIST


async def test_keep_weighs_the_callers_scores_where_there_are_some() -> None:
    service = Service(known_visitor(), weights=Weights(0, 1, 0, 0))
    answer = await rank(service, LIST, user_id="u1", keep=100.0, scores=[1.0, 7.0, -2.0, 9.0])
    assert answer["ranked"] == ["p4", "p3", "p9", "p20"]


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
    st.floats(min_value=0.001, max_value=1000.0),
)
def test_the_callers_part_lies_between_nothing_and_keep_in_the_order_of_the_scores(
    scores: list[float], keep: float
) -> None:
    items = [f"p{place}" for place in range(len(scores))]
    part = brought_by(RankRequest(items=items, scores=scores, keep=keep)).caller

    assert ((part >= 0) & (part <= keep + 1e-6)).all()
    in_order = part[np.argsort(scores, kind="stable")]
    assert (np.diff(in_order) >= 0).all()


async def test_who_denied_personalization_gets_what_everybody_gets_and_is_not_read() -> None:
    service = Service(known_visitor())
    service.reader.rows["p20"] = row(item(20), views=50)
    await service.items.load()
    service.reader.read.clear()

    denied = await rank(service, LIST, user_id="u1", consent=NO_PERSONALIZATION)
    signalled = await service.list_ranker.answer(
        RankRequest(items=LIST, user_id="u1"), StageTimer(), Signal.GPC
    )
    anybody = await rank(service, LIST, variant="popular")

    assert denied["ranked"] == ["p20", "p9", "p3", "p4"] == anybody["ranked"]
    assert (denied["served_by"], denied["variant"]) == ("trending", "popular")
    assert signalled["ranked"] == denied["ranked"]
    assert "profile" not in service.reader.read


async def test_where_the_profile_cannot_be_read_it_is_the_order_for_everybody_of_memory() -> None:
    service = Service(known_visitor())
    service.reader.rows["p20"] = row(item(20), views=50)
    await service.items.load()
    service.reader.is_up = False

    answer = await rank(service, ["x1", *LIST], user_id="u1", keep=0.5)

    assert answer["ranked"] == ["p20", "p9", "p3", "p4", "x1"]
    assert answer["served_by"] == "trending"
    assert answer["unknown"] == ["x1"]


async def test_where_nothing_is_known_it_is_the_callers_order() -> None:
    reader = known_visitor()
    reader.is_up = False
    service = Service(reader)

    answer = await service.list_ranker.answer(RankRequest(items=LIST, user_id="u1"), StageTimer())

    assert (answer["ranked"], answer["unknown"]) == (LIST, LIST)
    assert answer["served_by"] == "caller"


async def test_without_vertex_the_process_ranks() -> None:
    service = Service(known_visitor(), ranker=local_ranker(), weights=Weights(0, 1, 0, 0))
    answer = await rank(service, LIST, user_id="u1")
    assert (answer["ranked"][0], answer["served_by"]) == ("p3", "local")
