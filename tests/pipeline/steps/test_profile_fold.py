"""The logic of profiles: one element into one profile, with no runner and no store."""

from __future__ import annotations

from pipeline.core.profile import UserProfile
from pipeline.core.rules import CampaignRule, Condition, Rules
from pipeline.steps.decode import ADOPT, FACTS
from pipeline.steps.profiles import FoldOutcome, ProfileFold
from tests.pipeline.running import START_MS, Visitor, facts

VISITOR = Visitor("fold")
SEEN_TWO = CampaignRule(
    name="seen_two",
    conditions=(Condition("views_total", "at_least", 2.0),),
    cooldown_ms=3_600_000,
    channel="onsite",
    payload=(),
)
FOLD = ProfileFold(Rules(campaigns=(SEEN_TWO,)))
BOT = {"metadata": {"bot": "user_agent"}}


def add(profile: UserProfile, kind: str, given: object, key: str = VISITOR.key) -> FoldOutcome:
    return FOLD.add(key, profile, (kind, given), START_MS)


def told(outcome: FoldOutcome) -> list[str]:
    return [trigger.rule for trigger in outcome.campaigns]


def test_a_login_that_links_items_of_both_makes_a_campaign_due() -> None:
    browser, account = UserProfile(), UserProfile()
    assert told(add(browser, *facts(VISITOR.anonymously("view_product", "p1")))) == []
    assert told(add(account, *facts(VISITOR.did("view_product", "p2")))) == []
    outcome = add(account, ADOPT, browser.encode())
    assert [new.pairs != [] for new in outcome.new] == [True]
    assert told(outcome) == ["seen_two"]


def test_a_bots_events_make_no_campaign_due_and_are_not_trusted() -> None:
    views = [VISITOR.did("view_product", f"p{n}", n, **BOT) for n in range(2)]
    outcome = add(UserProfile(), *facts(*views))
    assert told(outcome) == []
    assert [(len(new.facts), new.trusted) for new in outcome.new] == [(2, False)]


def test_a_duplicate_changes_nothing_and_is_counted() -> None:
    profile, view = UserProfile(), VISITOR.did("view_product", "p")
    add(profile, *facts(view))
    before = profile.encode()
    outcome = add(profile, *facts(view))
    assert (outcome.changed, outcome.in_use, outcome.duplicates) == (False, False, 1)
    assert profile.encode() == before


def test_the_first_event_with_an_account_moves_the_browser_once_and_what_follows_goes_on() -> None:
    browser = UserProfile()
    add(browser, *facts(VISITOR.anonymously("view_product", "p1")), key=VISITOR.browser)
    moved = add(browser, *facts(VISITOR.logged_in("click", "p1", 1)), key=VISITOR.browser)
    assert [(key, kind) for key, (kind, _) in moved.forwarded] == [
        (VISITOR.key, ADOPT),
        (VISITOR.key, FACTS),
    ]
    assert browser.account == VISITOR.key and browser.events_total == 0
    after = add(browser, *facts(VISITOR.anonymously("click", "p1", 2)), key=VISITOR.browser)
    assert [(key, kind) for key, (kind, _) in after.forwarded] == [(VISITOR.key, FACTS)]
    assert (after.changed, after.in_use) == (False, True)
