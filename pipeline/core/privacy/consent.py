"""Consent of a visitor: resolved from an event, its request, the browser and the default, and read
back from an event.

    Sec-GPC: 1  >  consent of the event  >  consent of the request  >  DNT: 1  >  the default

Each of the two questions is answered by itself, by the first of these that answers it: an event
that does not answer personalization leaves it to its request.

Global Privacy Control binds in law in some places (California's CCPA regulations, section 7025, is
one), so it goes first, before any answer to a banner. Do Not Track never became a standard and is a
browser's setting; an answer that the visitor gave this site is later and about this site, so it
goes before. `FRESHET_SIGNALS=ignore` ignores both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.core.events import Event
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.signals import Signal

FIELD = "consent"
"""Name of the field: `metadata.consent`; an event of a visitor who agreed to everything by default
has none."""


class Consent(msgspec.Struct, frozen=True):
    """A visitor's consent, both questions answered.

    Attributes:
        analytics: to be counted and logged.
        personalization: to be remembered, so that what is shown follows from what was done.
    """

    analytics: bool = True
    personalization: bool = True

    @property
    def is_full(self) -> bool:
        """True when nothing is denied."""
        return self.analytics and self.personalization

    @property
    def is_none(self) -> bool:
        """True when everything is denied: such an event is kept nowhere."""
        return not (self.analytics or self.personalization)


GRANTED, DENIED = Consent(), Consent(analytics=False, personalization=False)


class StatedConsent(msgspec.Struct, frozen=True):
    """Consent as an event or a request states it; None: not answered there."""

    analytics: bool | None = None
    personalization: bool | None = None


_UNANSWERED = StatedConsent()
_QUESTIONS = frozenset(StatedConsent.__struct_fields__)
_EXPECTED = 'expected {"analytics": true or false, "personalization": true or false}'


def resolve_consent(
    fields: Mapping[str, Any], batch_consent: Any, signal: Signal | None, default: Consent = GRANTED
) -> Consent:
    """Resolve the consent of an event, in the order of the module's docstring.

    Args:
        fields: the event as the client wrote it. It states its consent as `consent` or as
            `metadata.consent`; where it has both, only what both grant is granted.
        batch_consent: of the whole request, not validated; None where it has none.
        signal: of `signal_of`.
        default: for a question that nothing else answers.

    Raises:
        InvalidEvent: field `consent`, when one that counts cannot be read: the event's own, and the
            request's where the event's leaves a question open.
    """
    if signal is Signal.GPC:
        return DENIED
    last = default if signal is None else DENIED
    outer, inner = _stated_in(fields)
    if outer is None and inner is None and batch_consent is None:
        return last
    stated = _parse(inner) if outer is None else _least(_parse(outer), _parse(inner))
    if stated.analytics is None or stated.personalization is None:
        stated = _completed(stated, _parse(batch_consent))
    return Consent(
        last.analytics if stated.analytics is None else stated.analytics,
        last.personalization if stated.personalization is None else stated.personalization,
    )


def consent_of_rejected(
    fields: Mapping[str, Any], batch_consent: Any, signal: Signal | None, default: Consent = GRANTED
) -> Consent:
    """As `resolve_consent`, of an event that is rejected, perhaps for a consent that cannot be
    read.

    Such an event is reported to its sender, so it never counts as withheld; and it becomes a dead
    letter only where no signal, no default and nothing legible of its consents is against
    analytics. Replayed from there it personalizes nothing, unless it says by then that it may.
    """
    try:
        return resolve_consent(fields, batch_consent, signal, default)
    except InvalidEvent:
        stated = (batch_consent, *_stated_in(fields))
        denied = any(
            isinstance(one, dict) and one.get("analytics") not in (None, True) for one in stated
        )
        analytics = signal is None and default.analytics and not denied
        return Consent(analytics, personalization=not analytics)


def both_grant(one: Consent, other: Consent) -> Consent:
    """The consent that both give."""
    if other is GRANTED:
        return one
    return Consent(one.analytics and other.analytics, one.personalization and other.personalization)


def record(metadata: dict[str, Any], consent: Consent, batch_consent: Any = None) -> None:
    """Write the consent into the metadata of an accepted event, where it was stated or is not full.

    After the event is parsed and has its id: what is derived from the content must not depend on
    the request.
    """
    if FIELD not in metadata and batch_consent is None and consent.is_full:
        return
    is_stated = _answers_anything(metadata.get(FIELD)) or _answers_anything(batch_consent)
    if is_stated or not consent.is_full:
        metadata[FIELD] = {
            "analytics": consent.analytics,
            "personalization": consent.personalization,
        }
    else:
        metadata.pop(FIELD, None)  # `{}` and null: a default is no visitor's yes


def stored_consent(metadata: Mapping[str, Any]) -> Consent:
    """The consent in an event's metadata, as the collector recorded it.

    Without any it is granted. Of what is there, only `true` grants: a publisher may skip the
    collector, and what cannot be read is no agreement.
    """
    stored = metadata.get(FIELD)
    if stored is None:
        return GRANTED
    if not isinstance(stored, dict):
        return DENIED
    return Consent(stored.get("analytics") is True, stored.get("personalization") is True)


def may_log(event: Event) -> bool:
    """True when the event may go into the log of events and into the summary of its session."""
    return FIELD not in event.metadata or stored_consent(event.metadata).analytics


def may_fold(event: Event) -> bool:
    """True when the event may go into profiles, and by them into items, campaigns and answers."""
    return FIELD not in event.metadata or stored_consent(event.metadata).personalization


def _stated_in(fields: Mapping[str, Any]) -> tuple[Any, Any]:
    """`consent` and `metadata.consent` of an event, not validated."""
    metadata = fields.get("metadata")
    return fields.get(FIELD), metadata.get(FIELD) if type(metadata) is dict else None


def _parse(value: Any) -> StatedConsent:
    """A stated consent, also one that was parsed already (the API's).

    An object that names neither question has most likely misspelt one, and a denial must not be
    misread.
    """
    if value is None:
        return _UNANSWERED
    try:
        stated = msgspec.convert(value, StatedConsent)
    except msgspec.ValidationError:
        raise InvalidEvent(FIELD, _EXPECTED, value) from None
    if type(value) is dict and value and _QUESTIONS.isdisjoint(value):
        raise InvalidEvent(FIELD, _EXPECTED, value)
    return stated


def _least(one: StatedConsent, other: StatedConsent) -> StatedConsent:
    return StatedConsent(
        _granted_by_both(one.analytics, other.analytics),
        _granted_by_both(one.personalization, other.personalization),
    )


def _granted_by_both(one: bool | None, other: bool | None) -> bool | None:
    """True where both grant; where one does not answer, the other's answer."""
    if one is None:
        return other
    if other is None:
        return one
    return one and other


def _completed(first: StatedConsent, then: StatedConsent) -> StatedConsent:
    if first is _UNANSWERED:
        return then
    return StatedConsent(
        then.analytics if first.analytics is None else first.analytics,
        then.personalization if first.personalization is None else first.personalization,
    )


def _answers_anything(stated: Any) -> bool:
    return isinstance(stated, dict) and any(stated.get(name) is not None for name in _QUESTIONS)
