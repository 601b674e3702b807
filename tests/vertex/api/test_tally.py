"""The log says once a minute what served the answers and why nothing better did, and nothing for
each request.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.runtime.logs import JsonFormatter
from tests.vertex.api.fakes import FakeReader, Service, shop
from vertex.api.breaker import Unavailable
from vertex.api.contract import Request
from vertex.api.ranking import Ranker
from vertex.api.tally import MAX_REASONS, OTHER, Tally
from vertex.api.timing import StageTimer
from vertex.models.registry import prior_model


class DeadEndpoint:
    async def predict(self, matrix: Any) -> tuple[Any, str]:
        raise Unavailable("vertex: status 503")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """What the service has logged, as Cloud Logging reads it."""
    with caplog.at_level(logging.INFO):
        yield lambda: [json.loads(JsonFormatter().format(record)) for record in caplog.records]


async def test_one_line_says_what_served_and_why_nothing_better_did(lines: Any) -> None:
    endpoint: Any = DeadEndpoint()
    service = Service(shop(), ranker=Ranker(endpoint, prior_model, 1.0))
    await service.items.load()
    for _ in range(20):
        await service.recommender.answer(Request(user_id="u1"), StageTimer())
    await service.recommender.answer(Request(variant="popular"), StageTimer())
    service.reader.is_up = False
    for _ in range(20):
        await service.recommender.answer(Request(user_id="u1"), StageTimer())

    assert lines() == []
    service.tally.report()

    (line,) = lines()
    assert (line["severity"], line["message"], line["answers"]) == ("WARNING", "answers", 41)
    assert line["served_by"] == {"local": 20, "trending": 21}
    assert line["fallbacks"] == {
        "vertex: status 503": 5,
        "vertex: counts as down": 15,
        "bigtable: taken down by the test": 20,
    }


async def test_an_empty_shop_is_a_reason_too(lines: Any) -> None:
    service = Service(FakeReader())

    await service.recommender.answer(Request(user_id="u1"), StageTimer())
    service.tally.report()

    assert lines()[0]["fallbacks"] == {"no candidates": 1}


async def test_lines_come_in_time_for_what_was_answered_since_and_none_for_nothing(
    lines: Any,
) -> None:
    tally = Tally()
    tally.count("vertex")
    reporting = asyncio.create_task(tally.keep_reporting(0.01))
    await asyncio.sleep(0.1)
    tally.count("local", "vertex: no answer in 50 ms")
    reporting.cancel()
    await asyncio.gather(reporting, return_exceptions=True)

    assert [line["served_by"] for line in lines()] == [{"vertex": 1}, {"local": 1}]
    assert [line["severity"] for line in lines()] == ["INFO", "WARNING"]


def test_reasons_are_bounded(lines: Any) -> None:
    tally = Tally()
    for index in range(MAX_REASONS + 5):
        tally.count("local", f"reason {index}")
    tally.report()

    assert len(lines()[0]["fallbacks"]) == MAX_REASONS + 1
    assert lines()[0]["fallbacks"][OTHER] == 5
