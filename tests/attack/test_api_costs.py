"""No request to the API's routes for pages, lists, suggestions and items takes it long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from pipeline.core.attributes import MAX_NAMES, AttributeSchema
from pipeline.core.catalog import Item
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import ItemRow, ItemStats
from pipeline.runtime.bodies import BodyRefused
from tests.attack.corpus import (
    Attack,
    item_attacks,
    question_attacks,
    rank_attacks,
    suggest_attacks,
)
from tests.attack.driving import Cost, cheapest_awaited, spared_garbage_collector
from tests.attack.test_costs import MAX_STEP_S
from tests.vertex.api.fakes import NOW_MS, FakeReader, Service, shop
from vertex.api.catalog_routes import CatalogRoutes
from vertex.api.contract import (
    parse_page_request,
    parse_rank_request,
    parse_request,
    parse_suggest_request,
)
from vertex.api.deadline import TooLate
from vertex.api.suggest.refresh import Suggestions
from vertex.api.timing import StageTimer

NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC).isoformat().encode()
MAX_LINES_S = 1.0
"""Of processor for 2,000 lines of the catalog: between two of them others are served."""
KEY = "a back end's key"

Ask = Callable[[bytes], Awaitable[Any]]

pytestmark = pytest.mark.alone


@pytest.fixture(autouse=True)
def spared() -> Iterator[None]:
    with spared_garbage_collector():
        yield


async def slow(attacks: Iterable[Attack], ask: Ask, most_s: float = MAX_STEP_S) -> dict[str, str]:
    """The attacks that take more processor, or end in a fault of ours."""
    found: dict[str, str] = {}
    for attack in attacks:
        cost = await cheapest_awaited(partial(refusing, ask, attack.request.body))
        if cost.processor_s > most_s:
            found[attack.name] = f"{cost.processor_s * 1e3:.0f} ms"
    return found


async def refusing(ask: Ask, body: bytes) -> Any:
    """The answer, or the refusal; any other exception would be a 500."""
    try:
        return await ask(body)
    except (InvalidEvent, TooLate) as error:
        return error


@pytest.fixture
async def service() -> Service:
    service = Service(shop())
    await service.items.load()
    return service


async def test_no_filter_cursor_or_context_holds_up_recommendations(service: Service) -> None:
    async def ask(body: bytes) -> Any:
        return await service.recommender.answer(parse_request(body, False), StageTimer())

    assert await slow(question_attacks("/v1/recommendations", NOW), ask) == {}


async def test_no_page_holds_up_the_api(service: Service) -> None:
    async def ask(body: bytes) -> Any:
        return await service.recommender.answer_page(parse_page_request(body, False), StageTimer())

    assert await slow(question_attacks("/v1/pages", NOW), ask) == {}


async def test_no_list_holds_up_the_api(service: Service) -> None:
    async def ask(body: bytes) -> Any:
        return await service.list_ranker.answer(parse_rank_request(body, False), StageTimer())

    assert await slow(rank_attacks(NOW), ask) == {}


async def test_no_typed_text_holds_up_suggestions() -> None:
    columns = ItemColumns()
    for number in range(2000):
        title = f"Item it {number} ite"
        columns.put(ItemRow(Item(f"p{number}", title), ItemStats()))
    suggestions = Suggestions(FakeReader([]), lambda: columns)
    await suggestions.refresh()

    async def ask(body: bytes) -> Any:
        asked = parse_suggest_request(body)
        return suggestions.suggester.suggest(asked.q, asked.n)

    assert len(await ask(b'{"q":"ite"}')) > 0
    assert await slow(suggest_attacks(), ask) == {}


class Store:
    """Takes every write at once."""

    async def write(self, write: Callable[[Any], Awaitable[Any]]) -> Any:
        """Writes nothing."""


async def test_no_item_holds_up_the_api_and_names_of_attributes_stay_bounded() -> None:
    schema = AttributeSchema(None)
    routes = CatalogRoutes((KEY,), Store(), schema, dict)

    async def ask(attack: Attack) -> Response | BodyRefused | InvalidEvent:
        try:
            route = routes.bulk if attack.request.method == "POST" else routes.put
            return await route(request_of(attack))
        except (BodyRefused, InvalidEvent) as error:
            return error

    costs: dict[str, Cost] = {}
    for attack in item_attacks():
        costs[f"{attack}"] = await cheapest_awaited(partial(ask, attack))
    dear = {
        name: f"{cost.processor_s * 1e3:.0f} ms"
        for name, cost in costs.items()
        if cost.processor_s > (MAX_LINES_S if "lines" in name else MAX_STEP_S)
    }
    assert dear == {}
    assert len(schema.types) == MAX_NAMES


def request_of(attack: Attack) -> Request:
    """The request of a back end with its key."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": attack.request.body, "more_body": False}

    scope = {
        "type": "http",
        "method": attack.request.method,
        "path": attack.request.path,
        "query_string": b"",
        "headers": [(b"x-freshet-key", KEY.encode())],
        "path_params": {"item_id": "p1"},
    }
    return Request(scope, receive)
