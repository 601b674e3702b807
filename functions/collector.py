"""The collector as an HTTP endpoint: reads a request, sorts its events, publishes, and only then
answers.

`_prepare` makes every decision about a request; it waits for nothing, and lets other requests run
where there are many events. Only messages and answer wait for Pub/Sub: under load hundreds of
requests wait at once, and processor caches and garbage collector have to go through all they hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from starlette.requests import Request

from functions.accept import Rejection, Sorted, Terms, sort_slices
from functions.access.admission import Admission, is_replay
from functions.access.sites import Site
from functions.call import Call
from functions.config import Config
from functions.enrich.countries import Countries
from functions.enrich.senders import Senders
from functions.enrich.user_agents import UserAgents
from functions.http.answers import Cors, CorsHeaders, WireResponse, response
from functions.http.bodies import MAX_BODY_BYTES, decoded
from functions.http.cookie import anonymous_id_from, cookie_answer, is_secure
from functions.http.exchange import Answer, Incoming, Refusal
from functions.http.problems import problem
from functions.http.tracing import given_trace_id, trace_id
from functions.message_attributes import dead_letter_attributes, event_attributes, keyless
from functions.messages import message_body, messages_of, parts
from functions.protocols.contract import Outcome, Reading, Rejected
from functions.publisher import MAX_CALL_MESSAGES, PublishFailed, message
from functions.refusals import Refused, as_refused, no_such_path, too_much
from functions.routes import OWN_PATHS, Route
from pipeline.core.invalid_event import InvalidEvent, TooMuch
from pipeline.core.privacy.addresses import address_key
from pipeline.core.privacy.consent import GRANTED
from pipeline.core.privacy.consent_search import search_consent
from pipeline.runtime.addresses import address_of
from pipeline.runtime.bodies import Bodies, BodyRefused

logger = logging.getLogger(__name__)

BY_RATE = "rate"
MIN_LEFT_S = 0.25
"""For dead letters after events that took almost all of a request's deadline."""
_HEALTHY = Answer(200, b'{"status":"ok"}')


class Publishes(Protocol):
    """A publisher, as the collector needs it."""

    async def publish(
        self, topic: str, messages: Sequence[Any], within_s: float | None = None
    ) -> None:
        """Return when every message is confirmed, raise `PublishFailed` otherwise."""


class Prepared(NamedTuple):
    """Messages of a request for the two topics, and the answer once they are confirmed."""

    events: list[Any]
    dead_letters: list[Any]
    answer: Answer


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
        self._bodies = Bodies(MAX_BODY_BYTES, unpack=decoded)
        self._cors = Cors(config.cors_origins | config.sites.origins)
        self._admission = Admission(
            config.sites,
            clock_s,
            backfill_key=config.backfill_key,
            address_requests_per_s=config.address_requests_per_s,
            address_burst=config.address_burst,
            bot_requests_per_s=config.bot_requests_per_s,
        )
        self._agents = UserAgents(clock_s)
        countries = Countries(config.country_header, config.countries_file)
        self._senders = Senders(self._agents, countries, config.privacy, config.marks_bots)

    async def __call__(self, request: Request) -> WireResponse:
        """Answer, and turn every refusal and failure into its status code.

        The one place that does so.
        """
        call = Call(request.scope)
        extra: Mapping[str, str] | None = None
        try:
            answer = await self._answer(call, request)
        except (Refused, BodyRefused, PublishFailed) as error:
            refused = as_refused(error)
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
        self._admission.check_address(call.scope)
        call.body = await self._bodies.read(request.receive, call.headers)
        try:
            prepared = await self._prepare(call, route)
        except Refused as refused:
            if refused.dead_letter is not None:
                await self._publisher.publish(self._config.dead_letter_path, [refused.dead_letter])
            raise
        await self._store(prepared)
        return prepared.answer

    async def _store(self, prepared: Prepared) -> None:
        """Events go first: after a failure the client sends all of it again, and an event stored
        twice is known by its id, a dead letter is not.
        """
        events, dead_letters, _ = prepared
        if not dead_letters:
            if events:
                await self._publisher.publish(self._config.events_path, events)
            return
        started_s = self._clock_s()
        if events:
            await self._publisher.publish(self._config.events_path, events)
        for part in parts(dead_letters, MAX_CALL_MESSAGES):
            left_s = max(started_s + self._config.publish_deadline_s - self._clock_s(), MIN_LEFT_S)
            await self._publisher.publish(self._config.dead_letter_path, part, left_s)

    def _own(self, call: Call) -> Answer:
        """Answers of the collector itself, and to paths that it does not have."""
        methods = OWN_PATHS.get(call.path) if call.route is None else call.route.methods
        if methods is None:
            raise Refused.because(404, "path", no_such_path(call.path))
        if call.method == "OPTIONS":
            return Answer(204)
        if call.method not in methods:
            allowed = [*methods, "OPTIONS"]
            expected = f"expected {' or '.join(allowed)}"
            raise Refused.because(405, "method", expected, allow=", ".join(allowed))
        if call.path == "/openapi.json":
            return self._description
        return _HEALTHY

    # ---- messages and answer

    async def _prepare(self, call: Call, route: Route) -> Prepared:
        received_at = self._now()
        incoming = call.incoming(received_at)
        try:
            reading = route.protocol.read(incoming)
        except InvalidEvent as error:
            raise self._unreadable(call, route, incoming, error) from None
        site = self._admission.site_of(reading, call.headers)
        sent_id = self._sent_id(incoming, site)
        terms = self._terms(call, reading, site, sent_id)
        try:
            found = await _sorted(reading, received_at, terms, len(call.body))
            bodies = [message_body(events) for events in messages_of(found.events, received_at)]
        except TooMuch as error:
            raise too_much(error) from None
        if self._config.cookie is not None and not site.server:
            anonymous_id = self._cookie_id(call, found, terms.visitor_id)
            secure = is_secure(incoming.headers)
            call.cookie = cookie_answer(
                anonymous_id, sent_id, found.consent, self._config.cookie, secure=secure
            )
        events: list[Any] = []
        if bodies:
            attributes = self._attributes(call, route, site, reading, received_at)
            events = [message(body, attributes) for body in bodies]
        dead_letters: list[Any] = []
        if found.rejected:
            self._log_rejected(call, found)
            dead_letters = self._dead_letters(call, route, site, received_at, found.rejected)
        return Prepared(events, dead_letters, _answer_of(route, incoming, found))

    def _unreadable(
        self, call: Call, route: Route, incoming: Incoming, error: InvalidEvent
    ) -> Refused:
        """A request of which nothing can be read goes to the dead letter whole, where it may come
        from a site.

        Not where anything that can still be read is against it: whose consent it is, is not known
        any more. Nor where fields of it would have to be dropped or hashed, which cannot be found.
        """
        if isinstance(error, TooMuch):
            return too_much(error)
        refusal = Refusal(400, error.field, error.reason, value=error.value)
        site, keys = self._admission.site_of_unread(incoming, call.headers)
        privacy, text = self._config.privacy, incoming.body or incoming.query.encode("latin-1")
        signal = None if site.server else privacy.signal(incoming.headers)
        consent = search_consent(text, signal, privacy.default)
        kept = privacy.fields.dead_letter(text) if consent.analytics else None
        if kept is None:
            return Refused(refusal)
        unproven = privacy.user_key is not None and not site.server
        attributes = dead_letter_attributes(
            route,
            incoming.path,
            site,
            error,
            incoming.received_at,
            consent,
            sender=site.sender(call.headers),
            unproven=unproven,
        )
        return Refused(refusal, dead_letter=message(keyless(kept, keys), attributes))

    def _dead_letters(
        self,
        call: Call,
        route: Route,
        site: Site,
        received_at: datetime,
        rejections: Sequence[Rejection],
    ) -> list[Any]:
        """Dead letters of those rejected events that may be logged."""
        dead_letters = []
        sender = site.sender(call.headers)
        for rejection in rejections:
            if rejection.payload is None:
                continue
            attributes = dead_letter_attributes(
                route,
                call.path,
                site,
                rejection.error,
                received_at,
                rejection.consent,
                sender=sender,
                unproven=rejection.unproven,
            )
            dead_letters.append(message(rejection.payload, attributes))
        return dead_letters

    def _attributes(
        self, call: Call, route: Route, site: Site, reading: Reading, received_at: datetime
    ) -> dict[str, str]:
        return event_attributes(
            route,
            site,
            received_at,
            trace_id(call.headers, self._random_bits(128)),
            sender=site.sender(call.headers),
            history=reading.history,
            address=self._address_key(call, reading, site),
        )

    def _address_key(self, call: Call, reading: Reading, site: Site) -> str | None:
        """The key of the visitor's network; a back end's or our own address is not a visitor's."""
        secret = self._config.address_key
        if secret is None or site.server or reading.history or b"sp-anonymous" in call.headers:
            return None
        return address_key(address_of(call.scope), secret)

    # ---- terms

    def _terms(self, call: Call, reading: Reading, site: Site, sent_id: str | None) -> Terms:
        """The request's terms. Back ends send for others: the headers of their own requests say
        nothing of a visitor.
        """
        privacy = self._config.privacy
        # the consent of a replay's visitors was resolved before: a denial stands in the events
        if is_replay(call.headers):
            privacy = replace(privacy, default=GRANTED)
        if site.server or reading.history:
            return Terms(
                privacy=privacy,
                plan=site.plan,
                replay_window_s=site.replay_window_s,
                agents=self._agents,
                keeps_bot=True,
                secret=reading.write_key if site.server else None,
            )
        sender = self._senders.of(call.headers, call.scope)
        return Terms(
            privacy=privacy,
            signal=sender.signal,
            plan=site.plan,
            replay_window_s=site.replay_window_s,
            visitor_id=self._visitor_id(sent_id),
            context=sender.context,
            bot=BY_RATE if self._admission.is_too_busy(call.scope) else sender.bot,
            agents=self._agents,
            user_key=privacy.user_key,
        )

    def _sent_id(self, incoming: Incoming, site: Site) -> str | None:
        cookie = self._config.cookie
        if cookie is None or site.server:
            return None
        return anonymous_id_from(incoming.headers.get("cookie"), cookie.name)

    def _visitor_id(self, sent_id: str | None) -> str | None:
        """For events that name no visitor: the cookie's, or a new one, where cookies are
        configured.
        """
        if self._config.cookie is None:
            return None
        return sent_id or f"{self._random_bits(128):032x}"

    def _cookie_id(self, call: Call, found: Sorted, visitor_id: str | None) -> str | None:
        """The anonymous id for the cookie.

        An id that a request brings may be anybody's: any page or mail can show an image, any page
        can send a form. So it counts only from a listed page, which browsers name with every POST,
        and not out of an image's address.
        """
        ids = (event.anonymous_id for event in found.events)
        named = next((anonymous_id for anonymous_id in ids if anonymous_id is not None), None)
        origin = call.headers.get(b"origin")
        if call.method == "POST" and origin is not None:
            return named if self._cors.lists(origin) else None
        own = self._config.privacy.fields.apply_id("anonymous_id", visitor_id)
        return own if named == own else None

    # ---- the answer

    def _refusal(self, call: Call, refusal: Refusal) -> Answer:
        """In the shape that the client's SDK knows."""
        call.cookie = None
        if call.route is None:
            return problem(refusal)
        return call.route.protocol.refused(call.incoming(self._now()), refusal)

    def _cors_headers(self, call: Call) -> CorsHeaders:
        methods = None
        if call.method == "OPTIONS":
            methods = ", ".join(call.route.methods if call.route else OWN_PATHS.get(call.path, ()))
        return self._cors.headers(call.headers.get(b"origin"), methods)

    def _log_rejected(self, call: Call, found: Sorted) -> None:
        fields = sorted({rejection.error.field for rejection in found.rejected})
        counts = {"accepted": found.accepted, "rejected": len(found.rejected), "fields": fields}
        logger.info("events rejected", extra=counts | self._trace(call))

    def _trace(self, call: Call) -> dict[str, str]:
        trace = given_trace_id(call.headers)
        if not trace:
            return {}
        return {"logging.googleapis.com/trace": f"projects/{self._config.project}/traces/{trace}"}


def _answer_of(route: Route, incoming: Incoming, found: Sorted) -> Answer:
    rejected = [
        Rejected(rejection.index, rejection.error, rejection.event_id)
        for rejection in found.rejected
    ]
    outcome = Outcome(found.accepted, rejected, found.withheld)
    return route.protocol.accepted(incoming, outcome)


async def _sorted(reading: Reading, received_at: datetime, terms: Terms, body_bytes: int) -> Sorted:
    """Sort a request's events, and serve others between its slices."""
    found = Sorted()
    for _ in sort_slices(found, reading, received_at, terms, body_bytes):
        await asyncio.sleep(0)
    return found
