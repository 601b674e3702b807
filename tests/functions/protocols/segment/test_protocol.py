"""Segment's messages as its libraries write them, and what none would write."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.accept import Terms, sort_events
from functions.http.exchange import Incoming, Refusal
from functions.protocols.commerce_facts import MAX_FACTS, MAX_PRODUCTS
from functions.protocols.contract import Outcome, Reading, Rejected
from functions.protocols.segment import protocol as segment
from functions.protocols.values import MAX_SHARED_BYTES, MAX_VENDOR_EVENTS
from pipeline.core.events import MAX_ID_LENGTH, Event, accept_event
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.consent import Consent
from pipeline.core.privacy.signals import Signal

NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)
EARLIER = "2025-01-01T11:59:00.000Z"
LAMP = {
    "product_id": "p1",
    "sku": "L-1",
    "name": "Lamp",
    "category": "lamps",
    "brand": "Oakmere",
    "price": 20,
}


def incoming(body: Any, path: str = "/v1/batch", query: str = "", **headers: str) -> Incoming:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Incoming("POST", path, query, headers, raw, NOW)


def batch(*messages: Any, **fields: Any) -> Incoming:
    return incoming({"batch": messages, **fields})


def message(kind: str = "track", **fields: Any) -> dict[str, Any]:
    base = {"type": kind, "messageId": "m1", "userId": "anna", "timestamp": EARLIER}
    return {name: value for name, value in (base | fields).items() if value is not None}


def track(event: str, properties: Any = None, **fields: Any) -> dict[str, Any]:
    return message(event=event, properties=properties, **fields)


def accept(reading: Reading) -> list[Event]:
    for one in reading.events:
        if one.error is not None:
            raise one.error
    history = reading.history
    return [
        accept_event(dict(f), ingest_time=NOW, backfill=history)
        for one in reading.events
        for f in one.facts
    ]


def events_of(source: dict[str, Any]) -> list[Event]:
    return accept(segment.read(batch(source)))


def the_event(source: dict[str, Any]) -> Event:
    [found] = events_of(source)
    return found


def the_error(source: Any) -> InvalidEvent:
    [found] = segment.read(batch(source)).events
    assert found.error is not None
    assert found.source == source
    return found.error


# ---- who, when, which


def test_an_event_keeps_its_id_time_visitor_and_properties() -> None:
    found = the_event(track("Signed Up", {"plan": "gold", "seats": 3}, anonymousId="a1"))
    assert (found.event, found.event_id, found.user_id, found.anonymous_id) == (
        "Signed Up",
        "m1",
        "anna",
        "a1",
    )
    assert found.timestamp == NOW - timedelta(minutes=1)
    assert found.metadata == {"plan": "gold", "seats": 3}


@pytest.mark.parametrize("given", [None, "", "null", "undefined", [], {}, True])
def test_an_id_that_is_nobodys_is_none(given: Any) -> None:
    assert the_event(track("Signed Up", userId=given, anonymousId="a1")).user_id is None
    with pytest.raises(InvalidEvent, match="user_id"):
        events_of(track("Signed Up", userId=given))


def test_a_denial_is_not_lost_to_a_consent_that_comes_again() -> None:
    agreed = [
        {"consent": {"categoryPreferences": {"Analytics": said, "Advertising": False}}}
        for said in (False, True)
    ]
    no, yes = map(json.dumps, agreed)
    body = f'{{"event": "Lit", "userId": "u1", "context": {no}, "context": {yes}}}'
    found = sort_events(
        segment.read(Incoming("POST", "/v1/track", "", {}, body.encode(), NOW)), NOW
    )
    assert (found.events, found.withheld) == ([], 1)


def test_numbers_are_ids_as_texts() -> None:
    found = the_event(track("Signed Up", userId=17, messageId=18))
    assert (found.user_id, found.event_id) == ("17", "18")


def test_older_rudderstack_sdks_have_the_anonymous_id_among_the_traits() -> None:
    found = the_event(track("Signed Up", userId=None, context={"traits": {"anonymousId": "a1"}}))
    assert found.anonymous_id == "a1"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("2025-01-01T11:59:00Z", EARLIER),
        ("2025-01-01T11:59:00.123456789Z", "2025-01-01T11:59:00.123Z"),
        ("2025-01-01T17:29:00+05:30", EARLIER),
        ("2025-01-01T11:59:00", EARLIER),
        ("2025-01-01 11:59:00", EARLIER),
    ],
)
def test_times_are_read_as_sdks_write_them(given: str, read: str) -> None:
    [one] = segment.read(batch(track("Signed Up", timestamp=given))).events
    assert one.facts[0]["timestamp"] == read


@pytest.mark.parametrize(
    "given",
    [
        "noon",
        1735732800000,
        True,
        [],
        {},
        "2025-01-01T11:59:00Z" + "0" * 40,
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_what_is_no_time_is_an_error(given: Any) -> None:
    assert the_error(track("Signed Up", timestamp=given)).field == "timestamp"


def test_without_a_time_it_happened_when_it_came() -> None:
    assert the_event(track("Signed Up", timestamp=None)).timestamp == NOW


def test_the_time_of_the_clock_that_sent_at_is_told_by_counts() -> None:
    times = {"originalTimestamp": "2025-01-01T10:00:00Z", "timestamp": "2025-01-01T11:00:00Z"}
    sent_on = times | {"receivedAt": "2025-01-01T11:00:01Z"}
    assert the_event(track("A", **sent_on)).timestamp == NOW - timedelta(hours=1)
    assert the_event(
        track("A", **sent_on, sentAt="2025-01-01T10:00:01Z")
    ).timestamp == NOW - timedelta(hours=2)
    [found] = accept(segment.read(batch(track("A", **sent_on), sentAt="2025-01-01T10:00:01Z")))
    assert found.timestamp == NOW - timedelta(hours=2)


def test_the_time_that_a_back_end_sets_counts_before_that_of_its_sdk() -> None:
    times = {"originalTimestamp": "2025-01-01T11:59:00Z", "timestamp": "2025-01-01T09:00:00Z"}
    assert the_event(
        track("A", **times, sentAt="2025-01-01T11:59:01Z")
    ).timestamp == NOW - timedelta(hours=3)


def test_the_batch_says_when_it_was_sent_and_so_may_each_message() -> None:
    reading = segment.read(
        batch(track("A", sentAt="2025-01-01T10:00:01Z"), track("B"), sentAt="2025-01-01T10:00:02Z")
    )
    assert reading.sent_at == NOW - timedelta(hours=2) + timedelta(seconds=2)
    first, second = reading.events
    assert (first.sent_at, second.sent_at) == (
        NOW - timedelta(hours=2) + timedelta(seconds=1),
        None,
    )
    assert segment.read(batch(sentAt="noon")).sent_at is None


def test_a_message_without_an_id_has_the_same_one_when_it_is_sent_again() -> None:
    bare = track("Signed Up", messageId=None)
    first, again = (
        the_event(bare | {"sentAt": EARLIER}),
        the_event(bare | {"sentAt": "2025-01-01T11:59:30Z"}),
    )
    other = the_event(bare | {"event": "Signed Out"})
    assert first.event_id == again.event_id != other.event_id


def test_messages_with_neither_id_nor_time_are_told_apart_by_their_arrival() -> None:
    bare = json.dumps(track("Signed Up", messageId=None, timestamp=None)).encode()
    ids = {
        segment.read(Incoming("POST", "/v1/track", "", {}, bare, NOW + timedelta(seconds=s)))
        .events[0]
        .facts[0]["event_id"]
        for s in (0, 0, 1)
    }
    assert len(ids) == 2


@pytest.mark.parametrize("length", [1, MAX_ID_LENGTH - 4, MAX_ID_LENGTH - 3, 10_000])
def test_ids_of_any_length_stay_within_bounds_and_apart(length: int) -> None:
    lines = {"products": [{"sku": "p1"}, {"sku": "p2"}]}
    ids = [
        event.event_id
        for end in "ab"
        for event in events_of(track("Order Completed", lines, messageId="m" * length + end))
    ]
    assert len(set(ids)) == 4
    assert max(map(len, ids)) <= MAX_ID_LENGTH


def test_the_session_is_that_of_the_context_or_of_amplitude() -> None:
    assert the_event(track("A", context={"sessionId": 1735732800})).session_id == "1735732800"
    for name in ("Amplitude", "Actions Amplitude"):
        assert (
            the_event(track("A", integrations={name: {"session_id": 1735732800000}})).session_id
            == "1735732800000"
        )
    assert (
        the_event(
            track("A", integrations={"Amplitude": {"session_id": -1}, "All": False})
        ).session_id
        is None
    )
    [found] = accept(segment.read(batch(track("A"), integrations={"Amplitude": {"session_id": 7}})))
    assert found.session_id == "7"


# ---- calls


@pytest.mark.parametrize("path", ["/v1/page", "/v1/p"])
def test_a_page_has_its_address_title_and_referrer(path: str) -> None:
    """As analytics-next sends it: what it says of the page stands in the properties and in the
    context.
    """
    page = {
        "path": "/lamps",
        "referrer": "",
        "search": "?a=b",
        "title": "Lamps",
        "url": "https://shop.example/lamps?a=b",
    }
    body = {
        "messageId": "m1",
        "timestamp": EARLIER,
        "anonymousId": "a1",
        "name": "Listing",
        "category": "Shop",
        "properties": page | {"name": "Listing", "category": "Shop", "title": "All lamps"},
        "context": {"page": page, "campaign": {}},
    }
    [found] = accept(segment.read(incoming(body, path)))
    assert found.event == "page_view"
    assert found.metadata == {
        "url": "https://shop.example/lamps?a=b",
        "title": "All lamps",
        "path": "/lamps",
        "search": "?a=b",
        "page_name": "Listing",
        "page_category": "Shop",
    }


def test_a_screen_has_its_name_for_a_title() -> None:
    assert the_event(message("screen", name="Cart")).metadata == {
        "title": "Cart",
        "screen_name": "Cart",
    }
    titled = the_event(message("screen", name="Cart", properties={"title": "Your cart"}))
    assert titled.metadata == {"title": "Your cart", "screen_name": "Cart"}


def test_an_identify_has_the_traits_wherever_they_stand() -> None:
    found = the_event(message("identify", anonymousId="a1", traits={"plan": "gold"}))
    assert (found.event, found.user_id, found.anonymous_id) == ("identify", "anna", "a1")
    assert found.metadata == {"traits": {"plan": "gold"}}
    assert (
        the_event(message("identify", context={"traits": {"plan": "gold"}})).metadata
        == found.metadata
    )


def test_an_alias_ties_who_it_was_to_who_it_is() -> None:
    found = the_event(message("alias", previousId="a1", anonymousId="other"))
    assert (found.event, found.user_id, found.anonymous_id) == ("identify", "anna", "a1")
    assert the_event(message("alias", previousId="anna", anonymousId="a1")).anonymous_id == "a1"
    assert the_error(message("alias")).field == "previousId"


def test_a_group_is_an_event_of_its_own() -> None:
    found = the_event(message("group", groupId=7, traits={"name": "Oakmere"}))
    assert (found.event, found.metadata) == (
        "group",
        {"group_id": "7", "traits": {"name": "Oakmere"}},
    )
    assert the_error(message("group")).field == "groupId"


@pytest.mark.parametrize("kind", ["track", "page", "screen", "identify", "alias", "group"])
def test_every_call_has_a_path_and_a_short_one(kind: str) -> None:
    body = message("nonsense", event="A", previousId="a1", groupId="g1")
    whole = accept(segment.read(incoming(body, f"/v1/{kind}")))
    assert (
        whole
        == accept(segment.read(incoming(body, f"/v1/{kind[0]}")))
        == events_of(body | {"type": kind})
    )


@pytest.mark.parametrize("kind", [None, "merge", 7, {}, "Track"])
def test_a_batch_takes_no_other_calls(kind: Any) -> None:
    assert the_error(message() | {"type": kind}).field == "type"


@pytest.mark.parametrize("event", [None, "", {}, True])
def test_a_track_needs_its_event(event: Any) -> None:
    assert the_error(track("A") | {"event": event}).field == "event"


# ---- e-commerce


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("Product Viewed", "view_product"),
        ("Viewed Product", "view_product"),
        ("Product Clicked", "click"),
        ("Product Added", "add_to_cart"),
        ("product_added", "add_to_cart"),
        ("Product Removed", "remove_from_cart"),
        ("Order Completed", "purchase"),
        ("Completed Order", "purchase"),
        ("Product List Viewed", "impression"),
        ("purchase", "purchase"),
        ("impression", "impression"),
    ],
)
def test_product_events_are_ours(name: str, event: str) -> None:
    found = the_event(
        track(name, LAMP | {"quantity": "2", "variant": "red", "url": "https://shop.example/p1"})
    )
    assert (found.event, found.product_id) == (event, "p1")
    assert found.metadata == {
        "sku": "L-1",
        "title": "Lamp",
        "category": "lamps",
        "brand": "Oakmere",
        "price": 20,
        "quantity": 2,
        "product_variant": "red",
        "product_url": "https://shop.example/p1",
    }


@pytest.mark.parametrize(
    ("properties", "product_id"),
    [
        ({"product_id": "p1", "sku": "s1", "id": "i1"}, "p1"),
        ({"product_id": "", "sku": "s1", "id": "i1"}, "s1"),
        ({"product_id": None, "id": 17}, "17"),
        ({"productId": 1e3}, "1000"),
    ],
)
def test_the_first_id_is_the_products(properties: dict[str, Any], product_id: str) -> None:
    assert the_event(track("Product Viewed", properties)).product_id == product_id


def test_a_products_title_is_not_its_pages() -> None:
    context = {"page": {"title": "Lamps | Oakmere", "url": "https://shop.example/p1"}}
    assert the_event(track("Product Viewed", {"sku": "p1"}, context=context)).metadata == {
        "page_title": "Lamps | Oakmere",
        "url": "https://shop.example/p1",
    }
    assert the_event(track("Signed Up", context=context)).metadata["title"] == "Lamps | Oakmere"


def test_an_order_is_a_purchase_of_each_product() -> None:
    order = {
        "order_id": "o1",
        "total": "52.5",
        "revenue": 50,
        "shipping": 2,
        "tax": "0.5",
        "discount": 1,
        "coupon": "SPRING",
        "currency": "EUR",
        "products": [
            LAMP | {"quantity": 2, "coupon": "LAMPS"},
            {"sku": 7, "price": "12.50", "discount": "3"},
        ],
    }
    context = {"page": {"url": "https://shop.example/thanks"}, "screen": {"width": 100}}
    first, second = events_of(track("Order Completed", order, context=context))
    assert (first.event_id, second.event_id) == ("m1:0", "m1:1")
    assert (first.event, first.product_id, second.event, second.product_id) == (
        "purchase",
        "p1",
        "purchase",
        "7",
    )
    shared = {
        "url": "https://shop.example/thanks",
        "order_id": "o1",
        "order_value": 52.5,
        "currency": "EUR",
    }
    assert second.metadata == shared | {"price": 12.5, "discount": 3, "coupon": "SPRING"}
    of_the_order = {"revenue": 50, "order_shipping": 2, "order_tax": 0.5, "order_discount": 1}
    of_the_lamp = {
        "sku": "L-1",
        "title": "Lamp",
        "category": "lamps",
        "brand": "Oakmere",
        "price": 20,
        "quantity": 2,
    }
    around = {"context": {"screen": {"width": 100}}}
    assert first.metadata == shared | of_the_order | of_the_lamp | around | {"coupon": "LAMPS"}


def test_an_order_of_one_product_keeps_the_messages_id() -> None:
    assert the_event(track("Order Completed", {"products": [LAMP]})).event_id == "m1"


@pytest.mark.parametrize(
    "nameless", [{}, {"product_id": ""}, {"product_id": {}, "price": 3}, None, [], ""]
)
def test_a_product_without_an_id_stays_with_the_rest_of_its_order(nameless: Any) -> None:
    first, second = events_of(
        track("Order Completed", {"products": [nameless, "p1", {"sku": "p2"}]})
    )
    assert (first.product_id, second.product_id) == ("p1", "p2")
    assert first.metadata == {"products_without_id": [nameless]}
    assert second.metadata == {}


@pytest.mark.parametrize("products", [None, [], [{}], "p1", {"sku": "p1"}])
def test_an_order_without_products_is_kept_under_its_own_name(products: Any) -> None:
    found = the_event(track("Order Completed", {"order_id": "o1", "products": products}))
    assert (found.event, found.event_id, found.product_id) == ("Order Completed", "m1", None)
    assert found.metadata["order_id"] == "o1"
    assert found.metadata.get("products") == products
    assert the_event(track("purchase")).event == "purchase_without_product"


def test_a_list_that_was_viewed_is_an_impression_of_each_product() -> None:
    properties = {
        "list_id": "hot",
        "category": "lamps",
        "sorts": ["price"],
        "products": [
            {"product_id": "p1", "position": 1},
            {"product_id": "p2", "position": "2", "category": "oak"},
        ],
    }
    first, second = events_of(track("Product List Viewed", properties))
    assert (first.event, first.product_id, second.event, second.product_id) == (
        "impression",
        "p1",
        "impression",
        "p2",
    )
    assert first.metadata == {
        "placement": "hot",
        "category": "lamps",
        "position": 0,
        "sorts": ["price"],
    }
    assert second.metadata == {"placement": "hot", "category": "oak", "position": 1}


@pytest.mark.parametrize("count", [MAX_PRODUCTS, MAX_PRODUCTS + 1])
def test_an_event_has_so_many_products_at_most(count: int) -> None:
    source = track("Order Completed", {"products": [f"p{number}" for number in range(count)]})
    if count > MAX_PRODUCTS:
        assert the_error(source).field == "properties.products"
    else:
        assert len({event.event_id for event in events_of(source)}) == count


@pytest.mark.parametrize("price", [-1, "-1", "free", True, [], 1e300])
def test_a_price_that_is_none_is_kept_apart(price: Any) -> None:
    found = the_event(track("Product Viewed", {"sku": "p1", "price": price, "list_price": price}))
    assert found.metadata == {"unmapped": {"price": price, "list_price": price}}


def test_what_is_unmapped_of_an_order_and_of_its_product_is_all_kept() -> None:
    [found] = events_of(
        track("Order Completed", {"total": -1, "products": [{"sku": "p1", "price": "free"}]})
    )
    assert found.metadata == {"unmapped": {"order_value": -1, "price": "free"}}


def test_a_property_named_consent_is_no_consent() -> None:
    assert the_event(track("A", {"consent": "yes"})).metadata == {"unmapped": {"consent": "yes"}}


@pytest.mark.parametrize("given", ["query", "search_query", "searchTerm", "keywords"])
def test_a_search_has_its_query(given: str) -> None:
    found = the_event(track("Products Searched", {given: "oak lamp", "results": 3}))
    assert (found.event, found.metadata) == ("search", {"query": "oak lamp", "results": 3})


def test_a_click_on_a_button_names_no_product() -> None:
    found = the_event(track("Button Clicked", {"id": "buy", "name": "Buy"}))
    assert (found.event, found.product_id, found.metadata) == (
        "click",
        None,
        {"id": "buy", "name": "Buy"},
    )
    assert the_event(track("Button Clicked", {"id": "buy", "sku": "p1"})).product_id == "p1"
    assert the_event(track("Product Clicked", {"id": "p1"})).product_id == "p1"


@pytest.mark.parametrize(
    "name", ["Scroll Depth", "Cart Viewed", "Checkout Started", "Product Shared", "x" * 256]
)
def test_what_we_do_not_know_is_kept_under_its_own_name(name: str) -> None:
    found = the_event(
        track(name, {"product_id": "p1", "depth": 50, "products": [{"sku": "p2"}], "variant": "b"})
    )
    assert (found.event, found.product_id) == (name, "p1")
    assert found.metadata == {"depth": 50, "products": [{"sku": "p2"}], "product_variant": "b"}


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("Video Playback Started", "media_play"),
        ("Video Playback Resumed", "media_play"),
        ("Video Content Started", "media_play"),
        ("Video Playback Paused", "media_pause"),
        ("Video Content Playing", "media_progress"),
        ("Video Content Completed", "Video Content Completed"),
    ],
)
def test_video_events_are_media_events_of_what_plays(name: str, event: str) -> None:
    film = {
        "session_id": "v1",
        "content_asset_id": "film-1",
        "title": "Oak",
        "position": 12,
        "total_length": "90",
    }
    found = the_event(track(name, film, context={"page": {"title": "Films"}}))
    assert (found.event, found.session_id) == (event, None)
    if event != name:
        assert found.product_id == "film-1"
        assert found.metadata == {
            "session_id": "v1",
            "title": "Oak",
            "page_title": "Films",
            "position_s": 12,
            "length_s": 90,
        }


def test_a_playback_of_one_film_is_of_that_film() -> None:
    assert the_event(track("Video Playback Started", {"content_asset_ids": [7]})).product_id == "7"
    assert (
        the_event(track("Video Playback Started", {"content_asset_ids": [7, 8]})).product_id is None
    )


# ---- context


def test_the_context_is_metadata_under_our_names_and_nothing_of_it_is_lost() -> None:
    context = {
        "ip": "203.0.113.9",
        "locale": "en-GB",
        "timezone": "Europe/London",
        "userAgent": "Mozilla/5.0",
        "campaign": {
            "name": "spring",
            "source": "mail",
            "medium": "email",
            "term": "t",
            "content": "c",
            "id": "7",
        },
        "app": {"name": "Shop", "version": "1.2", "build": 7},
        "device": {"type": "ios", "model": "iPhone", "manufacturer": "Apple", "id": "d1"},
        "os": {"name": "iOS", "version": 17},
        "library": {"name": "analytics-swift", "version": "1.5"},
        "location": {"latitude": "51.5", "longitude": 0.1, "city": "London"},
        "page": "none",
        "network": {"wifi": True},
        "traits": {"plan": "gold"},
    }
    assert the_event(track("A", context=context, channel="mobile")).metadata == {
        "ip": "203.0.113.9",
        "language": "en-GB",
        "timezone": "Europe/London",
        "user_agent": "Mozilla/5.0",
        "utm_campaign": "spring",
        "utm_source": "mail",
        "utm_medium": "email",
        "utm_term": "t",
        "utm_content": "c",
        "app_name": "Shop",
        "app_version": "1.2",
        "device_type": "ios",
        "device_model": "iPhone",
        "device_manufacturer": "Apple",
        "os_name": "iOS",
        "os_version": "17",
        "tracker": "analytics-swift",
        "tracker_version": "1.5",
        "latitude": 51.5,
        "longitude": 0.1,
        "channel": "mobile",
        "traits": {"plan": "gold"},
        "context": {
            "campaign": {"id": "7"},
            "app": {"build": 7},
            "device": {"id": "d1"},
            "location": {"city": "London"},
            "page": "none",
            "network": {"wifi": True},
        },
    }


def test_a_batchs_context_is_that_of_its_messages_where_they_have_none() -> None:
    reading = segment.read(
        batch(
            track("A"), track("B", context={"locale": "de"}), context={"locale": "en", "ip": "::1"}
        )
    )
    first, second = accept(reading)
    assert (first.metadata, second.metadata) == (
        {"language": "en", "ip": "::1"},
        {"language": "de", "ip": "::1"},
    )


@pytest.mark.parametrize(
    ("categories", "consent"),
    [
        ({"Analytics": True, "Advertising": False}, {"analytics": True, "personalization": False}),
        ({"analytics": False}, {"analytics": False}),
        ({"marketing": True, "advertising": False}, {"personalization": False}),
        ({"advertising": True, "functional": False}, {"personalization": True}),
        ({"functional": False}, {"personalization": False}),
        ({"personalization": True, "advertising": False}, {"personalization": True}),
        ({"C0002": False, "C0004": True}, {"analytics": False, "personalization": True}),
        ({"analytics": "granted"}, {"analytics": False}),
        ({"analytics": None}, None),
        ({"necessary": True}, None),
        ({}, None),
        (None, None),
    ],
)
def test_consent_is_what_the_categories_say(categories: Any, consent: Any) -> None:
    [one] = segment.read(
        batch(track("A", context={"consent": {"categoryPreferences": categories}}))
    ).events
    assert one.facts[0]["metadata"].get("consent") == consent


def test_every_product_of_an_order_has_the_consent() -> None:
    context = {"consent": {"categoryPreferences": {"analytics": True, "marketing": False}}}
    for event in events_of(track("Order Completed", {"products": ["p1", "p2"]}, context=context)):
        assert event.metadata["consent"] == {"analytics": True, "personalization": False}


@pytest.mark.parametrize(
    ("management", "consent"),
    [
        ({"allowedConsentIds": ["analytics"], "deniedConsentIds": ["Marketing"]}, (True, False)),
        ({"allowedConsentIds": ["C0002"], "deniedConsentIds": ["C0002", "C0004"]}, (False, False)),
    ],
)
def test_rudderstacks_consent_is_read_as_well(management: Any, consent: tuple[bool, bool]) -> None:
    found = the_event(track("A", context={"consentManagement": management}))
    assert found.metadata["consent"] == dict(
        zip(("analytics", "personalization"), consent, strict=True)
    )


@pytest.mark.parametrize(
    ("context", "value"),
    [
        ({"consent": "denied"}, "denied"),
        ({"consent": {"categoryPreferences": "no"}}, "no"),
        ({"consent": {"categoryPreferences": True}}, True),
        ({"consent": {"categoryPreferences": []}}, []),
        ({"consentManagement": ["C0004"]}, ["C0004"]),
        ({"consentManagement": {"deniedConsentIds": "C0004"}}, "C0004"),
        ({"consentManagement": {"deniedConsentIds": [4]}}, 4),
    ],
)
def test_a_consent_that_cannot_be_read_is_an_error_and_its_dead_letter_personalizes_nothing(
    context: Any, value: Any
) -> None:
    reading = segment.read(batch(track("A", context=context), track("B"), context={"locale": "de"}))
    found = sort_events(reading, NOW)
    [rejection] = found.rejected
    assert (found.accepted, rejection.error.field) == (1, "consent")
    assert rejection.error.value == json.dumps({"personalization": [value]})
    assert rejection.consent == Consent(analytics=True, personalization=False)
    denied: dict[str, Any] = {
        "consent": {"categoryPreferences": {"analytics": False}},
        "consentManagement": {"deniedConsentIds": ["analytics"]},
    }
    both = sort_events(segment.read(batch(track("A"), context=denied | context)), NOW)
    assert both.rejected[0].payload is None
    everywhere = sort_events(
        segment.read(batch(track("A"), context=context)), NOW, Terms(signal=Signal.DNT)
    )
    assert everywhere.rejected[0].payload is None


# ---- requests


@pytest.mark.parametrize(
    ("body", "query", "headers", "key"),
    [
        ({}, "", {"authorization": f"Basic {base64.b64encode(b'key-1:').decode()}"}, "key-1"),
        ({"writeKey": "key-1"}, "", {}, "key-1"),
        ({"writeKey": "key-1"}, "", {"authorization": "Bearer abc"}, "key-1"),
        ({}, "writeKey=key%2D1", {}, "key-1"),
        ({}, "writeKey=%ff", {}, None),
        ({"writeKey": 7}, "", {}, "7"),
        ({"writeKey": []}, "a=b", {}, None),
    ],
)
@pytest.mark.parametrize("path", sorted(segment.PATHS))
def test_the_write_key_is_read_wherever_sdks_put_it(
    body: dict[str, Any], query: str, headers: dict[str, str], key: str | None, path: str
) -> None:
    assert segment.read(incoming(body, path, query, **headers)).write_key == key


def test_one_bad_message_leaves_the_others() -> None:
    sources = [
        track("A"),
        7,
        None,
        [],
        track("B", properties=[]),
        track("C", context="x"),
        track("D"),
    ]
    found = segment.read(batch(*sources)).events
    assert [index for index, one in enumerate(found) if one.error is None] == [0, 6]
    assert [one.source for one in found] == sources


def test_a_message_of_64_kb_is_too_large_and_leaves_the_others() -> None:
    large, small = segment.read(batch(track("A", {"a": "x" * 65_536}), track("B"))).events
    assert (large.error is None, small.error is None) == (False, True)


def test_history_is_imported_by_its_own_path() -> None:
    reading = segment.read(
        incoming({"batch": [track("A", timestamp="2019-10-01T00:00:00Z")]}, "/v1/import")
    )
    assert reading.history
    assert accept(reading)[0].timestamp == datetime(2019, 10, 1, tzinfo=UTC)
    assert not segment.read(batch(track("A"))).history


@pytest.mark.parametrize("given", [None, {}, "x", 7])
def test_a_batch_without_its_list_is_one_rejected_event_so_that_its_key_counts(given: Any) -> None:
    reading = segment.read(incoming({"batch": given, "writeKey": "key-1"}))
    [one] = reading.events
    assert one.error is not None
    assert (one.error.field, reading.write_key) == ("batch", "key-1")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff", b'"x"', b"[" * 5000])
def test_what_is_no_json_object_cannot_be_read(body: bytes) -> None:
    with pytest.raises(InvalidEvent) as error:
        segment.read(incoming(body))
    assert error.value.field == "body"


def test_a_place_in_a_slate_of_ours_is_counted_as_we_told_it() -> None:
    """The specification's first place is 1; a site has those of our slates from us, who count from
    0.
    """
    [clicked] = events_of(
        track("Product Clicked", {"product_id": "p1", "position": 2, "request_id": "r1"})
    )
    assert clicked.metadata == {"position": 2, "request_id": "r1"}
    [elsewhere] = events_of(track("Product Clicked", {"product_id": "p1", "position": 2}))
    assert elsewhere.metadata == {"position": 1}
    products = [{"product_id": "p1", "position": 0}, {"product_id": "p2", "position": 1}]
    shown = events_of(track("Product List Viewed", {"request_id": "r1", "products": products}))
    assert [event.metadata for event in shown] == [
        {"request_id": "r1", "position": 0},
        {"request_id": "r1", "position": 1},
    ]


@pytest.mark.parametrize("count", [MAX_VENDOR_EVENTS, MAX_VENDOR_EVENTS + 1])
def test_a_batch_has_so_many_events_at_most(count: int) -> None:
    given = batch(*[track("A")] * count)
    if count <= MAX_VENDOR_EVENTS:
        assert len(segment.read(given).events) == count
    else:
        with pytest.raises(InvalidEvent, match="events: expected at most"):
            segment.read(given)


def test_a_request_has_so_many_products_at_most() -> None:
    order = track("Order Completed", {"products": list(map(str, range(100)))})
    assert (
        sort_events(segment.read(batch(*[order] * (MAX_FACTS // 100))), NOW).accepted
        == MAX_FACTS // 100
    )
    with pytest.raises(InvalidEvent, match="events: expected at most"):
        sort_events(segment.read(batch(*[order] * (MAX_FACTS // 100 + 1))), NOW)


@pytest.mark.parametrize("shared", ["context", "integrations"])
def test_what_a_batch_says_for_all_of_its_messages_is_bounded_by_their_number(shared: str) -> None:
    told = {shared: {"x": "y" * (MAX_SHARED_BYTES // 400)}}
    assert len(segment.read(batch(*[track("A")] * 300, **told)).events) == 300
    with pytest.raises(
        InvalidEvent, match=r"events: expected at most .* bytes with what they share"
    ):
        segment.read(batch(*[track("A")] * 400, **told))


# ---- answers


def test_success_is_200_and_says_so() -> None:
    bad = Rejected(1, InvalidEvent("event", "required"))
    for outcome in (Outcome(1), Outcome(0), Outcome(1, [bad])):
        answer = segment.accepted(batch(), outcome)
        assert (answer.status, json.loads(answer.body)) == (200, {"success": True})


def test_where_every_event_was_rejected_it_is_400_and_says_why() -> None:
    answer = segment.accepted(batch(), Outcome(0, [Rejected(0, InvalidEvent("event", "required"))]))
    assert answer.status == 400
    assert json.loads(answer.body) == {
        "success": False,
        "code": "invalid_request",
        "message": "event: required",
    }


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_request"),
        (401, "invalid_write_key"),
        (413, "too_large"),
        (429, "rate_limited"),
        (503, "not_stored"),
    ],
)
def test_a_refusal_has_a_code_and_a_message(status: int, code: str) -> None:
    answer = segment.refused(batch(), Refusal(status, "body", "expected <JSON>"))
    assert answer.status == status
    assert json.loads(answer.body) == {
        "success": False,
        "code": code,
        "message": "body: expected <JSON>",
    }
    assert b"<" not in answer.body


# ---- laws

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars, lambda of: st.lists(of, max_size=4) | st.dictionaries(st.text(), of, max_size=4)
)
property_names = st.sampled_from(
    "product_id productId sku id name title url price quantity category variant position products "
    "list_id list_price"
    " total revenue value tax discount coupon currency consent query placement request_id dwell_ms "
    "content_asset_id"
    " content_asset_ids total_length unmapped referrer context traits".split()
)
properties = st.recursive(
    st.dictionaries(property_names | st.text(max_size=8), values, max_size=6),
    lambda of: st.fixed_dictionaries(
        {"products": st.lists(of | values, max_size=4), "order_id": values}
    ),
    max_leaves=6,
)
contexts = st.dictionaries(
    st.sampled_from(
        "page campaign app device os library location locale userAgent ip timezone sessionId "
        "consent consentManagement"
        " traits".split()
    ),
    values
    | st.dictionaries(
        st.sampled_from("name url title version latitude categoryPreferences".split()),
        values,
        max_size=4,
    )
    | st.dictionaries(
        st.sampled_from("allowedConsentIds deniedConsentIds".split()),
        values | st.just(["analytics"]),
    ),
    max_size=6,
)
names = st.sampled_from(
    [
        "Order Completed",
        "Product List Viewed",
        "Product Viewed",
        "click",
        "Products Searched",
        "Video Content Playing",
        "A",
    ]
)
sources = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(segment.TYPES) | values,
        "event": names | values,
        "properties": properties | values,
        "context": contexts | values,
        "integrations": values | st.just({"Amplitude": {"session_id": 1}}),
        "traits": values,
        "messageId": values,
        "userId": st.just("anna") | values,
        "anonymousId": values,
        "previousId": values,
        "groupId": values,
        "timestamp": st.just(EARLIER) | values,
        "originalTimestamp": values,
        "sentAt": values,
        "name": values,
        "category": values,
        "channel": values,
    },
)
bodies = st.fixed_dictionaries(
    {"batch": st.lists(sources | values, max_size=3)}, optional={"context": contexts | values}
)
paths = st.sampled_from(sorted(segment.PATHS))


def holds_the_law(given: Incoming) -> None:
    """Nothing but `InvalidEvent`; each event of ours is taken or refused by the contract; every
    answer can be made.
    """
    refusal = Refusal(400, "body", "expected JSON")
    try:
        reading = segment.read(given)
    except InvalidEvent as error:
        refusal = Refusal(400, error.field, error.reason)
    else:
        rejected = []
        for index, one in enumerate(reading.events):
            try:
                accept(Reading([one], history=reading.history))
            except InvalidEvent as error:
                rejected.append(Rejected(index, error))
        segment.accepted(given, Outcome(len(reading.events) - len(rejected), rejected))
    segment.refused(given, refusal)


@given(bodies | sources | values, paths)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_json_is_events_or_errors(given: Any, path: str) -> None:
    holds_the_law(incoming(given, path))


@given(st.binary(max_size=200), st.text(max_size=50), paths)
@settings(max_examples=500, deadline=None, derandomize=True)
def test_any_bytes_are_events_or_errors(body: bytes, query: str, path: str) -> None:
    holds_the_law(incoming(body, path, query))


@given(
    names,
    st.dictionaries(
        property_names.filter(lambda n: n != "sku" and "id" not in n.lower()), values, max_size=8
    ),
    contexts,
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_whatever_the_properties_are_an_event_with_sane_ids_satisfies_the_contract(
    name: str, properties: dict[str, Any], context: dict[str, Any]
) -> None:
    refusable = ("sessionId", "traits", "consent", "consentManagement")
    kept = {name: value for name, value in context.items() if name not in refusable}
    source = track(name, properties | {"products": [properties | {"sku": "p1"}, {}]}, context=kept)
    assert all(event.metadata.get("price", 0) >= 0 for event in events_of(source))
