"""What the visitor agreed to: what is stored, what is sent, and what is asked, before, after and
without it.
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.web.conftest import Site
from tests.web.sdk_pages import metadata, open_blank, wait_for

pytestmark = pytest.mark.browser

NOBODY = {"analytics": False, "personalization": False}
EVERYTHING = {"analytics": True, "personalization": True}
COUNTED = {"analytics": True, "personalization": False}


def stored(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("() => ({ ...localStorage })")
    return found


def track(page: Page, *numbers: int) -> None:
    page.evaluate(
        "(numbers) => { for (const n of numbers) freshet.track('click', { n }); }", list(numbers)
    )


def test_pending_waits_in_memory_alone_and_a_grant_sends_what_waited(
    page: Page, site: Site
) -> None:
    open_blank(page, site, consent="pending", pages=True)
    track(page, 1)
    page.wait_for_timeout(500)
    assert site.fake.events == [] and stored(page) == {}
    assert page.evaluate("() => freshet.consent()") is None
    anonymous_id = page.evaluate("() => freshet.anonymousId")
    page.evaluate("(given) => freshet.consent(given)", EVERYTHING)
    track(page, 2)
    wait_for(lambda: len(site.fake.events) == 3, page)
    assert metadata(site.fake.named("click"), "n") == [1, 2]
    assert {event["anonymous_id"] for event in site.fake.events} == {anonymous_id}
    assert {body["consent"]["personalization"] for body in site.fake.bodies} == {True}
    assert anonymous_id in stored(page)["freshet.identity"]


def test_a_page_that_goes_while_pending_leaves_nothing(page: Page, site: Site) -> None:
    open_blank(page, site, consent="pending")
    track(page, 1)
    page.goto(f"{site.freshet}/blank?next")
    page.wait_for_timeout(300)
    assert stored(page) == {} and site.fake.events == []


def test_a_word_that_is_none_does_not_mean_granted(page: Page, site: Site) -> None:
    open_blank(page, site, consent="deny")
    track(page, 1)
    page.wait_for_timeout(400)
    assert site.fake.events == [] and stored(page) == {}


def test_denied_stores_nothing_and_sends_nothing(page: Page, site: Site) -> None:
    open_blank(page, site, consent="denied")
    assert page.evaluate("() => freshet.track('click')") is None
    page.evaluate("() => freshet.identify('u1')")
    page.evaluate("() => freshet.recommend()")
    page.goto(f"{site.freshet}/blank?next")
    page.wait_for_timeout(300)
    assert site.fake.events == [] and stored(page) == {}


def test_a_decision_outlives_the_page_and_nothing_else_does_when_it_is_no(
    page: Page, site: Site
) -> None:
    open_blank(page, site)
    track(page, 1)
    wait_for(lambda: len(site.fake.events) == 1, page)
    page.evaluate("(given) => freshet.consent(given)", NOBODY)
    assert list(stored(page)) == ["freshet.consent"]
    assert page.evaluate("() => [freshet.anonymousId, freshet.userId, freshet.sessionId]") == [
        None,
        None,
        None,
    ]
    open_blank(page, site)
    track(page, 2)
    page.wait_for_timeout(400)
    assert len(site.fake.events) == 1
    assert page.evaluate("() => freshet.consent()") == NOBODY
    assert list(stored(page)) == ["freshet.consent"]


def test_withdrawing_erases_what_waits_and_what_is_kept(page: Page, site: Site) -> None:
    site.fake.failures = 10
    open_blank(page, site, retryMs=100)
    track(page, 1, 2)
    wait_for(lambda: any(key.startswith("freshet.queue.") for key in stored(page)), page)
    page.evaluate("(given) => freshet.consent(given)", NOBODY)
    assert list(stored(page)) == ["freshet.consent"]
    site.fake.failures = 0
    page.wait_for_timeout(1000)
    assert site.fake.events == []
    assert list(stored(page)) == ["freshet.consent"]


def test_events_in_flight_when_the_visitor_withdraws_are_not_sent_again(
    page: Page, site: Site
) -> None:
    site.fake.failures = 1
    open_blank(page, site, retryMs=50)
    page.evaluate(
        "() => { freshet.track('click'); freshet.flush(); freshet.consent({ analytics: false, "
        "personalization: false }); }"
    )
    page.wait_for_timeout(600)
    assert site.fake.failed_requests == 1 and site.fake.events == []


def test_a_later_agreement_does_not_bring_back_what_waited_before_the_withdrawal(
    page: Page, site: Site
) -> None:
    site.fake.failures = 1
    open_blank(page, site, flushMs=60_000, retryMs=50)
    page.evaluate(
        """async ([no, yes]) => {
            const failed = new Promise((resolve) => freshet.on("error", resolve));
            freshet.track("scroll", { n: 1 });
            freshet.flush();
            freshet.track("scroll", { n: 2 });
            await failed; // and before it is repeated
            freshet.consent(no);
            freshet.consent(yes);
        }""",
        [NOBODY, EVERYTHING],
    )
    track(page, 3)
    wait_for(lambda: bool(site.fake.events), page)
    page.wait_for_timeout(500)
    assert metadata(site.fake.events, "n") == [3]


def test_a_new_agreement_begins_with_new_ids(page: Page, site: Site) -> None:
    open_blank(page, site)
    before = page.evaluate("() => freshet.anonymousId")
    page.evaluate(
        "([no, yes]) => { freshet.consent(no); freshet.consent(yes); }", [NOBODY, EVERYTHING]
    )
    assert page.evaluate("() => freshet.anonymousId") not in (None, before)


def test_withdrawing_in_one_tab_binds_the_other(
    context: BrowserContext, page: Page, site: Site
) -> None:
    open_blank(page, site)
    other = context.new_page()
    open_blank(other, site, flushMs=60_000)
    other.evaluate("() => freshet.track('scroll')")
    page.evaluate("(given) => freshet.consent(given)", NOBODY)
    wait_for(lambda: other.evaluate("() => freshet.consent().analytics") is False, other)
    assert other.evaluate("() => freshet.track('click')") is None
    other.close(run_before_unload=True)
    page.wait_for_timeout(300)
    assert site.fake.events == []
    assert list(stored(page)) == ["freshet.consent"]


def test_a_part_of_an_agreement_travels_with_every_request(page: Page, site: Site) -> None:
    open_blank(page, site)
    page.evaluate("() => freshet.consent({ personalization: false })")
    track(page, 1)
    wait_for(lambda: len(site.fake.events) == 1, page)
    assert site.fake.bodies[0]["consent"] == COUNTED


def test_without_a_decision_the_collectors_default_holds(page: Page, site: Site) -> None:
    open_blank(page, site)
    track(page, 1)
    page.evaluate("() => freshet.recommend()")
    wait_for(lambda: len(site.fake.events) == 1, page)
    assert "consent" not in site.fake.bodies[0] and "consent" not in site.fake.asked[0]


def test_without_personalization_the_question_names_nobody(page: Page, site: Site) -> None:
    open_blank(page, site)
    page.evaluate("() => freshet.identify('u1')")
    page.evaluate("(given) => freshet.consent(given)", COUNTED)
    answer = page.evaluate("() => freshet.recommend({ variant: 'personalized', k: 3 })")
    assert answer["variant"] == "popular" and len(answer["recommendations"]) == 3
    (asked,) = site.fake.asked
    assert asked["consent"] == COUNTED and asked["events"] == []
    assert not {"user_id", "anonymous_id", "session_id"} & set(asked)
    assert page.evaluate("() => freshet.profile()") is None


@pytest.mark.parametrize(
    ("signal", "value", "decides"),
    [("globalPrivacyControl", True, False), ("doNotTrack", "1", True)],
)
def test_a_browsers_signal_is_a_no_and_only_do_not_track_gives_way_to_a_decision(
    page: Page, site: Site, signal: str, value: bool | str, decides: bool
) -> None:
    value_of = "true" if value is True else "'1'"
    page.add_init_script(
        f"Object.defineProperty(navigator, '{signal}', {{ get: () => {value_of} }})"
    )
    open_blank(page, site)
    track(page, 1)
    page.wait_for_timeout(300)
    assert site.fake.events == [] and stored(page) == {}
    page.evaluate("(given) => freshet.consent(given)", EVERYTHING)
    track(page, 2)
    page.wait_for_timeout(500)
    assert metadata(site.fake.events, "n") == ([2] if decides else [])


def test_a_site_may_ignore_the_signals(page: Page, site: Site) -> None:
    page.add_init_script(
        "Object.defineProperty(navigator, 'globalPrivacyControl', { get: () => true })"
    )
    open_blank(page, site, respectSignals=False)
    track(page, 1)
    wait_for(lambda: len(site.fake.events) == 1, page)
