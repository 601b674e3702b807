"""The collector as an HTTP endpoint: reads a request, has it sorted, publishes, and only then answers."""

from __future__ import annotations

import hmac
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import unquote_plus

from starlette.requests import Request

from functions.addresses import address_key, client_address
from functions.answers import Cors, RawHeaders, WireResponse, response
from functions.bodies import Bodies, BodyRefused
from functions.collection import Sorted, Terms, TooMuch, sort_events
from functions.config import Config
from functions.cookie import anonymous_id_from, cookie_answer, is_secure
from functions.countries import Countries
from functions.headers import Headers
from functions.limits import TokenBuckets
from functions.privacy import Signal
from functions.problems import problem
from functions.protocols.contract import Answer, Incoming, Outcome, Reading, Refusal, Rejected
from functions.protocols.native import KEY_HEADER
from functions.protocols.values import basic_user
from functions.publisher import PublishFailed, message
from functions.routes import OWN_PATHS, ROUTES, Route
from functions.senders import Senders
from functions.sites import Site, UnknownKey
from functions.tracing import trace_id
from functions.user_agents import UserAgents
from pipeline.core.events import InvalidEvent, encode_message, format_time

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 2
SCHEMA_VERSION = "1"
BY_RATE = "rate"
MIN_LEFT_S = 0.25
"""For dead letters after events that took almost all of a request's deadline."""
_HEALTHY = Answer(200, b'{"status":"ok"}')


class Publishes(Protocol):
    """What the collector needs of a publisher."""

    async def publish(self, topic: str, messages: Sequence[Any], within_s: float | None = None) -> None:
        """Return when every message is confirmed, raise `PublishFailed` otherwise."""


class Refused(Exception):
    """A request of which nothing is taken."""

    def __init__(self, refusal: Refusal, headers: Mapping[str, str] | None = None) -> None:
        self.refusal = refusal
        self.headers = dict(headers or {})
        super().__init__(f"{refusal.status}: {refusal.field}: {refusal.reason}")

    @staticmethod
    def because(status: int, field: str, reason: str, **headers: str) -> Refused:
        """With `headers` (underscores for hyphens) that help the client."""
        return Refused(Refusal(status, field, reason), {name.replace("_", "-"): v for name, v in headers.items()})


class Call:
    """One request on its way: what is known of it so far, for whoever has to answer it."""

    __slots__ = ("address", "body", "cookie", "headers", "incoming", "method", "path", "route", "scope")

    def __init__(self, scope: Any) -> None:
        self.scope = scope
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.route: Route | None = ROUTES.get(self.path)
        self.incoming: Incoming | None = None
        self.body = b""
        self.address: str | None = None
        self.cookie: str | None = None

    def read(self, received_at: datetime) -> Incoming:
        """What the protocol may see of it."""
        query = self.scope["query_string"].decode("latin-1")
        headers = Headers(self.headers)
        self.incoming = Incoming(self.method, self.path, query, headers, self.body, received_at)
        return self.incoming


class Collector:
    """Answers requests; called as an async function of a Starlette request.

    Args:
        config: topics, sites, origins, keys, limits.
        publisher: where accepted and rejected events go.
        now: the clock, in UTC.
        clock_s: a clock that never goes back, in seconds.
        random_bits: so many random bits.
        description: what `/openapi.json` answers.
    """

    def __init__(
        self,
        config: Config,
        publisher: Publishes,
        now: Callable[[], datetime],
        clock_s: Callable[[], float],
        random_bits: Callable[[int], int],
        description: bytes = b"{}",
    ) -> None:
        self._config = config
        self._publisher = publisher
        self._now = now
        self._clock_s = clock_s
        self._random_bits = random_bits
        self._description = Answer(200, description, headers={"cache-control": "max-age=300"})
        self._bodies = Bodies()
        self._cors = Cors(config.cors_origins | config.sites.origins)
        self._per_address = _buckets(config.address_requests_per_s, config.address_burst)
        self._per_site: dict[str, TokenBuckets] = {}
        self._bot_rate = _buckets(config.bot_requests_per_s, None)
        self._agents = UserAgents(clock_s)
        countries = Countries(config.country_header, config.countries_file)
        self._senders = Senders(self._agents, countries, config.privacy, config.marks_bots)

    async def __call__(self, request: Request) -> WireResponse:
        """Answer, and turn every refusal and failure into its status code. The one place that does so."""
        call = Call(request.scope)
        extra: Mapping[str, str] | None = None
        try:
            answer = await self._answer(call, request)
        except (Refused, BodyRefused, PublishFailed) as error:
            refused = _as_refused(error)
            extra = refused.headers
            answer = self._refusal(call, refused.refusal)
        except Exception:  # the framework would log the exception's text, which may quote an event
            logger.exception("request failed", extra=self._trace(call))
            answer = self._refusal(call, Refusal(500, "server", "unexpected failure"))
        finally:
            self._bodies.release(call.body)
        if call.cookie is not None:
            extra = {**(extra or {}), "set-cookie": call.cookie}
        return response(answer, self._cors_headers(call), extra)

    async def _answer(self, call: Call, request: Request) -> Answer:
        route = call.route
        if route is None or call.method not in route.methods:
            return self._own(call)
        self._check_address(call)
        call.body = await self._bodies.read(request.receive, call.headers)
        return await self._collect(call, route)

    def _own(self, call: Call) -> Answer:
        """What is asked of the collector itself, and what nobody answers."""
        methods = OWN_PATHS.get(call.path) if call.route is None else call.route.methods
        if methods is None:
            raise Refused.because(404, "path", "expected one of the paths in /openapi.json")
        if call.method == "OPTIONS":
            return Answer(204)
        if call.method not in methods:
            allowed = [*methods, "OPTIONS"]
            raise Refused.because(405, "method", f"expected {' or '.join(allowed)}", allow=", ".join(allowed))
        return self._description if call.path == "/openapi.json" else _HEALTHY

    async def _collect(self, call: Call, route: Route) -> Answer:
        received_at = self._now()
        incoming = call.read(received_at)
        try:
            reading = route.protocol.read(incoming)
        except InvalidEvent as error:
            raise await self._unreadable(call, route, error) from None
        site = self._admitted(call, reading)
        self._check_history(call, reading, site)
        sent_id = self._sent_id(incoming, site)
        terms = self._terms(call, reading, site, sent_id)
        try:
            found = sort_events(reading, received_at, terms)
        except TooMuch as error:
            raise Refused.because(413, "events", str(error)) from None
        await self._publish(call, route, site, reading, found)
        if self._config.cookie is not None and not site.server:
            self._add_cookie(call, incoming, sent_id, found)
        rejected = [Rejected(r.index, r.error, r.event_id) for r in found.rejected]
        return route.protocol.accepted(incoming, Outcome(found.accepted, rejected, found.withheld))

    # ---- may it? -----------------------------------------------------------------------------------------------

    def _check_address(self, call: Call) -> None:
        peer = call.scope.get("client")
        forwarded = _forwarded_for(call.scope["headers"]) if b"x-forwarded-for" in call.headers else ()
        call.address = client_address(forwarded, peer[0] if peer else None)
        if self._per_address is not None:
            _check_rate(self._per_address.take(call.address or "", self._clock_s()), "address")

    def _admitted(self, call: Call, reading: Reading) -> Site:
        """The site that the request's key belongs to, where its page may send and its rate is kept."""
        try:
            site = self._config.sites.find(reading.write_key)
        except UnknownKey:
            raise Refused.because(401, "write_key", "expected the write key of a site") from None
        origin = call.headers.get(b"origin")
        if site.origins and origin is not None and origin.decode("latin-1") not in site.origins:
            raise Refused.because(403, "origin", "expected a page of one of the site's origins")
        if site.requests_per_s is not None:
            buckets = self._per_site.get(site.name)
            if buckets is None:
                made = _buckets(site.requests_per_s, site.burst)
                assert made is not None
                buckets = self._per_site[site.name] = made
            _check_rate(buckets.take(reading.write_key or "", self._clock_s()), "write_key")
        return site

    # ---- on which terms? ---------------------------------------------------------------------------------------

    def _terms(self, call: Call, reading: Reading, site: Site, sent_id: str | None) -> Terms:
        """Back ends speak for others: what their own requests look like says nothing of a visitor."""
        privacy = self._config.privacy
        if site.server or reading.history:
            return Terms(privacy, None, site.plan, site.replay_window_s, agents=self._agents, keeps_bot=True)
        sender = self._senders.of(call.headers, call.address)
        bot = BY_RATE if self._is_too_busy(call) else sender.bot
        return Terms(
            privacy,
            sender.signal,
            site.plan,
            site.replay_window_s,
            self._visitor_id(sent_id),
            sender.context,
            bot,
            self._agents,
        )

    def _is_too_busy(self, call: Call) -> bool:
        buckets = self._bot_rate
        return buckets is not None and buckets.take(call.address or "", self._clock_s()) > 0.0

    def _sent_id(self, incoming: Incoming, site: Site) -> str | None:
        cookie = self._config.cookie
        if cookie is None or site.server:
            return None
        return anonymous_id_from(incoming.headers.get("cookie"), cookie.name)

    def _visitor_id(self, sent_id: str | None) -> str | None:
        """For events that name nobody: the cookie's, or a new one, where cookies are configured."""
        return (sent_id or f"{self._random_bits(128):032x}") if self._config.cookie is not None else None

    def _add_cookie(self, call: Call, incoming: Incoming, sent_id: str | None, found: Sorted) -> None:
        assert self._config.cookie is not None
        named = next((event.anonymous_id for event in found.events if event.anonymous_id is not None), None)
        secure = is_secure(incoming.headers)
        call.cookie = cookie_answer(named, sent_id, found.consent, self._config.cookie, secure=secure)

    def _known(self, key: str | None) -> bool:
        try:
            self._config.sites.find(key)
        except UnknownKey:
            return False
        return True

    def _check_history(self, call: Call, reading: Reading, site: Site) -> None:
        if not reading.history or site.server:
            return
        given = call.headers.get(b"x-freshet-backfill-key", b"")
        key = self._config.backfill_key
        if key is None or not hmac.compare_digest(given, key.encode()):
            raise Refused.because(403, "backfill", "expected the backfill key in X-Freshet-Backfill-Key")

    # ---- what becomes of it ------------------------------------------------------------------------------------

    async def _unreadable(self, call: Call, route: Route, error: InvalidEvent) -> Refused:
        """A request of which nothing can be read goes to the dead letter whole, where it may come from a site."""
        if error.field == "events" and error.reason.startswith("expected at most"):
            return Refused(Refusal(413, error.field, error.reason, value=error.value))
        incoming = call.incoming
        assert incoming is not None
        privacy = self._config.privacy
        if privacy.signal(incoming.headers) is Signal.GPC:  # of whoever denies everything nothing is kept
            return Refused(Refusal(400, error.field, error.reason, value=error.value))
        if not any(map(self._known, presented_keys(incoming))):
            return Refused.because(401, "write_key", "expected the write key of a site")
        payload = privacy.fields.letter(incoming.body or incoming.query.encode("latin-1"))
        letter = message(payload, self._letter_attributes(call, route, None, error, incoming.received_at))
        await self._publisher.publish(self._config.dead_letter_path, [letter])
        return Refused(Refusal(400, error.field, error.reason, value=error.value))

    async def _publish(self, call: Call, route: Route, site: Site, reading: Reading, found: Sorted) -> None:
        """Events go first: after a failure the client sends all of it again, and an event stored twice is known by
        its id, a dead letter is not.
        """
        assert call.incoming is not None
        received_at = call.incoming.received_at
        started_s = self._clock_s()
        if found.events:
            attributes = self._attributes(call, route, site, reading, received_at)
            await self._publisher.publish(self._config.events_path, [message(encode_message(found.events), attributes)])
        letters = [
            message(r.payload, self._letter_attributes(call, route, site, r.error, received_at))
            for r in found.rejected
            if r.payload is not None
        ]
        if letters:
            left_s = max(started_s + self._config.publish_deadline_s - self._clock_s(), MIN_LEFT_S)
            await self._publisher.publish(self._config.dead_letter_path, letters, left_s)
        if found.rejected:
            self._log_rejected(call, found)

    def _attributes(
        self, call: Call, route: Route, site: Site, reading: Reading, received_at: datetime
    ) -> dict[str, str]:
        attributes = {
            "schema_version": SCHEMA_VERSION,
            "site": site.name,
            "ingest_time": format_time(received_at),
            "trace_id": trace_id(call.headers, self._random_bits(128)),
            "protocol": route.name,
        }
        if reading.history:  # comes from us, whoever the visitors were
            attributes["backfill"] = "1"
        elif not site.server and b"sp-anonymous" not in call.headers and (address := self._address_key(call)):
            attributes["address"] = address
        return attributes

    def _address_key(self, call: Call) -> str | None:
        """The key of the client's network, where there is a secret to make it with."""
        secret = self._config.address_key
        return None if secret is None else address_key(call.address, secret)

    def _letter_attributes(
        self, call: Call, route: Route, site: Site | None, error: InvalidEvent, received_at: datetime
    ) -> dict[str, str]:
        attributes = {
            "source": "collector",
            "field": error.field[:256],
            "reason": error.reason[:256],
            "received_at": format_time(received_at),
            "protocol": route.name,
        }
        if site is not None:
            attributes["site"] = site.name
        if route.name != "native":
            attributes["path"] = call.path
        return attributes

    def _log_rejected(self, call: Call, found: Sorted) -> None:
        fields = sorted({rejection.error.field for rejection in found.rejected})
        counts = {"accepted": found.accepted, "rejected": len(found.rejected), "fields": fields}
        logger.info("events rejected", extra=counts | self._trace(call))

    # ---- how it is told ----------------------------------------------------------------------------------------

    def _refusal(self, call: Call, refusal: Refusal) -> Answer:
        """In the shape that the client's SDK knows."""
        if call.route is None:
            return problem(refusal)
        incoming = call.incoming or call.read(self._now())
        return call.route.protocol.refused(incoming, refusal)

    def _cors_headers(self, call: Call) -> RawHeaders:
        methods = None
        if call.method == "OPTIONS":
            methods = ", ".join(call.route.methods if call.route else OWN_PATHS.get(call.path, ()))
        return self._cors.headers(call.headers.get(b"origin"), methods)

    def _trace(self, call: Call) -> dict[str, str]:
        trace = call.headers.get(b"x-cloud-trace-context", b"").partition(b"/")[0].decode("latin-1")
        return {"logging.googleapis.com/trace": f"projects/{self._config.project}/traces/{trace}"} if trace else {}


def presented_keys(incoming: Incoming) -> list[str | None]:
    """All that may be a write key in a request whose body tells nothing; None first, for a collector without keys."""
    keys: list[str | None] = [None, incoming.headers.get(KEY_HEADER), basic_user(incoming.headers)]
    return keys + [unquote_plus(pair.partition("=")[2]) for pair in incoming.query[:4096].split("&")[:64]]


def _buckets(rate_per_s: float | None, burst: float | None) -> TokenBuckets | None:
    return None if rate_per_s is None else TokenBuckets(rate_per_s, burst or max(2 * rate_per_s, 1.0))


def _check_rate(wait_s: float, sender: str) -> None:
    if wait_s > 0.0:
        wait = max(1, math.ceil(wait_s))
        refusal = Refusal(429, sender, "expected fewer requests", retry_after_s=wait)
        raise Refused(refusal, {"retry-after": str(wait)})


def _as_refused(error: Refused | BodyRefused | PublishFailed) -> Refused:
    if isinstance(error, Refused):
        return error
    return _refused_body(error) if isinstance(error, BodyRefused) else _not_stored()


def _refused_body(error: BodyRefused) -> Refused:
    """A body that was not read to its end takes its connection along."""
    headers = {"retry-after": str(RETRY_AFTER_S)} if error.status == 503 else {}
    if error.status in (408, 413):
        headers["connection"] = "close"
    wait = RETRY_AFTER_S if error.status == 503 else None
    return Refused(Refusal(error.status, error.field, error.reason, wait), headers)


def _not_stored() -> Refused:
    refusal = Refusal(503, "server", "not stored, send the same request again", RETRY_AFTER_S)
    return Refused(refusal, {"retry-after": str(RETRY_AFTER_S)})


def _forwarded_for(headers: Sequence[tuple[bytes, bytes]]) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
