"""Mixpanel's payloads as its libraries write them, and what none would write."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.accept import sort_events
from functions.http.exchange import Incoming, Refusal
from functions.protocols.commerce_facts import MAX_FACTS
from functions.protocols.contract import Outcome, Reading, Rejected
from functions.protocols.mixpanel import protocol as mixpanel
from functions.protocols.pixel.protocol import GIF
from functions.protocols.values import MAX_VENDOR_EVENTS
from pipeline.core.events import MAX_AGE, Event, accept_event
from pipeline.core.invalid_event import InvalidEvent

NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)
NOW_S = 1735732800
FORM = "application/x-www-form-urlencoded"
WEB = {
    "$os": "Linux",
    "$browser": "Chrome",
    "$current_url": "https://shop.example/lamp?utm_source=mail",
    "$referrer": "https://www.google.com/",
    "$device_id": "d1",
    "distinct_id": "$device:d1",
    "$insert_id": "i1",
    "mp_lib": "web",
    "$lib_version": "2.83.0",
    "utm_source": "mail",
    "time": NOW_S + 0.25,
    "token": "key-1234",
}


def incoming(
    body: Any = b"",
    path: str = "/track",
    query: str = "",
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Incoming:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Incoming(method, path, query, headers or {}, raw, NOW)


def form(data: Any, **fields: str) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return urlencode({"data": text, **fields}).encode()


def base64_of(data: Any) -> str:
    return base64.b64encode(json.dumps(data).encode()).decode()


def event(name: str = "Signed Up", **properties: Any) -> dict[str, Any]:
    base = {"token": "key-1234", "distinct_id": "anna", "time": NOW_S, "$insert_id": "i1"}
    return {
        "event": name,
        "properties": {n: v for n, v in (base | properties).items() if v is not None},
    }


def accept(reading: Reading) -> list[Event]:
    for one in reading.events:
        if one.error is not None:
            raise one.error
    facts = [fact for one in reading.events for fact in one.facts]
    return [accept_event(dict(fact), ingest_time=NOW, backfill=reading.history) for fact in facts]


def the_event(source: dict[str, Any], **given: Any) -> Event:
    [found] = accept(mixpanel.read(incoming(source, **given)))
    return found


@pytest.mark.parametrize(
    ("body", "query", "method"),
    [
        (json.dumps([event()]).encode(), "", "POST"),
        (json.dumps(event()).encode(), "ip=1&verbose=1", "POST"),
        (form([event()], verbose="1", ip="0"), "", "POST"),
        (form(base64_of([event()])), "_=1735732800000", "POST"),
        (b"data=" + base64_of(event(plus="\u00fb\u00ff>>>???")).encode(), "", "POST"),
        (b"", form(event()).decode(), "GET"),
        (b"", form(base64_of(event())).decode(), "GET"),
        (b"", form(base64_of(event())).decode(), "POST"),
    ],
)
def test_json_forms_and_queries_say_the_same(body: bytes, query: str, method: str) -> None:
    reading = mixpanel.read(incoming(body, "/track/", query, method))
    [found] = accept(reading)
    assert (found.event, found.user_id, found.event_id, found.timestamp) == (
        "Signed Up",
        "anna",
        "i1",
        NOW,
    )
    assert reading.write_key == "key-1234"


def test_an_event_of_the_browser_has_its_page_device_and_campaign() -> None:
    found = the_event(
        {"event": "$mp_web_page_view", "properties": WEB | {"current_page_title": "Lamps"}}
    )
    assert (found.event, found.anonymous_id, found.user_id, found.event_id) == (
        "page_view",
        "d1",
        None,
        "i1",
    )
    assert found.timestamp == NOW + timedelta(milliseconds=250)
    assert found.metadata == {
        "url": "https://shop.example/lamp?utm_source=mail",
        "referrer": "https://www.google.com/",
        "title": "Lamps",
        "os": "Linux",
        "browser": "Chrome",
        "tracker": "web",
        "tracker_version": "2.83.0",
        "utm_source": "mail",
    }


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ({"mp_country_code": "de"}, {"country": "DE"}),
        ({"mp_country_code": "Germany"}, {"country_name": "Germany"}),
        ({"mp_country_code": 7}, {}),
        ({"$country": "Germany"}, {"country_name": "Germany"}),
        (
            {"$country": "Germany", "mp_country_code": "DE"},
            {"country": "DE", "country_name": "Germany"},
        ),
    ],
)
def test_a_country_is_a_code_or_has_another_name(
    given: dict[str, Any], known: dict[str, str]
) -> None:
    found = the_event(event(**given)).metadata
    assert {name: value for name, value in found.items() if "country" in name} == known


@pytest.mark.parametrize("time", [NOW_S, NOW_S * 1000, str(NOW_S), float(NOW_S)])
def test_times_are_seconds_or_milliseconds(time: Any) -> None:
    assert the_event(event(time=time)).timestamp == NOW


def test_an_event_without_a_time_happened_when_it_came() -> None:
    assert the_event(event(time=None)).timestamp == NOW


@pytest.mark.parametrize("time", ["noon", True, [], 1e300])
def test_a_time_that_is_none_rejects_the_event(time: Any) -> None:
    [found] = mixpanel.read(incoming(event(time=time))).events
    assert found.error is not None
    assert found.error.field == "properties.time"


@pytest.mark.parametrize(
    ("ids", "user_id", "anonymous_id"),
    [
        ({"distinct_id": "anna"}, "anna", None),
        ({"distinct_id": 17}, "17", None),
        ({"distinct_id": "$device:d1"}, None, "d1"),
        ({"distinct_id": "$device:d1", "$device_id": "d1"}, None, "d1"),
        ({"distinct_id": "d1", "$device_id": "d1"}, None, "d1"),
        ({"distinct_id": "anna", "$device_id": "d1"}, "anna", "d1"),
        ({"distinct_id": "anna", "$device_id": "d1", "$user_id": "anna"}, "anna", "d1"),
        ({"distinct_id": "$device:d1", "$user_id": "anna"}, "anna", "d1"),
        ({"distinct_id": None, "$user_id": "anna"}, "anna", None),
        ({"distinct_id": "undefined", "$device_id": "d1"}, None, "d1"),
    ],
)
def test_accounts_and_browsers_are_told_apart(
    ids: dict[str, Any], user_id: str, anonymous_id: str
) -> None:
    found = the_event(event(**ids))
    assert (found.user_id, found.anonymous_id) == (user_id, anonymous_id)


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        (
            "$identify",
            {"distinct_id": "anna", "$anon_distinct_id": "$device:d1", "$device_id": "d1"},
        ),
        ("$identify", {"distinct_id": None, "$identified_id": "anna", "$anon_id": "d1"}),
        ("$create_alias", {"distinct_id": "$device:d1", "alias": "anna"}),
        ("$create_alias", {"distinct_id": "d1", "alias": "anna", "time": None, "$insert_id": None}),
        ("$merge", {"distinct_id": None, "$distinct_ids": ["anna", "d1"]}),
        ("$merge", {"distinct_id": None, "$distinct_ids": ["$device:d1", "anna"]}),
    ],
)
def test_each_way_to_identify_links_account_and_browser(name: str, ids: dict[str, Any]) -> None:
    found = the_event(event(name, **ids))
    assert (found.event, found.user_id, found.anonymous_id) == ("identify", "anna", "d1")


@pytest.mark.parametrize(
    "given", [None, [], ["anna"], ["anna", "d1", "d2"], ["anna", ""], "ab", [{}, []]]
)
def test_a_merge_needs_two_ids(given: Any) -> None:
    [found] = mixpanel.read(
        incoming(event("$merge", distinct_id=None, **{"$distinct_ids": given}))
    ).events
    assert found.error is not None


@pytest.mark.parametrize("name", ["$identify", "$create_alias", "Lamp"])
def test_what_the_visitor_agreed_to_goes_with_every_event(name: str) -> None:
    consent = {"analytics": False}
    assert the_event(event(name, alias="a", consent=consent)).metadata["consent"] == consent


def test_an_order_is_a_purchase_of_each_product() -> None:
    source = event(
        "Order Completed",
        products=[{"sku": "p1", "price": "5"}, {"sku": "p2"}],
        **{"$current_url": "u"},
    )
    found = accept(mixpanel.read(incoming(source)))
    assert [(e.event, e.event_id, e.product_id) for e in found] == [
        ("purchase", "i1:0", "p1"),
        ("purchase", "i1:1", "p2"),
    ]
    assert [e.metadata for e in found] == [{"url": "u", "price": 5}, {"url": "u"}]


def test_an_event_without_an_id_gets_the_same_one_whenever_it_comes() -> None:
    source = event()
    del source["properties"]["$insert_id"]
    later = Incoming(
        "POST", "/track", "", {}, json.dumps(source).encode(), NOW + timedelta(seconds=9)
    )
    assert the_event(source).event_id == accept(mixpanel.read(later))[0].event_id
    alias = event("$create_alias", alias="anna", time=None, **{"$insert_id": None})
    later = Incoming(
        "POST", "/track", "", {}, json.dumps(alias).encode(), NOW + timedelta(seconds=9)
    )
    assert the_event(alias).event_id == accept(mixpanel.read(later))[0].event_id


def test_properties_of_the_site_keep_their_names_and_addresses_are_no_switches() -> None:
    assert the_event(event(plan="gold", alias="x", ip=1)).metadata == {"plan": "gold", "alias": "x"}
    assert the_event(event(ip="203.0.113.7")).metadata == {"ip": "203.0.113.7"}


def test_a_profile_update_is_an_identify_event_with_traits() -> None:
    update = {
        "$token": "key-1234",
        "$distinct_id": "anna",
        "$time": NOW_S,
        "$set": {"plan": "gold"},
        "$ip": "0",
    }
    reading = mixpanel.read(
        incoming([update | {"$set_once": {"plan": "tin", "since": 1}}], "/engage/")
    )
    [found] = accept(reading)
    assert (found.event, found.user_id, found.product_id, found.timestamp) == (
        "identify",
        "anna",
        None,
        NOW,
    )
    assert found.metadata == {"traits": {"plan": "gold", "since": 1}}
    assert reading.write_key == "key-1234"


def test_the_same_profile_update_has_the_same_id_and_another_has_another() -> None:
    update = {"$distinct_id": "$device:d1", "$add": {"visits": 1}}
    first, again = (the_event(update, path="/engage") for _ in range(2))
    other = the_event(update | {"$add": {"visits": 2}}, path="/engage")
    assert first.event_id == again.event_id != other.event_id
    assert (first.anonymous_id, first.metadata) == (
        "d1",
        {"trait_operations": {"add": {"visits": 1}}},
    )


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/engage", {"$token": "key-1234", "$distinct_id": "anna", "$delete": ""}),
        (
            "/groups",
            {"$token": "key-1234", "$group_key": "company", "$group_id": "x", "$set": {"a": 1}},
        ),
        ("/groups/", "anything"),
    ],
)
def test_what_says_nothing_of_a_visitor_is_accepted_and_is_no_event(path: str, source: Any) -> None:
    [found] = mixpanel.read(incoming([source], path)).events
    assert (found.error, [*found.facts]) == (None, [])


def test_one_bad_event_leaves_the_others() -> None:
    sources: list[Any] = [event(), 7, {"event": ""}, {"event": "x", "properties": []}, event()]
    events = mixpanel.read(incoming(sources)).events
    assert [one.error is None for one in events] == [True, False, False, False, True]
    assert [one.source for one in events] == sources


def test_an_event_of_another_token_is_rejected_without_showing_it() -> None:
    first, second = mixpanel.read(incoming([event(), event(token="other-key")])).events
    assert first.error is None
    assert second.error is not None
    assert second.error.as_dict() == {
        "field": "properties.token",
        "reason": "expected the same token in all events of a request",
        "value": None,
    }


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"query": "token=abc"}, "abc"),
        ({"query": "api_key=abc"}, "abc"),
        ({"headers": {"authorization": "Basic " + base64.b64encode(b"abc:").decode()}}, "abc"),
        ({}, None),
    ],
)
def test_without_a_token_in_an_event_the_request_has_the_key(
    given: dict[str, Any], key: str | None
) -> None:
    assert mixpanel.read(incoming(event(token=None), "/import", **given)).write_key == key


def test_the_browsers_clock_is_told_by_the_query() -> None:
    assert mixpanel.read(incoming(event(), query="_=1735732800000")).sent_at == NOW
    assert mixpanel.read(incoming(form(event(), ip="1"), query="_=1735732800000")).sent_at == NOW
    assert mixpanel.read(incoming(event(), query="_=jquery")).sent_at is None


@pytest.mark.parametrize("age", [MAX_AGE, MAX_AGE + timedelta(milliseconds=1)])
def test_only_an_import_of_what_is_too_old_to_be_live_is_history(age: timedelta) -> None:
    old = event(time=(NOW - age).timestamp())
    assert mixpanel.read(incoming([event(), old], "/import")).history == (age > MAX_AGE)
    assert not mixpanel.read(incoming([event(), old], "/track")).history


def test_an_import_may_be_lines_of_which_one_is_broken() -> None:
    lines = [json.dumps(event()), '{"event": ', "", json.dumps(event("Left"))]
    events = mixpanel.read(incoming("\n".join(lines).encode(), "/import")).events
    assert [one.error is None for one in events] == [True, False, True]
    assert events[1].source == b'{"event": '
    with pytest.raises(InvalidEvent):
        mixpanel.read(incoming("\n".join(lines).encode(), "/track"))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"body": b""}, "data"),
        ({"body": b"data="}, "data"),
        ({"body": b"data=%%%"}, "data"),
        ({"body": b"data=eyJ"}, "data"),
        ({"body": b"data=7"}, "data"),
        ({"body": b"data=Nw=="}, "events"),
        ({"body": b"{"}, "body"),
        ({"body": b"\xff\xfe"}, "body"),
        ({"body": b"{}", "method": "GET"}, "data"),
        ({"body": b"{}", "query": "%ff"}, "query"),
        ({"body": b"a=1&" * 2000}, "body"),
        ({"body": [1] * (MAX_VENDOR_EVENTS + 1)}, "events"),
    ],
)
def test_what_cannot_be_read_says_what_was_expected(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidEvent) as error:
        mixpanel.read(incoming(**given))
    assert error.value.field == field


def test_two_thousand_five_hundred_events_are_taken() -> None:
    assert len(mixpanel.read(incoming([event()] * MAX_VENDOR_EVENTS)).events) == MAX_VENDOR_EVENTS


def test_many_small_orders_do_not_become_more_events_than_allowed() -> None:
    order = event("Purchase", products=[1] * 100)
    with pytest.raises(InvalidEvent, match="expected at most"):
        sort_events(mixpanel.read(incoming([order] * (MAX_FACTS // 100 + 1))), NOW)


# ---- answers

BAD = Rejected(1, InvalidEvent("properties.time", "expected a Unix time", "<script>"), "i2")


def answer(outcome: Outcome, **given: Any) -> tuple[int, Any]:
    found = mixpanel.accepted(incoming(**given), outcome)
    return found.status, json.loads(found.body)


def test_success_is_a_one_or_with_verbose_an_object() -> None:
    done = Outcome(2)
    assert answer(done) == (200, 1)
    assert answer(done, query="verbose=1") == (200, {"status": 1, "error": None})
    assert answer(done, body=form([], verbose="1")) == (200, {"status": 1, "error": None})
    assert answer(done, body=form({"a": "&verbose=1"})) == (200, 1)
    assert mixpanel.accepted(incoming(query="img=1"), done).body == GIF


def test_a_batch_with_one_bad_event_is_a_success_that_tells() -> None:
    told = {"status": 1, "error": "event 1: properties.time: expected a Unix time"}
    assert answer(Outcome(2, [BAD]), query="verbose=1") == (200, told)
    assert answer(Outcome(2, [BAD])) == (200, 1)


def test_where_nothing_was_good_it_is_a_failure() -> None:
    told = {"status": 0, "error": "event 1: properties.time: expected a Unix time (and 1 more)"}
    assert answer(Outcome(0, [BAD, BAD]), query="verbose=1") == (400, told)
    assert answer(Outcome(0, [BAD])) == (400, 0)


def test_a_documented_import_tells_its_records() -> None:
    assert answer(Outcome(2), path="/import") == (
        200,
        {"code": 200, "num_records_imported": 2, "status": "OK"},
    )
    failed = {
        "code": 400,
        "error": "some data points in the request failed validation",
        "failed_records": [
            {
                "index": 1,
                "insert_id": "i2",
                "field": "properties.time",
                "message": "properties.time: expected a Unix time",
            }
        ],
        "num_records_imported": 2,
        "status": "Bad Request",
    }
    assert answer(Outcome(2, [BAD]), path="/import", query="strict=1") == (400, failed)
    lenient = {"code": 200, "num_records_imported": 2, "status": "OK"}
    assert answer(Outcome(2, [BAD]), path="/import", query="strict=0") == (200, lenient)
    assert answer(Outcome(0, [BAD]), path="/import") == (400, failed | {"num_records_imported": 0})


def test_an_import_of_a_library_is_a_form_and_is_answered_as_tracking_is() -> None:
    given = {
        "body": form(event(), verbose="1"),
        "path": "/import",
        "headers": {"content-type": FORM},
    }
    assert answer(Outcome(1), **given) == (200, {"status": 1, "error": None})


def test_refusals_have_mixpanels_shapes() -> None:
    refusal = Refusal(401, "write_key", "expected the write key of a site")
    error = "write_key: expected the write key of a site"
    found = mixpanel.refused(incoming(form(event())), refusal)
    assert (found.status, json.loads(found.body)) == (401, {"status": 0, "error": error})
    found = mixpanel.refused(incoming(path="/import"), refusal)
    assert (found.status, json.loads(found.body)) == (
        401,
        {"code": 401, "error": error, "status": "Unauthorized"},
    )
    assert mixpanel.refused(incoming(method="GET"), refusal).body == b"0"
    assert mixpanel.refused(incoming(method="GET", query="verbose=1"), refusal).body != b"0"


def test_no_markup_comes_back() -> None:
    found = mixpanel.refused(
        incoming(), Refusal(400, "metadata.<script>", "expected at most 32 levels")
    )
    assert b"<" not in found.body


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
names = st.sampled_from(
    "$identify $merge $create_alias Purchase search click Page_Viewed add_to_cart impression "
    "Lamp".split()
)
property_names = st.sampled_from(
    "token time distinct_id alias $insert_id $device_id $user_id $distinct_ids $anon_id "
    "$identified_id $set $add $ip"
    " $distinct_id $time $current_url $referrer url title price quantity sku products items cart "
    "query variant ip"
    " category position request_id dwell_ms consent $session_id utm_source mp_lib".split()
)
properties = st.dictionaries(property_names | st.text(max_size=8), values, max_size=8)
sources = (
    st.fixed_dictionaries({"event": names | values, "properties": properties | values})
    | properties
    | values
)
paths = st.sampled_from(sorted(mixpanel.PATHS))


def holds_the_law(given: Incoming) -> None:
    """Nothing but `InvalidEvent`; each event of ours is taken or refused by the contract; every
    answer can be made.
    """
    refusal = Refusal(400, "body", "expected JSON")
    try:
        reading = mixpanel.read(given)
    except InvalidEvent as error:
        refusal = Refusal(400, error.field, error.reason)
    else:
        rejected = []
        for index, one in enumerate(reading.events):
            try:
                if one.error is not None:
                    raise one.error
                for fact in one.facts:
                    accept_event(dict(fact), ingest_time=NOW, backfill=reading.history)
            except InvalidEvent as error:
                rejected.append(Rejected(index, error))
        mixpanel.accepted(given, Outcome(len(reading.events) - len(rejected), rejected))
    mixpanel.refused(given, refusal)


@given(st.lists(sources, max_size=3), paths)
@settings(deadline=None, derandomize=True)
def test_any_json_is_events_or_errors(given: list[Any], path: str) -> None:
    holds_the_law(incoming(json.dumps(given).encode(), path))


@given(st.binary(max_size=200), st.text(max_size=50), paths, st.sampled_from(["GET", "POST"]))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_any_bytes_are_events_or_errors(body: bytes, query: str, path: str, method: str) -> None:
    holds_the_law(incoming(body, path, query, method))
    holds_the_law(incoming(b"data=" + body, path, query, method))
    holds_the_law(incoming(b"data=" + base64.b64encode(body), path, query, method))
    holds_the_law(incoming(b'{"event":"x","properties":{' + body + b"}}\n{}", path, query, method))
