"""Snowplow's payloads as its trackers write them, and what no tracker would write."""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.http.exchange import Incoming, Refusal
from functions.protocols.contract import Outcome, Reading, Rejected, Translated
from functions.protocols.segment.ecommerce import facts_of_track
from functions.protocols.snowplow import protocol as snowplow
from functions.protocols.snowplow.contexts import MAX_KEPT_BYTES
from pipeline.core.event_types import EVENT_CODES
from pipeline.core.events import Event, parse_event
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.timestamps import format_time

NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)
NOW_MS = "1735732800000"
EID = "c6ef3124-b53a-4b13-a233-0088f79dcbcb"
TP2 = "/com.snowplowanalytics.snowplow/tp2"
PAYLOAD_DATA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
UNSTRUCT = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0"
CONTEXTS = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0"
ECOMMERCE = "iglu:com.snowplowanalytics.snowplow.ecommerce"
SNOWPLOW = "iglu:com.snowplowanalytics.snowplow"
WEB = {
    "tv": "js-4.10.1",
    "tna": "sp",
    "aid": "shop-web",
    "p": "web",
    "eid": EID,
    "dtm": NOW_MS,
    "stm": NOW_MS,
    "duid": "8d5e0b1c-41c5-4a2b-9c5c-0c1a3f5a2f6e",
    "sid": "f2008d0c-28a0-4a9d-a9f7-0e2f2e7e6a3d",
    "vid": "3",
    "url": "https://shop.example/lamps",
    "refr": "https://search.example/",
    "lang": "en-GB",
    "tz": "Europe/London",
    "res": "1920x1080",
    "vp": "1280x800",
    "ds": "1280x4000",
}


def post(*events: Any, query: str = "", schema: str = PAYLOAD_DATA) -> Incoming:
    body = json.dumps({"schema": schema, "data": list(events)}).encode()
    return Incoming("POST", TP2, query, {"content-type": "application/json"}, body, NOW)


def get(path: str = "/i", /, **fields: str) -> Incoming:
    return Incoming("GET", path, urlencode(fields), {}, b"", NOW)


def schema(kind: str, version: str = "1-0-0") -> str:
    vendor, _, name = kind.rpartition("/")
    return f"{vendor}/{name}/jsonschema/{version}"


def entity(kind: str, **data: Any) -> dict[str, Any]:
    return {"schema": schema(kind), "data": data}


def coded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def with_contexts(*entities: dict[str, Any], encoded: bool = False) -> dict[str, str]:
    envelope = {"schema": CONTEXTS, "data": list(entities)}
    return {"cx": coded(envelope)} if encoded else {"co": json.dumps(envelope)}


def self_describing(
    kind: str, *entities: dict[str, Any], encoded: bool = False, **data: Any
) -> dict[str, str]:
    event = {"schema": UNSTRUCT, "data": entity(kind, **data)}
    said = {"ue_px": coded(event)} if encoded else {"ue_pr": json.dumps(event)}
    return (
        WEB | {"e": "ue"} | said | (with_contexts(*entities, encoded=encoded) if entities else {})
    )


def action(kind: str, *entities: dict[str, Any], name: str | None = None) -> dict[str, str]:
    data: dict[str, Any] = {"type": kind} | ({"name": name} if name else {})
    return self_describing(f"{ECOMMERCE}/snowplow_ecommerce_action", *entities, **data)


def product(item_id: str = "p1", **fields: Any) -> dict[str, Any]:
    return entity(
        f"{ECOMMERCE}/product", **{"id": item_id, "price": 20.5, "currency": "EUR"} | fields
    )


def only(incoming: Incoming) -> Translated:
    (translated,) = snowplow.read(incoming).events
    return translated


def events(fields: dict[str, Any]) -> list[Event]:
    """What the event becomes, read as the collector reads it."""
    translated = only(post(fields))
    assert translated.error is None, translated.error
    return [parse_event(fact, ingest_time=NOW) for fact in translated.facts]


def event(fields: dict[str, Any]) -> Event:
    (found,) = events(fields)
    return found


def error(fields: Any) -> InvalidEvent:
    found = only(post(fields)).error
    assert found is not None
    return found


# ---- who, where, when


def test_a_page_view_says_who_saw_which_page_when() -> None:
    seen = event(WEB | {"e": "pv", "page": "Lamps", "uid": "u1"})
    assert (seen.event, seen.event_id, seen.timestamp) == ("page_view", EID, NOW)
    assert (seen.user_id, seen.anonymous_id, seen.session_id) == ("u1", WEB["duid"], WEB["sid"])
    assert seen.metadata == {
        "url": "https://shop.example/lamps",
        "title": "Lamps",
        "referrer": "https://search.example/",
        "language": "en-GB",
        "timezone": "Europe/London",
        "screen_size": "1920x1080",
        "viewport": "1280x800",
        "platform": "web",
        "app_id": "shop-web",
        "tracker": "sp",
        "tracker_version": "js-4.10.1",
        "session_number": "3",
    }


def test_the_address_and_the_user_agent_that_a_server_passes_on_are_metadata() -> None:
    metadata = event(WEB | {"e": "pv", "ip": "203.0.113.7", "ua": "Mozilla/5.0"}).metadata
    assert (metadata["ip"], metadata["user_agent"]) == ("203.0.113.7", "Mozilla/5.0")


def test_a_query_is_an_event_by_either_path() -> None:
    for incoming in (get("/i", **WEB, e="pv"), get(TP2, **WEB, e="pv")):
        translated = only(incoming)
        (fact,) = translated.facts
        assert (fact["event"], fact["event_id"]) == ("page_view", EID)
        assert translated.sent_at == NOW


def test_the_device_s_clock_is_told_with_its_time_of_sending() -> None:
    translated = only(post(WEB | {"e": "pv", "dtm": "1735732740123"}))
    assert translated.facts[0]["timestamp"] == "2025-01-01T11:59:00.123Z"
    assert translated.sent_at == NOW


def test_a_true_time_wins_and_is_not_repaired_by_the_device_s_clock() -> None:
    translated = only(post(WEB | {"e": "pv", "dtm": "1735700000000", "ttm": NOW_MS}))
    assert translated.facts[0]["timestamp"] == format_time(NOW)
    assert translated.sent_at is None


def test_without_a_time_it_happens_on_arrival_whenever_it_was_sent() -> None:
    fields = {name: value for name, value in WEB.items() if name != "dtm"} | {
        "e": "pv",
        "stm": "1735700000000",
    }
    translated = only(post(fields))
    assert (translated.facts[0]["timestamp"], translated.sent_at) == (format_time(NOW), None)


@pytest.mark.parametrize("name", ["dtm", "ttm", "stm"])
def test_a_time_that_is_none_is_an_error(name: str) -> None:
    assert error(WEB | {"e": "pv", name: "noon"}).field == name


def anonymous(**fields: Any) -> dict[str, Any]:
    return (
        {name: value for name, value in WEB.items() if name not in ("duid", "sid")}
        | {"e": "pv"}
        | fields
    )


def test_an_app_s_session_entity_names_visitor_and_session() -> None:
    session = entity(
        f"{SNOWPLOW}/client_session", userId="device-1", sessionId="session-1", sessionIndex=2
    )
    seen = event(anonymous(**with_contexts(session)))
    assert (seen.anonymous_id, seen.session_id) == ("device-1", "session-1")


def test_a_network_user_id_stands_in_for_a_visitor_s_own() -> None:
    assert event(anonymous(nuid="n1")).anonymous_id == "n1"
    assert event(anonymous(nuid="n1", tnuid="n2")).anonymous_id == "n2"


def test_the_id_of_nobody_is_no_id() -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    session = entity(f"{SNOWPLOW}/client_session", userId=nobody, sessionId="s1")
    seen = event(anonymous(nuid=nobody, **with_contexts(session)))
    assert (seen.anonymous_id, seen.session_id) == ("s1", "s1")


def test_an_event_of_nobody_at_all_is_none_of_ours() -> None:
    (fact,) = only(post(anonymous())).facts
    with pytest.raises(InvalidEvent, match="user_id or anonymous_id"):
        parse_event(fact, ingest_time=NOW)


def test_the_e_commerce_user_is_the_account_unless_a_guest() -> None:
    def user(**data: Any) -> Event:
        return event(WEB | {"e": "pv"} | with_contexts(entity(f"{ECOMMERCE}/user", **data)))

    assert user(id="u7").user_id == "u7"
    assert user(id="u7", is_guest=True).user_id is None


def test_known_entities_are_read_and_all_are_kept() -> None:
    entities = (
        entity(f"{SNOWPLOW}/web_page", id="page-1"),
        entity(f"{SNOWPLOW}/geolocation_context", latitude=48.2, longitude=16.37),
        entity(
            f"{SNOWPLOW}/mobile_context",
            osType="ios",
            deviceManufacturer="Apple",
            deviceModel="iPhone14,5",
        ),
        entity(f"{ECOMMERCE}/page", type="category"),
        entity("iglu:com.acme/weather", sky="grey"),
    )
    for encoded in (False, True):
        metadata = event(WEB | {"e": "pv"} | with_contexts(*entities, encoded=encoded)).metadata
        assert metadata["page_view_id"] == "page-1"
        assert (metadata["latitude"], metadata["longitude"]) == (48.2, 16.37)
        assert (metadata["os_family"], metadata["device_model"]) == ("ios", "iPhone14,5")
        assert metadata["page_type"] == "category"
        assert metadata["contexts"] == list(entities)


def test_kept_entities_have_a_bound_and_say_how_many_did_not_fit() -> None:
    entities = [entity("iglu:com.acme/note", text="x" * 6000) for _ in range(4)]
    metadata = event(WEB | {"e": "pv"} | with_contexts(*entities)).metadata
    assert (len(metadata["contexts"]), metadata["contexts_dropped"]) == (2, 2)
    assert len(json.dumps(metadata["contexts"])) <= MAX_KEPT_BYTES + 100


# ---- page pings


def test_a_page_ping_is_a_heartbeat_of_dwell_and_how_far_down_was_seen() -> None:
    dwell, scroll = events(
        WEB | {"e": "pp", "pp_mix": "0", "pp_max": "0", "pp_miy": "0", "pp_may": "1200"}
    )
    assert (dwell.event, dwell.event_id, dwell.metadata["dwell_ms"]) == (
        "dwell",
        f"{EID}:0",
        10_000,
    )
    assert (scroll.event, scroll.event_id, scroll.metadata["depth"]) == ("scroll", f"{EID}:1", 50.0)


@pytest.mark.parametrize(
    "fields", [{"pp_may": "0"}, {}, {"pp_may": "9", "ds": "1280x0"}, {"pp_may": "9", "vp": "wide"}]
)
def test_a_page_ping_without_scrolling_or_sizes_is_dwell_alone(fields: dict[str, str]) -> None:
    assert event(WEB | {"e": "pp"} | fields).event == "dwell"


def test_depth_never_passes_the_end_of_the_document() -> None:
    assert events(WEB | {"e": "pp", "pp_may": "99999"})[1].metadata["depth"] == 100.0


def test_a_site_says_its_own_heartbeat_in_the_address() -> None:
    for query, dwell_ms in (
        ("heartbeat_s=30", 30_000),
        ("heartbeat_s=0", 10_000),
        ("heartbeat_s=601", 10_000),
    ):
        (fact,) = only(post(WEB | {"e": "pp"}, query=query)).facts
        assert fact["metadata"]["dwell_ms"] == dwell_ms


# ---- structured events


def test_a_structured_event_is_named_by_its_action() -> None:
    said = event(
        WEB
        | {
            "e": "se",
            "se_ca": "Mixes",
            "se_ac": "Play",
            "se_la": "fabric",
            "se_pr": "x",
            "se_va": "0.0",
        }
    )
    assert said.event == "Play"
    told = {
        "category": "Mixes",
        "action": "Play",
        "label": "fabric",
        "property": "x",
        "value": "0.0",
    }
    assert said.metadata["structured"] == told


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("add-to-basket", "add_to_cart"),
        ("Add To Cart", "add_to_cart"),
        ("remove_from_basket", "remove_from_cart"),
    ],
)
def test_the_basket_actions_are_ours_with_the_label_as_product(name: str, ours: str) -> None:
    said = event(
        WEB
        | {"e": "se", "se_ca": "shop", "se_ac": name, "se_la": "SKU1", "se_pr": "pcs", "se_va": "2"}
    )
    assert (said.event, said.product_id, said.metadata["quantity"]) == (ours, "SKU1", 2)


def test_the_value_of_another_property_is_no_quantity() -> None:
    said = event(
        WEB
        | {
            "e": "se",
            "se_ca": "s",
            "se_ac": "add-to-cart",
            "se_la": "p",
            "se_pr": "size",
            "se_va": "2",
        }
    )
    assert "quantity" not in said.metadata


def test_a_structured_search_has_its_label_as_query() -> None:
    said = event(WEB | {"e": "se", "se_ca": "site", "se_ac": "Search", "se_la": "desk lamp"})
    assert (said.event, said.metadata["query"]) == ("search", "desk lamp")


def test_an_action_called_as_one_of_ours_without_a_product_is_another_thing() -> None:
    assert (
        event(WEB | {"e": "se", "se_ca": "shop", "se_ac": "purchase"}).event == "snowplow_purchase"
    )
    assert (
        event(WEB | {"e": "se", "se_ca": "shop", "se_ac": "add-to-basket"}).event == "add-to-basket"
    )


def test_a_structured_event_without_an_action_is_an_error() -> None:
    assert error(WEB | {"e": "se", "se_ca": "shop"}).field == "se_ac"


# ---- orders of the older protocol


def test_an_order_is_told_once_and_each_of_its_items_is_a_purchase() -> None:
    order = event(
        WEB | {"e": "tr", "tr_id": "o1", "tr_tt": "42.50", "tr_cu": "EUR", "tr_ci": "Graz"}
    )
    assert (order.event, order.metadata["order_id"], order.metadata["order_value"]) == (
        "transaction",
        "o1",
        42.5,
    )
    item = event(
        WEB
        | {
            "e": "ti",
            "ti_id": "o1",
            "ti_sk": "p1",
            "ti_ca": "lamps",
            "ti_pr": "21.25",
            "ti_qu": "2",
        }
    )
    assert (item.event, item.product_id) == ("purchase", "p1")
    assert {
        "order_id": "o1",
        "category": "lamps",
        "price": 21.25,
        "quantity": 2,
    }.items() <= item.metadata.items()


def test_an_item_without_a_sku_is_an_error() -> None:
    assert error(WEB | {"e": "ti", "ti_id": "o1"}).field == "ti_sk"


# ---- the e-commerce plugin


def test_a_product_view_has_the_product_s_fields_under_our_names() -> None:
    lamp = product(
        name="Lamp",
        category="home/lamps",
        brand="Oak",
        variant="sand",
        list_price=30,
        position=2,
        size="M",
    )
    seen = event(action("product_view", lamp))
    assert (seen.event, seen.event_id, seen.product_id) == ("view_product", EID, "p1")
    told = {
        "title": "Lamp",
        "category": "home/lamps",
        "brand": "Oak",
        "product_variant": "sand",
        "size": "M",
    }
    assert (
        told | {"price": 20.5, "list_price": 30, "position": 1, "currency": "EUR"}
    ).items() <= seen.metadata.items()
    assert "variant" not in seen.metadata
    assert "contexts" not in seen.metadata


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        ("list_view", "impression"),
        ("list_click", "click"),
        ("add_to_cart", "add_to_cart"),
        ("remove_from_cart", "remove_from_cart"),
        ("transaction", "purchase"),
        ("refund", "refund"),
    ],
)
def test_each_product_of_an_action_is_an_event_of_its_own(kind: str, ours: str) -> None:
    page = entity(f"{SNOWPLOW}/web_page", id="page-1")
    first, second = events(
        action(kind, product("p1", quantity=2), product("p2"), page, name="bestsellers")
    )
    assert (first.event, second.event) == (ours, ours)
    assert (first.event_id, second.event_id) == (f"{EID}:0", f"{EID}:1")
    assert (first.product_id, second.product_id) == ("p1", "p2")
    assert first.metadata["placement"] == second.metadata["placement"] == "bestsellers"
    assert (first.metadata["quantity"], "quantity" in second.metadata) == (2, False)
    assert first.metadata["contexts"] == [page]
    assert "contexts" not in second.metadata


def test_cart_and_order_are_told_with_each_product() -> None:
    cart = entity(f"{ECOMMERCE}/cart", cart_id="c1", total_value=61.5, currency="EUR")
    assert event(action("add_to_cart", product(), cart)).metadata["cart_value"] == 61.5
    order = entity(
        f"{ECOMMERCE}/transaction",
        transaction_id="o1",
        revenue=41,
        payment_method="card",
        currency="EUR",
    )
    bought = event(action("transaction", product(quantity=2), order)).metadata
    assert (bought["order_id"], bought["order_value"], bought["quantity"]) == ("o1", 41, 2)


def test_steps_promotions_and_failures_keep_snowplow_s_names() -> None:
    step = event(
        action(
            "checkout_step",
            entity(f"{ECOMMERCE}/checkout_step", step=2),
            product("p1"),
            product("p2"),
        )
    )
    assert (step.event, step.product_id, step.metadata["step"]) == ("checkout_step", None, 2)
    promotion = entity(f"{ECOMMERCE}/promotion", id="x1", slot="hero", product_ids=["p1"])
    seen, clicked = event(action("promo_view", promotion)), event(action("promo_click", promotion))
    assert (seen.event, clicked.event) == ("promo_view", "click")
    assert (clicked.metadata["promotion_id"], clicked.metadata["placement"]) == ("x1", "hero")
    assert event(
        action("trns_error", entity(f"{ECOMMERCE}/transaction_error", error_code="E5"))
    ).event == ("transaction_error")


def test_an_empty_list_and_an_order_of_nothing_are_no_product_events() -> None:
    assert event(action("list_view", name="results")).event == "list_view"
    assert event(action("transaction")).event == "transaction"


def test_an_order_of_nothing_is_kept_and_is_no_purchase_as_segments_is() -> None:
    [segments] = facts_of_track("Order Completed", {"order_id": "o1"})
    ours = event(action("transaction", entity(f"{ECOMMERCE}/transaction", transaction_id="o1")))
    for name, product_id, metadata in (
        (segments.event, segments.product_id, segments.metadata),
        (ours.event, ours.product_id, ours.metadata),
    ):
        assert (name in EVENT_CODES, product_id, metadata["order_id"]) == (False, None, "o1")


@pytest.mark.parametrize("kind", ["product_view", "add_to_cart", "remove_from_cart"])
def test_an_action_that_needs_a_product_is_an_error_without_one(kind: str) -> None:
    assert error(action(kind)).field == "product"


def test_an_action_with_one_product_that_is_none_is_an_error_whole() -> None:
    found = error(action("add_to_cart", product(), entity(f"{ECOMMERCE}/product", name="Lamp")))
    assert found.field == "product.id"


def test_enhanced_e_commerce_of_older_trackers_is_the_same() -> None:
    vendor = "iglu:com.google.analytics.enhanced-ecommerce"
    fields = self_describing(
        f"{vendor}/action",
        entity(f"{vendor}/productFieldObject", id="p1", price="20.5", quantity="2"),
        entity(f"{vendor}/actionFieldObject", id="o1", revenue="41"),
        action="purchase",
    )
    bought = event(fields)
    assert (bought.event, bought.product_id) == ("purchase", "p1")
    assert {
        "price": 20.5,
        "quantity": 2,
        "order_id": "o1",
        "order_value": 41,
    }.items() <= bought.metadata.items()


def test_the_first_cart_events_carry_their_product_themselves() -> None:
    added = event(
        self_describing(
            f"{SNOWPLOW}/add_to_cart", sku="p1", unit_price=3.5, quantity=2, currency="EUR"
        )
    )
    assert (added.event, added.product_id, added.metadata["price"]) == ("add_to_cart", "p1", 3.5)


# ---- other self-describing events


def test_a_link_click_is_a_click_base64_or_not() -> None:
    for encoded in (False, True):
        fields = self_describing(
            f"{SNOWPLOW}/link_click", encoded=encoded, targetUrl="https://a.example", elementId="x"
        )
        clicked = event(fields)
        assert clicked.event == "click"
        assert (clicked.metadata["target_url"], clicked.metadata["element_id"]) == (
            "https://a.example",
            "x",
        )


def test_a_click_with_a_product_entity_is_about_that_product() -> None:
    assert (
        event(self_describing(f"{SNOWPLOW}/link_click", product("p9"), targetUrl="/p9")).product_id
        == "p9"
    )


def test_a_site_search_has_its_terms_as_query() -> None:
    fields = self_describing(f"{SNOWPLOW}/site_search", terms=["desk", "lamp"], totalResults=14)
    said = event(fields)
    assert (said.event, said.metadata["query"], said.metadata["data"]["totalResults"]) == (
        "search",
        "desk lamp",
        14,
    )


def test_a_screen_is_a_page_and_its_end_tells_the_dwell() -> None:
    screen = event(
        self_describing("iglu:com.snowplowanalytics.mobile/screen_view", id="1", name="Basket")
    )
    assert (screen.event, screen.metadata["title"]) == ("page_view", "Basket")
    mobile = "iglu:com.snowplowanalytics.mobile"
    summary = entity(f"{mobile}/screen_summary", foreground_sec=10.2, background_sec=3.1)
    end = event(self_describing(f"{mobile}/screen_end", summary))
    assert (end.event, end.metadata["dwell_ms"]) == ("dwell", 10_200)
    assert event(self_describing(f"{mobile}/screen_end")).event == "screen_end"


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("play_event", "media_play"),
        ("pause_event", "media_pause"),
        ("ping_event", "media_progress"),
        ("percent_progress_event", "media_progress"),
        ("end_event", "media_progress"),
        ("ad_start_event", "media_ad_start"),
    ],
)
def test_media_events_are_ours_where_we_have_them(name: str, ours: str) -> None:
    player = {
        "schema": schema(f"{SNOWPLOW}/media_player", "2-0-0"),
        "data": {"currentTime": 12.5, "duration": 60},
    }
    session = entity(f"{SNOWPLOW}.media/session", mediaSessionId="m1")
    said = event(self_describing(f"{SNOWPLOW}.media/{name}", player, session))
    assert (said.event, said.metadata["current_time_s"], said.metadata["media_id"]) == (
        ours,
        12.5,
        "m1",
    )


def test_the_older_media_event_says_what_it_is_in_its_data() -> None:
    said = event(self_describing(f"{SNOWPLOW}/media_player_event", type="play", label="trailer"))
    assert (said.event, said.metadata["media_id"]) == ("media_play", "trailer")
    assert (
        event(self_describing(f"{SNOWPLOW}/media_player_event", type="seeked")).event
        == "media_seeked"
    )


@pytest.mark.parametrize(
    ("kind", "scopes", "consent"),
    [
        ("allow_all", ["necessary"], {"analytics": True, "personalization": True}),
        ("deny_all", ["necessary"], {"analytics": False, "personalization": False}),
        ("withdrawn", ["necessary"], {"analytics": False, "personalization": False}),
        (
            "allow_selected",
            ["necessary", "Statistics"],
            {"analytics": True, "personalization": False},
        ),
        ("allow_selected", ["personalization"], {"analytics": False, "personalization": True}),
        ("pending", ["analytics"], None),
        ("implicit_consent", ["analytics"], None),
    ],
)
def test_consent_is_stated_where_the_choice_is_clear(
    kind: str, scopes: list[str], consent: Any
) -> None:
    said = event(
        self_describing(f"{SNOWPLOW}/consent_preferences", eventType=kind, consentScopes=scopes)
    )
    assert (said.event, said.metadata.get("consent")) == ("consent_preferences", consent)


def test_consent_withdrawn_from_everything_is_consent_to_nothing() -> None:
    assert (
        event(self_describing(f"{SNOWPLOW}/consent_withdrawn", all=True)).metadata["consent"][
            "analytics"
        ]
        is False
    )
    assert (
        "consent" not in event(self_describing(f"{SNOWPLOW}/consent_withdrawn", all=False)).metadata
    )


def test_an_identify_event_names_the_account() -> None:
    said = event(self_describing(f"{SNOWPLOW}/identify", id="u5", plan="gold", traits={"size": 3}))
    assert said.metadata["traits"] == {"plan": "gold", "size": 3}
    assert (said.event, said.user_id, said.anonymous_id) == ("identify", "u5", WEB["duid"])


def test_a_site_s_own_event_is_named_by_its_schema_and_keeps_its_data() -> None:
    said = event(
        self_describing(
            "iglu:com.acme/wish_added", product_id="p3", category="lamps", price="9.5", url="x"
        )
    )
    assert (said.event, said.product_id) == ("wish_added", "p3")
    assert (said.metadata["category"], said.metadata["price"]) == ("lamps", 9.5)
    assert said.metadata["url"] == WEB["url"]
    assert said.metadata["data"] == {
        "product_id": "p3",
        "category": "lamps",
        "price": "9.5",
        "url": "x",
    }
    assert said.metadata["schema"] == "iglu:com.acme/wish_added/jsonschema/1-0-0"


def test_a_site_s_own_event_may_have_fields_of_other_types_than_ours() -> None:
    said = event(
        self_describing("iglu:com.acme/moved", position="top", category={"id": 4}, price=-1)
    )
    assert said.metadata["data"] == {"position": "top", "category": {"id": 4}, "price": -1}
    assert said.metadata.keys().isdisjoint({"position", "category", "price"})


def test_a_site_s_own_purchase_without_a_product_is_not_ours() -> None:
    assert event(self_describing("iglu:com.acme/purchase", total=5)).event == "snowplow_purchase"
    assert event(self_describing("iglu:com.acme/purchase", product_id="p1")).event == "purchase"


# ---- requests


def test_one_bad_event_keeps_the_good_ones() -> None:
    reading = snowplow.read(
        post(WEB | {"e": "pv"}, WEB | {"e": "xx"}, "no event", WEB | {"e": "ue"})
    )
    assert [translated.error and translated.error.field for translated in reading.events] == [
        None,
        "e",
        "data",
        "ue_pr",
    ]
    assert reading.events[1].source == WEB | {"e": "xx"}


@pytest.mark.parametrize(
    "fields",
    [
        {"ue_pr": "{"},
        {"ue_pr": json.dumps({"schema": UNSTRUCT, "data": {"schema": "no uri", "data": {}}})},
        {"ue_pr": 7},
        {"ue_px": "!!!"},
        {"ue_px": base64.b64encode(b"\xff\xfe").decode()},
        {"co": json.dumps({"schema": CONTEXTS, "data": {}})},
        {"cx": coded({"schema": CONTEXTS, "data": [1]})},
    ],
)
def test_embedded_json_that_cannot_be_read_is_named(fields: dict[str, Any]) -> None:
    said = {**self_describing("iglu:com.acme/x"), **fields}
    if "ue_px" in fields:
        del said["ue_pr"]
    assert error(said).field == next(iter(fields))


def test_nesting_is_bounded_in_and_out_of_base64() -> None:
    deep = '{"schema":"iglu:a/b/jsonschema/1-0-0","data":' + "[" * 10_000 + "]" * 10_000 + "}"
    assert error(WEB | {"e": "pv", "co": deep}).field == "co"
    coded_deep = base64.urlsafe_b64encode(deep.encode()).decode()
    assert error(WEB | {"e": "pv", "cx": coded_deep}).field == "cx"


def test_an_event_s_size_is_bounded() -> None:
    assert "bytes an event" in error(WEB | {"e": "pv", "page": "x" * 70_000}).reason


def test_the_app_id_is_the_write_key_unless_the_address_has_one() -> None:
    assert snowplow.read(post(WEB | {"e": "pv"})).write_key == "shop-web"
    assert snowplow.read(post(WEB | {"e": "pv"}, query="key=secret")).write_key == "secret"
    assert snowplow.read(get(**WEB, e="pv")).write_key == "shop-web"
    assert snowplow.read(post("no event")).write_key is None


@pytest.mark.parametrize(
    ("incoming", "field"),
    [
        (Incoming("POST", TP2, "", {}, b"{", NOW), "body"),
        (Incoming("POST", TP2, "", {}, b"[]", NOW), "body"),
        (post(WEB, schema="iglu:com.acme/other/jsonschema/1-0-0"), "schema"),
        (Incoming("POST", TP2, "", {}, json.dumps({"schema": PAYLOAD_DATA}).encode(), NOW), "data"),
        (post(*[WEB] * 2501), "data"),
        (Incoming("GET", "/i", "", {}, b"", NOW), "query"),
        (Incoming("GET", "/i", "e=%ff", {}, b"", NOW), "query"),
    ],
)
def test_a_request_that_cannot_be_read_is_refused_by_name(incoming: Incoming, field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        snowplow.read(incoming)
    assert caught.value.field == field


def test_success_is_ok_or_the_image_whatever_was_rejected() -> None:
    for good in (1, 0):
        outcome = Outcome(good, [Rejected(1, InvalidEvent("e", "expected"))])
        answer = snowplow.accepted(post(), outcome)
        assert (answer.status, answer.body) == (200, b"ok")
        answer = snowplow.accepted(get(), outcome)
        assert (answer.status, answer.content_type, answer.body[:6]) == (
            200,
            "image/gif",
            b"GIF89a",
        )


@pytest.mark.parametrize(
    ("status", "told"),
    [(400, 400), (401, 401), (403, 403), (413, 400), (415, 400), (429, 429), (503, 503)],
)
def test_what_will_never_be_taken_has_a_status_that_trackers_do_not_try_again(
    status: int, told: int
) -> None:
    answer = snowplow.refused(post(), Refusal(status, "body", "expected less"))
    assert (answer.status, answer.body) == (told, b"body: expected less\n")


# ---- laws

_texts = st.text(max_size=20)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts
)
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)
_KINDS = [
    f"{ECOMMERCE}/snowplow_ecommerce_action", f"{ECOMMERCE}/product", f"{ECOMMERCE}/cart",
    f"{ECOMMERCE}/user",
    f"{ECOMMERCE}/promotion", f"{SNOWPLOW}/link_click", f"{SNOWPLOW}/site_search",
    f"{SNOWPLOW}/client_session",
    f"{SNOWPLOW}/consent_preferences", f"{SNOWPLOW}/media_player_event", f"{SNOWPLOW}/media_player",
    f"{SNOWPLOW}.media/ping_event", f"{SNOWPLOW}/add_to_cart", f"{SNOWPLOW}/identify",
    f"{SNOWPLOW}/geolocation_context",
    "iglu:com.snowplowanalytics.mobile/screen_end",
    "iglu:com.snowplowanalytics.mobile/screen_summary",
    "iglu:com.google.analytics.enhanced-ecommerce/action", "iglu:com.acme/purchase",
]  # fmt: skip
_NAMES = [
    "id", "sku", "type", "action", "name", "price", "quantity", "position", "terms",
    "consentScopes", "eventType",
    "userId", "sessionId", "foreground_sec", "latitude", "currentTime", "percentProgress",
    "product_id", "category",
]  # fmt: skip
_VALUES = _json | st.sampled_from(
    [
        *EVENT_CODES,
        "product_view",
        "list_view",
        "transaction",
        "allow_selected",
        "play",
        "12",
        "1e400",
        "-1",
        10**30,
    ]
)
_entities = st.builds(
    lambda kind, data: {"schema": schema(kind), "data": data},
    st.sampled_from(_KINDS),
    st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=5) | _json,
)
_envelopes = st.builds(
    lambda data: {"schema": CONTEXTS, "data": data}, st.lists(_entities, max_size=4) | _entities
)
_PARAMETERS = [
    *WEB, "uid", "page", "ttm", "pp_may", "pp_miy", "se_ca", "se_ac", "se_la", "se_pr", "se_va",
    "tr_id", "tr_tt",
    "ti_id", "ti_sk", "ti_pr", "ti_qu", "ip", "ua", "nuid", "co", "cx", "ue_pr", "ue_px",
]  # fmt: skip


def payload(
    kind: str, fields: dict[str, Any], contexts: Any, said: Any, encode: bool
) -> dict[str, Any]:
    if encode:
        return WEB | {"e": kind, "cx": coded(contexts), "ue_px": coded(said)} | fields
    return WEB | {"e": kind, "co": json.dumps(contexts), "ue_pr": json.dumps(said)} | fields


_payloads = st.builds(
    payload,
    st.sampled_from(["pv", "pp", "se", "ue", "ue", "ue", "tr", "ti"]) | _texts,
    st.dictionaries(st.sampled_from(_PARAMETERS), _VALUES, max_size=4),
    _envelopes,
    st.builds(lambda entity: {"schema": UNSTRUCT, "data": entity}, _entities) | _envelopes,
    st.booleans(),
)


def check(reading: Reading) -> None:
    """Each event is an error, or facts of which each is one of ours or breaks our contract in a way
    it names.
    """
    for translated in reading.events:
        assert translated.error is not None or translated.facts
        for fact in translated.facts:
            try:
                assert isinstance(parse_event(fact, ingest_time=NOW), Event)
            except InvalidEvent:
                continue


@pytest.mark.parametrize("value", [[], ["x"], {"a": 1}, True, 10**30, -1, 0.5, "", None], ids=repr)
@pytest.mark.parametrize("name", ["e", *_PARAMETERS])
def test_a_parameter_of_any_type_is_an_error_at_most(name: str, value: Any) -> None:
    basket = {
        "se_ca": "shop",
        "se_ac": "add-to-basket",
        "se_la": "p1",
        "se_pr": "pcs",
        "se_va": "2",
        "ti_sk": "p1",
    }
    said = action("add_to_cart", product())
    check(
        snowplow.read(
            post(
                *(
                    said | basket | {"e": kind, name: value}
                    for kind in ("pv", "pp", "se", "ue", "tr", "ti")
                )
            )
        )
    )


@pytest.mark.parametrize("value", [[], ["x"], {"a": 1}, True, 10**30, -1, 0.5, "", None], ids=repr)
@pytest.mark.parametrize("kind", _KINDS)
def test_data_of_any_type_is_an_error_at_most(kind: str, value: Any) -> None:
    shapes = [value, dict.fromkeys(_NAMES, value)]
    said = [
        self_describing(kind)
        | {
            "ue_pr": json.dumps(
                {"schema": UNSTRUCT, "data": {"schema": schema(kind), "data": data}}
            )
        }
        for data in shapes
    ]
    beside = [
        action("transaction", product(), {"schema": schema(kind), "data": data}) for data in shapes
    ]
    check(snowplow.read(post(*said, *beside)))


@given(st.lists(_payloads | _json, max_size=3))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_whatever_a_payload_holds_nothing_but_an_invalid_event_comes_of_it(
    payloads: list[Any],
) -> None:
    check(snowplow.read(post(*payloads)))


@given(st.binary(max_size=200), st.text(max_size=100), st.sampled_from(["POST", "GET", "HEAD"]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_whatever_bytes_come_nothing_but_an_invalid_event_is_raised(
    body: bytes, query: str, method: str
) -> None:
    incoming = Incoming(method, TP2, query, {}, body, NOW)
    with contextlib.suppress(InvalidEvent):
        check(snowplow.read(incoming))
