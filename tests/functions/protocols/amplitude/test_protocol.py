"""Amplitude's payloads as its libraries write them, and what none would write."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.accept import sort_events
from functions.http.exchange import Incoming, Refusal
from functions.protocols.amplitude import protocol as amplitude
from functions.protocols.commerce_facts import MAX_FACTS
from functions.protocols.contract import Outcome, Reading, Rejected
from functions.protocols.values import MAX_VENDOR_EVENTS
from pipeline.core.events import Event, accept_event
from pipeline.core.invalid_event import InvalidEvent

NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)
NOW_MS = 1735732800000
WEB = {
    "user_id": "anna@shop.example",
    "device_id": "d1",
    "session_id": NOW_MS - 1000,
    "time": NOW_MS,
    "platform": "Web",
    "language": "en-US",
    "ip": "$remote",
    "insert_id": "i1",
    "event_id": 17,
    "library": "amplitude-ts/2.47.1",
    "user_agent": "Mozilla/5.0",
}


def incoming(body: Any, path: str = "/2/httpapi") -> Incoming:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Incoming("POST", path, "", {}, raw, NOW)


def batch(*events: Any, **fields: Any) -> Incoming:
    return incoming({"api_key": "key-1234", "events": events, **fields})


def event(event_type: str = "Signed Up", **fields: Any) -> dict[str, Any]:
    base = {"event_type": event_type, "user_id": "anna", "time": NOW_MS, "insert_id": "i1"}
    return {name: value for name, value in (base | fields).items() if value is not None}


def accept(reading: Reading) -> list[Event]:
    for one in reading.events:
        if one.error is not None:
            raise one.error
    return [
        accept_event(dict(fact), ingest_time=NOW) for one in reading.events for fact in one.facts
    ]


def the_event(source: dict[str, Any]) -> Event:
    [found] = accept(amplitude.read(batch(source)))
    return found


def test_an_event_of_the_browser_has_its_visitor_session_and_surroundings() -> None:
    found = the_event({"event_type": "Played", "event_properties": {"speed": 2}} | WEB)
    assert (found.event, found.event_id, found.timestamp) == ("Played", "i1", NOW)
    assert (found.user_id, found.anonymous_id, found.session_id) == (
        "anna@shop.example",
        "d1",
        str(NOW_MS - 1000),
    )
    assert found.metadata == {
        "speed": 2,
        "platform": "Web",
        "language": "en-US",
        "user_agent": "Mozilla/5.0",
        "tracker": "amplitude-ts/2.47.1",
    }


def test_a_page_view_has_its_address_title_and_campaign() -> None:
    properties = {
        "[Amplitude] Page Location": "https://shop.example/lamp?utm_source=mail",
        "[Amplitude] Page URL": "https://shop.example/lamp",
        "[Amplitude] Page Title": "Lamps",
        "[Amplitude] Page Counter": 2,
        "referrer": "https://www.google.com/",
        "utm_source": "mail",
    }
    found = the_event(event("[Amplitude] Page Viewed", event_properties=properties))
    assert found.event == "page_view"
    assert found.metadata == {
        "url": "https://shop.example/lamp?utm_source=mail",
        "page_url": "https://shop.example/lamp",
        "title": "Lamps",
        "page_counter": 2,
        "referrer": "https://www.google.com/",
        "utm_source": "mail",
    }


def test_a_click_has_its_element_and_its_page() -> None:
    properties = {
        "[Amplitude] Element Text": "Buy",
        "[Amplitude] Page URL": "https://shop.example/lamp",
    }
    found = the_event(event("[Amplitude] Element Clicked", event_properties=properties))
    assert found.event == "click"
    assert (found.metadata["element_text"], found.metadata["url"]) == (
        "Buy",
        "https://shop.example/lamp",
    )


@pytest.mark.parametrize("name", ["session_start", "session_end", "[Amplitude] File Downloaded"])
def test_what_only_amplitude_knows_keeps_its_name(name: str) -> None:
    assert the_event(event(name)).event == name


@pytest.mark.parametrize("session_id", [-1, None, "-1"])
def test_minus_one_is_no_session(session_id: Any) -> None:
    assert the_event(event(session_id=session_id)).session_id is None


def test_identify_sets_traits() -> None:
    operations = {
        "$set": {"plan": "gold"},
        "$setOnce": {"plan": "tin", "since": 1},
        "$add": {"visits": 1},
        "loose": 2,
    }
    found = the_event(event("$identify", device_id="d1", user_properties=operations))
    assert (found.event, found.user_id, found.anonymous_id) == ("identify", "anna", "d1")
    assert found.metadata == {
        "traits": {"plan": "gold", "since": 1, "loose": 2},
        "trait_operations": {"add": {"visits": 1}},
    }


def test_user_properties_of_another_event_are_its_traits() -> None:
    assert the_event(event(user_properties={"plan": "gold"})).metadata == {
        "traits": {"plan": "gold"}
    }


def test_a_groups_traits_are_accepted_and_are_no_event() -> None:
    [found] = amplitude.read(batch(event("$groupidentify", user_id=None))).events
    assert (found.error, [*found.facts]) == (None, [])


def test_revenue_of_a_product_is_a_purchase() -> None:
    properties = {
        "$productId": "p1",
        "$price": 9.5,
        "$quantity": 2,
        "$currency": "EUR",
        "gift": True,
    }
    found = the_event(event("revenue_amount", event_properties=properties))
    assert (found.event, found.product_id) == ("purchase", "p1")
    assert found.metadata == {"price": 9.5, "quantity": 2, "currency": "EUR", "gift": True}


def test_the_price_follows_from_the_revenue_where_it_is_not_told() -> None:
    properties = {"$productId": "p1", "$price": 0, "$quantity": 4, "$revenue": 10}
    found = the_event(event("revenue_amount", event_properties=properties))
    assert found.metadata == {"price": 2.5, "quantity": 4, "order_value": 10}


@pytest.mark.parametrize("properties", [{"$revenue": 5}, {"$productId": "p1", "$price": -5}])
def test_revenue_without_a_product_or_paid_back_is_no_purchase(properties: dict[str, Any]) -> None:
    found = the_event(event("revenue_amount", event_properties=properties))
    assert (found.event, found.product_id) == ("revenue_amount", None)


def test_the_product_may_stand_beside_the_properties() -> None:
    found = the_event(
        event("Purchase", productId="p1", price=9.5, quantity=2, revenue=19, currency="EUR")
    )
    assert (found.event, found.product_id) == ("purchase", "p1")
    assert found.metadata == {"price": 9.5, "quantity": 2, "order_value": 19, "currency": "EUR"}


@pytest.mark.parametrize("name", ["$identify", "revenue_amount", "Lamp"])
def test_what_the_visitor_agreed_to_goes_with_every_event(name: str) -> None:
    consent = {"analytics": False}
    assert (
        the_event(event(name, event_properties={"consent": consent})).metadata["consent"] == consent
    )


def test_an_order_is_a_purchase_of_each_product() -> None:
    source = event(
        "Order Completed",
        event_properties={"products": [{"product_id": "p1"}, {"product_id": "p2"}]},
    )
    found = accept(amplitude.read(batch(source)))
    assert [(e.event, e.event_id, e.product_id) for e in found] == [
        ("purchase", "i1:0", "p1"),
        ("purchase", "i1:1", "p2"),
    ]


def test_a_back_ends_event_has_the_visitors_address_and_place_and_no_phone_ids() -> None:
    given: dict[str, Any] = {
        "ip": "203.0.113.7",
        "location_lat": 1.5,
        "location_lng": "2",
        "country": "Portugal",
        "os_name": "iOS",
    }
    found = the_event(event(**given, idfa="a", idfv="b", adid="c", android_id="d"))
    assert found.metadata == {
        "ip": "203.0.113.7",
        "latitude": 1.5,
        "longitude": 2,
        "country_name": "Portugal",
        "os": "iOS",
    }


@pytest.mark.parametrize(
    ("country", "known"),
    [
        ("PT", {"country": "PT"}),
        ("pt", {"country": "PT"}),
        ("Portugal", {"country_name": "Portugal"}),
        ("ZZ", {}),
        ("", {}),
        (7, {}),
    ],
)
def test_a_country_is_a_code_or_has_another_name(country: Any, known: dict[str, str]) -> None:
    found = the_event(event(country=country)).metadata
    assert {name: value for name, value in found.items() if name.startswith("country")} == known


def test_an_event_without_an_id_gets_the_same_one_whenever_it_comes() -> None:
    ids = set()
    for seconds in (0, 9):
        body = batch(event(insert_id=None)).body
        request = Incoming("POST", "/batch", "", {}, body, NOW + timedelta(seconds=seconds))
        ids.add(accept(amplitude.read(request))[0].event_id)
    assert len(ids) == 1


def test_an_event_without_a_time_happened_when_it_came() -> None:
    assert the_event(event(time=None)).timestamp == NOW


@pytest.mark.parametrize("device_id", ["00000000-0000-0000-0000-000000000000", "", "unknown"])
def test_phones_that_may_not_be_tracked_are_not_one_visitor(device_id: str) -> None:
    assert the_event(event(device_id=device_id)).anonymous_id is None
    with pytest.raises(InvalidEvent, match="user_id"):
        the_event(event(device_id=device_id, user_id=None))


def test_key_and_clock_are_the_requests() -> None:
    reading = amplitude.read(batch(event(), client_upload_time="2025-01-01T12:00:00.000Z"))
    assert (reading.write_key, reading.sent_at, reading.history) == ("key-1234", NOW, False)
    assert amplitude.read(batch(event(), client_upload_time="noon")).sent_at is None
    assert amplitude.read(incoming({"events": []})).write_key is None


def test_one_bad_event_leaves_the_others() -> None:
    sources: list[Any] = [
        event(),
        7,
        {"user_id": "anna"},
        event(time="noon"),
        event(event_properties=[]),
        event(),
    ]
    events = amplitude.read(batch(*sources)).events
    assert [one.error.field if one.error else None for one in events] == [
        None,
        "event",
        "event_type",
        "time",
        "event_properties",
        None,
    ]
    assert [one.source for one in events] == sources


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"events":'])
def test_what_cannot_be_read_says_what_was_expected(body: bytes) -> None:
    with pytest.raises(InvalidEvent) as error:
        amplitude.read(incoming(body))
    assert error.value.field == "body"


def test_a_body_without_events_is_rejected_after_its_key_was_seen() -> None:
    reading = amplitude.read(incoming({"api_key": "key-1234"}))
    assert reading.write_key == "key-1234"
    [found] = reading.events
    assert found.error is not None
    answer = amplitude.accepted(incoming({}), Outcome(0, [Rejected(0, found.error)]))
    assert json.loads(answer.body) == {
        "code": 400,
        "error": "events: expected a list",
        "missing_field": "events",
    }


def test_two_thousand_five_hundred_events_are_taken_and_one_more_has_to_be_split() -> None:
    assert len(amplitude.read(batch(*[event()] * MAX_VENDOR_EVENTS)).events) == MAX_VENDOR_EVENTS
    with pytest.raises(InvalidEvent, match=r"events: expected at most"):
        amplitude.read(batch(*[event()] * (MAX_VENDOR_EVENTS + 1)))


def test_many_small_orders_do_not_become_more_events_than_allowed() -> None:
    order = event("Purchase", event_properties={"products": [1] * 100})
    with pytest.raises(InvalidEvent, match=r"events: expected at most"):
        sort_events(amplitude.read(batch(*[order] * (MAX_FACTS // 100 + 1))), NOW)


# ---- answers

BAD = Rejected(1, InvalidEvent("time", "expected a Unix time", "<script>"), "i2")
MISSING = Rejected(0, InvalidEvent("event_type", "required", None), "i1")


def test_success_tells_what_was_taken_also_where_some_was_bad() -> None:
    told = {
        "code": 200,
        "events_ingested": 2,
        "payload_size_bytes": 2,
        "server_upload_time": NOW_MS,
    }
    for outcome in (Outcome(2), Outcome(2, [BAD])):
        answer = amplitude.accepted(incoming(b"{}"), outcome)
        assert (answer.status, json.loads(answer.body)) == (200, told)


def test_where_nothing_was_good_every_event_is_named() -> None:
    answer = amplitude.accepted(incoming(b"{}"), Outcome(0, [MISSING, BAD]))
    assert answer.status == 400
    assert json.loads(answer.body) == {
        "code": 400,
        "error": "event_type: required",
        "events_with_invalid_fields": {"time": [1]},
        "events_with_missing_fields": {"event_type": [0]},
    }


@pytest.mark.parametrize(
    ("status", "error", "more"),
    [
        (400, "body: why", {"missing_field": "body"}),
        (401, "Invalid API key: why", {}),
        (403, "body: why", {"missing_field": "body"}),
        (408, "body: why", {}),
        (413, "body: why", {}),
        (415, "body: why", {"missing_field": "body"}),
        (500, "body: why", {}),
        (503, "body: why", {}),
    ],
)
def test_refusals_make_the_libraries_give_up_split_or_send_again(
    status: int, error: str, more: dict[str, str]
) -> None:
    answer = amplitude.refused(incoming(b"{}"), Refusal(status, "body", "why"))
    assert (answer.status, json.loads(answer.body)) == (
        status,
        {"code": status, "error": error, **more},
    )


def test_who_is_too_fast_waits_with_every_event() -> None:
    refusal = Refusal(429, "write_key", "expected fewer requests", 2)
    told = json.loads(amplitude.refused(batch(event(), event()), refusal).body)
    assert told["throttled_events"] == [0, 1]
    assert told["error"].startswith("Too many requests for some devices and users")
    unread = json.loads(amplitude.refused(incoming(b""), refusal).body)
    assert unread["throttled_events"] == list(range(MAX_VENDOR_EVENTS))


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
event_types = st.sampled_from(
    [
        "$identify",
        "$groupidentify",
        "revenue_amount",
        "Purchase",
        "search",
        "click",
        "impression",
        "[Amplitude] Lamp",
    ]
)
property_names = st.sampled_from(
    "$productId $price $quantity $revenue $set $add products items sku price query position url "
    "title variant category"
    " referrer request_id consent [Amplitude]_Position".split()
)
properties = st.dictionaries(property_names | st.text(max_size=8), values, max_size=6)
fields = {
    "event_type": event_types | values,
    "event_properties": properties | values,
    "user_properties": properties | values,
    **dict.fromkeys(
        "user_id device_id time insert_id session_id productId price ip language groups".split(),
        values,
    ),
}
sources = st.fixed_dictionaries({}, optional=fields)


def holds_the_law(given: Incoming) -> None:
    """Nothing but `InvalidEvent`; each event of ours is taken or refused by the contract; every
    answer can be made.
    """
    refusal = Refusal(400, "body", "expected JSON")
    try:
        reading = amplitude.read(given)
    except InvalidEvent as error:
        refusal = Refusal(400, error.field, error.reason)
    else:
        rejected = []
        for index, one in enumerate(reading.events):
            try:
                if one.error is not None:
                    raise one.error
                for fact in one.facts:
                    accept_event(dict(fact), ingest_time=NOW)
            except InvalidEvent as error:
                rejected.append(Rejected(index, error))
        amplitude.accepted(given, Outcome(len(reading.events) - len(rejected), rejected))
    amplitude.refused(given, refusal)


@given(st.lists(sources | values, max_size=3), values, values)
@settings(deadline=None, derandomize=True)
def test_any_json_is_events_or_errors(events: list[Any], key: Any, upload_time: Any) -> None:
    holds_the_law(incoming({"api_key": key, "events": events, "client_upload_time": upload_time}))


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_any_bytes_are_events_or_errors(body: bytes) -> None:
    holds_the_law(incoming(body))
    holds_the_law(incoming(b'{"api_key":"k","events":[{' + body + b"}]}"))
