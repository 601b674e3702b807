"""Scores add up from four visible parts, and the ranker answers whatever Vertex does."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import numpy as np
import pytest

from pipeline.core.catalog import Item
from pipeline.core.features.ranking import COLUMN, FEATURE_NAMES
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import ItemRow, ItemStats
from vertex.api.breaker import FAILURES, Unavailable
from vertex.api.config import Weights
from vertex.api.ranking import AT_ONCE, PARTS, PROBE_S, Ranker, margins_of, score_parts
from vertex.models.registry import prior_model

DEADLINE_S = 0.05
MATRIX = np.random.default_rng(1).random((5, len(FEATURE_NAMES)), np.float32)


class FakeEndpoint:
    """Answers 0.25 for every row, when it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_up = True
        self.error: Exception = Unavailable("vertex: taken down by the test")
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def predict(self, matrix: Any) -> tuple[Any, str]:
        self.asked += 1
        await self.may_answer.wait()
        if not self.is_up:
            raise self.error
        return np.full(len(matrix), 0.25, np.float32), "7"


@pytest.fixture
def endpoint() -> FakeEndpoint:
    return FakeEndpoint()


@pytest.fixture
def ranker(endpoint: Any) -> Ranker:
    return Ranker(endpoint, prior_model, DEADLINE_S)


class TestParts:
    def test_a_part_is_a_weighted_term_of_the_documented_formula(self) -> None:
        matrix = np.zeros((1, len(FEATURE_NAMES)), np.float32)
        for name, value in {
            "recency": 0.5,
            "category_match": 1.0,
            "category_interest": 0.2,
            "category_interest_30m": 0.4,
        }.items():
            matrix[0, COLUMN[name]] = value

        parts = score_parts(matrix, np.array([0.1], np.float32), Weights(2.0, 3.0, 5.0, 10.0))

        assert parts.names == list(PARTS)
        assert parts.terms.tolist() == [[0.2, 1.5, 5.0, 3.0]]

    def test_a_weight_of_zero_silences_its_part(self) -> None:
        parts = score_parts(MATRIX, np.ones(5, np.float32), Weights(0.0, 0.0, 0.0, 0.0))

        assert not parts.terms.any()

    def test_objectives_are_parts_where_they_have_a_weight(self) -> None:
        matrix = np.zeros((2, len(FEATURE_NAMES)), np.float32)
        matrix[:, COLUMN["item_conversion"]] = [0.5, 0.25]
        matrix[:, COLUMN["log_price"]] = np.log1p([10.0, 40.0])
        weights = Weights(0.0, 0.0, 0.0, 0.0, conversion=2.0, revenue=3.0)

        parts = score_parts(matrix, np.ones(2, np.float32), weights)

        assert parts.names == [*PARTS, "conversion", "revenue"]
        assert parts.terms[:, 4:].tolist() == [[1.0, 1.5], [0.5, 3.0]]

    def test_margin_and_watch_time_are_shares_of_the_best(self) -> None:
        matrix = np.zeros((2, len(FEATURE_NAMES)), np.float32)
        matrix[:, COLUMN["item_conversion"]] = [0.5, 0.25]
        matrix[:, COLUMN["watch_time"]] = np.log1p([30.0, 120.0])
        items = ItemColumns.of(
            ItemRow(Item(item_id, attributes={"margin": margin}), ItemStats())
            for item_id, margin in (("a", 2.0), ("b", 8.0))
        )
        weights = Weights(0.0, 0.0, 0.0, 0.0, margin=1.0, watch_time=2.0)

        parts = score_parts(
            matrix, np.ones(2, np.float32), weights, lambda: margins_of(items, items.all_rows())
        )

        assert parts.names == [*PARTS, "margin", "watch_time"]
        assert parts.terms[:, 4:].tolist() == [[0.5, 0.5], [1.0, 2.0]]

    def test_where_no_item_says_what_it_earns_there_is_no_margin(self) -> None:
        said = [{}, {"margin": "much"}, {"margin": -2.0}]
        for attributes in said:
            row = ItemRow(Item("a", attributes=attributes), ItemStats())  # type: ignore[arg-type]
            items = ItemColumns.of([row])
            assert margins_of(items, items.all_rows()).tolist() == [0.0]

    def test_without_prices_nothing_has_revenue(self) -> None:
        matrix = np.zeros((2, len(FEATURE_NAMES)), np.float32)

        parts = score_parts(matrix, np.ones(2, np.float32), Weights(revenue=1.0))

        assert parts.names[-1] == "revenue"
        assert not parts.terms[:, -1].any()


async def test_vertex_ranks_when_it_answers(ranker: Ranker) -> None:
    prediction = await ranker.predict(MATRIX)

    assert (prediction.served_by, prediction.model_version) == ("vertex", "7")
    assert prediction.ctr.tolist() == [0.25] * 5


async def test_without_an_endpoint_the_process_ranks() -> None:
    prediction = await Ranker(None, prior_model, DEADLINE_S).predict(MATRIX)

    assert prediction.served_by == "local"
    assert np.array_equal(prediction.ctr, prior_model().score(MATRIX, FEATURE_NAMES))


async def test_an_answer_that_comes_too_late_is_not_waited_for(
    ranker: Ranker, endpoint: FakeEndpoint
) -> None:
    endpoint.may_answer.clear()
    began = asyncio.get_running_loop().time()

    prediction = await ranker.predict(MATRIX)

    assert prediction.served_by == "local"
    assert asyncio.get_running_loop().time() - began < 10 * DEADLINE_S


async def test_a_client_that_goes_on_although_it_is_cancelled_keeps_nobody_waiting() -> None:
    class Stubborn:
        async def predict(self, matrix: Any) -> tuple[Any, str]:
            for _ in range(10):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.2)
            return np.full(len(matrix), 0.25, np.float32), "7"

        async def aclose(self) -> None:
            pass

    ranker: Any = Ranker(Stubborn(), prior_model, DEADLINE_S)  # type: ignore[arg-type]
    began = asyncio.get_running_loop().time()

    predictions = [await ranker.predict(MATRIX) for _ in range(3)]

    assert asyncio.get_running_loop().time() - began < 1.0
    assert {each.served_by for each in predictions} == {"local"}
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_an_error_that_nobody_expected_is_no_answer_either(
    ranker: Ranker, endpoint: FakeEndpoint
) -> None:
    endpoint.is_up, endpoint.error = False, ValueError("odd")

    assert (await ranker.predict(MATRIX)).served_by == "local"


async def test_after_some_failures_in_a_row_vertex_is_left_in_peace(
    ranker: Ranker, endpoint: FakeEndpoint
) -> None:
    endpoint.is_up = False
    for _ in range(FAILURES + 20):
        assert (await ranker.predict(MATRIX)).served_by == "local"

    assert endpoint.asked == FAILURES
    assert not ranker.is_up


async def test_vertex_is_used_again_once_it_answers_in_the_background(
    ranker: Ranker, endpoint: FakeEndpoint
) -> None:
    endpoint.is_up = False
    for _ in range(FAILURES):
        await ranker.predict(MATRIX)
    endpoint.is_up = True

    watching = asyncio.create_task(ranker.watch())
    async with asyncio.timeout(5 * PROBE_S):
        while not ranker.is_up:  # noqa: ASYNC110  # there is nothing to wait for but its opinion
            await asyncio.sleep(0.01)
    watching.cancel()

    assert (await ranker.predict(MATRIX)).served_by == "vertex"


async def test_requests_beyond_a_few_do_not_queue_up(
    ranker: Ranker, endpoint: FakeEndpoint
) -> None:
    endpoint.may_answer.clear()

    predictions = await asyncio.gather(*(ranker.predict(MATRIX) for _ in range(3 * AT_ONCE)))

    assert {prediction.served_by for prediction in predictions} == {"local"}
    assert endpoint.asked <= AT_ONCE
