"""Routes that write the catalog, for back ends with a key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from pipeline.core.attributes import AttributeSchema, AttributeType
from pipeline.core.catalog import Item
from pipeline.core.catalog_rows import (
    check_fields,
    describe_item,
    parse_item,
    patch_item,
    read_row,
)
from pipeline.core.invalid_item import InvalidItem
from pipeline.runtime.bodies import Bodies, BodyRefused
from pipeline.store.catalog import CatalogTable
from pipeline.store.versions import UNREADABLE, decode
from vertex.api.contract import InvalidRequest, TooLarge
from vertex.api.rates import KEY_HEADER, known_key

T = TypeVar("T")

MAX_ITEM_BODY_BYTES = 256 * 1024
MAX_LINES = 10_000
MAX_LINES_BYTES = 16 * 1024 * 1024
MAX_LINES_HELD_BYTES = 2 * MAX_LINES_BYTES
LINES = "/v1/items"
"""The path of requests with many lines, which have a bound of their own."""
LINES_AT_ONCE = 2
"""Requests with many lines that are written at a time; others are refused until one is done."""
# So many lines are parsed and written at once: requests for recommendations wait for as many.
BATCH = 50
MAX_PAUSE_S = 0.05
PATCH_ATTEMPTS = 10

_json = msgspec.json.Encoder()


class WriteRefused(InvalidRequest):
    """A write that is not taken, and the status that says why."""

    def __init__(self, status: int, field: str, reason: str, value: Any = None) -> None:
        self.status = status
        super().__init__(field, reason, value)


class WritesCatalog(Protocol):
    """Writes the catalog; raises `Unavailable` when there is no answer in time."""

    async def write(self, write: Callable[[CatalogTable], Awaitable[T]]) -> T:
        """The result of the write."""


class CatalogRoutes:
    """One method for each route.

    Args:
        keys: of back ends; without any the routes are not open.
        store: where items are written.
        schema: types of attributes; where they are inferred, what is written adds to them.
        known: types of the items in memory, which hold as well.
    """

    def __init__(
        self,
        keys: Sequence[str],
        store: WritesCatalog,
        schema: AttributeSchema,
        known: Callable[[], Mapping[str, AttributeType]],
    ) -> None:
        self._keys = [key.encode() for key in keys]
        self._store = store
        self._schema = schema
        self._known = known
        self._bodies = Bodies(MAX_ITEM_BODY_BYTES)
        self._bulk_bodies = Bodies(MAX_LINES_BYTES, MAX_LINES_HELD_BYTES)
        self._bulks = 0

    def routes(self) -> list[Route]:
        """For the app."""
        item = "/v1/items/{item_id:path}"
        return [
            Route(item, self.put, methods=["PUT"]),
            Route(item, self.patch, methods=["PATCH"]),
            Route(item, self.delete, methods=["DELETE"]),
            Route(LINES, self.bulk, methods=["POST"]),
        ]

    async def put(self, request: HttpRequest) -> Response:
        """`PUT /v1/items/{id}`: the whole item; what is not named has its default."""
        row = await self._row(request)
        with _refusing():
            item = self._parse(row)
        await self._store.write(lambda table: table.put([item]))
        return _respond(describe_item(item))

    async def patch(self, request: HttpRequest) -> Response:
        """`PATCH /v1/items/{id}`: some fields; of two at a time neither is lost."""
        row = await self._row(request)
        for _ in range(PATCH_ATTEMPTS):
            item = await self._patch(row)
            if item is not None:
                return _respond(describe_item(item))
        raise WriteRefused(409, "item_id", "expected fewer writes of one item at a time", row["id"])

    async def _patch(self, row: dict[str, Any]) -> Item | None:
        """The item with the changes; None where another write was in between."""
        item_id = row["id"]
        before = await self._store.write(lambda table: table.read(item_id))
        stored = _item(before[0], item_id) if before is not None else None
        if before is None or stored is None or stored.deleted:
            raise WriteRefused(404, "item_id", "expected an item of the catalog", item_id)
        with _refusing():
            check_fields(row)
            item = patch_item(stored, row, self._schema)
            self._schema.learn(item.attributes)
        is_written = await self._store.write(lambda table: table.swap(item, before))
        return item if is_written else None

    async def delete(self, request: HttpRequest) -> Response:
        """`DELETE /v1/items/{id}`: never shown again, unless it is put again; also one that only
        events name.
        """
        self._begin(request)
        with _refusing():
            item_id = parse_item({"id": request.path_params["item_id"]}).item_id
        await self._store.write(lambda table: table.delete(item_id))
        return _respond({"item_id": item_id, "deleted": True})

    async def bulk(self, request: HttpRequest) -> Response:
        """`POST /v1/items`: an item on each line, as `PUT` takes it; the good ones are written."""
        self._begin(request)
        async with self._bulk_bodies.reading(
            request.receive, dict(request.scope["headers"])
        ) as body:
            lines = [
                (number, line)
                for number, line in enumerate(body.split(b"\n"), start=1)
                if line.strip()
            ]
            if len(lines) > MAX_LINES:
                raise TooLarge("body", f"expected at most {MAX_LINES} lines", len(lines))
            with self._one_of_few():
                return _respond(await self._write_lines(lines))

    @contextmanager
    def _one_of_few(self) -> Iterator[None]:
        """Count a request with many lines; raises `BodyRefused` where there are enough."""
        if self._bulks >= LINES_AT_ONCE:
            expected = f"expected at most {LINES_AT_ONCE} requests with lines at a time"
            raise BodyRefused(503, "server", expected)
        self._bulks += 1
        try:
            yield
        finally:
            self._bulks -= 1

    async def _write_lines(self, lines: Sequence[tuple[int, bytes]]) -> dict[str, Any]:
        written = 0
        errors: list[dict[str, Any]] = []
        for start in range(0, len(lines), BATCH):
            began_s = time.monotonic()
            items: dict[str, Item] = {}
            for number, line in lines[start : start + BATCH]:
                try:
                    item = self._parse(read_row(line))
                except InvalidItem as error:
                    errors.append({"line": number, **error.as_dict()})
                else:
                    items[item.item_id] = item
            written += await self._write(list(items.values()))
            # half of the time is for others
            await asyncio.sleep(min(time.monotonic() - began_s, MAX_PAUSE_S))
        return {"written": written, "errors": errors}

    async def _write(self, items: list[Item]) -> int:
        if items:
            await self._store.write(lambda table: table.put(items))
        return len(items)

    async def _row(self, request: HttpRequest) -> dict[str, Any]:
        """The body's object, with the id of the path."""
        self._begin(request)
        async with self._bodies.reading(request.receive, dict(request.scope["headers"])) as body:
            with _refusing():
                row = read_row(body)
        item_id = request.path_params["item_id"]
        for name in ("id", "item_id"):
            given = row.pop(name, item_id)
            if given != item_id:
                raise InvalidRequest(name, "expected the id of the path, or none", given)
        return {"id": item_id, **row}

    def _parse(self, row: dict[str, Any]) -> Item:
        """Raises `InvalidItem`."""
        check_fields(row)
        item = parse_item(row, self._schema)
        self._schema.learn(item.attributes)
        return item

    def _begin(self, request: HttpRequest) -> None:
        """Check the key, and take the types that are known by now.

        Raises `WriteRefused`: 404 where there are no keys, 401 without one, 403 for a wrong
        one.
        """
        if not self._keys:
            raise WriteRefused(
                404, "path", "not open here: FRESHET_API_KEYS is not set", request.url.path
            )
        headers = dict(request.scope["headers"])
        if known_key(self._keys, headers) is None:
            status = 403 if KEY_HEADER in headers else 401
            raise WriteRefused(status, "X-Freshet-Key", "expected a back end's key")
        self._schema.adopt(self._known())


@contextmanager
def _refusing() -> Iterator[None]:
    """Answers what is wrong with an item by 400."""
    try:
        yield
    except InvalidItem as error:
        raise InvalidRequest(error.field, error.reason, error.value) from None


def _item(stored: bytes, item_id: str) -> Item:
    try:
        return decode(Item, stored)
    except UNREADABLE as error:
        raise WriteRefused(
            409, "item_id", f"expected an item that can be read ({error})", item_id
        ) from None


def _respond(content: Any) -> Response:
    return Response(_json.encode(content), media_type="application/json")
