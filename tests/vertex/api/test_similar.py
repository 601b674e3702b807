"""Items like one are the same for everybody, may be cached, and are never what may not be shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import ItemRow
from tests.vertex.api.fakes import FakeReader, Service, item, row, shop
from tests.vertex.api.test_app import api
from vertex.api.breaker import Unavailable
from vertex.api.config import Config
from vertex.api.contract import InvalidRequest
from vertex.api.placements import Placements
from vertex.api.placements_file import parse_placements
from vertex.api.similar import MAX_AGE_S, UnknownItem

Answer = dict[str, Any]


async def similar(service: Service, item_id: str, **query: str) -> Answer:
    if not len(service.items):
        await service.items.load()
    return await service.similar_items.answer(item_id, query)


def of_file(text: str) -> Placements:
    config = Config("demo-project", "freshet")
    return parse_placements(text.encode(), "placements.yaml", config, ItemColumns().fields.types)


async def test_items_seen_with_it_come_first_then_others_of_its_category_and_never_itself() -> None:
    answer = await similar(Service(shop()), "p3", n="12")

    assert answer["recommendations"][:4] == ["p4", "p5", "p6", "p7"]
    assert len(answer["recommendations"]) == 12
    assert "p3" not in answer["recommendations"]
    of_category = [
        item_id
        for item_id, source in zip(answer["recommendations"], answer["sources"], strict=True)
        if source == "category"
    ]
    assert of_category
    assert {int(item_id[1:]) % 4 for item_id in of_category} == {3}


async def test_it_is_the_same_each_time_also_where_others_explore() -> None:
    service = Service(shop(200), explore_rate=1.0)
    answers = [await similar(service, "p3") for _ in range(5)]
    assert all(answer == answers[0] for answer in answers)


async def test_what_is_sold_out_or_not_in_the_catalog_is_not_shown_also_without_bigtable() -> None:
    reader = shop()
    reader.rows["p4"] = ItemRow(
        msgspec.structs.replace(reader.rows["p4"].item, in_stock=False), reader.rows["p4"].stats
    )
    reader.rows["p5"] = ItemRow(
        msgspec.structs.replace(reader.rows["p5"].item, stub=True), reader.rows["p5"].stats
    )
    service = Service(reader)
    await service.items.load()
    await service.items.find(["p5"])

    before = await similar(service, "p3", n="50")
    service.reader.is_up = False
    during = await similar(service, "p3", n="50")

    for answer in (before, during):
        assert answer["recommendations"][:2] == ["p6", "p7"]
        assert not {"p3", "p4", "p5"} & set(answer["recommendations"])


@pytest.mark.parametrize(
    "text",
    [
        "home: {kind: for_you, filter: 'price < 20'}\n",
        "home: {kind: for_you}\nsimilar: {kind: similar, filter: 'price < 20'}\n",
    ],
)
async def test_the_filter_of_the_shop_holds(text: str) -> None:
    service = Service(shop(), placements=of_file(text))
    answer = await similar(service, "p3", n="50")
    assert answer["recommendations"]
    assert {int(item_id[1:]) < 10 for item_id in answer["recommendations"]} == {True}


async def test_without_bigtable_an_item_in_memory_is_answered_and_no_other_called_unknown() -> None:
    service = Service(shop())
    await service.items.load()
    service.reader.is_up = False

    answer = await similar(service, "p3")
    assert {int(item_id[1:]) % 4 for item_id in answer["recommendations"]} == {3}
    with pytest.raises(Unavailable):
        await similar(service, "nowhere")


async def test_an_unknown_item_is_named() -> None:
    with pytest.raises(UnknownItem) as caught:
        await similar(Service(shop()), "nowhere")
    assert (caught.value.field, caught.value.value) == ("item_id", "nowhere")


@pytest.mark.parametrize("n", ["0", "101", "-1", "1e1", "", "٣", "9" * 5_000, "001" * 2_000])
async def test_a_number_of_items_that_is_none_is_named(n: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await similar(Service(FakeReader([row(item(1))])), "p1", n=n)
    assert caught.value.field == "n"


async def test_a_cache_may_keep_an_answer_and_asks_again_by_its_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(*_: Any) -> Answer:
        return {"recommendations": ["p1"]}

    monkeypatch.setenv("BIGTABLE_EMULATOR_HOST", "127.0.0.1:1")
    monkeypatch.setattr("vertex.api.similar.SimilarItems.answer", answer)
    async with api(tmp_path) as client:
        first = await client.get("/v1/items/a/b/similar")
        known = {"if-none-match": first.headers["etag"]}
        again = await client.get("/v1/items/a/b/similar", headers=known)

    assert (first.status_code, first.json()) == (200, {"recommendations": ["p1"]})
    assert first.headers["cache-control"] == f"public, max-age={MAX_AGE_S}"
    assert (again.status_code, again.content) == (304, b"")
