"""Text vectors in the API: made in the background, found at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.items import ItemRow, ItemStats
from pipeline.core.text_vectors import TextEncoder
from tests.vertex.api.fakes import FakeReader, Service, event, item, row, visitor
from tests.vertex.text_encoder import WordEncoder
from vertex.api.contract import Request
from vertex.api.text_encoding import BATCH, TextEncoding
from vertex.api.timing import StageTimer

VIEWED = Item("viewed", "Ember gas grill with three burners", "garden")
ALIKE = Item("alike", "Glow gas grill with two burners", "other")
UNLIKE = Item("unlike", "Running shoes", "sport")


def shop(*more: Item) -> FakeReader:
    """Items of another kind that everybody views, and those given, that nobody does."""
    rows = [row(item(index), views=20) for index in range(60)]
    return FakeReader([*rows, *(ItemRow(each, ItemStats()) for each in more)])


async def encode_all(service: Service) -> None:
    encoding = TextEncoding(service.items, WordEncoder)
    service.items.columns.text.use_model(WordEncoder.name)
    while await encoding.encode_batch(WordEncoder()):
        pass


async def sources(service: Service) -> dict[str, str]:
    """What u1, who viewed `VIEWED`, is shown: source by item."""
    service.reader.profiles["u#u1"] = visitor(
        event("view_product", "viewed", 1), items=[VIEWED, ALIKE]
    )
    request = Request(user_id="u1", k=100)
    answer = await service.recommender.answer(request, StageTimer())
    return {shown.id: shown.source for shown in answer["ranked_feed"]}


async def test_an_item_without_an_event_is_found_by_its_text() -> None:
    service = Service(shop(VIEWED, ALIKE, UNLIKE))
    await service.items.load()
    await encode_all(service)

    service.items.reshelve()

    assert (await sources(service))["alike"] == "content"


async def test_a_new_item_is_found_by_its_text_before_it_is_on_a_shelf() -> None:
    service = Service(shop(VIEWED, UNLIKE))
    await service.items.load()
    await encode_all(service)
    service.items.reshelve()

    service.items.columns.put(ItemRow(ALIKE, ItemStats()))
    await encode_all(service)

    assert (await sources(service))["alike"] == "content"
    service.items.reshelve()
    assert len(service.items.encoded) == 0
    assert (await sources(service))["alike"] == "content"


async def test_texts_are_encoded_in_small_batches_the_newest_first() -> None:
    service = Service(shop())
    for number in range(2 * BATCH):
        service.items.columns.put(ItemRow(Item(f"n{number}", f"title {number}"), ItemStats()))
    encoding = TextEncoding(service.items, WordEncoder)

    assert await encoding.encode_batch(WordEncoder()) == BATCH

    columns = service.items.columns
    known = columns.text.known(columns.rows(f"n{number}" for number in range(2 * BATCH)))
    assert known.tolist() == [False] * BATCH + [True] * BATCH
    assert encoding.describe()["texts_waiting"] == BATCH


async def test_the_model_is_loaded_and_keeps_encoding_what_comes() -> None:
    service = Service(shop())
    await service.items.load()
    encoding = TextEncoding(service.items, WordEncoder)
    before = encoding.describe()
    task = asyncio.create_task(encoding.keep_encoding())

    at = service.items.columns.put(ItemRow(ALIKE, ItemStats()))
    for _ in range(500):
        await asyncio.sleep(0.01)
        if service.items.columns.text.known(np.array([at])).all():
            break

    known = service.items.columns.text.known(service.items.columns.all_rows())
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert before["text_model"] is None
    assert known.all()
    assert encoding.describe() == {"text_model": "words", "texts_waiting": 0}


async def test_without_a_model_no_text_waits_and_answers_are_as_before() -> None:
    def none() -> TextEncoder | None:
        return None

    service = Service(shop(VIEWED, ALIKE))
    await service.items.load()
    encoding = TextEncoding(service.items, none)

    await encoding.keep_encoding()

    assert encoding.describe() == {"text_model": None, "texts_waiting": 0}
    assert "content" not in (await sources(service)).values()
