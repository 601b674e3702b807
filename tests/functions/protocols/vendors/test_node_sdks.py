"""The vendors' SDKs for Node, pointed at the running collector: what arrives, and what a refusal
does to a process.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.core.events import Event, decode_message
from tests.functions.conftest import SERVER_KEY
from tests.functions.protocols.vendors.node import run_node
from tests.functions.pubsub import Topics
from tests.stack import Stack

UNKNOWN_KEY = "no-such-key"
CLOCK = """
const start = Date.now() - 60000;
const at = (number) => new Date(start + number * 1000);
"""


def url(stack: Stack) -> str:
    return stack.env["FRESHET_COLLECTOR_URL"]


def arrived(topics: Topics, events: int) -> list[Event]:
    """All events that came, each once, by time; of one time, by id."""
    found = [
        event
        for message in topics.all_events(events, quiet_s=0.5)
        for event in decode_message(message.data)
    ]
    assert len(found) == events
    assert len({event.event_id for event in found}) == events
    return sorted(found, key=lambda event: (event.timestamp, event.event_id))


def sent(script: str, stack: Stack, key: str = "any-key-1", *more: str) -> list[Any]:
    """What a script told that ended well."""
    ran = run_node(script, url(stack), key, *more)
    assert ran.status == 0, ran.errors
    return ran.told


# ---- Segment and RudderStack

CALLS = (
    CLOCK
    + """
const order = { order_id: "o1", total: 52.5, currency: "EUR",
                products: [{ product_id: "p1", name: "Lamp", price: 20, quantity: 2 }, { sku: "p2", price: "12.50" }] };
const everyCall = (sdk) => {
  const who = { userId: "anna", anonymousId: "a1" };
  sdk.identify({ ...who, traits: { plan: "gold" }, timestamp: at(0) });
  sdk.track({ ...who, event: "Order Completed", properties: order, messageId: "m1", timestamp: at(1) });
  sdk.page({ ...who, category: "Shop", name: "Lamps", properties: { url: "https://shop.example/" }, timestamp: at(2) });
  sdk.screen({ ...who, name: "Cart", timestamp: at(3) });
  sdk.group({ ...who, groupId: "oakmere", traits: { size: 3 }, timestamp: at(4) });
  sdk.alias({ userId: "anna", previousId: "a2", timestamp: at(5) });
};
"""
)
MAKERS = {
    "segment": """
const { Analytics } = require("@segment/analytics-node");
const make = (url, key, options = {}) => new Analytics({ writeKey: key, host: url, ...options });
const finish = (sdk) => sdk.closeAndFlush();
""",
    "rudderstack": """
const Analytics = require("@rudderstack/rudder-sdk-node");
const make = (url, key, options = {}) =>
  new Analytics(key, { dataPlaneUrl: url, logLevel: "silly", maxQueueSize: 1000000, flushInterval: 200, ...options });
const finish = async (sdk) => { await sdk.flush(); await new Promise((next) => setTimeout(next, 300)); };
""",
}
SDKS = pytest.mark.parametrize("sdk", list(MAKERS))
RUN = "(async () => { const [url, key, ...more] = process.argv.slice(1); %s })();"


@SDKS
def test_every_call_of_segments_and_rudderstacks_arrives_once(
    collector_stack: Stack, topics: Topics, sdk: str
) -> None:
    told = sent(
        MAKERS[sdk]
        + CALLS
        + RUN % "const sdk = make(url, key); everyCall(sdk); await finish(sdk); tell('done');",
        collector_stack,
    )
    assert told == ["done"]
    identified, lamp, oak, page, screen, group, alias = arrived(topics, 7)
    assert (identified.event, identified.user_id, identified.anonymous_id) == (
        "identify",
        "anna",
        "a1",
    )
    assert identified.metadata["traits"] == {"plan": "gold"}
    assert [(one.event, one.product_id, one.user_id) for one in (lamp, oak)] == [
        ("purchase", "p1", "anna"),
        ("purchase", "p2", "anna"),
    ]
    assert (lamp.metadata["quantity"], oak.metadata["price"], oak.metadata["order_value"]) == (
        2,
        12.5,
        52.5,
    )
    assert (page.event, page.metadata["url"]) == ("page_view", "https://shop.example/")
    assert (page.metadata["page_name"], screen.metadata["title"]) == ("Lamps", "Cart")
    assert (group.event, group.metadata["group_id"]) == ("group", "oakmere")
    assert (alias.event, alias.user_id, alias.anonymous_id) == ("identify", "anna", "a2")
    assert abs(alias.timestamp - lamp.timestamp) == timedelta(seconds=4)


# RudderStack's serializes its whole queue for every call, so it is not set to more.
@pytest.mark.parametrize(
    ("sdk", "events", "batch"), [("segment", 2000, 1000), ("rudderstack", 600, 600)]
)
def test_batches_of_more_than_five_hundred_arrive_once(
    collector_stack: Stack, topics: Topics, sdk: str, events: int, batch: int
) -> None:
    calls = """
      const sdk = make(url, key, { flushAt: Number(more[1]), maxEventsInBatch: Number(more[1]), flushInterval: 10000 });
      for (let i = 0; i < more[0]; i += 1) sdk.track({ userId: "u" + i, event: "Lamp", properties: { number: i } });
      await finish(sdk); tell("done");
    """
    script = MAKERS[sdk] + RUN % calls
    assert sent(script, collector_stack, "any-key-1", str(events), str(batch)) == ["done"]
    assert {event.metadata["number"] for event in arrived(topics, events)} == set(range(events))


def test_an_unknown_key_is_told_to_segments_callback_and_does_not_end_the_process(
    guarded_stack: Stack,
) -> None:
    calls = """
      const sdk = make(url, key, { flushAt: 1 });
      sdk.track({ userId: "anna", event: "Lamp" }, (error) => tell(String(error)));
      await finish(sdk);
    """
    assert sent(MAKERS["segment"] + RUN % calls, guarded_stack, UNKNOWN_KEY) == [
        "Error: [401] Unauthorized"
    ]


def test_a_refusal_ends_a_process_with_rudderstacks_sdk_unless_it_has_an_error_handler(
    guarded_stack: Stack,
) -> None:
    calls = """
      const options = more.length ? { errorHandler: (error) => tell(error.response.data.code) } : {};
      make(url, key, { flushAt: 1, ...options }).track({ userId: "anna", event: "Lamp" });
      setTimeout(() => tell("lives"), 1500);
    """
    script = MAKERS["rudderstack"] + RUN % calls
    without = run_node(script, url(guarded_stack), UNKNOWN_KEY)
    assert (without.status, without.told) == (1, [])
    assert "Error: Unauthorized" in without.errors
    assert run_node(script, url(guarded_stack), UNKNOWN_KEY, "handled").told == [
        "invalid_write_key",
        "lives",
    ]


# ---- Mixpanel

MIXPANEL = (
    CLOCK
    + """
const Mixpanel = require("mixpanel");
const make = (url, key, options = {}) => {
  const { hostname, port } = new URL(url);
  return Mixpanel.init(key, { host: hostname, port, protocol: "http", ...options });
};
const done = (call) => new Promise((next) => call((error) => next(error ? String(error) : null)));
"""
)


def test_every_call_of_mixpanels_arrives_once(collector_stack: Stack, topics: Topics) -> None:
    calls = """
      const sdk = make(url, key, { key });
      const cart = [{ product_id: "p1", price: 20, quantity: 2 }, { product_id: "p2", price: 12.5 }];
      const who = { distinct_id: "anna" };
      tell([
        await done((told) => sdk.track("Product Viewed", { ...who, product_id: "p1", time: at(0) }, told)),
        await done((told) => sdk.track_batch([
          { event: "Added to Cart", properties: { ...who, product_id: "p1", time: at(1) } },
          { event: "Order Completed", properties: { ...who, products: cart, order_id: "o1", time: at(2) } },
        ], told)),
        await done((told) => sdk.import("Lamp", at(-100000), who, told)),
        await done((told) => sdk.import_batch([
          { event: "Oak", properties: { ...who, time: at(-90000) } }], told)),
        await done((told) => sdk.people.set("anna", { plan: "gold" }, told)),
        await done((told) => sdk.people.increment("anna", "orders", told)),
        await done((told) => sdk.alias("a1", "anna", told)),
        await done((told) => sdk.groups.set("company", "oakmere", { size: 3 }, told)),
      ]);
    """
    assert sent(MIXPANEL + RUN % calls, collector_stack) == [[None] * 8]
    old, oak, viewed, added, lamp, second, *who = arrived(topics, 9)
    assert [old.event, oak.event] == ["Lamp", "Oak"]
    assert abs((viewed.timestamp - old.timestamp).total_seconds()) == 100_000
    assert [(one.event, one.product_id) for one in (viewed, added, lamp, second)] == [
        ("view_product", "p1"),
        ("add_to_cart", "p1"),
        ("purchase", "p1"),
        ("purchase", "p2"),
    ]
    assert {event.user_id for event in (old, viewed, lamp, *who)} == {"anna"}
    assert [event.event for event in who] == ["identify"] * 3
    assert sum(event.anonymous_id == "a1" for event in who) == 1
    assert [event.metadata["traits"] for event in who if "traits" in event.metadata] == [
        {"plan": "gold"}
    ]


def test_history_of_mixpanels_comes_in_with_a_servers_key_alone(
    guarded_stack: Stack, guarded_topics: Topics
) -> None:
    calls = """
      const old = new Date(Date.now() - 100 * 86400000);
      const events = [...Array(120).keys()].map((i) =>
        ({ event: "Lamp", properties: { distinct_id: "u" + i, time: old, $insert_id: "i" + i } }));
      tell(await done((told) => make(url, key, { key }).import_batch(events, (errors) => told(errors))));
    """
    assert sent(MIXPANEL + RUN % calls, guarded_stack, SERVER_KEY) == [None]
    events = arrived(guarded_topics, 120)  # in batches of 50, which is the library's limit
    assert {event.event_id for event in events} == {f"i{number}" for number in range(120)}
    assert all(datetime.now(UTC) - event.timestamp > timedelta(days=99) for event in events)


def test_an_unknown_key_is_told_to_mixpanels_callback_and_does_not_end_the_process(
    guarded_stack: Stack,
) -> None:
    calls = """
      tell(await done((told) => make(url, key).track("Lamp", { distinct_id: "anna" }, told)));
      tell(await done((told) => make(url, key, { verbose: true }).track("Lamp", { distinct_id: "anna" }, told)));
      make(url, key).track("Lamp", { distinct_id: "anna" });
    """
    quiet, verbose = sent(MIXPANEL + RUN % calls, guarded_stack, UNKNOWN_KEY)
    assert quiet == "Error: Mixpanel Server Error: 0"
    assert verbose == "Error: Mixpanel Server Error: write_key: expected the write key of a site"


# ---- Amplitude

AMPLITUDE = (
    CLOCK
    + """
const amplitude = require("@amplitude/analytics-node");
const start_sdk = (url, key, options = {}) =>
  amplitude.init(key, { serverUrl: url + "/2/httpapi", flushIntervalMillis: 100, logLevel: 0, ...options }).promise;
"""
)


def test_every_call_of_amplitudes_arrives_once(collector_stack: Stack, topics: Topics) -> None:
    calls = """
      await start_sdk(url, key);
      const who = (number) => ({ user_id: "anna", device_id: "a1", time: at(number).getTime() });
      const plan = new amplitude.Identify(); plan.set("plan", "gold");
      const company = new amplitude.Identify(); company.set("size", 3);
      const bought = new amplitude.Revenue();
      bought.setProductId("p2").setPrice(12.5).setQuantity(2).setRevenue(25);
      const calls = [
        amplitude.identify(plan, who(0)),
        amplitude.track("Product Viewed", { product_id: "p1", price: 20 }, who(1)),
        amplitude.track({ event_type: "Order Completed", event_properties: {
          order_id: "o1", products: [{ product_id: "p1", price: 20 }, { product_id: "p3", price: 5 }] }, ...who(2) }),
        amplitude.revenue(bought, who(3)),
        amplitude.groupIdentify("company", "oakmere", company, who(4)),
        amplitude.setGroup("company", "oakmere", who(5)),
        amplitude.track("Lamp", {}, who(6)),
      ].map((call) => call.promise);
      amplitude.flush();
      tell((await Promise.all(calls)).map((result) => result.code));
    """
    assert sent(AMPLITUDE + RUN % calls, collector_stack) == [[200] * 7]
    identified, viewed, lamp, third, bought, grouped, custom = arrived(topics, 7)
    assert (identified.event, identified.metadata["traits"]) == ("identify", {"plan": "gold"})
    assert [(one.event, one.product_id) for one in (viewed, lamp, third, bought)] == [
        ("view_product", "p1"),
        ("purchase", "p1"),
        ("purchase", "p3"),
        ("purchase", "p2"),
    ]
    assert (
        bought.metadata["price"],
        bought.metadata["quantity"],
        bought.metadata["order_value"],
    ) == (12.5, 2, 25)
    assert (grouped.event, custom.event) == ("identify", "Lamp")
    assert {(one.user_id, one.anonymous_id) for one in (identified, lamp, custom)} == {
        ("anna", "a1")
    }
    assert custom.metadata["tracker"].startswith("amplitude-node-ts/")


def test_amplitudes_batches_of_a_thousand_arrive_once(
    collector_stack: Stack, topics: Topics
) -> None:
    calls = """
      await start_sdk(url, key, { flushQueueSize: 1000, useBatch: true, serverUrl: url + "/batch" });
      const calls = [...Array(1000).keys()].map((i) => amplitude.track("Lamp", { number: i }, { user_id: "u" + i }));
      tell([...new Set((await Promise.all(calls.map((call) => call.promise))).map((result) => result.code))]);
    """
    assert sent(AMPLITUDE + RUN % calls, collector_stack) == [[200]]
    assert {event.metadata["number"] for event in arrived(topics, 1000)} == set(range(1000))


def test_an_unknown_key_is_told_to_amplitudes_caller_and_does_not_end_the_process(
    guarded_stack: Stack,
) -> None:
    calls = """
      await start_sdk(url, key, { flushQueueSize: 1 });
      const result = await amplitude.track("Lamp", {}, { user_id: "anna" }).promise;
      tell([result.code, result.message]);
    """
    told = sent(AMPLITUDE + RUN % calls, guarded_stack, UNKNOWN_KEY)
    assert told == [[401, "Invalid API key: expected the write key of a site"]]


# ---- Snowplow

SNOWPLOW = (
    CLOCK
    + """
const snowplow = require("@snowplow/node-tracker");
const make = (url, key, options = {}) => {
  const tracker = snowplow.newTracker({ namespace: "shop", appId: key }, { endpoint: url, ...options });
  tracker.setUserId("anna"); tracker.setDomainUserId("a1"); tracker.setSessionId("s1");
  return tracker;
};
const settled = (call) => new Promise((next) => call(next));
"""
)


@pytest.mark.parametrize("method", ["post", "get"])
def test_every_call_of_snowplows_arrives_once(
    collector_stack: Stack, topics: Topics, method: str
) -> None:
    calls = """
      let requests = 0;
      const sdk = make(url, key, { eventMethod: more[0], onRequestSuccess: () => { requests += 1; } });
      const iglu = (name, data) => ({ schema: `iglu:com.snowplowanalytics.snowplow.ecommerce/${name}`, data });
      const action = (type) => snowplow.buildSelfDescribingEvent({
        event: iglu("snowplow_ecommerce_action/jsonschema/1-0-2", { type }) });
      const product = (id) => iglu("product/jsonschema/1-0-0",
        { id, category: "lamps", price: 20, currency: "EUR", name: "Lamp" });
      const order = iglu("transaction/jsonschema/1-0-0",
        { transaction_id: "o1", revenue: 40, currency: "EUR", payment_method: "card" });
      const when = (number) => ({ type: "ttm", value: at(number).getTime() });
      sdk.track(snowplow.buildPageView({ pageUrl: "https://shop.example/", pageTitle: "Shop" }), [], when(0));
      sdk.track(snowplow.buildStructEvent({ category: "lamps", action: "Lamp", label: "l", value: 3 }), [], when(1));
      sdk.track(snowplow.buildSiteSearch({ terms: ["oak", "lamp"] }), [], when(2));
      sdk.track(action("product_view"), [product("p1")], when(3));
      sdk.track(action("transaction"), [product("p1"), product("p2"), order], when(4));
      sdk.track(snowplow.buildSelfDescribingEvent({ event: {
        schema: "iglu:com.acme/lamp_lit/jsonschema/1-0-0", data: { product_id: "p1" } } }), [], when(5));
      await sdk.flush();
      setTimeout(() => tell(requests > 0), 500);
    """
    assert sent(SNOWPLOW + RUN % calls, collector_stack, "any-key-1", method) == [True]
    page, lamp, search, viewed, first, second, lit = arrived(topics, 7)
    assert (page.event, page.metadata["url"], page.metadata["title"]) == (
        "page_view",
        "https://shop.example/",
        "Shop",
    )
    assert (lamp.event, search.metadata["query"]) == ("Lamp", "oak lamp")
    assert [(one.event, one.product_id) for one in (viewed, first, second, lit)] == [
        ("view_product", "p1"),
        ("purchase", "p1"),
        ("purchase", "p2"),
        ("lamp_lit", "p1"),
    ]
    assert (first.metadata["order_id"], first.metadata["order_value"]) == ("o1", 40)
    assert {(one.user_id, one.anonymous_id, one.session_id) for one in (page, lit)} == {
        ("anna", "a1", "s1")
    }
    assert page.metadata["tracker_version"].startswith("node-")


def test_an_unknown_app_id_is_told_to_snowplows_callback_and_does_not_end_the_process(
    guarded_stack: Stack,
) -> None:
    calls = """
      const sdk = make(url, key, { bufferSize: 1, onRequestFailure: (data) => tell([data.status, data.willRetry]) });
      sdk.track(snowplow.buildStructEvent({ category: "lamps", action: "Lamp" }));
      await sdk.flush();
    """
    ran = run_node(SNOWPLOW + RUN % calls, url(guarded_stack), UNKNOWN_KEY)
    assert (ran.status, ran.told) == (0, [[401, False]])
