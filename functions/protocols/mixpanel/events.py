"""One of Mixpanel's events, or one of its profile updates, in our contract.

Properties: https://docs.mixpanel.com/docs/data-structure/property-reference/reserved-properties;
identities:
https://docs.mixpanel.com/docs/tracking-methods/id-management.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from functions.protocols.commerce_facts import Fact, consent_of, facts_of, kept, written
from functions.protocols.contract import Translated
from functions.protocols.places import country_of
from functions.protocols.refused_events import refused_event
from functions.protocols.values import as_id, as_number, as_object, as_text, time_of, without_none
from functions.protocols.visitor_ids import first_id
from pipeline.core.events import check_event_size, derived_event_id
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.consent import FIELD
from pipeline.core.privacy.user_tokens import USER_TOKEN
from pipeline.core.timestamps import format_time

IDENTITY_EVENTS = frozenset(("$identify", "$create_alias", "$merge"))

_DEVICE = "$device:"
_USER_IDS = ("$identified_id", "$user_id", "distinct_id")
_DEVICE_IDS = ("$anon_id", "$device_id", "$anon_distinct_id")
_MS_FROM = 1e11
"""Times are in seconds or milliseconds: as seconds this is the year 5138, as milliseconds 1973."""

_NOT_METADATA = frozenset(
    "token time distinct_id $insert_id $device_id $user_id $identified_id $anon_id "
    "$anon_distinct_id $distinct_ids $had_persisted_distinct_id $session_id".split()
) | {USER_TOKEN}
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
    """Consent of a rejected event, unchecked; None where it states none."""
    return _properties_of(source).get(FIELD)


def token_of(source: Any) -> str | None:
    """The token that an event or an update carries, unchecked."""
    if not isinstance(source, dict):
        return None
    return as_text(_properties_of(source).get("token")) or as_text(source.get("$token"))


def time_of_event(source: Any) -> str | None:
    """Time of an event; None where it has none that can be read."""
    try:
        return _time(_properties_of(source).get("time"), "properties.time")
    except InvalidEvent:
        return None


def _properties_of(source: Any) -> dict[str, Any]:
    """The properties of an unchecked event; empty where they cannot be read."""
    properties = source.get("properties") if isinstance(source, dict) else None
    return properties if isinstance(properties, dict) else {}


def _event(source: dict[str, Any], token: str | None, received_at: datetime) -> Translated:
    check_event_size(source)
    _check_token(source, token)
    name = as_id(source.get("event"))
    if name is None:
        raise InvalidEvent("event", "required")
    properties = as_object(source.get("properties"), "properties")
    facts: Sequence[Fact]
    if name in IDENTITY_EVENTS:
        facts, who = [Fact("identify", consent_of(properties))], _identity(name, properties)
    else:
        facts, who = facts_of(name, _own(properties)), _who(properties)
    timestamp = _time(properties.get("time"), "properties.time")
    shared = who | {"timestamp": timestamp or format_time(received_at)}
    event_id = as_id(properties.get("$insert_id"))
    if event_id is None and (timestamp or facts[0].event == "identify"):
        # does not depend on when it came, so that a retry has the same
        event_id = derived_event_id(source)
    facts_written = written(facts, shared, _context(properties), event_id, source)
    return Translated(source, facts_written, user_token=properties.get(USER_TOKEN))


def _profile_update(source: dict[str, Any], token: str | None, received_at: datetime) -> Translated:
    check_event_size(source)
    _check_token(source, token)
    traits = _traits(source)
    user_token = traits.pop(USER_TOKEN, None)
    operations = without_none({kind.removeprefix("$"): source.get(kind) for kind in _OPERATIONS})
    metadata = {"traits": traits, "trait_operations": operations}
    metadata = {name: value for name, value in metadata.items() if value}
    if not metadata:  # `$delete`, and operations that Mixpanel may add
        return Translated(source)
    shared = _who({**source, "distinct_id": source.get("$distinct_id")})
    shared["timestamp"] = _time(source.get("$time"), "$time") or format_time(received_at)
    context = without_none({"ip": _address(source.get("$ip"))})
    facts = [Fact("identify", metadata)]
    found = written(facts, shared, context, derived_event_id(source), source)
    return Translated(source, found, user_token=user_token)


def _traits(source: Mapping[str, Any]) -> dict[str, Any]:
    traits: dict[str, Any] = {}
    for kind in _SETS:
        traits |= as_object(source.get(kind), kind)
    return without_none(traits)


def _check_token(source: Mapping[str, Any], token: str | None) -> None:
    """A request belongs to one site: a key of one must not send in the name of others."""
    given = token_of(source)
    if given is not None and given != token:
        expected = "expected the same token in all events of a request"
        raise InvalidEvent("properties.token", expected)


def _time(value: Any, field: str) -> str | None:
    number = as_number(value)
    if number is not None and abs(number) >= _MS_FROM:
        return time_of(value, 0.001, field)
    return time_of(value, 1.0, field)


def _who(properties: Mapping[str, Any]) -> dict[str, Any]:
    """`$user_id` and `$device_id` where the client sends both.

    Else `distinct_id` is the account's, as back ends send it, unless it is `$device:...` or the
    device's own.
    """
    device = _device(properties.get("$device_id"))
    user = first_id(properties.get("$user_id"))
    distinct = as_id(properties.get("distinct_id"))
    if distinct is not None and distinct.startswith(_DEVICE):
        device = device or _device(distinct)
    elif user is None and distinct != device:
        user = first_id(distinct)
    return _ids(user, device, properties)


def _identity(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The account, and the visitor that it turned out to be."""
    if name == "$merge":
        user, device = _merged_ids(properties.get("$distinct_ids"))
    elif name == "$create_alias":
        user, device = properties.get("alias"), properties.get("distinct_id")
    else:
        user = _first_of(properties, _USER_IDS)
        device = _first_of(properties, _DEVICE_IDS)
    return _ids(first_id(user), _device(device), properties)


def _merged_ids(given: Any) -> tuple[Any, Any]:
    """Account and device of a `$merge`, in either order."""
    if not isinstance(given, list) or len(given) != 2 or not all(map(first_id, given)):
        raise InvalidEvent("properties.$distinct_ids", "expected two ids")
    user, device = given
    if isinstance(user, str) and user.startswith(_DEVICE):
        return device, user
    return user, device


def _first_of(properties: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first property that is set."""
    return next(filter(None, map(properties.get, names)), None)


def _ids(user: str | None, device: str | None, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "user_id": user,
        "anonymous_id": device,
        "session_id": as_id(properties.get("$session_id")),
    }


def _device(value: Any) -> str | None:
    if isinstance(value, str):
        value = value.removeprefix(_DEVICE)
    return first_id(value)


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
    """An address, and no switch: 0 and 1 ask Mixpanel to use the sender's or not."""
    text = as_text(value)
    if text is None or len(text) <= 2:
        return None
    return text
