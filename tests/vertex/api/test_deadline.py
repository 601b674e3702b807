"""An answer is there by its deadline, of what is known by then, and says what served it; a request
whose deadline has passed is not begun.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.core.features.ranking import FEATURE_NAMES
from pipeline.core.items import ItemRow, Trending
from pipeline.core.profile import UserProfile
from tests.vertex.api.fakes import FakeReader, Service, event, item, shop, visitor
from tests.vertex.api.test_endpoint import NAME, Answer, answering, saying
from vertex.api.breaker import Unavailable
from vertex.api.contract import RankRequest, Request
from vertex.api.deadline import NO_DEADLINE, Deadline, TooLate
from vertex.api.endpoint import Endpoint
from vertex.api.ranking import Ranker
from vertex.api.timing import StageTimer
from vertex.models.raw_predict import encode_predictions
from vertex.models.registry import prior_model

SLOW_S = 2.0
MATRIX = np.zeros((5, len(FEATURE_NAMES)), np.float32)


class SlowReader(FakeReader):
    """Bigtable that takes its time once the test says so."""

    is_slow = False

    async def profile(self, key: str) -> UserProfile | None:
        await self._waiting()
        return await super().profile(key)

    async def items(self, ids: Sequence[str], background: bool = False) -> dict[str, ItemRow]:
        await self._waiting()
        return await super().items(ids, background)

    async def trending(self, scope: str) -> Trending:
        await self._waiting()
        return await super().trending(scope)

    async def _waiting(self) -> None:
        if self.is_slow:
            await asyncio.sleep(SLOW_S)


async def slow_service() -> Service:
    """A shop in memory that knows u1, and reads of two seconds."""
    known = shop()
    profiles = {"u#u1": visitor(event("view_product", "p3"), items=[item(3)])}
    reader = SlowReader(known.rows.values(), profiles)
    reader.scopes = known.scopes
    service = Service(reader)
    await service.items.load()
    reader.is_slow = True
    return service


async def test_without_the_profile_in_time_the_answer_is_that_for_everybody_from_memory() -> None:
    service = await slow_service()
    began = time.monotonic()
    slate = await service.recommender.answer(Request(user_id="u1", deadline_ms=50), StageTimer())
    ranked = await service.list_ranker.answer(
        RankRequest(items=["p9", "nowhere", "p3"], user_id="u1", deadline_ms=50), StageTimer()
    )
    assert time.monotonic() - began < SLOW_S / 2
    assert (slate["served_by"], len(slate["recommendations"])) == ("trending", 20)
    assert (ranked["served_by"], ranked["unknown"]) == ("trending", ["nowhere"])


async def test_without_the_items_in_time_the_visitor_is_ranked_by_what_memory_knows() -> None:
    service = await slow_service()
    began = time.monotonic()
    slate = await service.recommender.answer(
        Request(product_id="p3", placement="product", deadline_ms=60), StageTimer()
    )
    ranked = await service.list_ranker.answer(
        RankRequest(items=["p9", "nowhere", "p3"], deadline_ms=60), StageTimer()
    )
    assert time.monotonic() - began < SLOW_S / 2
    assert slate["served_by"] == ranked["served_by"]
    assert len(slate["recommendations"]) == 20
    assert ranked["ranked"][-1] == "nowhere"


async def test_a_request_whose_deadline_has_passed_is_not_begun() -> None:
    service = Service(shop())
    watch = StageTimer(began=time.perf_counter() - 1.0)
    with pytest.raises(TooLate, match="5 ms"):
        await service.recommender.answer(Request(deadline_ms=5), watch)
    with pytest.raises(TooLate, match="5 ms"):
        await service.list_ranker.answer(RankRequest(items=["p1"], deadline_ms=5), watch)
    assert service.reader.read == []


async def test_what_is_not_there_in_time_is_cancelled_and_without_a_deadline_it_is_awaited() -> (
    None
):
    ended: list[str] = []

    async def work() -> str:
        try:
            await asyncio.sleep(0.02)
        finally:
            ended.append("ended")
        return "done"

    with pytest.raises(Unavailable, match="deadline"):
        await Deadline(1, StageTimer()).within(work())
    assert ended == ["ended"]
    assert await NO_DEADLINE.within(work()) == "done"
    assert await Deadline(10_000, StageTimer()).within(work()) == "done"


def after(seconds: float) -> Answer:
    """Good predictions, after a while."""

    def answer(handler: Any) -> None:
        time.sleep(seconds)
        saying(encode_predictions(np.full(5, 0.25, np.float32)))(handler)

    return answer


async def test_requests_of_short_deadlines_do_not_take_vertex_from_the_others() -> None:
    with answering(after(0.3)) as host:
        ranker = Ranker(Endpoint(NAME, host, 5.0), prior_model, 5.0)
        hurried = [await ranker.predict(MATRIX, 0.001) for _ in range(7)]
        passed = await ranker.predict(MATRIX, -0.001)
        patient = await ranker.predict(MATRIX)
        await ranker.aclose()
    assert {each.served_by for each in hurried} == {"local"}
    assert (passed.served_by, passed.fallback) == ("local", "deadline: passed")
    assert patient.served_by == "vertex"
