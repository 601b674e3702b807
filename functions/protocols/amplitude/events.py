"""One of Amplitude's events in our contract.

Keys: https://amplitude.com/docs/apis/analytics/http-v2#keys-for-the-event-argument.
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

IDENTIFY, GROUP_IDENTIFY, REVENUE = "$identify", "$groupidentify", "revenue_amount"

_PREFIX = "[Amplitude] "
_PAGE_NAMES = {
    "[Amplitude] Page Location": "url",
    "[Amplitude] Page Title": "title",
    "[Amplitude] Screen Name": "title",
}
"""Events that its browser and mobile libraries capture; any other `[Amplitude] Some Name` becomes
`some_name`."""
_REVENUE_NAMES = {
    "$productId": "product_id",
    "$price": "price",
    "$quantity": "quantity",
    "$revenue": "order_value",
    "$currency": "currency",
}
_TOP_LEVEL_PRODUCT = {
    "productId": "product_id",
    "price": "price",
    "quantity": "quantity",
    "revenue": "order_value",
}
_CONTEXT = {
    "language": "language",
    "region": "region",
    "city": "city",
    "user_agent": "user_agent",
    "platform": "platform",
    "app_version": "app_version",
    "version_name": "version_name",
    "os_name": "os",
    "os_version": "os_version",
    "device_brand": "device_brand",
    "device_manufacturer": "device_manufacturer",
    "device_model": "device_model",
    "carrier": "carrier",
    "currency": "currency",
    "revenueType": "revenue_type",
    "library": "tracker",
}
"""The keys that become metadata. Advertising and phone ids (`idfa`, `idfv`, `adid`, `android_id`)
do not."""
_SETS = ("$setOnce", "$set")
_OPERATIONS = (
    "$add",
    "$append",
    "$prepend",
    "$preInsert",
    "$postInsert",
    "$remove",
    "$unset",
    "$clearAll",
)


def event(source: Any, received_at: datetime) -> Translated:
    """One element of `events`. It never raises.

    Args:
        source: the element, any JSON value.
        received_at: when an event happened that does not say so.
    """
    try:
        return _event(as_object(source, "event"), received_at)
    except InvalidEvent as error:
        return refused_event(source, error, _stated_consent(source))


def _stated_consent(source: Any) -> Any:
    """Consent of a rejected event, unchecked; None where it states none."""
    properties = source.get("event_properties") if isinstance(source, dict) else None
    if not isinstance(properties, dict):
        return None
    return _plain(properties).get(FIELD)


def _event(source: dict[str, Any], received_at: datetime) -> Translated:
    check_event_size(source)
    name = as_id(source.get("event_type"))
    if name is None:
        raise InvalidEvent("event_type", "required")
    if name == GROUP_IDENTIFY:
        return Translated(source)
    timestamp = time_of(source.get("time"), 0.001, "time")
    shared = _who(source) | {"timestamp": timestamp or format_time(received_at)}
    event_id = as_id(source.get("insert_id"))
    if event_id is None and timestamp:
        # the same in a retry, whose `event_id` is the same as well
        event_id = derived_event_id(source)
    properties = dict(as_object(source.get("event_properties"), "event_properties"))
    token = properties.pop(USER_TOKEN, None)
    around = _context(source) | _page(properties)
    found = written(_facts(name, source, properties), shared, around, event_id, source)
    return Translated(source, found, user_token=token)


def _facts(name: str, source: Mapping[str, Any], properties: Mapping[str, Any]) -> Sequence[Fact]:
    traits = _traits(as_object(source.get("user_properties"), "user_properties"))
    if name == IDENTIFY:
        return [Fact("identify", traits | consent_of(properties))]
    if name == REVENUE:
        return [_revenue(properties)]
    at_top = {ours: source.get(theirs) for theirs, ours in _TOP_LEVEL_PRODUCT.items()}
    facts = facts_of(name, _plain(properties) | without_none(at_top))
    if not traits:
        return facts
    return [Fact(fact.event, traits | fact.metadata, fact.product_id) for fact in facts]


def _revenue(properties: Mapping[str, Any]) -> Fact:
    """A purchase where it names its product and nothing was paid back; else under Amplitude's name.

    A library that was given the revenue alone sends a price of 0.
    """
    named = {_REVENUE_NAMES.get(name) or name: value for name, value in properties.items()}
    amounts = [as_number(named.get(name)) or 0 for name in ("price", "order_value", "quantity")]
    product_id = as_id(named.pop("product_id", None))
    if product_id is None or min(amounts) < 0:
        return Fact(REVENUE, kept(named))
    price, revenue, quantity = amounts
    if not price and revenue:
        named["price"] = revenue / (quantity or 1)
    return Fact("purchase", kept(named), product_id)


def _plain(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Amplitude's own properties under plain names; the site's own of that name come first."""
    found: dict[str, Any] = {}
    for name, value in properties.items():
        if name in _PAGE_NAMES:
            continue
        if name.startswith(_PREFIX):
            plain = name.removeprefix(_PREFIX).lower().replace(" ", "_")
            found.setdefault(plain, value)
        else:
            found[name] = value
    return found


def _page(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of the page or screen."""
    address = as_text(properties.get("[Amplitude] Page URL"))
    found = {
        "url": address or as_text(properties.get("page_url")),
        "referrer": as_text(properties.get("referrer")),
    }
    for theirs, ours in _PAGE_NAMES.items():
        found[ours] = as_text(properties.get(theirs)) or found.get(ours)
    return without_none(found)


def _traits(properties: Mapping[str, Any]) -> dict[str, Any]:
    """`traits` as they are set, and the operations that change them."""
    operations = {}
    traits = {}
    for name, value in properties.items():
        if name in _OPERATIONS:
            operations[name.removeprefix("$")] = value
        elif name not in _SETS:
            traits[name] = value
    for kind in _SETS:
        traits |= as_object(properties.get(kind), f"user_properties.{kind}")
    found = {"traits": traits, "trait_operations": operations}
    return {name: value for name, value in found.items() if value}


def _who(source: Mapping[str, Any]) -> dict[str, Any]:
    session_id = as_id(source.get("session_id"))
    return {
        "user_id": first_id(source.get("user_id")),
        "anonymous_id": first_id(source.get("device_id")),
        "session_id": None if session_id == "-1" else session_id,
    }


def _context(source: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of the sender."""
    found: dict[str, Any] = {ours: as_text(source.get(theirs)) for theirs, ours in _CONTEXT.items()}
    address = as_text(source.get("ip"))
    found["ip"] = None if address == "$remote" else address  # which is the sender's own
    found["latitude"] = as_number(source.get("location_lat"))
    found["longitude"] = as_number(source.get("location_lng"))
    found["groups"] = source.get("groups") or None
    return without_none(found | country_of(source.get("country")))
