"""A collector and an API in one small server: real HTTP, simple rules, for the simulator's own
tests.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from pipeline.core.events import parse_event
from pipeline.core.invalid_event import InvalidEvent
from tests.simulator.catalog import Product

BACKFILL_KEY = "let me in"


@dataclass
class FakeFreshet:
    """Validates and remembers events; shows a visitor the category viewed last, and others the
    bestsellers.

    Args:
        products: what there is to recommend.
        delay_s: how long an event takes into its visitor's profile.
        refusals: how many messages are refused with 503 before the first is taken.
        blind: recommendations never change.
    """

    products: Sequence[Product]
    delay_s: float = 0.0
    refusals: int = 0
    blind: bool = False
    url: str = ""
    messages: list[list[dict[str, Any]]] = field(default_factory=list)
    questions: list[dict[str, Any]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)  # "events" and "question" as they came
    _arrivals: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    _views: Counter[str] = field(default_factory=Counter)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Everything taken, in order."""
        return [event for message in self.messages for event in message]

    async def collect(self, request: web.Request) -> web.Response:
        """POST /v1/events"""
        body = await request.json()
        if self.refusals:
            self.refusals -= 1
            return web.json_response({}, status=503, headers={"Retry-After": "1"})
        backfill = bool(body.get("backfill"))
        if backfill and request.headers.get("X-Freshet-Backfill-Key") != BACKFILL_KEY:
            return web.json_response({"error": "backfill"}, status=403)
        taken, errors = [], []
        for index, raw in enumerate(body["events"]):
            try:
                parse_event(raw, ingest_time=datetime.now(UTC), backfill=backfill)
                taken.append(raw)
            except InvalidEvent as error:
                errors.append({"index": index, "event_id": raw.get("event_id"), **error.as_dict()})
        self.order.append("events")
        self.messages.append(taken)
        self._arrivals.extend((time.monotonic() + self.delay_s, event) for event in taken)
        self._views.update(
            event["product_id"] for event in taken if event["event"] == "view_product"
        )
        answer = {"accepted": len(taken), "rejected": len(errors), "errors": errors}
        return web.json_response(answer, status=202)

    async def recommend(self, request: web.Request) -> web.Response:
        """POST /v1/recommendations"""
        question = await request.json()
        self.questions.append(question)
        self.order.append("question")
        known = self._folded(question)
        views = [
            event for event in [*known, *question["events"]] if event["event"] == "view_product"
        ]
        ids = [product.id for product in self.products] if self.blind else self._popular()
        if views and question.get("variant") != "popular" and not self.blind:
            category = next(p.category for p in self.products if p.id == views[-1]["product_id"])
            ids = [product.id for product in self.products if product.category == category]
        ids = ids[: question["k"]]
        return web.json_response(
            {
                "request_id": f"r{len(self.questions)}",
                "recommendations": ids,
                "ranked_feed": [
                    {"id": name, "position": n, "propensity": 0.5} for n, name in enumerate(ids)
                ],
                "served_by": "local",
                "variant": question.get("variant", "personalized"),
                "profile": {
                    "found": bool(known),
                    "last_event_id": known[-1]["event_id"] if known else None,
                    "newest_event_time": known[-1]["timestamp"] if known else None,
                },
                "took_ms": 1.0,
            }
        )

    async def profile(self, request: web.Request) -> web.Response:
        """GET /v1/profile"""
        known = self._folded(dict(request.query))
        contains = any(event["event_id"] == request.query["event_id"] for event in known)
        return web.json_response({"found": bool(known), "contains_event": contains})

    async def health(self, _: web.Request) -> web.Response:
        """GET /healthz"""
        return web.json_response(
            {"status": "ok", "items": len(self.products), "model_version": "fake"}
        )

    def _folded(self, identity: dict[str, Any]) -> list[dict[str, Any]]:
        now = time.monotonic()
        keys = [name for name in ("user_id", "anonymous_id") if name in identity]
        return [
            event
            for ready, event in self._arrivals
            if ready <= now and any(event.get(key) == identity[key] for key in keys)
        ]

    def _popular(self) -> list[str]:
        rest = [product.id for product in self.products[:100]]
        return list(dict.fromkeys([*(item for item, _ in self._views.most_common(100)), *rest]))


@asynccontextmanager
async def serving(fake: FakeFreshet) -> AsyncIterator[FakeFreshet]:
    """Serve the fake on a free port of the loopback; `fake.url` says where."""
    application = web.Application()
    application.router.add_post("/v1/events", fake.collect)
    application.router.add_post("/v1/recommendations", fake.recommend)
    application.router.add_get("/v1/profile", fake.profile)
    application.router.add_get("/healthz", fake.health)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()
