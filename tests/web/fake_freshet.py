"""A hand-written collector and API with the contract's routes, for tests of what a browser sends
and shows.

It keeps what it received, and its recommendations depend on it: the last touched category comes
first.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

Wire = dict[str, Any]


@dataclass
class FakeFreshet:
    """Answers like the collector and the API; `failures` requests to the collector get a
    `failure_status` first.
    """

    catalog: list[Wire] = field(default_factory=list)
    folders: dict[str, Path] = field(default_factory=dict)  # served under /files/<name>
    pages: dict[str, str] = field(default_factory=dict)  # name -> HTML of /pages/<name>
    policy: str | None = None  # the pages' Content-Security-Policy
    failures: int = 0
    failure_status: int = 503
    retry_after: str = "0"
    keys: list[str | None] = field(default_factory=list)
    preflights: int = 0
    # the events of a failed request arrived all the same: its answer was lost
    keep_failed: bool = False
    profile_lag_s: float = 0.15  # from the collector's answer to the stored profile
    requests: list[list[Wire]] = field(default_factory=list)
    bodies: list[Wire] = field(default_factory=list)
    failed_requests: int = 0
    asked: list[Wire] = field(default_factory=list)
    experiments: list[str] = field(default_factory=list)  # that answers name
    titles: dict[str, str] = field(default_factory=dict)  # of rows, by placement
    about: str = ""  # the item that a row is about which says so
    unknown: set[str] = field(default_factory=set)  # placements answered as those of `home`
    typed: list[Wire] = field(default_factory=list)
    _arrived: dict[str, tuple[float, Wire]] = field(default_factory=dict)

    @property
    def events(self) -> list[Wire]:
        """Every event of every accepted request, repeats included."""
        return [event for request in self.requests for event in request]

    def named(self, name: str) -> list[Wire]:
        """The received events of one type."""
        return [event for event in self.events if event["event"] == name]

    def app(self) -> Starlette:
        """The ASGI app with both services' routes, and an empty page at `/blank`."""
        routes = [
            Route("/v1/events", self._collect, methods=["POST"]),
            Route("/v1/recommendations", self._recommend, methods=["POST"]),
            Route("/v1/pages", self._rows, methods=["POST"]),
            Route("/v1/rank", self._order, methods=["POST"]),
            Route("/v1/experiments/assign", self._assign, methods=["POST"]),
            Route("/v1/items/{item_id:path}/similar", self._similar),
            Route("/v1/profile", self._profile, methods=["POST"]),
            Route("/v1/search/suggest", self._suggest, methods=["POST"]),
            Route("/blank", self._blank),
            Route("/pages/{path:path}", self._page),
            Route("/files/{folder}/{name}", self._file),
        ]
        cors = Middleware(
            CORSMiddleware,
            allow_origins=["*"],
            allow_headers=["*"],
            allow_methods=["*"],
            expose_headers=["Retry-After"],
        )
        return Starlette(routes=routes, middleware=[Middleware(_CountPreflights, fake=self), cors])

    async def _blank(self, _: Request) -> Response:
        return HTMLResponse("<!doctype html><title>blank</title><body></body>")

    async def _file(self, request: Request) -> Response:
        return FileResponse(
            self.folders[request.path_params["folder"]] / request.path_params["name"]
        )

    async def _page(self, request: Request) -> Response:
        headers = {"Content-Security-Policy": self.policy} if self.policy else {}
        name = request.path_params["path"].partition("/")[0]
        return HTMLResponse(
            "<!doctype html>" + self.pages.get(name, "<title>empty</title>"), headers=headers
        )

    async def _collect(self, request: Request) -> Response:
        body = json.loads(await request.body())
        if self.failures > 0:
            self.failures -= 1
            self.failed_requests += 1
            if self.keep_failed:
                self._keep(body)
            return _problem(self.failure_status, {"Retry-After": self.retry_after})
        self.keys.append(request.query_params.get("key"))
        self._keep(body)
        errors = [
            {
                "index": index,
                "event_id": event["event_id"],
                "field": "event",
                "reason": "expected a name",
                "value": "",
            }
            for index, event in enumerate(body["events"])
            if not event["event"]
        ]
        accepted = len(body["events"]) - len(errors)
        return JSONResponse(
            {"accepted": accepted, "rejected": len(errors), "errors": errors}, status_code=202
        )

    def _keep(self, body: Wire) -> None:
        self.bodies.append(body)
        self.requests.append(body["events"])
        for event in body["events"]:
            self._arrived.setdefault(
                event["event_id"], (time.monotonic() + self.profile_lag_s, event)
            )

    def _processed(self, anonymous_id: str | None, user_id: str | None) -> list[Wire]:
        now = time.monotonic()
        return [
            event
            for due, event in self._arrived.values()
            if due <= now
            and (
                event.get("anonymous_id") == anonymous_id
                or (user_id and event.get("user_id") == user_id)
            )
        ]

    async def _profile(self, request: Request) -> Response:
        query = await request.json()
        events = self._processed(query.get("anonymous_id"), query.get("user_id"))
        return JSONResponse(self._describe(events, query.get("event_id")))

    def _describe(self, events: list[Wire], event_id: str | None) -> Wire:
        interest = Counter(category for category in map(self._category, events) if category)
        total = sum(interest.values()) or 1
        touched = [
            event for event in events if event.get("product_id") and event["event"] != "impression"
        ]
        by_type = dict(Counter(event["event"] for event in events))
        return {
            "found": bool(events),
            "contains_event": None
            if event_id is None
            else any(e["event_id"] == event_id for e in events),
            "newest_event_time": max((event["timestamp"] for event in events), default=None),
            "events_total": len(events),
            "last_category": self._category(touched[-1]) if touched else None,
            "last_item": touched[-1]["product_id"] if touched else None,
            "windows": {"1m": by_type, "5m": by_type, "1h": by_type, "24h": by_type},
            "session": {
                "events": len(events),
                "items": len({event["product_id"] for event in touched}),
            },
            "top_categories": [
                {"category": name, "interest": count / total}
                for name, count in interest.most_common(5)
            ],
            "recent_items": [
                {"id": e["product_id"], "time": e["timestamp"]} for e in reversed(touched[-10:])
            ],
            "encoded_bytes": 200 + 8 * len(events),
        }

    def _category(self, event: Wire) -> str | None:
        by_id = {item["item_id"]: item["category"] for item in self.catalog}
        category = by_id.get(event.get("product_id") or "") or event["metadata"].get("category")
        return None if category is None else str(category)

    async def _suggest(self, request: Request) -> Response:
        """The first product, its category and a query, of those that begin as what is typed."""
        question = await request.json()
        self.typed.append(question)
        typed, item = question["q"].lower(), self.catalog[0]
        found = [
            {"text": "headphones wireless", "kind": "query"},
            {"text": "headphones", "kind": "category", "id": item["category"]},
            {"text": f"Headphones: {item['title']}", "kind": "product", "id": item["item_id"]},
        ]
        suggestions = [one for one in found if one["text"].lower().startswith(typed)]
        return JSONResponse({"suggestions": suggestions, "took_ms": 0.1})

    async def _recommend(self, request: Request) -> Response:
        question = await request.json()
        self.asked.append(question)
        seen = self._processed(question.get("anonymous_id"), question.get("user_id"))
        touched = [
            e
            for e in [*seen, *question.get("events", [])]
            if e["event"] not in ("impression", "identify")
        ]
        category = next((c for c in map(self._category, reversed(touched)) if c), None)
        placement = question["placement"]
        ranked = self._rank(
            category, [e["product_id"] for e in touched if e.get("product_id")], question
        )
        return JSONResponse(
            {
                "request_id": f"r{len(self.asked)}",
                "placement": "home" if placement in self.unknown else placement,
                "title": self.titles.get(placement),
                "about": self.about if placement == "because_you_viewed" else None,
                "recommendations": [item["item_id"] for item in ranked],
                "ranked_feed": [self._entry(item, n, category) for n, item in enumerate(ranked)],
                "personalized_banner": _banner(ranked[0] if ranked else None, category),
                "served_by": "local",
                "variant": _variant(question),
                **self._tried(),
                "model_version": "prior",
                "profile": {"found": bool(seen), "events_total": len(seen)},
                "took_ms": 4.2,
            }
        )

    async def _rows(self, request: Request) -> Response:
        """The rows of a page, the last that is asked for first."""
        question = await request.json()
        self.asked.append(question)
        rows = []
        for place, row in reversed([*enumerate(question["rows"])]):
            ranked = self._rank(None, [], row)
            entries = [self._entry(item, n, None) for n, item in enumerate(ranked)]
            ids = [item["item_id"] for item in ranked]
            rows.append({"row": place, **row, "recommendations": ids, "ranked_feed": entries})
        variant = _variant(question)
        request_id = f"r{len(self.asked)}"
        return JSONResponse(
            {"request_id": request_id, "variant": variant, **self._tried(), "rows": rows}
        )

    async def _order(self, request: Request) -> Response:
        """A list as it is, all of it known."""
        question = await request.json()
        self.asked.append(question)
        answer = {"ranked": question["items"], "out_of_stock": [], "unknown": [], **self._tried()}
        variant = _variant(question)
        return JSONResponse({"request_id": f"r{len(self.asked)}", "variant": variant, **answer})

    async def _assign(self, request: Request) -> Response:
        self.asked.append(await request.json())
        return JSONResponse({"experiments": self.experiments})

    def _tried(self) -> Wire:
        return {"experiments": self.experiments} if self.experiments else {}

    async def _similar(self, request: Request) -> Response:
        query = {"item_id": request.path_params["item_id"], "n": request.query_params.get("n")}
        return JSONResponse({**query, "recommendations": [], "sources": []})

    def _rank(self, category: str | None, touched: list[str], question: Wire) -> list[Wire]:
        """Items for the placement; of one that knows of no visitor's choice, all of them."""
        hidden = {question.get("product_id"), *question.get("exclude", [])}
        under = question.get("filter", "").removeprefix("category under ").strip('"')
        found: Iterable[Wire] = (
            item
            for item in self.catalog
            if item["item_id"] not in hidden and item["category"].startswith(under)
        )
        placement = question["placement"]
        if placement == "recently_viewed":
            newest_first = list(dict.fromkeys(reversed(touched)))
            found = [item for item in found if item["item_id"] in newest_first]
            found.sort(key=lambda item: newest_first.index(item["item_id"]))
        elif placement == "because_you_viewed":
            found = list(found)[::-1] if category else []
        elif placement in ("bought_together", "cart_complements"):
            found = []
        elif placement != "trending":
            found = sorted(found, key=lambda item: item["category"] != category)
        return list(found)[: question.get("k", 20)]

    def _entry(self, item: Wire, position: int, category: str | None) -> Wire:
        match = 0.25 if item["category"] == category else 0.0
        parts = {
            "ctr": 0.3 - 0.01 * position,
            "recency": 0.1,
            "category": match,
            "interest": match / 2,
        }
        return {
            "id": item["item_id"],
            "score": sum(parts.values()),
            "parts": parts,
            "source": "category" if match else "trending",
            "position": position,
            "propensity": 1.0,
        }


class _CountPreflights:
    """Counts the requests by which a browser asks whether it may ask."""

    def __init__(self, app: ASGIApp, fake: FakeFreshet) -> None:
        self._app = app
        self._fake = fake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._fake.preflights += scope["type"] == "http" and scope["method"] == "OPTIONS"
        await self._app(scope, receive, send)


def _problem(status: int, headers: dict[str, str]) -> Response:
    reason = {"field": "events", "reason": "not now", "value": None}
    content = {
        "type": "urn:freshet:problem:test",
        "title": "A test",
        "status": status,
        "errors": [reason],
    }
    return JSONResponse(
        content, status_code=status, headers=headers, media_type="application/problem+json"
    )


def _variant(question: Wire) -> str:
    """As the API: what is popular for who denied personalization, whatever is asked for."""
    if not (question.get("consent") or {}).get("personalization", True):
        return "popular"
    return question.get("variant") or "personalized"


def _banner(item: Wire | None, category: str | None) -> Wire:
    name = (category or "everything").rpartition(".")[2].replace("_", " ")
    return {
        "id": f"banner-{category or 'welcome'}",
        "headline": f"More in {name}" if category else "Made for the long run",
        "text": "Chosen for what you have been looking at."
        if category
        else "Good things, picked with care.",
        "category": category or "",
        "product_id": item["item_id"] if item else None,
    }
