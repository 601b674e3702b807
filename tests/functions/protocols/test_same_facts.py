"""The same facts told by each protocol are the same events, and the table of names in the
documentation is the one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.accept import sort_events
from functions.http.exchange import Incoming
from functions.protocols.amplitude import protocol as amplitude
from functions.protocols.contract import VendorProtocol
from functions.protocols.ga4 import protocol as ga4
from functions.protocols.mixpanel import protocol as mixpanel
from functions.protocols.native import protocol as native
from functions.protocols.segment import protocol as segment
from functions.protocols.snowplow import protocol as snowplow
from pipeline.core.events import Event

NOW = datetime(2025, 1, 1, 12, 0, 0, tzinfo=UTC)
TABLE = Path(__file__).parents[3] / "docs" / "protocols" / "README.md"
ECOMMERCE = "com.snowplowanalytics.snowplow.ecommerce"

PAGE = {"url": "https://shop.example/lamps", "title": "Shop", "referrer": "https://shop.example/"}
LAMP = {
    "product_id": "p1",
    "title": "Oak lamp",
    "category": "home.lamps",
    "brand": "Oak",
    "price": 20.5,
    "quantity": 2,
    "product_variant": "sand",
}
SHADE = {
    "product_id": "p2",
    "title": "Shade",
    "category": "home.shades",
    "brand": "Oak",
    "price": 5,
}
ORDER = {"order_id": "o1", "order_value": 46, "currency": "EUR", "coupon": "WINTER"}
FACTS = ("view_product", "add_to_cart", "impression", "purchase", "search", "page_view", "identify")


def expected(name: str) -> list[dict[str, Any]]:
    """What each event of a fact says under our names, beside who it was."""
    page = {"url": PAGE["url"], "referrer": PAGE["referrer"]}
    beside = page | {"page_title": PAGE["title"]}
    said: dict[str, list[dict[str, Any]]] = {
        "view_product": [beside | LAMP],
        "add_to_cart": [beside | LAMP],
        "impression": [
            beside | LAMP | {"position": 0, "placement": "hot"},
            beside | SHADE | {"position": 1, "placement": "hot"},
        ],
        "purchase": [beside | LAMP | ORDER, beside | SHADE | ORDER],
        "search": [page | {"title": PAGE["title"], "query": "oak lamp"}],
        "page_view": [page | {"title": PAGE["title"]}],
        "identify": [{"traits": {"plan": "gold"}}],
    }
    return said[name]


def in_list(product: Mapping[str, Any], place: int) -> dict[str, Any]:
    return dict(product) | {"position": place}


# ---- as each protocol has it


def of_native(name: str) -> tuple[Incoming, Any]:
    who = {
        "user_id": "anna",
        "anonymous_id": "a1",
        "session_id": "s1",
        "timestamp": NOW.isoformat(),
    }
    events = []
    for number, said in enumerate(expected(name)):
        metadata = dict(said)
        ids = {"event_id": f"e{number}"} | (
            {"product_id": metadata.pop("product_id")} if "product_id" in said else {}
        )
        events.append({"event": name} | ids | who | {"metadata": metadata})
    return posted("/v1/events", {"events": events})


SEGMENT_NAMES = {"title": "name", "product_variant": "variant"}


def of_segment(name: str) -> tuple[Incoming, Any]:
    lamp, shade = renamed(LAMP, SEGMENT_NAMES), renamed(SHADE, SEGMENT_NAMES)
    order = renamed(ORDER, {"order_value": "total"})
    calls: dict[str, dict[str, Any]] = {
        "view_product": {"event": "Product Viewed", "properties": lamp},
        "add_to_cart": {"event": "Product Added", "properties": lamp},
        "impression": {
            "event": "Product List Viewed",
            "properties": {"list_id": "hot", "products": [in_list(lamp, 1), in_list(shade, 2)]},
        },
        "purchase": {"event": "Order Completed", "properties": order | {"products": [lamp, shade]}},
        "search": {"event": "Products Searched", "properties": {"query": "oak lamp"}},
        "page_view": {"type": "page"},
        "identify": {"type": "identify", "traits": {"plan": "gold"}},
    }
    call = calls[name]
    around = {"sessionId": "s1"} | ({} if name == "identify" else {"page": PAGE})
    who = {"userId": "anna", "anonymousId": "a1", "timestamp": NOW.isoformat(), "messageId": "e"}
    return posted("/v1/batch", {"batch": [{"type": "track"} | call | who | {"context": around}]})


GA4_NAMES = {
    "product_id": "item_id",
    "title": "item_name",
    "brand": "item_brand",
    "product_variant": "item_variant",
    "position": "index",
}


def of_ga4(name: str) -> tuple[Incoming, Any]:
    def item(product: Mapping[str, Any]) -> dict[str, Any]:
        coarse, fine = product["category"].split(".")
        return renamed(product, GA4_NAMES) | {"item_category": coarse, "item_category2": fine}

    lamp, shade = item(LAMP), item(SHADE)
    for one in (lamp, shade):
        del one["category"]
    order = renamed(ORDER, {"order_id": "transaction_id", "order_value": "value"})
    told_by: dict[str, tuple[str, dict[str, Any]]] = {
        "view_product": ("view_item", {"items": [lamp]}),
        "add_to_cart": ("add_to_cart", {"items": [lamp]}),
        "impression": (
            "view_item_list",
            {"item_list_id": "hot", "items": [lamp | {"index": 0}, shade | {"index": 1}]},
        ),
        "purchase": ("purchase", order | {"items": [lamp, shade]}),
        "search": ("search", {"search_term": "oak lamp"}),
        "page_view": ("page_view", {}),
        "identify": ("login", {}),
    }
    event, params = told_by[name]
    page = {
        f"page_{kind}": PAGE[ours]
        for kind, ours in (("location", "url"), ("title", "title"), ("referrer", "referrer"))
    }
    around = ({} if name == "identify" else page) | {"session_id": "s1"}
    told = {
        "name": event,
        "params": params | around,
        "timestamp_micros": int(NOW.timestamp() * 1e6),
    }
    body: dict[str, Any] = {"client_id": "a1", "user_id": "anna", "events": [told]}
    if name == "identify":
        body["user_properties"] = {"plan": {"value": "gold"}}
    return posted("/mp/collect", body)


def of_snowplow(name: str) -> tuple[Incoming, Any]:
    def entity(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        return {"schema": f"iglu:{ECOMMERCE}/{kind}/jsonschema/1-0-0", "data": dict(data)}

    def product(ours: Mapping[str, Any]) -> dict[str, Any]:
        return entity("product", renamed(ours, SEGMENT_NAMES | {"product_id": "id"}))

    order = {"transaction_id": "o1", "revenue": 46, "currency": "EUR", "discount_code": "WINTER"}
    products = {
        "view_product": [product(LAMP)],
        "add_to_cart": [product(LAMP)],
        "impression": [product(in_list(LAMP, 1)), product(in_list(SHADE, 2))],
        "purchase": [product(LAMP), product(SHADE), entity("transaction", order)],
    }
    kinds = {"view_product": "product_view", "impression": "list_view", "purchase": "transaction"}
    action = {"type": kinds.get(name, name)} | ({"name": "hot"} if name == "impression" else {})
    snowplow = "com.snowplowanalytics.snowplow"
    said = {
        "search": (f"{snowplow}/site_search", {"terms": ["oak", "lamp"]}),
        "identify": (f"{snowplow}/identify", {"id": "anna", "traits": {"plan": "gold"}}),
    }.get(name, (f"{ECOMMERCE}/snowplow_ecommerce_action", action))
    fields: dict[str, Any] = {"eid": "e", "dtm": f"{NOW.timestamp() * 1000:.0f}"}
    fields |= {"uid": "anna", "duid": "a1", "sid": "s1"}
    if name != "identify":
        fields |= {"url": PAGE["url"], "page": PAGE["title"], "refr": PAGE["referrer"]}
    inner = [said[1], *products.get(name, [])]
    if name == "page_view":
        fields["e"] = "pv"
    else:
        described = {"schema": f"iglu:{said[0]}/jsonschema/1-0-0", "data": said[1]}
        fields |= {"e": "ue", "ue_pr": wrapped("unstruct_event", described)}
        fields |= {"co": wrapped("contexts", products[name])} if name in products else {}
    schema = f"iglu:{snowplow}/payload_data/jsonschema/1-0-4"
    incoming, _ = posted(
        "/com.snowplowanalytics.snowplow/tp2", {"schema": schema, "data": [fields]}
    )
    return incoming, [fields, inner]


def wrapped(kind: str, data: Any) -> str:
    return json.dumps(
        {"schema": f"iglu:com.snowplowanalytics.snowplow/{kind}/jsonschema/1-0-1", "data": data}
    )


FREE_NAMES = {"title": "product_name"}
FREE_EVENTS = {
    "view_product": "Product Viewed",
    "add_to_cart": "Product Added",
    "impression": "Product List Viewed",
    "purchase": "Order Completed",
    "search": "Products Searched",
}


def free_properties(name: str) -> dict[str, Any]:
    """As sites write them whose tracker prescribes no names."""
    lamp, shade = renamed(LAMP, FREE_NAMES), renamed(SHADE, FREE_NAMES)
    given: dict[str, dict[str, Any]] = {
        "view_product": lamp,
        "add_to_cart": lamp,
        "impression": {"placement": "hot", "products": [in_list(lamp, 0), in_list(shade, 1)]},
        "purchase": renamed(ORDER, {"order_value": "revenue"}) | {"products": [lamp, shade]},
        "search": {"query": "oak lamp"},
    }
    return given.get(name, {})


def of_mixpanel(name: str) -> tuple[Incoming, Any]:
    if name == "identify":
        update = {
            "$distinct_id": "anna",
            "$user_id": "anna",
            "$device_id": "a1",
            "$session_id": "s1",
        }
        return posted(
            "/engage",
            {"$token": "key-1234", **update, "$time": NOW.timestamp(), "$set": {"plan": "gold"}},
        )
    page = {
        "$current_url": PAGE["url"],
        "current_page_title": PAGE["title"],
        "$referrer": PAGE["referrer"],
    }
    who: dict[str, Any] = {"$user_id": "anna", "$device_id": "a1", "$session_id": "s1"}
    who |= {"time": NOW.timestamp(), "$insert_id": "e"}
    event = FREE_EVENTS.get(name, "$mp_web_page_view")
    return posted("/track", {"event": event, "properties": free_properties(name) | page | who})


def of_amplitude(name: str) -> tuple[Incoming, Any]:
    who: dict[str, Any] = {
        "user_id": "anna",
        "device_id": "a1",
        "session_id": "s1",
        "time": int(NOW.timestamp() * 1000),
    }
    page = {
        "[Amplitude] Page Location": PAGE["url"],
        "[Amplitude] Page Title": PAGE["title"],
        "referrer": PAGE["referrer"],
    }
    event: dict[str, Any] = {
        "event_type": FREE_EVENTS.get(name, "[Amplitude] Page Viewed"),
        "insert_id": "e",
    }
    event["event_properties"] = free_properties(name) | page
    if name == "identify":
        event = {
            "event_type": "$identify",
            "user_properties": {"$set": {"plan": "gold"}},
            "insert_id": "e",
        }
    return posted("/2/httpapi", {"api_key": "key-1234", "events": [event | who]})


def renamed(fields: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in fields.items()}


def posted(path: str, body: Any) -> tuple[Incoming, Any]:
    return Incoming("POST", path, "", {}, json.dumps(body).encode(), NOW), body


class Teller(msgspec.Struct, frozen=True):
    """A protocol, and how a fact is told by it: the request, and all that it says as plain JSON."""

    protocol: VendorProtocol
    tell: Callable[[str], tuple[Incoming, Any]]


TELLERS = {
    "Native": Teller(native, of_native),
    "Segment, RudderStack": Teller(segment, of_segment),
    "GA4": Teller(ga4, of_ga4),
    "Snowplow": Teller(snowplow, of_snowplow),
    "Mixpanel": Teller(mixpanel, of_mixpanel),
    "Amplitude": Teller(amplitude, of_amplitude),
}


@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.parametrize("vendor", list(TELLERS))
def test_a_fact_is_the_same_event_whoever_tells_it(vendor: str, fact: str) -> None:
    teller = TELLERS[vendor]
    incoming, _ = teller.tell(fact)
    found = sort_events(teller.protocol.read(incoming), NOW)
    assert found.rejected == []
    assert [event.event for event in found.events] == [fact] * len(found.events)
    assert {(e.user_id, e.anonymous_id, e.session_id, e.timestamp) for e in found.events} == {
        ("anna", "a1", "s1", NOW)
    }
    assert [told(event) for event in found.events] == expected(fact)


def told(event: Event) -> dict[str, Any]:
    """What an event says under the names that all share."""
    shared = {name for fact in FACTS for said in expected(fact) for name in said}
    product = {} if event.product_id is None else {"product_id": event.product_id}
    return product | {name: value for name, value in event.metadata.items() if name in shared}


# ---- the table

EVENT_FIELDS = frozenset("user_id anonymous_id session_id".split())


def table() -> dict[str, dict[str, list[str]]]:
    """Of each of our fields the names that each vendor has for it, as the documentation says."""
    text = (
        TABLE.read_text().partition("<!-- names: begin -->")[2].partition("<!-- names: end -->")[0]
    )
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in text.strip().splitlines()
    ]
    head, _, *body = rows
    return {
        re.findall(r"`([^`]+)`", row[0])[0]: {
            vendor: re.findall(r"`([^`]+)`", cell)
            for vendor, cell in zip(head[1:], row[1:], strict=True)
        }
        for row in body
    }


def names_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()


def test_the_table_lists_each_field_that_the_facts_compare() -> None:
    assert set(table()) == EVENT_FIELDS | {
        name for fact in FACTS for said in expected(fact) for name in said
    }


@pytest.mark.parametrize("vendor", list(TELLERS))
def test_the_names_of_the_table_are_those_that_the_facts_are_told_by(vendor: str) -> None:
    used = set().union(*(names_in(TELLERS[vendor].tell(fact)[1]) for fact in FACTS))
    for field, by_vendor in table().items():
        assert by_vendor[vendor], f"{field}: no name for {vendor}"
        for name in by_vendor[vendor]:
            assert set(name.split(".")) <= used, f"{field}: {vendor} tells no {name}"
