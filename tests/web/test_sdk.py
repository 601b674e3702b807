"""The SDK in a real browser: what is sent, when, how often, and that the page never notices
trouble.
"""

from __future__ import annotations

import re
import socket
from datetime import UTC, datetime

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.web.conftest import Site
from tests.web.sdk_pages import open_blank, wait_for

pytestmark = pytest.mark.browser

TALL_ITEM = "width:200px;height:200px;background:teal"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_events_of_a_quarter_second_travel_in_one_request(page: Page, site: Site) -> None:
    open_blank(page, site)
    page.evaluate("() => { for (let i = 0; i < 5; i += 1) freshet.track('scroll', { depth: i }); }")
    wait_for(lambda: len(site.fake.events) == 5, page)
    assert [event["metadata"]["depth"] for event in site.fake.requests[0]] == [0, 1, 2, 3, 4]
    assert len(site.fake.requests) == 1


def test_a_full_batch_does_not_wait_for_the_timer(page: Page, site: Site) -> None:
    open_blank(page, site, flushMs=60_000, batchSize=10)
    page.evaluate("() => { for (let i = 0; i < 25; i += 1) freshet.track('scroll'); }")
    wait_for(lambda: len(site.fake.events) == 25, page)
    assert max(len(request) for request in site.fake.requests) == 10


def test_a_click_goes_at_once_and_takes_the_waiting_events_along(page: Page, site: Site) -> None:
    open_blank(page, site, flushMs=60_000)
    page.evaluate(
        "() => { freshet.track('scroll'); freshet.track('click', { product_id: 'i01' }); }"
    )
    wait_for(lambda: len(site.fake.events) == 2, page)
    assert [event["event"] for event in site.fake.requests[0]] == ["scroll", "click"]


def test_an_event_carries_the_contracts_fields(page: Page, site: Site) -> None:
    open_blank(page, site)
    event_id = page.evaluate(
        "() => freshet.track('click', { product_id: 7, request_id: 'r1', position: 0, variant: "
        "null })"
    )
    wait_for(lambda: bool(site.fake.events), page)
    (event,) = site.fake.events
    assert event["event_id"] == event_id
    assert event["product_id"] == "7"
    assert event["metadata"] == {"request_id": "r1", "position": 0}
    assert event["anonymous_id"] and event["session_id"] and "user_id" not in event
    sent_at = datetime.fromisoformat(site.fake.bodies[0]["sent_at"])
    assert abs((datetime.now(UTC) - sent_at).total_seconds()) < 5
    assert datetime.fromisoformat(event["timestamp"]) <= sent_at


def test_a_page_view_names_its_page(page: Page, site: Site) -> None:
    open_blank(page, site)
    page.evaluate("() => freshet.page()")
    wait_for(lambda: bool(site.fake.events), page)
    assert site.fake.events[0]["event"] == "page_view"
    assert site.fake.events[0]["metadata"] == {"url": f"{site.freshet}/blank", "title": "blank"}


def test_ids_are_uuids_where_the_browser_has_no_random_uuid(page: Page, site: Site) -> None:
    page.add_init_script("delete Crypto.prototype.randomUUID")
    open_blank(page, site)
    first, second = page.evaluate("() => [freshet.track('click'), freshet.track('click')]")
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first
    )
    assert first != second


def test_the_visitor_and_the_session_outlive_a_page_and_are_shared_by_tabs(
    context: BrowserContext, page: Page, site: Site
) -> None:
    ids = "() => [freshet.anonymousId, freshet.sessionId]"
    open_blank(page, site)
    before = page.evaluate(ids)
    open_blank(page, site)
    other_tab = context.new_page()
    open_blank(other_tab, site)
    assert page.evaluate(ids) == before == other_tab.evaluate(ids)


def test_an_idle_visit_ends_its_session_but_not_its_visitor(page: Page, site: Site) -> None:
    open_blank(page, site, sessionIdleMs=100)
    visitor, session = page.evaluate("() => [freshet.anonymousId, freshet.sessionId]")
    page.wait_for_timeout(150)
    assert page.evaluate("() => freshet.anonymousId") == visitor
    assert page.evaluate("() => freshet.sessionId") != session


def test_identify_names_the_account_in_every_later_event(page: Page, site: Site) -> None:
    open_blank(page, site)
    page.evaluate("() => { freshet.identify('u1', { plan: 'gold' }); freshet.track('click'); }")
    wait_for(lambda: len(site.fake.events) == 2, page)
    identify, click = site.fake.events
    assert identify["event"] == "identify" and identify["metadata"] == {"plan": "gold"}
    assert identify["user_id"] == click["user_id"] == "u1"
    assert identify["anonymous_id"] == click["anonymous_id"]


def test_the_token_of_an_account_goes_with_every_event_and_question_also_on_the_next_page(
    page: Page, site: Site
) -> None:
    open_blank(page, site)
    page.evaluate("() => { freshet.identify('u1', null, 't1'); freshet.flush(); }")
    open_blank(page, site)
    page.evaluate("async () => { freshet.page(); await freshet.recommend(); }")
    with page.expect_request("**/v1/profile") as profile:
        page.evaluate("() => freshet.profile()")
    wait_for(lambda: len(site.fake.events) == 2, page)
    told = [
        *site.fake.events,
        *site.fake.asked,
        *site.fake.asked[-1]["events"],
        profile.value.post_data_json,
    ]
    assert {(said["user_id"], said["user_token"]) for said in told} == {("u1", "t1")}


@pytest.mark.parametrize("call", ["freshet.reset()", "freshet.identify('u2')"])
def test_a_token_goes_with_no_other_account(page: Page, site: Site, call: str) -> None:
    open_blank(page, site)
    page.evaluate(
        f"async () => {{ freshet.identify('u1', {{}}, 't1'); {call}; freshet.page(); await "
        f"freshet.recommend(); }}"
    )
    wait_for(lambda: bool(site.fake.named("page_view")), page)
    told = [*site.fake.events, *site.fake.asked]
    assert [said.get("user_token") for said in told if said.get("user_id") == "u1"] == ["t1"]
    assert all("user_token" not in said for said in told if said.get("user_id") != "u1")


def test_reset_starts_a_new_anonymous_visitor(page: Page, site: Site) -> None:
    open_blank(page, site)
    before = page.evaluate(
        "() => { freshet.identify('u1'); return [freshet.anonymousId, freshet.sessionId]; }"
    )
    page.evaluate("() => freshet.reset()")
    after = page.evaluate("() => [freshet.anonymousId, freshet.sessionId]")
    assert before[0] != after[0] and before[1] != after[1]
    assert page.evaluate("() => [freshet.userId, freshet.pending().length]") == [None, 0]


def show_item(page: Page, margin_top: str = "0", leaves_after_ms: int | None = None) -> None:
    page.evaluate(
        """([style, top, leavesAfterMs]) => {
            const item = document.createElement("div");
            item.style = `${style};margin-top:${top}`;
            item.id = "item";
            document.body.append(item);
            freshet.on("tracked", () => { window.waitedMs = performance.now() - window.shownMs; });
            window.shownMs = performance.now();
            if (leavesAfterMs) setTimeout(() => { item.style.marginTop = "3000px"; }, leavesAfterMs);
            freshet.observe(item, { product_id: "i01", request_id: "r1", placement: "home", position: 0 });
        }""",
        [TALL_ITEM, margin_top, leaves_after_ms],
    )


def test_an_impression_is_reported_after_one_second_half_visible(page: Page, site: Site) -> None:
    open_blank(page, site, flushMs=0)
    show_item(page)
    wait_for(lambda: bool(site.fake.named("impression")), page)
    assert page.evaluate("() => window.waitedMs") >= 1000
    (impression,) = site.fake.named("impression")
    assert impression["product_id"] == "i01"
    assert impression["metadata"] == {"request_id": "r1", "placement": "home", "position": 0}


def test_an_item_less_than_half_visible_is_no_impression(page: Page, site: Site) -> None:
    open_blank(page, site, flushMs=0)
    show_item(page, margin_top="790px")
    page.wait_for_timeout(1300)
    assert site.fake.named("impression") == []


def test_an_item_scrolled_away_within_the_second_is_no_impression(page: Page, site: Site) -> None:
    open_blank(page, site, flushMs=0)
    show_item(page, leaves_after_ms=600)
    page.wait_for_timeout(1500)
    assert site.fake.named("impression") == []


def test_an_impression_counts_once_for_a_request_and_again_for_the_next(
    page: Page, site: Site
) -> None:
    open_blank(page, site, flushMs=0, impressionMs=100)
    show_item(page)
    again = """(request) => freshet.observe(document.getElementById("item"),
        { product_id: "i01", request_id: request, placement: "home", position: 0 })"""
    wait_for(lambda: len(site.fake.named("impression")) == 1, page)
    page.evaluate(again, "r1")
    page.wait_for_timeout(400)
    assert len(site.fake.named("impression")) == 1
    page.evaluate(again, "r2")
    wait_for(lambda: len(site.fake.named("impression")) == 2, page)


def test_leaving_the_page_sends_what_waits_by_beacon(page: Page, site: Site) -> None:
    page.add_init_script(
        "const beacon = navigator.sendBeacon.bind(navigator);"
        "navigator.sendBeacon = (url, body) => { localStorage.beacons = url; return beacon(url, "
        "body); };"
    )
    open_blank(page, site, flushMs=60_000)
    page.evaluate("() => { freshet.track('scroll'); freshet.track('dwell', { ms: 5 }); }")
    page.goto(f"{site.freshet}/blank?next")
    wait_for(lambda: len(site.fake.events) == 2, page)
    assert page.evaluate("() => localStorage.beacons") == f"{site.freshet}/v1/events"


def test_hiding_the_page_sends_what_waits_and_reads_the_answer(page: Page, site: Site) -> None:
    open_blank(page, site, flushMs=60_000)
    page.evaluate(
        """() => {
            freshet.track("scroll");
            Object.defineProperty(document, "hidden", { value: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    wait_for(lambda: page.evaluate("() => heard.answered.length") == 1, page)
    assert len(site.fake.events) == 1


def test_closing_the_tab_loses_nothing(page: Page, site: Site, context: BrowserContext) -> None:
    keeper = context.new_page()
    open_blank(page, site, flushMs=60_000)
    page.evaluate(
        "() => { for (let i = 0; i < 120; i += 1) freshet.track('scroll', { depth: i }); }"
    )
    page.evaluate("() => freshet.track('dwell')")
    page.close(run_before_unload=True)
    wait_for(lambda: len({event["event_id"] for event in site.fake.events}) == 121, keeper)


def test_an_event_is_sent_again_after_503_and_arrives_once(page: Page, site: Site) -> None:
    site.fake.failures = 2
    open_blank(page, site, retryMs=50)
    page.evaluate("() => freshet.track('click', { product_id: 'i01' })")
    wait_for(lambda: bool(site.fake.events), page)
    page.wait_for_timeout(300)
    assert site.fake.failed_requests == 2
    assert len(site.fake.events) == 1


def test_a_repeated_event_keeps_its_id_when_only_the_answer_was_lost(
    page: Page, site: Site
) -> None:
    site.fake.failures, site.fake.keep_failed = 1, True
    open_blank(page, site, retryMs=50)
    event_id = page.evaluate("() => freshet.track('click')")
    wait_for(lambda: len(site.fake.events) == 2, page)
    assert {event["event_id"] for event in site.fake.events} == {event_id}


def test_the_order_of_events_survives_a_retry(page: Page, site: Site) -> None:
    site.fake.failures = 1
    open_blank(page, site, retryMs=200)
    page.evaluate("() => freshet.track('click', { n: 1 })")
    wait_for(lambda: page.evaluate("() => heard.error.length") == 1, page)
    page.evaluate("() => freshet.track('click', { n: 2 })")
    wait_for(lambda: len(site.fake.events) == 2, page)
    assert [event["metadata"]["n"] for event in site.fake.events] == [1, 2]


def test_a_rejected_event_is_told_and_not_repeated(page: Page, site: Site) -> None:
    open_blank(page, site)
    page.evaluate("() => { freshet.track(''); freshet.track('click'); }")
    wait_for(lambda: page.evaluate("() => heard.rejected.length") == 1, page)
    assert page.evaluate("() => heard.rejected[0].reason") == "event: expected a name"
    assert page.evaluate("() => freshet.pending().map((event) => event.event)") == ["click"]
    page.wait_for_timeout(500)
    assert len(site.fake.requests) == 1


def test_recommend_sends_along_what_the_profile_does_not_hold_yet(page: Page, site: Site) -> None:
    site.fake.profile_lag_s = 60
    open_blank(page, site)
    answer = page.evaluate(
        """() => {
            freshet.track("click", { product_id: "i01" });
            const question = { placement: "product", k: 5, productId: "i01", variant: "personalized" };
            return freshet.recommend(question);
        }"""
    )
    (asked,) = site.fake.asked
    assert [event["product_id"] for event in asked["events"]] == ["i01"]
    assert asked["placement"] == "product" and asked["product_id"] == "i01" and asked["k"] == 5
    assert asked["anonymous_id"] and asked["session_id"] and asked["variant"] == "personalized"
    assert asked["sent_at"] >= asked["events"][0]["timestamp"]
    assert len(answer["recommendations"]) == 5
    assert answer["client"]["included"] == [asked["events"][0]["event_id"]]


def test_what_else_a_question_says_goes_to_the_api_but_the_ids_are_the_page_s_own(
    page: Page, site: Site
) -> None:
    open_blank(page, site)
    page.evaluate(
        """() => freshet.recommend({
            product_ids: ["i02"], filter: "price < 5", cursor: "AQ", anonymous_id: "another",
        })"""
    )
    (asked,) = site.fake.asked
    assert (asked["product_ids"], asked["filter"]) == (["i02"], "price < 5")
    assert asked["cursor"] == "AQ"
    assert "k" not in asked
    assert asked["anonymous_id"] != "another"


def test_an_event_seen_in_the_profile_is_not_sent_along_any_more(page: Page, site: Site) -> None:
    site.fake.profile_lag_s = 0
    open_blank(page, site)
    event_id = page.evaluate("() => freshet.track('click', { product_id: 'i01' })")
    wait_for(lambda: bool(site.fake.events), page)
    asked = {"event_id": event_id, "event": "click", "product_id": "i01"}
    profile = page.evaluate("(asked) => freshet.profile(asked)", asked)
    assert profile["contains_event"] is True and profile["last_item"] == "i01"
    page.evaluate("() => freshet.recommend()")
    assert site.fake.asked[0]["events"] == []


def test_an_old_event_is_not_sent_along_any_more(page: Page, site: Site) -> None:
    open_blank(page, site, pendingMs=100)
    page.evaluate("() => freshet.track('click')")
    page.wait_for_timeout(150)
    assert page.evaluate("() => freshet.pending()") == []


def test_a_dead_collector_and_a_dead_api_are_no_trouble_to_the_page(page: Page, site: Site) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    open_blank(page, site, collector=nobody, api=nobody, retryMs=20)
    answers = page.evaluate(
        """async () => {
            freshet.track("click");
            return [await freshet.recommend(), await freshet.profile()];
        }"""
    )
    page.wait_for_timeout(300)
    assert answers == [None, None]
    assert page.evaluate("() => heard.error.length") > 2
    assert page.evaluate("() => surprises") == []


def test_nonsense_from_the_page_is_told_and_never_thrown(page: Page, site: Site) -> None:
    open_blank(page, site)
    page.evaluate(
        """async () => {
            const circle = {};
            circle.circle = circle;
            freshet.on("answered", () => { throw new Error("a listener's own mistake"); });
            freshet.track("click", circle);
            freshet.track("click", { count: 1n });
            freshet.track("click", { timestamp: "not a time" });
            freshet.track("click", null);
            freshet.identify("");
            freshet.observe(null, {});
            await freshet.recommend(null);
            freshet.track("click", { product_id: "good" });
        }"""
    )
    wait_for(lambda: bool(site.fake.events), page)
    page.wait_for_timeout(100)
    assert [event["product_id"] for event in site.fake.events] == ["good"]
    assert page.evaluate("() => surprises") == []
    assert any(
        "a listener's own mistake" in error
        for error in page.evaluate("() => heard.error.map((it) => `${it.error}`)")
    )


def test_a_blocked_storage_costs_no_more_than_the_memory_of_the_visit(
    page: Page, site: Site
) -> None:
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked'); } })"
    )
    open_blank(page, site)
    page.evaluate("() => { freshet.track('click'); freshet.track('click'); }")
    wait_for(lambda: len(site.fake.events) == 2, page)
    assert len({event["anonymous_id"] for event in site.fake.events}) == 1


def test_a_full_queue_drops_the_oldest_events_and_says_so(page: Page, site: Site) -> None:
    site.fake.failures = 1
    open_blank(page, site, queueLimit=10, retryMs=2000)
    page.evaluate("() => freshet.track('click', { n: -1 })")
    wait_for(lambda: page.evaluate("() => heard.error.length") == 1, page)
    page.evaluate("() => { for (let n = 0; n < 15; n += 1) freshet.track('scroll', { n }); }")
    wait_for(lambda: len(site.fake.events) == 10, page)
    assert [event["metadata"]["n"] for event in site.fake.events] == list(range(5, 15))
    assert page.evaluate("() => heard.error.filter((it) => it.where === 'queue').length") == 6
