"""A row shows one variant of a product: the best, and none of the page's own product."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.core.items import ItemRow
from tests.vertex.api.fakes import FakeReader, Service, event, item, row, trending_of, visitor
from vertex.api.config import Config
from vertex.api.contract import Request
from vertex.api.placements import DEFAULT, Placements, placement_of
from vertex.api.policy import EXPLORE_SLOT
from vertex.api.rules import Pin
from vertex.api.timing import StageTimer
from vertex.api.variants import best_variants

PRODUCTS, VARIANTS = 90, 4
CONFIG = Config(project="demo-project", instance="freshet", explore_rate=0.0)


def group_of(item_id: str) -> int:
    return int(item_id.removeprefix("p")) // VARIANTS


def variants(impressions: int = 100) -> list[ItemRow]:
    """Products of four variants each, p0 to p3 the first; all are seen together."""
    ids = [f"p{index}" for index in range(PRODUCTS * VARIANTS)]
    return [
        row(
            item(index, "lamps", group=f"product-{index // VARIANTS}"),
            views=400 - index,
            neighbours=ids[index + 1 : index + 40],
            impressions=impressions,
        )
        for index in range(len(ids))
    ]


def service(rows: list[ItemRow], **settings: Any) -> Service:
    profile = visitor(event("view_product", "p0", 60), items=[each.item for each in rows])
    reader = FakeReader(rows, {"u#u1": profile})
    reader.scopes["all"] = trending_of(*(each.item.item_id for each in rows))
    return Service(reader, **settings)


def placements(**stated: Any) -> Placements:
    placement = msgspec.structs.replace(placement_of(DEFAULT, "for_you", CONFIG), **stated)
    return Placements({DEFAULT: placement})


async def shown(made: Service, **question: Any) -> list[str]:
    await made.items.load()
    answer = await made.recommender.answer(Request(**question), StageTimer())
    found: list[str] = answer["recommendations"]
    return found


@pytest.mark.parametrize(
    "question",
    [
        {"user_id": "u1"},
        {"user_id": "nobody"},
        {"user_id": "u1", "variant": "popular"},
        {"user_id": "u1", "placement": "similar", "product_id": "p5"},
        {"user_id": "u1", "placement": "trending"},
    ],
    ids=["personal", "new visitor", "popular", "similar", "trending"],
)
async def test_a_row_shows_one_variant_of_a_product(question: dict[str, Any]) -> None:
    found = await shown(service(variants()), k=20, **question)
    assert len(found) > 5
    assert len({group_of(item_id) for item_id in found}) == len(found)


async def test_no_variant_of_the_page_s_own_product_is_shown() -> None:
    found = await shown(service(variants()), user_id="u1", product_id="p6", k=20)
    assert found and group_of("p6") not in {group_of(item_id) for item_id in found}


async def test_a_placement_may_show_all_variants() -> None:
    made = service(variants(), placements=placements(variants="all"))
    found = await shown(made, user_id="u1", k=20)
    assert len({group_of(item_id) for item_id in found}) < len(found)


async def test_a_pinned_variant_stands_for_its_product() -> None:
    pin = Pin(name="pin", item_id="p7", slot=0)
    made = service(variants(), placements=placements(rules=(pin,)))
    found = await shown(made, user_id="u1", k=20)
    assert found[0] == "p7"
    assert [group_of(item_id) for item_id in found].count(group_of("p7")) == 1


async def test_chance_shows_no_second_variant_of_a_product() -> None:
    rows = variants(impressions=0)
    made = service(rows, placements=placements(explore=1.0))
    await made.items.load()
    answer = await made.recommender.answer(Request(user_id="u1", k=10), StageTimer())
    feed = answer["ranked_feed"]
    assert len({group_of(each.id) for each in feed}) == len(feed)
    assert feed[EXPLORE_SLOT].source == "explore"


def test_the_best_of_each_product_stays_and_so_does_what_is_no_variant() -> None:
    groups = np.array([1, 0, 1, 2, 0, 2], np.int32)
    scores = np.array([0.1, 0.0, 0.5, 0.7, 0.0, 0.7])
    assert best_variants(groups, scores).tolist() == [False, True, True, True, True, False]
    assert best_variants(groups[1:2], scores[1:2]).tolist() == [True]
