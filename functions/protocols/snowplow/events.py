"""Snowplow's kinds of events among ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from functions.protocols.commerce_facts import Fact, from_zero
from functions.protocols.snowplow.contexts import (
    Contexts,
    SelfDescribing,
    described,
    embedded,
    renamed,
)
from functions.protocols.snowplow.ecommerce import (
    ACTION,
    CART_EVENTS,
    ENHANCED_ACTION,
    cart_fact,
    ecommerce_facts,
    item_fact,
    product,
    product_id_of,
    products_of,
    transaction_fact,
)
from functions.protocols.values import as_id, as_number, as_text, without_none
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.metadata_fields import NUMBER_METADATA, TEXT_METADATA
from pipeline.core.vocabulary import PRODUCT_EVENTS

_SNOWPLOW = "com.snowplowanalytics.snowplow"
_MOBILE = "com.snowplowanalytics.mobile"
_MEDIA = "com.snowplowanalytics.snowplow.media"
_OLD_MEDIA_EVENT = f"{_SNOWPLOW}/media_player_event"

_BASKET_ACTIONS = {"addtobasket": "add_to_cart", "addtocart": "add_to_cart"} | {
    "removefrombasket": "remove_from_cart",
    "removefromcart": "remove_from_cart",
}
_QUANTITIES = frozenset(("pcs", "qty", "quantity"))
_MEDIA_EVENTS = {
    "play": "media_play",
    "pause": "media_pause",
    "ping": "media_progress",
    "percent_progress": "media_progress",
    "percentprogress": "media_progress",
    # Not a pause: players report one of their own before the end, and a clock must not be stopped
    # twice.
    "end": "media_progress",
    "ended": "media_progress",
}
_PLAYER_FIELDS = {
    "currentTime": "current_time_s",
    "duration": "duration_s",
    "label": "media_label",
    "mediaType": "media_type",
}
_LINK_FIELDS = {
    "targetUrl": "target_url",
    "elementId": "element_id",
    "id": "element_id",
    "elementContent": "element_text",
    "label": "element_text",
}
_LIFTED_TEXTS = TEXT_METADATA - {"url", "title", "referrer"}  # those are the page's
_ANALYTICS_SCOPES = frozenset(("analytics", "statistics", "performance", "measurement"))
_PERSONALIZATION_SCOPES = frozenset(("personalization", "personalisation"))


def facts_of(fields: Mapping[str, Any], contexts: Contexts, heartbeat_s: float) -> Sequence[Fact]:
    """Facts of an event of the tracker protocol, by its `e`.

    Args:
        fields: the event's parameters.
        contexts: its entities.
        heartbeat_s: for how long a page was looked at when a page ping says so.

    Raises:
        InvalidEvent: naming the parameter that is missing or cannot be read.
    """
    match fields.get("e"):
        case "pv":
            return [_with_product(Fact("page_view", {}), contexts)]
        case "pp":
            return _page_ping(fields, heartbeat_s)
        case "se":
            return [_structured(fields, contexts)]
        case "ue":
            return _self_describing(fields, contexts)
        case "tr":
            return [transaction_fact(fields)]
        case "ti":
            return [item_fact(fields)]
        case other:
            raise InvalidEvent("e", "expected pv, pp, se, ue, tr or ti", other)


def stated_consent(fields: Mapping[str, Any]) -> Any:
    """Consent of a refused event, in our form; None where it says nothing."""
    try:
        envelope = embedded(fields, "ue_pr", "ue_px")
        event = None if envelope is None else described(envelope.data, "ue_pr")
    except InvalidEvent:
        return None
    known = None if event is None else _KNOWN.get(event.kind)
    return (
        None if event is None or known is None else known(event, Contexts()).metadata.get("consent")
    )


def _page_ping(fields: Mapping[str, Any], heartbeat_s: float) -> Sequence[Fact]:
    """The page was in use since the last ping; how far down it was seen is known where it was
    scrolled at all.
    """
    dwell = Fact("dwell", {"dwell_ms": round(heartbeat_s * 1000)})
    depth = _depth_percent(fields)
    return [dwell] if depth is None else [dwell, Fact("scroll", {"depth": depth})]


def _depth_percent(fields: Mapping[str, Any]) -> float | None:
    """Percentage of the document that has been above the window's lower edge, in [0, 100]; None
    where it is not known.
    """
    offset = as_number(fields.get("pp_may"))
    window, document = _height(fields.get("vp")), _height(fields.get("ds"))
    if offset is None or offset <= 0 or window is None or not document:
        return None
    return round(min(100.0 * (offset + window) / document, 100.0), 1)


def _height(size: Any) -> float | None:
    """Of `<width>x<height>` in pixels."""
    number = as_number(size.partition("x")[2]) if isinstance(size, str) else None
    return number if number is not None and number >= 0 else None


def _structured(fields: Mapping[str, Any], contexts: Contexts) -> Fact:
    """Named by its action. The label is the thing acted upon: of baskets the product, of searches
    the query.
    """
    action, label = as_id(fields.get("se_ac")), as_text(fields.get("se_la"))
    if action is None:
        raise InvalidEvent("se_ac", "required", None)
    told = {
        "category": "se_ca",
        "action": "se_ac",
        "label": "se_la",
        "property": "se_pr",
        "value": "se_va",
    }
    metadata = {
        "structured": without_none({name: as_text(fields.get(key)) for name, key in told.items()})
    }
    name = _BASKET_ACTIONS.get(re.sub(r"[^a-z]", "", action.lower()))
    if name and label:
        quantity = (
            as_number(fields.get("se_va")) if as_text(fields.get("se_pr")) in _QUANTITIES else None
        )
        return Fact(name, metadata | without_none({"quantity": quantity}), as_id(label))
    if action.lower() == "search" and label:
        return Fact("search", metadata | {"query": label})
    return _custom(_with_product(Fact(action, metadata), contexts))


def _self_describing(fields: Mapping[str, Any], contexts: Contexts) -> Sequence[Fact]:
    envelope = embedded(fields, "ue_pr", "ue_px")
    if envelope is None:
        raise InvalidEvent("ue_pr", "required, or ue_px", None)
    event = described(envelope.data, "ue_pr" if fields.get("ue_pr") else "ue_px")
    if event.kind in (ACTION, ENHANCED_ACTION):
        return ecommerce_facts(event.fields, contexts, event.kind == ENHANCED_ACTION)
    if event.kind in CART_EVENTS:
        return [cart_fact(CART_EVENTS[event.kind], event.fields)]
    if event.vendor == _MEDIA or event.kind == _OLD_MEDIA_EVENT:
        return [_with_product(_media(event, contexts), contexts)]
    known = _KNOWN.get(event.kind)
    fact = known(event, contexts) if known else Fact(event.name, _told(event))
    return [_custom(_with_product(fact, contexts))]


def _media(event: SelfDescribing, contexts: Contexts) -> Fact:
    """Playing, pausing and where playback stands; all else of a player by the name Snowplow has for
    it.
    """
    told = (
        as_id(event.fields.get("type"))
        if event.kind == _OLD_MEDIA_EVENT
        else event.name.removesuffix("_event")
    )
    kind = (told or "").lower()
    player = contexts.first(f"{_SNOWPLOW}/media_player")
    percent = as_number(event.fields.get("percentProgress", player.get("percentProgress")))
    media_id = as_id(contexts.first(f"{_MEDIA}/session").get("mediaSessionId")) or as_id(
        event.fields.get("label")
    )
    metadata = renamed(player, _PLAYER_FIELDS) | without_none(
        {"percent": percent, "media_id": media_id}
    )
    return Fact(_MEDIA_EVENTS.get(kind, f"media_{kind}"), _told(event) | metadata)


def _screen_view(event: SelfDescribing, contexts: Contexts) -> Fact:
    name = as_text(event.fields.get("name"))
    return Fact("page_view", _told(event) | without_none({"title": name, "screen": name}))


def _screen_end(event: SelfDescribing, contexts: Contexts) -> Fact:
    """With the time that the screen was in the foreground, where the tracker measured it."""
    seconds = as_number(contexts.first(f"{_MOBILE}/screen_summary").get("foreground_sec"))
    if seconds is None:
        return Fact("screen_end", _told(event))
    return Fact("dwell", {"dwell_ms": round(seconds * 1000) if abs(seconds) < 1e12 else seconds})


def _site_search(event: SelfDescribing, contexts: Contexts) -> Fact:
    terms = event.fields.get("terms")
    words = (
        [as_text(term) or "" for term in terms]
        if isinstance(terms, list)
        else [as_text(terms) or ""]
    )
    return Fact("search", _told(event) | {"query": " ".join(words).strip()})


def _click(event: SelfDescribing, contexts: Contexts) -> Fact:
    return Fact("click", _told(event) | renamed(event.fields, _LINK_FIELDS))


def _identify(event: SelfDescribing, contexts: Contexts) -> Fact:
    """Traits: all that it says of the account but its id, in an object of their own or not."""
    named = event.fields.get("traits")
    traits = {name: value for name, value in event.fields.items() if name not in ("id", "traits")}
    traits |= named if isinstance(named, dict) else {}
    who = {"schema": event.schema, "data": {"id": event.fields.get("id")}}
    return Fact("identify", who | ({"traits": traits} if traits else {}))


def _consent_preferences(event: SelfDescribing, contexts: Contexts) -> Fact:
    """With our consent state where the choice is clear: everything, nothing, or a list of
    scopes."""
    metadata = _told(event)
    match event.fields.get("eventType"):
        case "allow_all":
            metadata["consent"] = {"analytics": True, "personalization": True}
        case "deny_all" | "withdrawn":
            metadata["consent"] = {"analytics": False, "personalization": False}
        case "allow_selected":
            metadata["consent"] = _consent_to(event.fields.get("consentScopes"))
    return Fact(event.name, metadata)


def _consent_to(scopes: Any) -> dict[str, bool]:
    texts = (
        [scope for scope in scopes if isinstance(scope, str)] if isinstance(scopes, list) else []
    )
    named = {text.strip().lower() for text in texts}
    return {
        "analytics": not named.isdisjoint(_ANALYTICS_SCOPES),
        "personalization": not named.isdisjoint(_PERSONALIZATION_SCOPES),
    }


def _consent_withdrawn(event: SelfDescribing, contexts: Contexts) -> Fact:
    consent = (
        {"analytics": False, "personalization": False} if event.fields.get("all") is True else None
    )
    return Fact(event.name, _told(event) | without_none({"consent": consent}))


_KNOWN: Mapping[str, Callable[[SelfDescribing, Contexts], Fact]] = {
    f"{_SNOWPLOW}/link_click": _click,
    f"{_SNOWPLOW}/button_click": _click,
    f"{_SNOWPLOW}/site_search": _site_search,
    f"{_SNOWPLOW}/identify": _identify,
    f"{_SNOWPLOW}/consent_preferences": _consent_preferences,
    f"{_SNOWPLOW}/consent_withdrawn": _consent_withdrawn,
    f"{_SNOWPLOW}/screen_view": _screen_view,
    f"{_MOBILE}/screen_view": _screen_view,
    f"{_MOBILE}/screen_end": _screen_end,
}


def _told(event: SelfDescribing) -> dict[str, Any]:
    """The event's data as `data`, whole, with its schema; what we know of it also under the names
    we know it by.
    """
    found: dict[str, Any] = {"schema": event.schema}
    if event.data not in (None, {}):
        found["data"] = event.data
    for name in _LIFTED_TEXTS & event.fields.keys():
        found |= without_none({name: as_text(event.fields[name])})
    for name in NUMBER_METADATA & event.fields.keys():
        number = as_number(event.fields[name])
        found |= {name: number} if number is not None and number >= 0 else {}
    return found


def _with_product(fact: Fact, contexts: Contexts) -> Fact:
    """The product of an event, by its entity, or by its own data under the names that we have for
    it.
    """
    found = products_of(contexts)
    if len(found) == 1 and product_id_of(found[0]):
        about = product(found[0])
        return Fact(fact.event, from_zero(about.metadata) | fact.metadata, about.product_id)
    data = fact.metadata.get("data")
    product_id = as_id(data.get("product_id")) if isinstance(data, dict) else None
    return Fact(fact.event, fact.metadata, product_id)


def _custom(fact: Fact) -> Fact:
    """A site's own event may be called as one of ours that needs a product: without one it is
    another thing.
    """
    if fact.event in PRODUCT_EVENTS and fact.product_id is None:
        return Fact(f"snowplow_{fact.event}", fact.metadata)
    return fact
