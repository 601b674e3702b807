"""A hit of GA4's, whichever form it came in, as events of ours."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from functions.protocols.commerce_facts import Fact, written
from functions.protocols.contract import Translated
from functions.protocols.ga4.events import facts_of
from functions.protocols.values import as_id, as_text, without_none
from pipeline.core.context import MAX_ACCEPT_LANGUAGE_LENGTH, preferred_language
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.user_tokens import USER_TOKEN
from pipeline.core.timestamps import format_time

_AROUND = {
    "page_location": "url",
    "page_title": "title",
    "page_referrer": "referrer",
    "screen_resolution": "screen_size",
    "session_number": "session_number",
    "ga_session_number": "session_number",
    "ip_override": "ip",
    "campaign_source": "utm_source",
    "campaign_medium": "utm_medium",
    "campaign_name": "utm_campaign",
    "campaign_term": "utm_term",
    "campaign_content": "utm_content",
}
_SCREEN_NAMES = ("screen_name", "firebase_screen", "firebase_screen_class")


class Hit(msgspec.Struct, frozen=True):
    """One event, whichever form it came in.

    Attributes:
        name: not empty.
        params: under the names of the Measurement Protocol; values are not trusted.
        visitor: `user_id` and `anonymous_id`.
        user_properties: what it says of the user.
        around: metadata of each fact.
        timestamp: when it happened, where it says so.
        identity: 32 hexadecimal digits of all it says, and of its place in the request.
    """

    name: str
    params: dict[str, Any]
    visitor: dict[str, str | None]
    user_properties: dict[str, Any]
    around: dict[str, Any]
    timestamp: str | None
    identity: str


def named(value: Any, field: str) -> str:
    """An event's name.

    Raises:
        InvalidEvent: naming `field`.
    """
    name = as_id(value)
    if name is None:
        raise InvalidEvent(field, "required")
    return name


def translated(source: Any, hit: Hit, received_at: datetime) -> Translated:
    """A hit, translated. Its id does not depend on when it came: the same request again has the
    same ids.

    Args:
        source: the event as it came.
        hit: any.
        received_at: when an event happened that does not say so.

    Raises:
        InvalidEvent: its items cannot be read.
    """
    params = dict(hit.params)
    session_id = as_id(params.pop("session_id", None))
    if session_id is None:
        session_id = as_id(params.pop("ga_session_id", None))
    around = hit.around | _taken(params)
    facts = facts_of(hit.name, params, hit.visitor["user_id"])
    traits = dict(hit.user_properties)
    token = traits.pop(USER_TOKEN, None)
    if traits:
        first, *others = facts
        facts = [Fact(first.event, first.metadata | {"traits": traits}, first.product_id), *others]
    shared = {
        **hit.visitor,
        "session_id": session_id,
        "timestamp": hit.timestamp or format_time(received_at),
    }
    found = written(facts, shared, around, hit.identity, source)
    return Translated(source, found, user_token=token)


def _taken(params: dict[str, Any]) -> dict[str, Any]:
    """Metadata of page, screen and campaign, out of the parameters."""
    found = {"language": language_of(params.pop("language", None))}
    for theirs, ours in _AROUND.items():
        text = as_text(params.pop(theirs, None))
        found[ours] = found.get(ours) or text
    screen = [as_text(params.get(name)) for name in _SCREEN_NAMES]
    found["title"] = found["title"] or next(filter(None, screen), None)
    return without_none(found)


def language_of(value: Any) -> str | None:
    """As RFC 5646 writes it; a tag says `en-us`. None for what is no text."""
    text = as_text(value)
    if text is None:
        return None
    return preferred_language(text[:MAX_ACCEPT_LANGUAGE_LENGTH]) or text
