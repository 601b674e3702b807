"""GA4's payloads as gtag.js, Tag Manager and back ends write them, and what none would write."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.accept import Terms, sort_events
from functions.http.exchange import Incoming, Refusal
from functions.protocols.commerce_facts import MAX_FACTS
from functions.protocols.contract import Outcome, Reading, Rejected
from functions.protocols.ga4 import protocol as ga4
from functions.protocols.ga4.events import MAX_ITEMS
from functions.protocols.ga4.hits import item_of
from functions.protocols.values import MAX_SHARED_BYTES
from pipeline.core.events import MAX_EVENTS, Event, accept_event
from pipeline.core.invalid_event import InvalidEvent

NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)
NOW_US = 1735732800000000
LAMP = {
    "item_id": "p1",
    "item_name": "Oak lamp",
    "item_brand": "Oakmere",
    "item_category": "home",
    "item_category2": "lamps",
    "item_category3": "oak",
    "item_variant": "dark",
    "price": "49.90",
    "quantity": "2",
    "discount": "5",
    "coupon": "TEN",
    "index": 3,
}
LAMP_METADATA = {
    "title": "Oak lamp",
    "brand": "Oakmere",
    "category": "home.lamps.oak",
    "product_variant": "dark",
    "price": 49.9,
    "quantity": 2,
    "discount": 5,
    "coupon": "TEN",
    "position": 3,
}
PAGE = {
    "v": "2",
    "tid": "G-SHOP1",
    "cid": "c.1",
    "sid": "77",
    "_p": "5",
    "_s": "1",
    "dl": "https://shop.example/lamps",
}


def measured(*events: Any, **fields: Any) -> Incoming:
    return body({"client_id": "c.1", "events": events, **fields})


def body(content: Any) -> Incoming:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Incoming(
        "POST", "/mp/collect", "measurement_id=G-SHOP1&api_secret=secret-1", {}, raw, NOW
    )


def gtag(
    fields: dict[str, str], *lines: dict[str, str] | bytes, received_at: datetime = NOW
) -> Incoming:
    raw = b"\r\n".join(
        line if isinstance(line, bytes) else urlencode(line).encode() for line in lines
    )
    return Incoming(
        "POST" if lines else "GET", "/g/collect", urlencode(fields), {}, raw, received_at
    )


def accept(reading: Reading, now: datetime = NOW) -> list[Event]:
    for one in reading.events:
        if one.error is not None:
            raise one.error
    return [
        accept_event(dict(fact), ingest_time=now) for one in reading.events for fact in one.facts
    ]


def events_of(name: str, params: dict[str, Any] | None = None, **fields: Any) -> list[Event]:
    return accept(ga4.read(measured({"name": name, "params": params or {}}, **fields)))


def event_of(name: str, params: dict[str, Any] | None = None, **fields: Any) -> Event:
    [found] = events_of(name, params, **fields)
    return found


def gtag_event(**fields: str) -> Event:
    [found] = accept(ga4.read(gtag(PAGE | fields)))
    return found


# ---- the Measurement Protocol


def test_an_event_has_its_visitor_session_time_and_page() -> None:
    params = {
        "session_id": 77,
        "page_location": "https://shop.example/",
        "page_title": "Shop",
        "page_referrer": "https://news.example/",
        "language": "de",
        "theme": "dark",
    }
    event = {"name": "page_view", "params": params, "timestamp_micros": str(NOW_US - 1_500_000)}
    [found] = accept(ga4.read(measured(event, user_id="anna")))
    assert (found.event, found.user_id, found.anonymous_id, found.session_id) == (
        "page_view",
        "anna",
        "c.1",
        "77",
    )
    assert found.timestamp == NOW - timedelta(seconds=1.5)
    assert found.metadata == {
        "url": "https://shop.example/",
        "title": "Shop",
        "referrer": "https://news.example/",
        "language": "de",
        "theme": "dark",
    }


def test_the_time_of_a_request_is_that_of_the_events_without_one() -> None:
    early = NOW_US - 60_000_000
    events = {"name": "a"}, {"name": "b", "timestamp_micros": NOW_US}
    first, second = accept(ga4.read(measured(*events, timestamp_micros=early)))
    assert (first.timestamp, second.timestamp) == (NOW - timedelta(minutes=1), NOW)
    assert event_of("a").timestamp == NOW


def test_an_app_is_known_by_its_instance_and_a_device_and_place_are_metadata() -> None:
    content = {
        "app_instance_id": "app1",
        "events": [{"name": "screen_view"}],
        "ip_override": "203.0.113.9",
        "user_agent": "Mozilla/5.0",
        "device": {"language": "en-GB", "model": "Pixel 9", "screen_resolution": "1x2"},
        "user_location": {"city": "Berlin", "region_id": "DE-BE", "country_id": "DE"},
    }
    [found] = accept(ga4.read(body(content)))
    assert (found.event, found.anonymous_id) == ("page_view", "app1")
    assert found.metadata == {
        "language": "en-GB",
        "device_model": "Pixel 9",
        "screen_size": "1x2",
        "city": "Berlin",
        "region": "DE-BE",
        "country": "DE",
    }


@pytest.mark.parametrize(
    ("country", "known"),
    [("de", {"country": "DE"}), ("Germany", {"country_name": "Germany"}), ("ZZ", {})],
)
def test_a_country_is_a_code_or_has_another_name(country: str, known: dict[str, str]) -> None:
    for found in (
        event_of("a", user_location={"country_id": country}),
        gtag_event(en="a", _uc=country),
    ):
        assert {
            name: value for name, value in found.metadata.items() if name.startswith("country")
        } == known


def test_address_and_agent_count_where_place_and_device_are_not_told() -> None:
    found = event_of("a", ip_override="203.0.113.9", user_agent="Mozilla/5.0")
    assert found.metadata == {"ip": "203.0.113.9", "user_agent": "Mozilla/5.0"}


def test_a_site_with_a_replay_window_takes_neither_form_for_both_say_no_time_of_sending() -> None:
    strict = Terms(replay_window_s=86400.0)
    for request in (
        body({"client_id": "c", "events": [{"name": "a", "timestamp_micros": 1}]}),
        gtag(PAGE, {"en": "a"}),
    ):
        [rejection] = sort_events(ga4.read(request), NOW, strict).rejected
        assert rejection.error.field == "sent_at"


def test_user_properties_are_traits() -> None:
    found = event_of(
        "tutorial", user_properties={"plan": {"value": "gold"}, "old": {"value": None}}
    )
    assert found.metadata == {"traits": {"plan": "gold"}}


@pytest.mark.parametrize(
    ("fields", "consent"),
    [
        ({}, None),
        ({"consent": {"ad_personalization": "GRANTED"}}, {"personalization": True}),
        ({"consent": {"ad_personalization": "DENIED"}}, {"personalization": False}),
        (
            {"consent": {"ad_user_data": "DENIED", "ad_personalization": "GRANTED"}},
            {"personalization": True},
        ),
        ({"consent": {"ad_user_data": "UNSPECIFIED"}}, None),
        ({"consent": {"ad_personalization": "MAYBE"}}, {"personalization": False}),
        ({"non_personalized_ads": True}, {"personalization": False}),
        ({"non_personalized_ads": False}, None),
    ],
)
def test_consent_of_a_body(fields: dict[str, Any], consent: Any) -> None:
    assert event_of("a", **fields).metadata.get("consent") == consent


def test_a_parameter_is_no_consent() -> None:
    found = event_of(
        "a", {"consent": {"personalization": True}}, consent={"ad_personalization": "DENIED"}
    )
    assert found.metadata["consent"] == {"personalization": False}
    assert found.metadata["unmapped"] == {"consent": {"personalization": True}}


# ---- what events mean


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("view_item", "view_product"),
        ("add_to_cart", "add_to_cart"),
        ("remove_from_cart", "remove_from_cart"),
        ("purchase", "purchase"),
        ("select_item", "click"),
        ("view_item_list", "impression"),
    ],
)
def test_an_item_is_an_event_of_its_product(name: str, ours: str) -> None:
    found = event_of(name, {"items": [LAMP], "currency": "EUR"})
    assert (found.event, found.product_id) == (ours, "p1")
    assert found.metadata == LAMP_METADATA | {"currency": "EUR"}


def test_beside_an_item_the_pages_title_is_another() -> None:
    named, unnamed = events_of(
        "view_item", {"page_title": "Shop", "items": [LAMP, {"item_id": "p2"}]}
    )
    assert (named.metadata["title"], named.metadata["page_title"]) == ("Oak lamp", "Shop")
    assert unnamed.metadata == {"page_title": "Shop"}


@pytest.mark.parametrize(
    ("name", "placed"), [("view_item_list", True), ("select_item", True), ("view_item", False)]
)
def test_a_list_is_the_placement_of_impressions_and_clicks(name: str, placed: bool) -> None:
    items = [{"item_id": "p1", "item_list_name": "home"}, {"item_id": "p2"}]
    first, second = events_of(name, {"items": items, "item_list_name": "related"})
    if placed:
        assert (first.metadata["placement"], second.metadata["placement"]) == ("home", "related")
    else:
        assert (first.metadata["item_list_name"], second.metadata) == (
            "home",
            {"item_list_name": "related"},
        )
        assert "placement" not in first.metadata


def test_an_order_is_one_purchase_a_product() -> None:
    order = {
        "transaction_id": 1001,
        "currency": "EUR",
        "coupon": "SPRING",
        "value": "60",
        "tax": "9.5",
    }
    lamp, shade = events_of("purchase", order | {"items": [LAMP, {"item_name": "Shade"}]})
    shared = {"order_id": "1001", "currency": "EUR", "order_value": 60}
    assert lamp.metadata == shared | LAMP_METADATA | {"order_tax": 9.5}
    assert (shade.product_id, shade.metadata) == (
        "Shade",
        shared | {"title": "Shade", "coupon": "SPRING"},
    )
    assert lamp.event_id.rpartition(":")[0] == shade.event_id.rpartition(":")[0] != ""
    assert lamp.event_id != shade.event_id


def test_the_value_of_a_product_view_is_no_orders() -> None:
    assert event_of("view_item", {"items": [{"item_id": "p1"}], "value": "5"}).metadata == {
        "value": 5
    }


@pytest.mark.parametrize(
    ("name", "kept_as"),
    [
        ("view_item", "view_item"),
        ("purchase", "purchase_without_product"),
        ("impression", "impression_without_product"),
    ],
)
def test_an_event_of_items_without_any_keeps_its_name(name: str, kept_as: str) -> None:
    assert event_of(name, {"value": 3, "items": []}).event == kept_as


@pytest.mark.parametrize("item", [{}, {"item_id": ""}, "p1", None, {"item_id": ["p1"]}])
def test_an_item_without_id_and_name_is_named(item: Any) -> None:
    [found] = ga4.read(
        measured({"name": "view_item", "params": {"items": [{"item_id": "p0"}, item]}})
    ).events
    assert found.error is not None
    assert (found.error.field, found.error.reason) == ("items[1]", "expected item_id or item_name")


@pytest.mark.parametrize(("count", "fits"), [(MAX_ITEMS, True), (MAX_ITEMS + 1, False)])
def test_an_event_has_at_most_two_hundred_items(count: int, fits: bool) -> None:
    event = {
        "name": "view_item_list",
        "params": {"items": [{"item_id": str(n)} for n in range(count)]},
    }
    [found] = ga4.read(measured(event)).events
    assert (found.error is None, len(found.facts)) == (fits, count if fits else 0)


@pytest.mark.parametrize(
    ("name", "params", "ours", "metadata"),
    [
        ("search", {"search_term": "oak"}, "search", {"query": "oak"}),
        ("view_search_results", {"search_term": "oak"}, "search", {"query": "oak"}),
        ("scroll", {"percent_scrolled": "90"}, "scroll", {"depth": 90}),
        ("user_engagement", {"engagement_time_msec": "1200"}, "dwell", {"dwell_ms": 1200}),
        ("user_engagement", {}, "user_engagement", {}),
        (
            "user_engagement",
            {"engagement_time_msec": -1},
            "user_engagement",
            {"unmapped": {"engagement_time_msec": -1}},
        ),
        ("video_start", {"video_title": "Oak"}, "media_play", {"title": "Oak"}),
        ("video_progress", {"video_percent": "25"}, "media_progress", {"percent": 25}),
        ("video_complete", {}, "media_progress", {"percent": 100}),
        (
            "begin_checkout",
            {"items": [{"item_id": "p1"}]},
            "begin_checkout",
            {"items": [{"item_id": "p1"}]},
        ),
        ("login", {"method": "mail"}, "login", {"method": "mail"}),
        (
            "ab_test",
            {"variant": "b", "engagement_time_msec": "5"},
            "ab_test",
            {"product_variant": "b"},
        ),
    ],
)
def test_what_an_event_is_called(
    name: str, params: dict[str, Any], ours: str, metadata: dict[str, Any]
) -> None:
    found = event_of(name, params)
    assert found.event == ours
    assert found.metadata == metadata | ({"engagement_time_msec": 5} if name == "ab_test" else {})


@pytest.mark.parametrize("name", ["login", "sign_up"])
def test_a_login_of_somebody_identifies_the_visitor(name: str) -> None:
    found = event_of(name, {"method": "mail"}, user_id="anna")
    assert (found.event, found.user_id, found.anonymous_id, found.metadata) == (
        "identify",
        "anna",
        "c.1",
        {"method": "mail"},
    )


# ---- gtag's form


def test_everything_may_be_in_the_query() -> None:
    found = gtag_event(
        **{
            "en": "page_view",
            "uid": "anna",
            "dt": "Lamps",
            "dr": "https://news.example/",
            "ul": "de-de",
        },
        **{
            "ep.theme": "dark & oak",
            "epn.depth_m": "1.5",
            "up.plan": "gold",
            "upn.age": "41",
            "_et": "12",
        },
        **{"sr": "800x600", "_uip": "203.0.113.9", "_ee": "1", "sct": "3"},
    )
    assert (found.event, found.user_id, found.anonymous_id, found.session_id) == (
        "page_view",
        "anna",
        "c.1",
        "77",
    )
    assert found.timestamp == NOW
    assert found.metadata == {
        "url": "https://shop.example/lamps",
        "title": "Lamps",
        "referrer": "https://news.example/",
        "language": "de-DE",
        "theme": "dark & oak",
        "depth_m": 1.5,
        "traits": {"plan": "gold", "age": 41},
        "engagement_time_msec": 12,
        "screen_size": "800x600",
        "ip": "203.0.113.9",
        "session_number": "3",
    }


def test_a_line_of_the_body_is_an_event_with_the_querys_fields() -> None:
    lines = (
        {"en": "scroll", "epn.percent_scrolled": "90"},
        {"en": "user_engagement", "_et": "900", "dl": "https://b/"},
    )
    scroll, dwell = accept(ga4.read(gtag(PAGE, *lines)))
    assert (scroll.event, scroll.metadata) == ("scroll", {"depth": 90, "url": PAGE["dl"]})
    assert (dwell.event, dwell.metadata) == ("dwell", {"dwell_ms": 900, "url": "https://b/"})


def test_items_are_in_the_order_of_their_numbers() -> None:
    items = {
        "pr10": "idp10~lp9",
        "pr2": "idp2~nmShade~lnhome",
        "pr1": "idp1~nmOak lamp~brOakmere~pr49.9~qt2",
    }
    found = accept(ga4.read(gtag(PAGE | {"en": "view_item_list", "cu": "EUR"} | items)))
    assert [event.product_id for event in found] == ["p1", "p2", "p10"]
    page = {"url": PAGE["dl"], "currency": "EUR"}
    assert [event.metadata for event in found] == [
        page | {"title": "Oak lamp", "brand": "Oakmere", "price": 49.9, "quantity": 2},
        page | {"title": "Shade", "placement": "home", "item_list_name": "home"},
        page | {"position": 9},
    ]


def test_an_item_in_short() -> None:
    text = (
        "idp1~nmOak ~~ lamp~brB~cahome~c2lamps~c5e~vadark~pr9~qt1~ds2~cpTEN~lp4~lil1~lnhome"
        "~k0color~v0red~k1lost~zz9"
    )
    assert item_of(text) == {
        "item_id": "p1",
        "item_name": "Oak ~ lamp",
        "item_brand": "B",
        "item_category": "home",
        "item_category2": "lamps",
        "item_category5": "e",
        "item_variant": "dark",
        "price": "9",
        "quantity": "1",
        "discount": "2",
        "coupon": "TEN",
        "index": "4",
        "item_list_id": "l1",
        "item_list_name": "home",
        "color": "red",
    }


@pytest.mark.parametrize(
    ("fields", "consent"),
    [
        ({"gcs": "G111"}, {"analytics": True, "personalization": True}),
        ({"gcs": "G101"}, {"analytics": True, "personalization": False}),
        ({"gcs": "G110"}, {"analytics": False, "personalization": True}),
        ({"gcs": "G100"}, {"analytics": False, "personalization": False}),
        ({"gcs": "G1--"}, None),
        ({"gcs": "G1-0"}, {"analytics": False}),
        ({"gcs": "G111", "npa": "1"}, {"analytics": True, "personalization": False}),
        ({"npa": "0"}, None),
        ({"gcs": "everything"}, None),
    ],
)
def test_consent_of_a_tag(fields: dict[str, str], consent: Any) -> None:
    assert gtag_event(en="a", **fields).metadata.get("consent") == consent


NO, ONLY_ADS, ONLY_ANALYTICS = (
    {"analytics": analytics, "personalization": ads}
    for analytics, ads in ((False, False), (False, True), (True, False))
)


@pytest.mark.parametrize(
    ("query", "consent"),
    [
        ("gcs=G100&gcs=G111", NO),
        ("gcs=G110&gcs=G101", NO),
        ("gcs=G1-0&gcs=G1--&gcs=G111", ONLY_ADS),
        ("gcs=G101&gcs=everything&gcs=G1", ONLY_ANALYTICS),
        ("gcs=G111&gcs=&npa=1&npa=0", ONLY_ANALYTICS),
        ("gcs=G111&npa=1&npa=no", ONLY_ANALYTICS),
        ("gcd=13r3p3r3r5&gcd=13t3t3t3t5", ONLY_ADS),
        ("gcd=13p3p3p3q5&gcd=13t3t3t3t5l1&gcd=1", NO),
        ("gcs=&gcs=what", None),
    ],
)
def test_of_a_tags_consent_that_comes_several_times_the_denial_counts(
    query: str, consent: Any
) -> None:
    page = urlencode(PAGE | {"en": "a"})
    of_query = Incoming("GET", "/g/collect", f"{page}&{query}", {}, b"", NOW)
    of_line = Incoming("POST", "/g/collect", page, {}, query.encode(), NOW)
    for incoming in (of_query, of_line):
        [translated] = ga4.read(incoming).events
        assert [fact["metadata"].get("consent") for fact in translated.facts] == [consent]


@pytest.mark.parametrize("line", [{"ep.name": "?"}, b"en=%ff"])
def test_of_a_visitor_who_agreed_to_nothing_not_even_what_is_wrong_is_kept(line: Any) -> None:
    kept = sort_events(ga4.read(gtag(PAGE, line)), NOW)
    denied = sort_events(ga4.read(gtag(PAGE | {"gcs": "G100"}, line)), NOW)
    assert (len(kept.rejected), kept.withheld) == (1, 0)
    assert (denied.events, denied.rejected, denied.withheld) == ([], [], 1)


# ---- ids


def ids(incoming: Incoming) -> list[str]:
    return [event.event_id for event in accept(ga4.read(incoming), incoming.received_at)]


def test_the_same_request_again_has_the_same_ids_whenever_it_comes() -> None:
    later = NOW + timedelta(hours=1)
    lines = {"en": "a"}, {"en": "b"}
    assert ids(gtag(PAGE, *lines)) == ids(gtag(PAGE, *lines, received_at=later))
    again = measured({"name": "a"}, {"name": "b"})
    assert ids(again) == ids(Incoming("POST", again.path, again.query, {}, again.body, later))


@pytest.mark.parametrize(
    "other",
    [
        {"cid": "c.2"},
        {"sid": "78"},
        {"_p": "6"},
        {"_s": "2"},
        {"en": "b"},
        {"ep.x": "1"},
        {"dl": "https://b/"},
    ],
)
def test_events_that_differ_in_anything_have_different_ids(other: dict[str, str]) -> None:
    assert ids(gtag(PAGE | {"en": "a"})) != ids(gtag(PAGE | {"en": "a"} | other))


def test_the_same_event_twice_in_a_request_is_two() -> None:
    assert len(set(ids(measured({"name": "a"}, {"name": "a"})))) == 2
    assert len(set(ids(gtag(PAGE, {"en": "a"}, {"en": "a"})))) == 2


def test_events_at_two_times_are_two() -> None:
    assert (
        len({ids(measured({"name": "a", "timestamp_micros": NOW_US - n}))[0] for n in (0, 1000)})
        == 2
    )


# ---- requests


def test_the_key_is_the_secret_or_the_measurement_id() -> None:
    assert ga4.read(measured({"name": "a"})).write_key == "secret-1"
    assert ga4.read(gtag(PAGE | {"en": "a"})).write_key == "G-SHOP1"


def test_a_body_without_events_is_rejected_with_its_key() -> None:
    reading = ga4.read(body({"client_id": "c.1"}))
    assert reading.write_key == "secret-1"
    assert [one.error and one.error.field for one in reading.events] == ["events"]


def test_a_bad_event_leaves_the_others() -> None:
    good, *bad = ga4.read(
        measured(
            {"name": "a"},
            7,
            {"name": ""},
            {"name": "a", "params": []},
            {"name": "a", "timestamp_micros": "noon"},
        )
    ).events
    assert good.error is None
    assert [one.error and one.error.field for one in bad] == [
        "events",
        "name",
        "params",
        "timestamp_micros",
    ]
    assert [one.source["events"] for one in bad][:2] == [[7], [{"name": ""}]]


@pytest.mark.parametrize("count", [MAX_EVENTS, MAX_EVENTS + 1])
@pytest.mark.parametrize("form", ["mp", "gtag"])
def test_a_request_has_at_most_five_hundred_events(count: int, form: str) -> None:
    request = measured(*[{"name": "a"}] * count) if form == "mp" else gtag(PAGE, *[b"en=a"] * count)
    if count == MAX_EVENTS:
        assert len(accept(ga4.read(request))) == count
        return
    with pytest.raises(InvalidEvent, match="events: expected at most 500 events"):
        ga4.read(request)


def test_a_request_stands_for_a_bounded_number_of_events() -> None:
    event = {"name": "view_item_list", "params": {"items": [{"item_id": "p"}] * MAX_ITEMS}}
    assert len(accept(ga4.read(measured(*[event] * (MAX_FACTS // MAX_ITEMS))))) == MAX_FACTS
    with pytest.raises(InvalidEvent, match="expected at most 5000 products"):
        sort_events(ga4.read(measured(*[event] * (MAX_FACTS // MAX_ITEMS + 1))), NOW)


def test_what_all_events_share_is_bounded_by_their_number() -> None:
    shared = "x" * (MAX_SHARED_BYTES // 400)
    with pytest.raises(InvalidEvent, match="with what they share"):
        ga4.read(measured(*[{"name": "a"}] * 400, user_agent=shared))
    with pytest.raises(InvalidEvent, match="with what they share"):
        ga4.read(gtag(PAGE | {"dt": shared}, *[b"en=a"] * 400))


def test_an_event_is_of_a_bounded_size() -> None:
    [found] = ga4.read(measured({"name": "a", "params": {"text": "x" * 70_000}})).events
    assert found.error is not None
    assert found.error.reason == "expected at most 65536 bytes an event"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"7", b"[" * 5000])
def test_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidEvent, match="body"):
        ga4.read(body(raw))


def validate(*events: Any) -> Any:
    incoming = Incoming(
        "POST", "/debug/mp/collect", "api_secret=secret-1", {}, measured(*events).body, NOW
    )
    reading = ga4.read(incoming)
    assert (reading.events, reading.write_key) == ([], "secret-1")
    answer = ga4.accepted(incoming, Outcome(0))
    assert answer.status == 200
    return json.loads(answer.body)["validationMessages"]


def test_the_validation_server_stores_nothing_and_says_what_is_wrong() -> None:
    assert validate({"name": "a"}) == []
    late = {"name": "a", "timestamp_micros": NOW_US - 49 * 3600 * 10**6}
    told = validate({"name": "a"}, {"params": {}}, late)
    assert [(one["fieldPath"], one["validationCode"]) for one in told] == [
        ("events[1].name", "VALUE_REQUIRED"),
        ("events[2].timestamp", "VALUE_INVALID"),
    ]


@pytest.mark.parametrize(
    ("gcd", "consent"),
    [
        ("13r3r3r3r5", {"analytics": True, "personalization": True}),
        ("13p3r3p3q5", {"analytics": True, "personalization": False}),
        ("13l3l3l3l1", None),
        ("13r3l3l3l1", None),
        ("nonsense", None),
    ],
)
def test_consent_of_the_second_consent_mode(gcd: str, consent: Any) -> None:
    assert gtag_event(en="a", gcd=gcd).metadata.get("consent") == consent


# ---- answers

BAD = Rejected(1, InvalidEvent("items[0]", "expected <an> item_id", None))


def test_success_is_an_empty_204() -> None:
    for incoming in (measured({"name": "a"}), gtag(PAGE | {"en": "a"})):
        answer = ga4.accepted(incoming, Outcome(1))
        assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("incoming", [measured({"name": "a"}), gtag(PAGE)])
def test_where_all_was_rejected_the_sender_reads_why(incoming: Incoming) -> None:
    answer = ga4.accepted(incoming, Outcome(0, [BAD]))
    assert (answer.status, json.loads(answer.body)) == (
        400,
        {
            "validationMessages": [
                {
                    "fieldPath": "events[1].items[0]",
                    "description": "expected <an> item_id",
                    "validationCode": "VALUE_INVALID",
                }
            ]
        },
    )
    assert b"<" not in answer.body


def test_where_some_was_accepted_it_is_success() -> None:
    assert ga4.accepted(gtag(PAGE), Outcome(1, [BAD])).status == 204


@pytest.mark.parametrize(
    ("status", "field"), [(400, "body"), (401, "write_key"), (413, "body"), (429, "rate")]
)
def test_a_refusal_has_the_validation_servers_shape(status: int, field: str) -> None:
    answer = ga4.refused(measured(), Refusal(status, field, "expected better"))
    [message] = json.loads(answer.body)["validationMessages"]
    assert answer.status == status
    assert message["fieldPath"] == field
    assert message["description"] == "expected better"
    assert set(message) == {"fieldPath", "description", "validationCode"}


# ---- whatever comes

_names = st.sampled_from(
    "page_view view_item view_item_list select_item purchase login search scroll user_engagement "
    "video_start consent"
    " impression".split()
)
_keys = st.sampled_from(
    "items item_id item_name index price value search_term percent_scrolled engagement_time_msec "
    "session_id consent"
    " unmapped traits variant page_location language transaction_id item_list_name user_id".split()
)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_keys | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
_params = st.dictionaries(_keys, _json, max_size=6)
_shared = st.sampled_from(
    "user_id consent user_properties timestamp_micros device ip_override user_agent".split()
)
_fields = st.dictionaries(
    st.sampled_from(
        "en cid uid sid gcs npa _et dl pr1 pr2 pr201 ep.x ep. epn.x epn. up.a ep.items ep.consent "
        "cu".split()
    ),
    _names
    | st.text(max_size=20)
    | st.sampled_from(["G100", "G111", "1e999", "-1", "idp~nmX~~~k0~v0", "~~~"]),
)


def check(reading: Reading) -> list[str]:
    """The fields for which facts are refused."""
    refused = []
    for fact in (fact for one in reading.events if not one.error for fact in one.facts):
        try:
            accept_event(dict(fact), ingest_time=NOW)
        except InvalidEvent as error:
            refused.append(error.field)
    return refused


@given(
    st.lists(
        st.fixed_dictionaries({"name": _names | _json, "params": _params | _json}), max_size=3
    ),
    _json,
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_whatever_an_event_holds_nothing_but_an_invalid_event_comes_of_it(
    events: list[Any], time: Any
) -> None:
    check(ga4.read(measured(*events, timestamp_micros=time)))


@given(st.dictionaries(_shared, _json, max_size=7))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_whatever_a_request_shares_nothing_but_an_invalid_event_comes_of_it(
    shared: dict[str, Any],
) -> None:
    check(ga4.read(measured({"name": "a", "params": {}}, **shared)))


@given(_names, _params)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_parameters_of_any_kind_never_make_an_event_that_is_refused(
    name: str, params: dict[str, Any]
) -> None:
    refused = check(ga4.read(measured({"name": name, "params": params})))
    assert set(refused) <= {"product_id", "session_id"}  # texts that cannot be printed


@given(_fields, st.lists(_fields, max_size=3))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_whatever_a_tag_sends_nothing_but_an_invalid_event_comes_of_it(
    query: Any, lines: Any
) -> None:
    check(ga4.read(gtag(PAGE | query, *lines)))


@given(
    st.binary(max_size=200),
    st.text(st.characters(), max_size=100),
    st.sampled_from(["POST", "GET"]),
    st.sampled_from(sorted(ga4.PATHS)),
)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_whatever_bytes_come_nothing_but_an_invalid_event_is_raised(
    raw: bytes, query: str, method: str, path: str
) -> None:
    with contextlib.suppress(InvalidEvent):
        check(ga4.read(Incoming(method, path, query, {}, raw, NOW)))


def test_a_query_of_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="query: expected UTF-8"):
        ga4.read(Incoming("GET", "/g/collect", "en=\ud800", {}, b"", NOW))
