"""One of Mixpanel's events, or one of its profile updates, in our contract.

Properties: https://docs.mixpanel.com/docs/data-structure/property-reference/reserved-properties;
identities:
https://docs.mixpanel.com/docs/tracking-methods/id-management.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from functions.protocols.commerce_facts import Fact, consent_of, facts_of, kept, written
from functions.protocols.contract import Translated
from functions.protocols.places import country_of
from functions.protocols.refused_events import refused_event
from functions.protocols.values import as_id, as_number, as_object, as_text, time_of, without_none
from functions.protocols.visitor_ids import somebody
from pipeline.core.events import check_event_size, derived_event_id
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.consent import FIELD
from pipeline.core.privacy.user_tokens import USER_TOKEN
from pipeline.core.timestamps import format_time

IDENTITY_EVENTS = frozenset(("$identify", "$create_alias", "$merge"))

_DEVICE = "$device:"
_MS_FROM = 1e11
"""Times are given in seconds or milliseconds: so many seconds are the year 5138, so many
milliseconds 1973."""

_NOT_METADATA = frozenset(
    "token time distinct_id $insert_id $device_id $user_id $identified_id $anon_id "
    "$anon_distinct_id $distinct_ids"
    f" $had_persisted_distinct_id $session_id {USER_TOKEN}".split()
)
_CONTEXT = {
    "$current_url": "url",
    "current_page_title": "title",
    "mp_lib": "tracker",
    "$lib_version": "tracker_version",
    "$app_version_string": "app_version",
}
"""Mixpanel's own, and ours; any other `$name` becomes `name`."""
_COUNTRIES = ("$country", "mp_country_code")
_NEITHER_PROPERTY = ("mp_", "utm_", "current_url_", "current_domain")

_SETS = ("$set_once", "$set")
_OPERATIONS = ("$add", "$append", "$remove", "$union", "$unset", "$increment")


def event(source: Any, token: str | None, received_at: datetime) -> Translated:
    """One element of what `/track` and `/import` take. It never raises.

    Args:
        source: the element, any JSON value.
        token: that of the whole request.
        received_at: when an event happened that does not say so.
    """
    try:
        return _event(as_object(source, "event"), token, received_at)
    except InvalidEvent as error:
        return refused_event(source, error, stated_consent(source))


def profile_update(source: Any, token: str | None, received_at: datetime) -> Translated:
    """One element of what `/engage` takes, as an `identify` event. It never raises; arguments as
    for `event`.

    It has no place for a consent.
    """
    try:
        return _profile_update(as_object(source, "update"), token, received_at)
    except InvalidEvent as error:
        return refused_event(source, error)


def stated_consent(source: Any) -> Any:
    """Consent of a refused event, unchecked; None where it says nothing."""
    properties = source.get("properties") if isinstance(source, dict) else None
    return properties.get(FIELD) if isinstance(properties, dict) else None


def token_of(source: Any) -> str | None:
    """The token that an event or an update carries, unchecked."""
    if not isinstance(source, dict):
        return None
    properties = source.get("properties")
    given = properties.get("token") if isinstance(properties, dict) else None
    return as_text(given) or as_text(source.get("$token"))


def time_told(source: Any) -> str | None:
    """Time of an event; None where it has none that can be read."""
    properties = source.get("properties") if isinstance(source, dict) else None
    try:
        return (
            _time(properties.get("time"), "properties.time")
            if isinstance(properties, dict)
            else None
        )
    except InvalidEvent:
        return None


def _event(source: dict[str, Any], token: str | None, received_at: datetime) -> Translated:
    check_event_size(source)
    _check_token(source, token)
    name = as_id(source.get("event"))
    if name is None:
        raise InvalidEvent("event", "required", None)
    properties = as_object(source.get("properties"), "properties")
    if name in IDENTITY_EVENTS:
        facts, who = [Fact("identify", consent_of(properties))], _identity(name, properties)
    else:
        facts, who = list(facts_of(name, _own(properties))), _who(properties)
    told = _time(properties.get("time"), "properties.time")
    shared = who | {"timestamp": told or format_time(received_at)}
    event_id = as_id(properties.get("$insert_id"))
    if event_id is None and (told or facts[0].event == "identify"):
        # does not depend on when it came, so that a retry has the same
        event_id = derived_event_id(source)
    facts_written = written(facts, shared, _context(properties), event_id, source)
    return Translated(source, facts_written, user_token=properties.get(USER_TOKEN))


def _profile_update(source: dict[str, Any], token: str | None, received_at: datetime) -> Translated:
    check_event_size(source)
    _check_token(source, token)
    traits = without_none(
        {n: value for kind in _SETS for n, value in as_object(source.get(kind), kind).items()}
    )
    user_token = traits.pop(USER_TOKEN, None)
    operations = without_none({kind.removeprefix("$"): source.get(kind) for kind in _OPERATIONS})
    if not traits and not operations:  # `$delete`, and what is yet to be invented
        return Translated(source)
    metadata: dict[str, Any] = {"traits": traits} if traits else {}
    if operations:
        metadata["trait_operations"] = operations
    told = _time(source.get("$time"), "$time")
    shared = _who({**source, "distinct_id": source.get("$distinct_id")})
    shared["timestamp"] = told or format_time(received_at)
    context = without_none({"ip": _address(source.get("$ip"))})
    facts = [Fact("identify", metadata)]
    event_id = derived_event_id(source)
    return Translated(
        source, written(facts, shared, context, event_id, source), user_token=user_token
    )


def _check_token(source: Mapping[str, Any], token: str | None) -> None:
    """A request belongs to one site: a key of one must not send in the name of others."""
    given = token_of(source)
    if given is not None and given != token:
        raise InvalidEvent(
            "properties.token", "expected the same token in all events of a request", None
        )


def _time(value: Any, field: str) -> str | None:
    number = as_number(value)
    return time_of(value, 0.001 if number is not None and abs(number) >= _MS_FROM else 1.0, field)


def _who(properties: Mapping[str, Any]) -> dict[str, Any]:
    """`$user_id` and `$device_id` where the client tells them apart.

    Else `distinct_id` is the account's, as back ends send it, unless it is `$device:...` or the
    device's own.
    """
    device = _device(properties.get("$device_id"))
    user = somebody(properties.get("$user_id"))
    distinct = as_id(properties.get("distinct_id"))
    if distinct is not None and distinct.startswith(_DEVICE):
        device = device or _device(distinct)
    elif user is None and distinct != device:
        user = somebody(distinct)
    return _ids(user, device, properties)


def _identity(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The account, and the visitor that it turned out to be."""
    if name == "$merge":
        given = properties.get("$distinct_ids")
        user, device = (
            (given[0], given[1]) if isinstance(given, list) and len(given) == 2 else (None, None)
        )
        if isinstance(user, str) and user.startswith(_DEVICE):
            user, device = device, user
        if somebody(user) is None or somebody(device) is None:
            raise InvalidEvent("properties.$distinct_ids", "expected two ids", None)
    elif name == "$create_alias":
        user, device = properties.get("alias"), properties.get("distinct_id")
    else:
        user = (
            properties.get("$identified_id")
            or properties.get("$user_id")
            or properties.get("distinct_id")
        )
        device = (
            properties.get("$anon_id")
            or properties.get("$device_id")
            or properties.get("$anon_distinct_id")
        )
    return _ids(somebody(user), _device(device), properties)


def _ids(user: str | None, device: str | None, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "user_id": user,
        "anonymous_id": device,
        "session_id": as_id(properties.get("$session_id")),
    }


def _device(value: Any) -> str | None:
    return somebody(value.removeprefix(_DEVICE) if isinstance(value, str) else value)


def _own(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Properties that the site set."""
    return {name: value for name, value in properties.items() if not _is_mixpanels(name)}


def _context(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of page, device and campaign that Mixpanel's client set."""
    found: dict[str, Any] = {}
    for name, value in properties.items():
        if name in _COUNTRIES:
            found |= country_of(value)
        elif _is_mixpanels(name) and name not in _NOT_METADATA:
            found[_CONTEXT.get(name) or name.removeprefix("$")] = value
    address = _address(properties.get("ip") or properties.get("$ip"))
    return kept(without_none(found | {"ip": address}))


def _is_mixpanels(name: str) -> bool:
    if name[:1] == "$" or name in _NOT_METADATA or name in _CONTEXT:
        return True
    return name == "ip" or name.startswith(_NEITHER_PROPERTY)


def _address(value: Any) -> str | None:
    """An address, and no switch: 0 and 1 say whether to look at the sender's."""
    text = as_text(value)
    return text if text is not None and len(text) > 2 else None
