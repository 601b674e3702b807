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
from pipeline.core.event_types import PRODUCT_EVENTS
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.metadata_fields import NUMBER_METADATA, TEXT_METADATA

_SNOWPLOW = "com.snowplowanalytics.snowplow"
_MOBILE = "com.snowplowanalytics.mobile"
_MEDIA = "com.snowplowanalytics.snowplow.media"
_OLD_MEDIA_EVENT = f"{_SNOWPLOW}/media_player_event"

_BASKET_ACTIONS = {"addtobasket": "add_to_cart", "addtocart": "add_to_cart"} | {
    "removefrombasket": "remove_from_cart",
    "removefromcart": "remove_from_cart",
}
_STRUCTURED_FIELDS = {
    "category": "se_ca",
    "action": "se_ac",
    "label": "se_la",
    "property": "se_pr",
    "value": "se_va",
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
        heartbeat_s: the time on the page that a page ping stands for.

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
    """Consent of a rejected event, in our form; None where it states none."""
    try:
        envelope = embedded(fields, "ue_pr", "ue_px")
        if envelope is None:
            return None
        event = described(envelope.data, "ue_pr")
    except InvalidEvent:
        return None
    known = _KNOWN.get(event.kind)
    if known is None:
        return None
    return known(event, Contexts()).metadata.get("consent")


def _page_ping(fields: Mapping[str, Any], heartbeat_s: float) -> Sequence[Fact]:
    """The page was in use since the last ping; how far down it was seen is known where it was
    scrolled at all.
    """
    facts = [Fact("dwell", {"dwell_ms": round(heartbeat_s * 1000)})]
    depth = _depth_percent(fields)
    if depth is not None:
        facts.append(Fact("scroll", {"depth": depth}))
    return facts


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
    """The height of `<width>x<height>` in pixels."""
    if not isinstance(size, str):
        return None
    number = as_number(size.partition("x")[2])
    if number is None or number < 0:
        return None
    return number


def _structured(fields: Mapping[str, Any], contexts: Contexts) -> Fact:
    """Named by its action. The label is the thing acted upon: of baskets the product, of searches
    the query.
    """
    action, label = as_id(fields.get("se_ac")), as_text(fields.get("se_la"))
    if action is None:
        raise InvalidEvent("se_ac", "required")
    structured = {name: as_text(fields.get(key)) for name, key in _STRUCTURED_FIELDS.items()}
    metadata: dict[str, Any] = {"structured": without_none(structured)}
    name = _BASKET_ACTIONS.get(re.sub(r"[^a-z]", "", action.lower()))
    if name and label:
        if structured["property"] in _QUANTITIES:
            metadata |= without_none({"quantity": as_number(fields.get("se_va"))})
        return Fact(name, metadata, as_id(label))
    if action.lower() == "search" and label:
        return Fact("search", metadata | {"query": label})
    return _custom(_with_product(Fact(action, metadata), contexts))


def _self_describing(fields: Mapping[str, Any], contexts: Contexts) -> Sequence[Fact]:
    envelope = embedded(fields, "ue_pr", "ue_px")
    if envelope is None:
        raise InvalidEvent("ue_pr", "required, or ue_px")
    event = described(envelope.data, "ue_pr" if fields.get("ue_pr") else "ue_px")
    if event.kind in (ACTION, ENHANCED_ACTION):
        return ecommerce_facts(event.fields, contexts, event.kind == ENHANCED_ACTION)
    if event.kind in CART_EVENTS:
        return [cart_fact(CART_EVENTS[event.kind], event.fields)]
    if event.vendor == _MEDIA or event.kind == _OLD_MEDIA_EVENT:
        return [_with_product(_media(event, contexts), contexts)]
    known = _KNOWN.get(event.kind, _unknown)
    return [_custom(_with_product(known(event, contexts), contexts))]


def _unknown(event: SelfDescribing, contexts: Contexts) -> Fact:
    return Fact(event.name, _metadata_of(event))


def _media(event: SelfDescribing, contexts: Contexts) -> Fact:
    """Playing, pausing and where playback stands; all else of a player by the name Snowplow has for
    it.
    """
    kind = _media_kind(event).lower()
    player = contexts.first(f"{_SNOWPLOW}/media_player")
    session_id = contexts.first(f"{_MEDIA}/session").get("mediaSessionId")
    measured = {
        "percent": as_number(event.fields.get("percentProgress", player.get("percentProgress"))),
        "media_id": as_id(session_id) or as_id(event.fields.get("label")),
    }
    metadata = _metadata_of(event) | renamed(player, _PLAYER_FIELDS) | without_none(measured)
    return Fact(_MEDIA_EVENTS.get(kind, f"media_{kind}"), metadata)


def _media_kind(event: SelfDescribing) -> str:
    if event.kind == _OLD_MEDIA_EVENT:
        return as_id(event.fields.get("type")) or ""
    return event.name.removesuffix("_event")


def _screen_view(event: SelfDescribing, contexts: Contexts) -> Fact:
    name = as_text(event.fields.get("name"))
    return Fact("page_view", _metadata_of(event) | without_none({"title": name, "screen": name}))


def _screen_end(event: SelfDescribing, contexts: Contexts) -> Fact:
    """With the time that the screen was in the foreground, where the tracker measured it."""
    seconds = as_number(contexts.first(f"{_MOBILE}/screen_summary").get("foreground_sec"))
    if seconds is None:
        return Fact("screen_end", _metadata_of(event))
    return Fact("dwell", {"dwell_ms": round(seconds * 1000) if abs(seconds) < 1e12 else seconds})


def _site_search(event: SelfDescribing, contexts: Contexts) -> Fact:
    terms = event.fields.get("terms")
    if not isinstance(terms, list):
        terms = [terms]
    words = [as_text(term) or "" for term in terms]
    return Fact("search", _metadata_of(event) | {"query": " ".join(words).strip()})


def _click(event: SelfDescribing, contexts: Contexts) -> Fact:
    return Fact("click", _metadata_of(event) | renamed(event.fields, _LINK_FIELDS))


def _identify(event: SelfDescribing, contexts: Contexts) -> Fact:
    """Traits are all fields of the account but its id, in an object of their own or not."""
    named = event.fields.get("traits")
    traits = {name: value for name, value in event.fields.items() if name not in ("id", "traits")}
    if isinstance(named, dict):
        traits |= named
    metadata = {"schema": event.schema, "data": {"id": event.fields.get("id")}}
    if traits:
        metadata["traits"] = traits
    return Fact("identify", metadata)


def _consent_preferences(event: SelfDescribing, contexts: Contexts) -> Fact:
    """With our consent state where the choice is clear: everything, nothing, or a list of
    scopes."""
    metadata = _metadata_of(event)
    match event.fields.get("eventType"):
        case "allow_all":
            metadata["consent"] = {"analytics": True, "personalization": True}
        case "deny_all" | "withdrawn":
            metadata["consent"] = {"analytics": False, "personalization": False}
        case "allow_selected":
            metadata["consent"] = _consent_to(event.fields.get("consentScopes"))
    return Fact(event.name, metadata)


def _consent_to(scopes: Any) -> dict[str, bool]:
    listed = scopes if isinstance(scopes, list) else []
    named = {scope.strip().lower() for scope in listed if isinstance(scope, str)}
    return {
        "analytics": not named.isdisjoint(_ANALYTICS_SCOPES),
        "personalization": not named.isdisjoint(_PERSONALIZATION_SCOPES),
    }


def _consent_withdrawn(event: SelfDescribing, contexts: Contexts) -> Fact:
    metadata = _metadata_of(event)
    if event.fields.get("all") is True:
        metadata["consent"] = {"analytics": False, "personalization": False}
    return Fact(event.name, metadata)


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


def _metadata_of(event: SelfDescribing) -> dict[str, Any]:
    """The whole data as `data`, with its schema; fields that we know also under our names."""
    found: dict[str, Any] = {"schema": event.schema}
    if event.data not in (None, {}):
        found["data"] = event.data
    for name in _LIFTED_TEXTS & event.fields.keys():
        found |= without_none({name: as_text(event.fields[name])})
    for name in NUMBER_METADATA & event.fields.keys():
        number = as_number(event.fields[name])
        if number is not None and number >= 0:
            found[name] = number
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
    if not isinstance(data, dict):
        return Fact(fact.event, fact.metadata)
    return Fact(fact.event, fact.metadata, as_id(data.get("product_id")))


def _custom(fact: Fact) -> Fact:
    """Rename a site's own event that has the name of a product event of ours, but no product."""
    if fact.event in PRODUCT_EVENTS and fact.product_id is None:
        return Fact(f"snowplow_{fact.event}", fact.metadata)
    return fact
