"""Accepts or rejects the events that a protocol has read. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from functions.contract.plan import Plan
from functions.enrich.bots import event_bot_reason
from functions.enrich.context import enrich_event, merge
from functions.enrich.user_agents import UserAgents
from functions.message_attributes import keyless
from functions.protocols.commerce_facts import within_bounds
from functions.protocols.contract import Reading, Translated
from pipeline.core.events import Event, WireEvent, accept_event, accept_wire, clock_shift
from pipeline.core.invalid_event import InvalidEvent, TooMuch
from pipeline.core.privacy.consent import (
    DENIED,
    GRANTED,
    Consent,
    both_grant,
    consent_of_rejected,
    record,
    resolve_consent,
)
from pipeline.core.privacy.consent_search import search_consent
from pipeline.core.privacy.policy import Privacy
from pipeline.core.privacy.signals import Signal
from pipeline.core.privacy.user_tokens import check_user_token

MAX_EXPANDED_BYTES = 4 * 1024 * 1024
"""Bound of the events that one request's become, where one stands for several: a small body must
not become big."""

SLICE_EVENTS = 50
"""Events after which other requests are served: about 5 ms of a processor for usual events."""
SLICE_BYTES = 8 * 1024
"""The same for large events: the cost of an event grows with its size."""


class Terms(msgspec.Struct, frozen=True):
    """Facts that hold for all events of one request.

    Attributes:
        privacy: the installation's promises to its visitors.
        signal: the browser's privacy signal.
        plan: a stricter tracking plan.
        replay_window_s: how far `sent_at` may be from the arrival; None: no limit.
        visitor_id: the anonymous id of events that name no visitor; None: they are rejected.
        context: facts about the sender, see `context.request_context`.
        bot: why the request is no person's, or None.
        agents: the parser of user agents; None: they are not parsed.
        keeps_bot: a back end's own mark in `metadata.bot` stays.
        secret: a back end's write key, which is stored nowhere: where its SDK has it in an ordinary
            field (Snowplow's app id), the field is left out.
        user_key: the key of the proof that an event with a user id must bring; None: no proof.
    """

    privacy: Privacy = Privacy()
    signal: Signal | None = None
    plan: Plan | None = None
    replay_window_s: float | None = None
    visitor_id: str | None = None
    context: dict[str, str] = {}
    bot: str | None = None
    agents: UserAgents | None = None
    keeps_bot: bool = False
    secret: str | None = None
    user_key: bytes | None = None


OPEN_TERMS = Terms()


class Rejection(msgspec.Struct, frozen=True):
    """One event that broke the contract.

    Attributes:
        index: its place in the request.
        payload: the event; None where it may not be logged.
        consent: its visitor's.
        unproven: a user id of it lacks its proof.
    """

    index: int
    event_id: str | None
    error: InvalidEvent
    payload: bytes | None
    consent: Consent = GRANTED
    unproven: bool = False


class Sorted(msgspec.Struct):
    """A request, sorted: events, dead letters and what is withheld.

    Attributes:
        events: ours, in order.
        accepted, withheld: of the sender's events; those withheld are among the accepted.
        rejected: in order.
        consent: what all of its events allow.
    """

    events: list[Event] = []
    accepted: int = 0
    withheld: int = 0
    rejected: list[Rejection] = []
    consent: Consent = GRANTED


def sort_events(reading: Reading, ingest_time: datetime, terms: Terms = OPEN_TERMS) -> Sorted:
    """`sort_slices` in one step."""
    found = Sorted()
    for _ in sort_slices(found, reading, ingest_time, terms):
        pass
    return found


def sort_slices(
    found: Sorted, reading: Reading, ingest_time: datetime, terms: Terms, body_bytes: int = 0
) -> Iterator[None]:
    """Accept, withhold or reject each event into `found`, with a pause after each `SLICE_EVENTS` or
    `SLICE_BYTES`.

    The bytes are those of the mean event, `body_bytes` over the number of events.

    Where `sent_at` shows a client clock that is off by more than `CLOCK_TOLERANCE`, the timestamps
    are shifted by the difference; history keeps its timestamps. An event of the sender's is
    accepted whole or rejected whole, with all that it stands for. Of a visitor who agreed to
    nothing nothing is kept, not even in the dead letter.

    Raises:
        TooMuch: field `events`, when they stand for too many of ours, or would come to more than
            `MAX_EXPANDED_BYTES`.
    """
    if terms.signal is Signal.GPC:  # binds before any consent of an event: nothing is looked at
        found.accepted = found.withheld = len(reading.events)
        found.consent = DENIED
        return
    request = _Request(found, reading, ingest_time, terms)
    large = SLICE_EVENTS * body_bytes / (SLICE_BYTES * max(1, len(reading.events)))
    done = 0.0
    for index, translated in enumerate(within_bounds(reading.events)):
        done += max(1, large, len(translated.facts))
        if done > SLICE_EVENTS:
            yield
            done = 0.0
        request.sort(index, translated)


_encoder = msgspec.json.Encoder(enc_hook=str)


class _Request:
    """State that the events of one request share while they are sorted."""

    __slots__ = ("expanded_bytes", "found", "history", "ingest_time", "reading", "shift", "terms")

    def __init__(
        self, found: Sorted, reading: Reading, ingest_time: datetime, terms: Terms
    ) -> None:
        self.found = found
        self.reading = reading
        self.ingest_time = ingest_time
        self.terms = terms
        self.history = reading.history
        self.shift = None if reading.history else clock_shift(reading.sent_at, ingest_time)
        self.expanded_bytes = 0

    def sort(self, index: int, translated: Translated) -> None:
        """Accept, withhold or reject one event of the sender's."""
        try:
            events, consent = self._accept(translated)
        except InvalidEvent as error:
            self._reject(index, translated, error)
            return
        if len(events) > 1:
            self._count_expanded(events)
        found = self.found
        if consent is not GRANTED:
            found.consent = both_grant(found.consent, consent)
            found.withheld += consent.is_none
        found.events += events
        found.accepted += 1

    def _reject(self, index: int, translated: Translated, error: InvalidEvent) -> None:
        """Note why; of a visitor who agreed to nothing not even that the event was wrong."""
        found = self.found
        allowed = self._consent_of_rejected(translated)
        found.consent = both_grant(found.consent, allowed)
        if allowed.is_none:
            found.accepted += 1
            found.withheld += 1
            return
        payload = self._dead_letter(translated.source) if allowed.analytics else None
        unproven = not self._is_proven(translated)
        event_id = _readable_id(translated)
        found.rejected.append(Rejection(index, event_id, error, payload, allowed, unproven))

    def _count_expanded(self, events: Sequence[Event]) -> None:
        """Refuse the request when the events that its events stand for come to too many bytes."""
        self.expanded_bytes += sum(len(_encoder.encode(event)) for event in events)
        if self.expanded_bytes > MAX_EXPANDED_BYTES:
            expected = f"expected them to come to at most {MAX_EXPANDED_BYTES} bytes"
            raise TooMuch("events", expected)

    def _accept(self, translated: Translated) -> tuple[list[Event], Consent]:
        """Our events, none where they are withheld, and what their visitor agreed to."""
        terms = self.terms
        if translated.error is not None:
            raise translated.error
        if terms.replay_window_s is not None and not self.history:
            sent_at = translated.sent_at or self.reading.sent_at
            _check_replay(sent_at, self.ingest_time, terms.replay_window_s)
        if translated.wire is not None and terms.plan is None and not self.history:
            quick = self._accept_wire(translated, translated.wire)
            if quick is not None:
                return quick
        shift = self.shift
        if translated.sent_at is not None and not self.history:
            shift = clock_shift(translated.sent_at, self.ingest_time)
        return self._accept_facts(translated, shift)

    def _consent_of_rejected(self, translated: Translated) -> Consent:
        """Consent of a rejected event, as far as it can be read; else its text is searched."""
        facts, allowed = facts_of(translated), GRANTED
        if not facts and isinstance(translated.source, bytes):
            allowed = search_consent(translated.source, None)
        terms = self.terms
        for fields in facts or ({},):
            consent = consent_of_rejected(
                fields, self.reading.consent, terms.signal, terms.privacy.default
            )
            allowed = both_grant(allowed, consent)
        return allowed

    def _is_proven(self, translated: Translated) -> bool:
        """True for a rejected event that names no user without a proof; False for one that cannot
        be read.
        """
        if self.terms.user_key is None:
            return True
        try:
            for fields in facts_of(translated):
                self._check_user(fields.get("user_id"), translated)
        except InvalidEvent:
            return False
        return translated.error is None

    def _check_user(self, user_id: Any, translated: Translated) -> None:
        """Check the proof of a user id; one that is no text is left for the contract to reject."""
        key = self.terms.user_key
        if key is None or not isinstance(user_id, str):
            return
        token = translated.user_token
        if token is None:
            token = self.reading.user_token
        check_user_token(key, user_id, token)

    def _dead_letter(self, source: Any) -> bytes | None:
        """A rejected event as it may be kept, if it may."""
        fields = self.terms.privacy.fields
        keyless = without_keys(source, self.reading.key_paths, self.reading.write_key)
        if isinstance(keyless, str):
            return _payload(fields.query_dead_letter(keyless))
        if isinstance(keyless, dict):
            keyless = _without_value(keyless, self.terms.secret)
        return fields.dead_letter(_payload(keyless))

    def _accept_wire(
        self, translated: Translated, wire: WireEvent
    ) -> tuple[list[Event], Consent] | None:
        terms = self.terms
        consent = self._consent_of({"metadata": wire.metadata})
        if consent.is_none:
            return [], consent
        self._check_user(wire.user_id, translated)
        if terms.visitor_id is not None and wire.user_id is None and wire.anonymous_id is None:
            wire.anonymous_id = terms.visitor_id
        terms.privacy.fields.apply_wire(wire)
        event = accept_wire(wire, ingest_time=self.ingest_time, shift=self.shift)
        if event is None:
            return None
        self._finish(event, consent)
        return [event], consent

    def _accept_facts(
        self, translated: Translated, shift: timedelta | None
    ) -> tuple[list[Event], Consent]:
        events: list[Event] = []
        allowed = GRANTED
        for fields in facts_of(translated):
            consent = self._consent_of(fields)
            allowed = both_grant(allowed, consent)
            if consent.is_none:
                continue
            self._check_user(fields.get("user_id"), translated)
            self._apply_terms(fields)
            event = accept_event(
                fields, ingest_time=self.ingest_time, shift=shift, backfill=self.history
            )
            self._finish(event, consent)
            events.append(event)
        return events, allowed

    def _consent_of(self, fields: dict[str, Any]) -> Consent:
        terms = self.terms
        return resolve_consent(fields, self.reading.consent, terms.signal, terms.privacy.default)

    def _apply_terms(self, fields: dict[str, Any]) -> None:
        """Name the visitor, check the plan, leave out the secret, and apply the field policy."""
        terms = self.terms
        unnamed = fields.get("user_id") is None and fields.get("anonymous_id") is None
        if unnamed and terms.visitor_id is not None:
            fields["anonymous_id"] = terms.visitor_id
        if terms.plan is not None:
            terms.plan.check(fields)
        if terms.secret is not None and isinstance(fields.get("metadata"), dict):
            fields["metadata"] = _without_value(fields["metadata"], terms.secret)
        terms.privacy.fields.apply(fields)

    def _finish(self, event: Event, consent: Consent) -> None:
        """Write consent, bot mark and context into an event whose id is settled."""
        metadata, terms = event.metadata, self.terms
        record(metadata, consent, self.reading.consent)
        if terms.agents is None:
            return
        if not terms.keeps_bot:
            metadata.pop("bot", None)
        bot = event_bot_reason(terms.bot, metadata, terms.agents)
        if bot is not None:
            metadata["bot"] = bot
        enrich_event(metadata, event.event)
        merge(terms.context, metadata, terms.agents)


def facts_of(translated: Translated) -> Sequence[dict[str, Any]]:
    """Our events that a sender's event stands for, as objects."""
    if translated.wire is None:
        return translated.facts
    fields = {name: getattr(translated.wire, name) for name in WireEvent.__struct_fields__}
    fields["timestamp"] = msgspec.to_builtins(fields["timestamp"])
    return [{name: value for name, value in fields.items() if value is not None}]


def _check_replay(sent_at: datetime | None, ingest_time: datetime, window_s: float) -> None:
    """Reject a request that was recorded and is sent again later: its `sent_at` shows it."""
    if sent_at is None:
        expected = (
            "required beside `events` or in the vendor's place for it: this site takes no request "
            "without"
        )
        raise InvalidEvent("sent_at", expected)
    if abs((ingest_time - sent_at).total_seconds()) > window_s:
        expected = f"expected within {window_s:g} s of the arrival"
        raise InvalidEvent("sent_at", expected, sent_at.isoformat())


def _readable_id(translated: Translated) -> str | None:
    facts = facts_of(translated)
    event_id = facts[0].get("event_id") if facts else None
    return event_id[:256] if isinstance(event_id, str) else None


def without_keys(source: Any, paths: Sequence[tuple[str, ...]], write_key: str | None) -> Any:
    """A vendor's event, less the keys that its SDK writes into it; itself where it has none.

    Args:
        source: a JSON value; or a text, which is a query; or bytes that cannot be read.
        paths: see `Reading.key_paths`.
        write_key: that of the request. What cannot be read may have it anywhere.
    """
    if not paths:
        return source
    if isinstance(source, str):
        names = {path[0] for path in paths}
        parts = source.split("&")
        return "&".join(part for part in parts if unquote_plus(part.partition("=")[0]) not in names)
    if isinstance(source, bytes):
        return keyless(source, [write_key] if write_key else [])
    for path in paths:
        source = _without(source, path)
    return source


def _without_value(fields: dict[str, Any], secret: str | None) -> dict[str, Any]:
    if secret is None:
        return fields
    return {name: value for name, value in fields.items() if value != secret}


def _without(node: Any, path: tuple[str, ...]) -> Any:
    """A copy where there is something at the path, which may still be needed."""
    if not isinstance(node, dict) or path[0] not in node:
        return node
    if len(path) == 1:
        return {name: value for name, value in node.items() if name != path[0]}
    return node | {path[0]: _without(node[path[0]], path[1:])}


def _payload(source: Any) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, str):
        return source.encode("utf-8", "surrogatepass")
    return _encoder.encode(source)
