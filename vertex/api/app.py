"""The API's HTTP face."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from random import Random
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from pipeline.core.attributes import AttributeSchema
from pipeline.core.catalog_rows import describe_item
from pipeline.core.item_columns import ItemColumns
from pipeline.core.privacy.signals import Signal
from pipeline.core.profile import UserProfile
from pipeline.core.profile_view import readable
from pipeline.runtime.bodies import Bodies, BodyRefused
from pipeline.runtime.clock import now_ms
from pipeline.runtime.concurrency import LimitsRequests
from pipeline.runtime.headers import Headers, by_name
from pipeline.store.item_snapshot import InvalidSnapshot, load_items
from pipeline.store.serving import AsyncStore
from vertex.api.breaker import Unavailable
from vertex.api.browser_context import R, in_browsers_context
from vertex.api.catalog_changes import CatalogTail
from vertex.api.catalog_routes import LINES, CatalogRoutes, WriteRefused
from vertex.api.config import Config
from vertex.api.contract import (
    InvalidRequest,
    ProfileRequest,
    TooLarge,
    UnprovenUser,
    check_user,
    moment_ms,
    parse_page_request,
    parse_profile_request,
    parse_rank_request,
    parse_request,
    parse_suggest_request,
    parse_visitor_request,
    profile_keys,
)
from vertex.api.deadline import TooLate
from vertex.api.endpoint import Endpoint
from vertex.api.experiments_file import Trials, load_trials
from vertex.api.items import ItemCache
from vertex.api.latest_model import LatestModel
from vertex.api.middleware import HEALTH, AnswersFaults, LimitsRates
from vertex.api.placements import Placements
from vertex.api.placements_file import load_placements
from vertex.api.rank import ListRanker
from vertex.api.ranking import PROBE_S, Ranker
from vertex.api.rates import Rates
from vertex.api.reader import Reader
from vertex.api.recommend import Recommender
from vertex.api.responses import error_response, refused, refused_body, respond, timed, unavailable
from vertex.api.similar import MAX_AGE_S, SimilarItems, UnknownItem, etag_of
from vertex.api.situations import Situations
from vertex.api.slates import Slates
from vertex.api.suggest.refresh import Suggestions
from vertex.api.suggest.route import SuggestRoute
from vertex.api.tally import Tally
from vertex.api.text_encoding import TextEncoding
from vertex.api.timing import StageTimer
from vertex.api.trending import TrendingCache
from vertex.api.trials import TriedPlacements
from vertex.api.visitor import Visitors, readable_time
from vertex.text_model import load_text_encoder

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1_000_000
GARBAGE_THRESHOLD = 50_000
# Answered at a time: enough to fill the processor while some wait for Bigtable and Vertex, and so
# few that each has it soon.
AT_ONCE = 8
# A request that cannot be begun so soon is refused: its page has gone on without it.
MAX_WAIT_S = 0.1
# More than this would not be begun in time: the processor begins some 150 a second.
MAX_WAITING = 240
# What the start may wait for the catalog; without it the service starts all the same.
LOAD_S = 10.0


class Api:
    """The parts, wired, and one method for each route.

    Made within a running event loop.
    """

    def __init__(self, config: Config, placements: Placements, trials: Trials) -> None:
        self._config = config
        self._tried = TriedPlacements(config, placements, trials)
        endpoint = None
        if config.vertex_endpoint:
            timeout_s = max(config.vertex_deadline_s, PROBE_S)
            endpoint = Endpoint(config.vertex_endpoint, config.vertex_host, timeout_s)
        self._model = LatestModel(config.model_dir)
        self._reader = Reader(
            lambda: AsyncStore(config.project, config.instance, config.item_ttl_days),
            config.bigtable_deadline_s,
        )
        self._items = ItemCache(self._reader, config.max_items, declared=config.attributes)
        self._changes = CatalogTail(self._reader, self._items.reread, now_ms)
        self.catalog = CatalogRoutes(
            config.api_keys,
            self._reader,
            AttributeSchema(config.attributes),
            lambda: self._items.columns.attributes.types,
        )
        self._texts = TextEncoding(self._items, load_text_encoder)
        self._trending = TrendingCache(self._reader)
        self._ranker = Ranker(endpoint, self._model, config.vertex_deadline_s)
        self._tally = Tally()
        self._snapshot: dict[str, Any] | None = None
        self._bodies = Bodies(MAX_BODY_BYTES)
        self._visitors = Visitors(self._reader, self._items, config.privacy)
        self._suggestions = Suggestions(self._reader, lambda: self._items.columns)
        self._suggest = SuggestRoute(
            self._suggestions, self._visitors, config.privacy, config.profile_view
        )
        situations = Situations(self._items, self._trending, self._model, config.recommend_stubs)
        slates = Slates(
            placements=placements,
            items=self._items,
            situations=situations,
            ranker=self._ranker,
            model=self._model,
            rng=Random(),
        )
        self._recommender = Recommender(
            config=config,
            placements=self._tried,
            visitors=self._visitors,
            items=self._items,
            slates=slates,
            now=now_ms,
            tally=self._tally,
        )
        self._list_ranker = ListRanker(
            placements=self._tried,
            visitors=self._visitors,
            items=self._items,
            ranker=self._ranker,
            model=self._model,
            now=now_ms,
            tally=self._tally,
        )
        self._similar_items = SimilarItems(placements, self._items, slates, now_ms)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load what there is, keep it fresh, and close at the end."""
        await asyncio.to_thread(self._model.refresh)
        await self._load()
        _spare_garbage_collector()
        tasks = [
            _forever(self._reader.watch()),
            _forever(self._ranker.watch()),
            _forever(self._items.keep_fresh()),
            _forever(self._changes.follow()),
            _forever(self._suggestions.keep_fresh()),
            _forever(self._texts.keep_encoding()),
            _forever(self._model.follow()),
            _forever(self._tally.keep_reporting()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._ranker.aclose()
            await self._reader.close()

    async def _load(self) -> None:
        if self._config.snapshot_dir and await self._load_snapshot(self._config.snapshot_dir):
            return
        try:
            async with asyncio.timeout(LOAD_S):
                await self._reader.ping()
                await self._items.load()
        except Exception as error:  # an empty shop that fills up is better than none
            log.error("starting without the catalog: %s", reason_of(error))

    async def _load_snapshot(self, directory: str) -> bool:
        """Start from the snapshot; False where that cannot be read."""
        columns, began_s = ItemColumns(self._config.attributes), time.monotonic()
        try:
            header = await asyncio.to_thread(load_items, directory, columns, self._config.max_items)
        except InvalidSnapshot as error:
            log.error("starting without the snapshot in %s: %s", directory, error)
            self._snapshot = {"error": str(error)}
            return False
        await self._items.start_from(columns, header)
        try:
            async with asyncio.timeout(LOAD_S):
                await self._changes.catch_up(header.began_ms)
        except (Unavailable, TimeoutError) as error:
            log.error("changes since the snapshot are late: %s", reason_of(error))
        self._snapshot = {"items": header.items, "began": readable_time(header.began_ms)}
        log.info("items from the snapshot in %.1f s", time.monotonic() - began_s)
        return True

    async def recommend(self, request: HttpRequest) -> Response:
        """`POST /v1/recommendations`."""
        watch = StageTimer()
        async with self._body(request) as body:
            question = parse_request(body, self._config.allow_as_of, self._config.profile_view)
        question, signal = self._seen(request, question)
        watch.lap("parse")
        return timed(await self._recommender.answer(question, watch, signal), watch)

    async def page(self, request: HttpRequest) -> Response:
        """`POST /v1/pages`: the rows of a page."""
        watch = StageTimer()
        async with self._body(request) as body:
            question = parse_page_request(body, self._config.allow_as_of, self._config.profile_view)
        question, signal = self._seen(request, question)
        watch.lap("parse")
        return timed(await self._recommender.answer_page(question, watch, signal), watch)

    async def rank(self, request: HttpRequest) -> Response:
        """`POST /v1/rank`."""
        watch = StageTimer()
        async with self._body(request) as body:
            question = parse_rank_request(body, self._config.allow_as_of, self._config.profile_view)
        question, signal = self._seen(request, question)
        watch.lap("parse")
        return timed(await self._list_ranker.answer(question, watch, signal), watch)

    async def assign(self, request: HttpRequest) -> Response:
        """`POST /v1/experiments/assign`: the visitor's variants of all experiments that run."""
        async with self._body(request) as body:
            question = parse_visitor_request(body, self._config.allow_as_of)
        question, signal = self._seen(request, question)
        at_ms = moment_ms(question.as_of, now_ms)
        visitor = await self._visitors.who_asks(question, at_ms, "", signal)
        assigned = self._tried.assigned(question, visitor)
        return respond({"experiments": [], **self._tried.described(assigned)})

    async def suggest(self, request: HttpRequest) -> Response:
        """`GET` and `POST /v1/search/suggest`: how a query may go on; ids are better in a body."""
        if request.method == "POST":
            async with self._body(request) as body:
                question = parse_suggest_request(body)
        else:
            question = parse_suggest_request(request.query_params)
        check_user(question, self._config.privacy.user_key)
        return await self._suggest.answer(question, self._config.privacy.signal(_headers(request)))

    def _seen(self, request: HttpRequest, question: R) -> tuple[R, Signal | None]:
        """The question of a visitor whose user id is proven, with the browser's context, and the
        browser's signal.
        """
        check_user(question, self._config.privacy.user_key)
        headers = _headers(request)
        question = in_browsers_context(question, headers, self._config.country_header)
        return question, self._config.privacy.signal(headers)

    async def profile(self, request: HttpRequest) -> Response:
        """`POST /v1/profile`, and `GET` with a query for people with curl: the stored profile,
        readable.

        Who knows an id may look, so `Config.profile_view` opens it; ids in a query string end up in
        access logs.
        """
        if not self._config.profile_view:
            return error_response(
                404,
                InvalidRequest(
                    "path", "not open here: FRESHET_PROFILE_VIEW is not set", "/v1/profile"
                ),
            )
        question = await self._profile_question(request)
        check_user(question, self._config.privacy.user_key)
        at_ms = moment_ms(question.as_of, now_ms)
        fields = self._config.privacy.fields
        user_id, anonymous_id = (
            fields.apply_id(name, getattr(question, name)) for name in ("user_id", "anonymous_id")
        )
        profile = await self._visitors.stored(profile_keys(user_id, anonymous_id))
        return respond(describe_profile(profile, question, at_ms))

    async def _profile_question(self, request: HttpRequest) -> ProfileRequest:
        if request.method != "POST":
            return parse_profile_request(request.query_params, self._config.allow_as_of)
        async with self._body(request) as body:
            return parse_profile_request(body, self._config.allow_as_of)

    def _body(self, request: HttpRequest) -> AbstractAsyncContextManager[bytes]:
        return self._bodies.reading(request.receive, dict(request.scope["headers"]))

    async def item(self, request: HttpRequest) -> Response:
        """`GET /v1/items/{id}`: what the catalog says, and live statistics."""
        item_id = request.path_params["item_id"]
        with suppress(Unavailable):  # then as last known
            await self._items.ensure([item_id], 0.0, 0.0)
        row = self._items.last_read(item_id)
        if row is None:
            return error_response(404, InvalidRequest("item_id", "expected a known item", item_id))
        return respond({**describe_item(row.item), "stats": row.stats.describe(now_ms())})

    async def similar(self, request: HttpRequest) -> Response:
        """`GET /v1/items/{id}/similar`."""
        item_id = request.path_params["item_id"]
        answer = await self._similar_items.answer(item_id, request.query_params)
        response = respond(answer)
        etag = etag_of(bytes(response.body))
        headers = {"cache-control": f"public, max-age={MAX_AGE_S}", "etag": etag}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        response.headers.update(headers)
        return response

    async def health(self, _: HttpRequest) -> Response:
        """`GET /healthz`: this process answers; which parts answer it."""
        return respond(
            {
                "status": "ok",
                "bigtable": self._reader.is_up,
                "unreadable": self._reader.unreadable,
                "vertex": self._ranker.is_up,
                **self._items.describe(),
                "suggestions": self._suggestions.describe(),
                **self._texts.describe(),
                "snapshot": self._snapshot,
                "model_version": self._model().version,
            }
        )


def _headers(request: HttpRequest) -> Headers:
    return Headers(by_name(request.scope["headers"]))


def reason_of(error: Exception) -> str:
    """The error's message; its type where it has none, as a timeout's."""
    return str(error) or type(error).__name__


def describe_profile(
    profile: UserProfile | None, asked: ProfileRequest, at_ms: int
) -> dict[str, Any]:
    """The profile for people: an unknown visitor's is empty."""
    known = profile if profile is not None else UserProfile()
    described = readable(known, at_ms)
    described["recent_items"] = [
        {"id": item_id, "time": readable_time(time_ms)}
        for item_id, time_ms in known.recent_items(at_ms, 20)
    ]
    return {
        "found": profile is not None,
        "contains_event": contains_event(known, asked),
        "newest_event_time": readable_time(known.newest_ms),
        "last_event_id": known.last_event[1] or None,
        **described,
        "encoded_bytes": len(known.encode()) if profile is not None else 0,
    }


def contains_event(profile: UserProfile, asked: ProfileRequest) -> bool | None:
    """True where the profile holds the event that the request names; None where it names none."""
    if asked.event_id is None or asked.event is None:
        return None
    return profile.contains(asked.event_id, asked.event, asked.product_id)


def create_app(config: Config) -> Starlette:
    """The ASGI app for one configuration; clients are made when it starts, within its event loop.

    Raises:
        InvalidConfig: naming all that is wrong in the file of placements, or of experiments.
    """
    fields = ItemColumns(config.attributes).fields.types
    placements = load_placements(config, fields)
    trials = load_trials(config, fields, placements)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        api = Api(config, placements, trials)
        app.router.routes.extend(
            [
                Route("/v1/recommendations", api.recommend, methods=["POST"]),
                Route("/v1/pages", api.page, methods=["POST"]),
                Route("/v1/rank", api.rank, methods=["POST"]),
                Route("/v1/search/suggest", api.suggest, methods=["GET", "POST"]),
                Route("/v1/experiments/assign", api.assign, methods=["POST"]),
                Route("/v1/profile", api.profile, methods=["GET", "POST"]),
                Route("/v1/items/{item_id:path}/similar", api.similar),
                Route("/v1/items/{item_id:path}", api.item),
                *api.catalog.routes(),
                Route(HEALTH, api.health),
            ]
        )
        async with api.running():
            yield

    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(config.cors_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["content-type"],
        expose_headers=["server-timing", "retry-after"],
        max_age=86_400,
    )
    return Starlette(
        lifespan=lifespan,
        middleware=[
            cors,
            Middleware(LimitsRates, rates=Rates(config, time.monotonic)),
            Middleware(
                LimitsRequests,
                refusal=refused(InvalidRequest("server", "expected fewer requests at a time")),
                max_requests=AT_ONCE,
                max_waiting=MAX_WAITING,
                max_wait_s=MAX_WAIT_S,
                free_paths=[HEALTH, LINES],
            ),
            Middleware(AnswersFaults),
        ],  # a page that may not read an answer cannot tell it from an outage
        exception_handlers={
            InvalidRequest: lambda _, error: error_response(400, error),
            UnknownItem: lambda _, error: error_response(404, error),
            TooLarge: lambda _, error: error_response(413, error),
            BodyRefused: refused_body,
            WriteRefused: lambda _, error: error_response(error.status, error),
            UnprovenUser: lambda _, error: error_response(error.status, error),
            Unavailable: unavailable,
            TooLate: lambda _, error: refused(InvalidRequest("deadline_ms", str(error))),
        },
    )


def _spare_garbage_collector() -> None:
    """Items live long and hold no cycles: walking them all now and then would make an answer wait
    for 0.1 s.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 100)


def _forever(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run in the background; should it ever end by an error, say so."""
    task = asyncio.create_task(work)
    task.add_done_callback(_say_why)
    return task


def _say_why(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a background task ended", exc_info=task.exception())
