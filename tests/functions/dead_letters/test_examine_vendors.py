"""Dead letters of vendors' protocols, read by the protocol they came by, and mended in the vendor's
own form.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.accept import sort_events
from functions.dead_letters.collector import request_body
from functions.dead_letters.examine import Examined, examine
from functions.dead_letters.repairs import Repairs
from functions.dead_letters.stored import NATIVE, StoredDeadLetter
from functions.http.exchange import Incoming
from functions.protocols.native.protocol import read_batch
from functions.protocols.registry import PROTOCOLS
from functions.routes import ROUTES
from pipeline.core.events import Event, derived_event_id
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.timestamps import format_time
from tests.bench.fuzz_corpus import NOW as THEN
from tests.bench.fuzz_corpus import corpus

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RECEIVED = NOW - timedelta(days=9)
AT = RECEIVED - timedelta(minutes=1)
AT_S, AT_MS = AT.timestamp(), int(AT.timestamp() * 1000)
PAYLOAD_DATA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
VENDORS = [name for name in PROTOCOLS if name != NATIVE]
TRACK = {
    "type": "track",
    "event": "Lamp",
    "messageId": "m1",
    "userId": "anna",
    "timestamp": AT.isoformat(),
}


def dead_letter(
    payload: Any, path: str, received_at: datetime = RECEIVED, **fields: Any
) -> StoredDeadLetter:
    """A dead letter with the payload, which is bytes, a text or a JSON value."""
    attributes = (
        {"protocol": ROUTES[path].name, "path": path} if path in ROUTES else {"protocol": "segment"}
    )
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return StoredDeadLetter(
        dead_letter_id="l1",
        received_at=format_time(received_at),
        payload=text,
        attributes=json.dumps(attributes),
        **fields,
    )


def tried(payload: Any, path: str, field: str = "user_id", **repairs: Any) -> Examined:
    return examine(dead_letter(payload, path, field=field), Repairs(**repairs), NOW)


def reasons(found: Examined) -> list[str]:
    return [f"{one.error.field}: {one.error.reason}" for one in found.refused]


def only(found: Examined) -> Event:
    assert reasons(found) == []
    [event] = found.good
    return event


def test_a_dead_letter_whose_user_is_unproven_is_replayed_without_the_user_id_alone() -> None:
    track = TRACK | {"anonymousId": "a1"}
    unproven = dead_letter(track, "/v1/t", field="user_token")
    unproven = msgspec.structs.replace(
        unproven, attributes=json.dumps(json.loads(unproven.attributes) | {"unproven": "user_id"})
    )
    assert reasons(examine(unproven, Repairs(), NOW))[0].startswith(
        "user_token: expected an event without"
    )
    event = only(examine(unproven, Repairs(drop=("userId",)), NOW))
    assert (event.user_id, event.anonymous_id) == (None, "a1")


# ---- read as the collector reads them


ONLY_OF_REQUESTS = {"segment": {"language"}, "ga4": {"user_agent"}, "snowplow": {"dwell_ms"}}
"""Metadata of the corpus that a batch's context, a header and the query said."""


def of_requests(name: str) -> Iterator[tuple[str, bytes, list[Event]]]:
    """Path, dead letter and events of each event of the corpus that stands for something."""
    for request in corpus(name):
        incoming = Incoming(
            request.method, request.path, request.query, request.headers, request.body, THEN
        )
        try:
            reading = PROTOCOLS[name].read(incoming)
        except InvalidEvent:
            continue
        for translated in reading.events:
            refused = msgspec.structs.replace(translated, error=InvalidEvent("event", "refused"))
            dead_letters = sort_events(
                msgspec.structs.replace(reading, events=[refused]), THEN
            ).rejected
            events = sort_events(msgspec.structs.replace(reading, events=[translated]), THEN).events
            if events and dead_letters and dead_letters[0].payload is not None:
                yield request.path, dead_letters[0].payload, events


def comparable(event: Event, name: str) -> dict[str, Any]:
    """Ids that a vendor does not give follow from what a dead letter lacks as well: the place in
    GA4's requests, and of addresses, which Mixpanel's updates hold, the end.
    """
    lost = ONLY_OF_REQUESTS.get(name, set())
    metadata = {key: value for key, value in event.metadata.items() if key not in lost}
    event_id = event.event_id.partition(":")[2] if name in ("ga4", "mixpanel") else event.event_id
    return msgspec.structs.asdict(event) | {"metadata": metadata, "event_id": event_id}


@pytest.mark.parametrize("name", VENDORS)
def test_an_event_alone_that_goes_through_the_collector_is_what_it_was_in_its_request(
    name: str,
) -> None:
    cases = list(of_requests(name))
    assert len(cases) > 5
    for path, payload, events in cases:
        found = examine(dead_letter(payload.decode(), path, THEN), Repairs(), THEN)
        assert (reasons(found), found.changed, found.dead_letter.payload) == (
            [],
            0,
            payload.decode(),
        )
        through = sort_events(read_batch(request_body(found.good, THEN)), THEN)
        assert [comparable(event, name) for event in through.events] == [
            comparable(event, name) for event in events
        ]


def test_an_event_is_as_old_as_it_says() -> None:
    event = only(tried(TRACK, "/v1/batch"))
    assert (event.event_id, event.timestamp) == ("m1", AT)


def test_a_wrong_clock_is_repaired_where_the_event_says_when_it_was_sent() -> None:
    ahead = timedelta(days=2)
    wrong = TRACK | {
        "timestamp": (AT + ahead).isoformat(),
        "sentAt": (RECEIVED + ahead).isoformat(),
    }
    assert only(tried(wrong, "/v1/batch")).timestamp == AT
    del wrong["sentAt"]
    [reason] = reasons(tried(wrong, "/v1/batch"))
    assert reason.startswith("timestamp: ")


@pytest.mark.parametrize(
    ("payload", "path", "events"),
    [
        ({"batch": [TRACK, TRACK | {"messageId": "m2"}], "writeKey": "k"}, "/v1/batch", 2),
        (
            {"events": [{"event_type": "Lamp", "user_id": "anna"}] * 2, "api_key": "k"},
            "/2/httpapi",
            2,
        ),
        ({"client_id": "1.2", "events": [{"name": "lamp"}] * 2}, "/mp/collect", 2),
        ({"schema": PAYLOAD_DATA, "data": [{"e": "pv", "duid": "d1"}] * 2}, "/i", 2),
        ([{"event": "Lamp", "properties": {"distinct_id": "anna"}}] * 2, "/track", 2),
        ("cid=1.2&en=lamp\r\ncid=1.2&en=shade", "/g/collect", 2),
        ("e=pv&duid=d1", "/i", 1),
        (
            "data=%7B%22event%22%3A%22Lamp%22%2C%22properties%22%3A%7B%22distinct_id%22%3A%22a1%22%7D%7D",
            "/track/",
            1,
        ),
    ],
)
def test_a_whole_request_is_one(payload: Any, path: str, events: int) -> None:
    found = tried(payload, path)
    assert (reasons(found), len(found.good)) == ([], events)


def test_of_a_whole_request_all_events_go_or_none_or_the_good_ones_and_the_others_stay() -> None:
    bad = {"type": "track", "messageId": "m2", "userId": "anna"}
    body = {"batch": [TRACK, bad, TRACK | {"messageId": "m3"}]}
    assert tried(body, "/v1/batch").replayable == []
    found = tried(body, "/v1/batch", split=True)
    assert [event.event_id for event in found.replayable] == ["m1", "m3"]
    [left] = found.remainders(NOW)
    assert (json.loads(left.payload), left.field, left.reason) == (bad, "event", "required")
    again = StoredDeadLetter(
        dead_letter_id="l2",
        received_at=left.received_at,
        payload=left.payload,
        attributes=left.attributes,
    )
    assert json.loads(left.attributes) == {
        "protocol": "segment",
        "path": "/v1/batch",
        "split_from": "l1",
    }
    assert only(examine(again, Repairs(assign=(("event", "Lamp"),)), NOW)).event_id == "m2"


# ---- mended

ITEM = {"client_id": "1.2", "events": [{"name": "view_item", "params": {"items": [{"price": 1}]}}]}
MENDED: dict[str, tuple[Any, str, dict[str, Any], tuple[str, str | None, str | None]]] = {
    "segment, nobody": (
        {**TRACK, "userId": None},
        "/v1/batch",
        {"assign": (("userId", "bert"),)},
        ("Lamp", None, "bert"),
    ),
    "segment, a misspelt name": (
        {"type": "track", "evnt": "Product Viewed", "userId": "anna", "properties": {"sku": "p1"}},
        "/v1/track",
        {"rename": (("evnt", "event"),)},
        ("view_product", "p1", "anna"),
    ),
    "segment, a time that is none": (
        {**TRACK, "timestamp": "noon"},
        "/v1/b",
        {"drop": ("timestamp",)},
        ("Lamp", None, "anna"),
    ),
    "segment, properties that are no object": (
        {**TRACK, "event": "Product Viewed", "properties": "p1"},
        "/v1/batch",
        {"rename": (("properties", "text"),), "assign": (("properties.product_id", "p1"),)},
        ("view_product", "p1", "anna"),
    ),
    "ga4, an item without an id": (
        ITEM,
        "/mp/collect",
        {"assign": (("events.0.params.items.0.item_id", "p1"),)},
        ("view_product", "p1", "1.2"),
    ),
    "ga4, a tag's item without an id": (
        {"en": "view_item", "cid": "1.2", "pr1": "pr9"},
        "/g/collect",
        {"assign": (("pr1", "idp1~pr9"), ("ep.lamp", "oak"))},
        ("view_product", "p1", "1.2"),
    ),
    "ga4, a line without its query": (
        "en=lamp",
        "/g/collect",
        {"assign": (("cid", "1.2"),)},
        ("lamp", None, "1.2"),
    ),
    "snowplow, nobody": (
        {"e": "pv", "eid": "e1"},
        "/com.snowplowanalytics.snowplow/tp2",
        {"assign": (("duid", "d1"),)},
        ("page_view", None, "d1"),
    ),
    "snowplow, a query of nobody": (
        "e=pv&eid=e1",
        "/i",
        {"assign": (("duid", "d1"),)},
        ("page_view", None, "d1"),
    ),
    "mixpanel, a time that is none": (
        {
            "event": "Product Viewed",
            "properties": {"distinct_id": "anna", "time": "noon", "product_id": "p1"},
        },
        "/track",
        {"assign": (("properties.time", str(AT_S)),)},
        ("view_product", "p1", "anna"),
    ),
    "mixpanel, an update whose traits are no object": (
        {"$distinct_id": "anna", "$set": "gold"},
        "/engage",
        {"rename": (("$set", "plan"),), "assign": (("$set.plan", "gold"),)},
        ("identify", None, "anna"),
    ),
    "amplitude, no name": (
        {"user_id": "anna", "time": AT_MS, "event_properties": {"product_id": "p1"}},
        "/2/httpapi",
        {"assign": (("event_type", "Product Viewed"),)},
        ("view_product", "p1", "anna"),
    ),
    "pixel, the product by another name": (
        "event=view_product&pid=p1&anonymous_id=a1",
        "/v1/pixel.gif",
        {"rename": (("pid", "product_id"),)},
        ("view_product", "p1", "a1"),
    ),
}


@pytest.mark.parametrize("case", MENDED)
def test_an_event_is_mended_in_its_vendors_form(case: str) -> None:
    payload, path, repairs, expected = MENDED[case]
    assert tried(payload, path).refused != []
    found = tried(payload, path, **repairs)
    event = only(found)
    assert (event.event, event.product_id, event.user_id or event.anonymous_id) == expected
    assert found.changed == 1
    again = examine(found.dead_letter, Repairs(), NOW)
    assert (again.good, again.changed) == (found.good, 0)


def test_a_number_that_is_a_text_is_read() -> None:
    found = tried(
        {**TRACK, "userId": None, "properties": {"n": "7", "t": "x"}},
        "/v1/batch",
        number=("properties.n",),
    )
    assert json.loads(found.dead_letter.payload)["properties"] == {"n": 7, "t": "x"}


def test_a_new_name_that_is_taken_leaves_the_old_one() -> None:
    found = tried(
        {**TRACK, "event": None, "a": 1, "type": "track"}, "/v1/batch", rename=(("a", "type"),)
    )
    assert (found.changed, json.loads(found.dead_letter.payload)["a"]) == (0, 1)


@pytest.mark.parametrize(
    "payload", ['{"type": "track', "userId=anna", "[1", "5", '"text"', "[" * 5000]
)
def test_what_is_no_json_is_not_mended_by_rule(payload: str) -> None:
    found = tried(payload, "/v1/batch", assign=(("userId", "anna"),), drop=("type",))
    assert (found.changed, found.dead_letter.payload, found.good) == (0, payload, [])
    assert len(found.refused) == 1


def test_what_passes_is_left_as_it_is() -> None:
    found = tried(TRACK, "/v1/batch", assign=(("userId", "bert"),), shift_s=60)
    assert (only(found).user_id, only(found).timestamp, found.changed) == ("anna", AT, 0)


def test_a_clock_that_ran_ahead_is_shifted_and_a_file_remembers_it() -> None:
    ahead = TRACK | {"timestamp": (RECEIVED + timedelta(hours=2)).isoformat()}
    assert reasons(tried(ahead, "/v1/batch", "timestamp")) != []
    found = tried(ahead, "/v1/batch", "timestamp", shift_s=-7200.0)
    assert (only(found).timestamp, found.changed, found.dead_letter.shift_s) == (
        RECEIVED,
        1,
        -7200.0,
    )
    again = examine(found.dead_letter, Repairs(), NOW)
    assert (only(again).timestamp, again.changed) == (RECEIVED, 0)


def test_a_shift_that_a_file_has_beyond_all_clocks_is_refused() -> None:
    found = examine(dead_letter(TRACK, "/v1/batch", shift_s=1e300), Repairs(), NOW)
    assert [reason.partition(":")[0] for reason in reasons(found)] == ["shift_s"]


def test_what_was_rejected_for_its_time_and_passes_by_now_can_be_shifted() -> None:
    found = tried(TRACK, "/v1/batch", "timestamp", shift_s=-60.0, assign=(("userId", "bert"),))
    assert (only(found).timestamp, only(found).user_id) == (AT - timedelta(minutes=1), "anna")


def test_an_event_without_an_id_has_the_same_one_each_time() -> None:
    payload = {"en": "lamp", "cid": "1.2"}
    first, second = (only(tried(payload, "/g/collect")) for _ in range(2))
    assert first.event_id == second.event_id
    assert first.event_id != only(tried(payload | {"en": "shade"}, "/g/collect")).event_id


def test_an_order_goes_whole_or_not_at_all() -> None:
    lines = [{"product_id": "p1"}, {"product_id": "p2"}]
    order = TRACK | {"event": "Order Completed", "userId": None, "properties": {"products": lines}}
    assert tried(order, "/v1/batch").good == []
    found = tried(order, "/v1/batch", assign=(("userId", "anna"),))
    assert [(event.event_id, event.product_id) for event in found.good] == [
        ("m1:0", "p1"),
        ("m1:1", "p2"),
    ]


def test_an_event_that_becomes_more_work_than_a_request_may_hold_is_refused() -> None:
    numbers = "&".join(
        f"epn.number_with_a_very_long_name_indeed_{number:05}=1e300" for number in range(501)
    )
    [reason] = reasons(tried(f"en=lamp&cid=1.2&{numbers}", "/g/collect"))
    assert reason.startswith("body: expected at most 500 numbers")


# ---- what is none


@pytest.mark.parametrize(
    "attributes",
    [
        '{"protocol": "segment"}',
        '{"protocol": "segment", "path": "/i"}',
        '{"protocol": "new", "path": "/"}',
    ],
)
def test_a_dead_letter_of_a_protocol_or_path_that_nobody_knows_stays(attributes: str) -> None:
    whole = StoredDeadLetter(
        dead_letter_id="l1", received_at="", payload=json.dumps(TRACK), attributes=attributes
    )
    found = examine(whole, Repairs(), NOW)
    assert (found.good, reasons(found)) == (
        [],
        ["protocol: expected one that the collector has, and its path"],
    )


def test_a_payload_in_another_encoding_than_it_says_stays() -> None:
    found = examine(dead_letter("%", "/v1/batch", encoding="base64"), Repairs(), NOW)
    assert [reason.partition(":")[0] for reason in reasons(found)] == ["payload"]


@pytest.mark.parametrize("path", ["/v1/batch", "/g/collect", "/track", "/i", "/batch"])
def test_however_deep_a_payload_nests_nothing_is_raised(path: str) -> None:
    # where it ends, nobody knows
    for depth in range(sys.getrecursionlimit() // 2, sys.getrecursionlimit() + 50):
        found = tried('{"a":' * depth + "1" + "}" * depth, path, drop=("b",))
        assert (found.good, found.changed) == ([], 0)


PAYLOADS = st.one_of(
    st.text(max_size=40),
    st.sampled_from([payload for payload, _, _, _ in MENDED.values()]).map(json.dumps),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    "batch events data schema type e en event userId properties time".split()
                ),
                inner,
            )
        ),
        max_leaves=12,
    ).map(json.dumps),
)
REPAIRS = st.builds(
    lambda field, text: Repairs(
        rename=((field, text),), assign=((text, field),), drop=(field,), shift_s=1e8
    ),
    st.sampled_from(["a", "a.b", "properties.x.y", "0", "events.0.name", "batch.0", ""]),
    st.sampled_from(["event", "b.0", "time", "é", "-"]),
)


@given(
    payload=PAYLOADS,
    path=st.sampled_from([path for path, route in ROUTES.items() if route.name != NATIVE]),
    repairs=REPAIRS,
)
@example(payload='{"a":"\\ud800"}', path="/g/collect", repairs=Repairs())
@example(payload='{"a":' * 900 + "1" + "}" * 900, path="/v1/batch", repairs=Repairs(drop=("b",)))
@example(
    payload='{"type":"track","event":"a","userId":"u","properties":{"n":1' + "0" * 400 + "}}",
    path="/v1/t",
    repairs=Repairs(),
)
def test_whatever_a_dead_letter_holds_nothing_is_raised_and_nothing_is_lost(
    payload: str, path: str, repairs: Repairs
) -> None:
    found = examine(dead_letter(payload, path), repairs, NOW)
    assert found.changed or found.dead_letter.payload == payload
    assert all(isinstance(event, Event) for event in found.good)
    assert len(found.remainders(NOW)) in (0, len(found.refused))
    assert derived_event_id({"payload": found.dead_letter.payload})


def test_what_the_collector_found_the_visitor_agreed_to_goes_along() -> None:
    told = {"analytics": True, "personalization": False}
    stored = dead_letter(TRACK | {"userId": None}, "/v1/batch", field="user_id")
    attributes = json.loads(stored.attributes) | {"consent": json.dumps(told)}
    stored = msgspec.structs.replace(stored, attributes=json.dumps(attributes))
    assert (
        only(examine(stored, Repairs(assign=(("userId", "anna"),)), NOW)).metadata["consent"]
        == told
    )
