"""Page, campaign, device and consent of Segment's messages, in the names of our metadata.

https://www.twilio.com/docs/segment/connections/spec/common and .../privacy/consent-management.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from functions.protocols.values import as_id, as_number, as_text, filled, without_none

T = TypeVar("T")

_NAMES: Mapping[str, Mapping[str, str]] = {
    "page": {name: name for name in ("url", "title", "referrer", "path", "search")},
    "campaign": {
        "name": "utm_campaign",
        **{name: f"utm_{name}" for name in ("source", "medium", "term", "content")},
    },
    "app": {"name": "app_name", "version": "app_version"},
    "device": {
        "type": "device_type",
        "model": "device_model",
        "manufacturer": "device_manufacturer",
    },
    "os": {"name": "os_name", "version": "os_version"},
    "library": {"name": "tracker", "version": "tracker_version"},
    "location": {"latitude": "latitude", "longitude": "longitude"},
}
_FLAT = {"locale": "language", "userAgent": "user_agent", "ip": "ip", "timezone": "timezone"}
_NUMBERS = frozenset(("latitude", "longitude"))

_ANALYTICS = ("analytics", "performance", "statistics", "c0002")
_PERSONALIZATION = (
    ("personalization",),
    ("advertising", "marketing", "targeting", "c0004"),
    ("functional", "preferences", "c0003"),
)
"""Categories as sites name them, and as OneTrust numbers them; the first group of which any is
there decides."""


class Surroundings(msgspec.Struct, frozen=True):
    """Metadata of a message beside its event.

    Attributes:
        known: under names of our metadata, bounded in number: for each event that the message
            stands for.
        rest: `context` with what has no name of ours, `traits`: for one of them.
        session_id: None where there is none.
    """

    known: dict[str, Any]
    rest: dict[str, Any]
    session_id: str | None


def surroundings(context: Mapping[str, Any], integrations: Any) -> Surroundings:
    """Read a message's `context`.

    Args:
        context: any JSON values; parts of another type than Segment's stay as they are.
        integrations: the message's. All of it is for Segment's own destinations, but for
            Amplitude's session.
    """
    left = dict(context)
    known = {ours: _taken(left, given, ours) for given, ours in _FLAT.items()}
    for part, names in _NAMES.items():
        if isinstance(left.get(part), dict):
            left[part] = filled(left[part])
            known |= {ours: _taken(left[part], given, ours) for given, ours in names.items()}
    session_id = as_id(left.get("sessionId"))
    if session_id is not None:
        del left["sessionId"]
    known["consent"] = consent_of(context)
    rest = {}
    traits = left.pop("traits", None)
    unknown = {name: value for name, value in left.items() if value not in ({}, None)}
    if unknown:
        rest["context"] = unknown
    if traits:
        rest["traits"] = traits
    return Surroundings(without_none(known), rest, session_id or _amplitude_session(integrations))


def _taken(fields: dict[str, Any], given: str, ours: str) -> Any:
    """Take a value out of `fields`, where it has the type of our field."""
    value = fields.get(given)
    found = as_number(value) if ours in _NUMBERS else as_text(value)
    if found is not None:
        del fields[given]
    return found


def _amplitude_session(integrations: Any) -> str | None:
    """The session id among Amplitude's options, for Segment has none of its own; -1 stands for
    none.
    """
    if not isinstance(integrations, dict):
        return None
    for name in ("Actions Amplitude", "Amplitude"):
        options = integrations.get(name)
        if not isinstance(options, dict):
            continue
        found = as_id(options.get("session_id"))
        if found is not None and found != "-1":
            return found
    return None


def consent_of(context: Mapping[str, Any]) -> dict[str, Any] | None:
    """{"analytics", "personalization"}, each where the visitor's categories state it; None where
    they state nothing.

    A value of another form than the vendors' may be a denial. It takes the place of an answer, and
    the event is rejected as one with any other consent that cannot be read.
    """
    said, unread = _categories(context)
    analytics = [said[name] for name in _ANALYTICS if name in said]
    groups = ([said[name] for name in group if name in said] for group in _PERSONALIZATION)
    personalization: list[bool] = next(filter(None, groups), [])
    answers = {"analytics": analytics, "personalization": personalization}
    consent: dict[str, Any] = {name: all(given) for name, given in answers.items() if given}
    if unread:
        consent["personalization"] = unread
    return consent or None


def _categories(context: Mapping[str, Any]) -> tuple[dict[str, bool], list[Any]]:
    """Segment's preferences, or RudderStack's lists, and values that are neither.

    Only `true` agrees, and a category that is null states nothing.
    """
    unread: list[Any] = []

    def expected(kind: type[T], value: Any) -> T:
        if isinstance(value, kind):
            return value
        if value is not None:
            unread.append(value)
        return kind()

    said: dict[str, bool] = {}
    rudder = expected(dict, context.get("consentManagement"))
    for name, agreed in (("allowedConsentIds", True), ("deniedConsentIds", False)):
        for category in expected(list, rudder.get(name)):
            said[expected(str, category).strip().lower()] = agreed
    segment = expected(dict, context.get("consent"))
    for category, agreed in expected(dict, segment.get("categoryPreferences")).items():
        if agreed is not None:
            said[category.strip().lower()] = agreed is True
    return said, unread
