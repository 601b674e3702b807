"""Anonymous to known: what a browser did before the login, after it, and late, all belongs to the
account.
"""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from random import Random

import pytest

from pipeline.core.events import Event
from pipeline.core.profile import UserProfile
from pipeline.steps.profiles import REFRESH_LINK_MS
from pipeline.store import layout
from pipeline.store.blocking import Bigtable, Store
from tests.pipeline.core.streams import assert_same
from tests.pipeline.running import (
    RUNNERS,
    START_MS,
    Clean,
    Visitor,
    disordered,
    facts,
    features,
    message,
    outputs,
    stored_items,
    stored_profile,
)
from tests.pipeline.steps.test_profiles import assert_stored


def visit(visitor: Visitor, login: str = "identify") -> list[Event]:
    """One session of a visitor who logs in and out: the first and the last two events name no
    account.
    """
    category = {"metadata": {"category": f"{visitor.tag}.c"}}
    product = "shoes" if login != "identify" else None
    return [
        visitor.anonymously("view_product", "shoes", 0, **category),
        visitor.anonymously("add_to_cart", "socks", 10, **category),
        visitor.logged_in(login, product, 20),
        visitor.logged_in("view_product", "hat", 30, **category),
        visitor.anonymously("view_product", "coat", 40, **category),
        visitor.anonymously("purchase", "socks", 50, **category),
    ]


def pointer(store: Store, visitor: Visitor) -> UserProfile:
    """The browser's row, which must hold nothing but the link and the time that it is from."""
    found = stored_profile(store, visitor.browser)
    assert_same(found, UserProfile(newest_ms=found.newest_ms, account=visitor.key))
    return found


@pytest.mark.parametrize(
    ("login", "runner"),
    [("identify", RUNNERS[0]), ("view_product", RUNNERS[0]), ("identify", RUNNERS[1])],
)
def test_the_account_is_that_of_one_visitor_who_was_known_all_along(
    source: Bigtable, store: Store, visitor: Visitor, login: str, runner: type
) -> None:
    clean = visit(visitor, login)
    counts = features(source, [message(event) for event in clean], runner=runner)
    assert_stored(store, visitor.key, Clean(clean))
    pointer(store, visitor)
    assert (counts["fold/merged"], counts["fold/new"], counts["fold/duplicate"]) == (1, 6, 0)


def test_in_whatever_order_the_events_come_the_account_is_the_same(
    source: Bigtable, store: Store, tag: str
) -> None:
    # Login and logout, before and after: each of the 24 orders of four events, of a visitor of its
    # own.
    visitors = [Visitor(f"{tag}{n:02}") for n in range(24)]
    visits = [[visit(visitor)[n] for n in (0, 1, 2, 4)] for visitor in visitors]
    orders = [list(order) for order, clean in zip(permutations(range(4)), visits, strict=True)]
    features(
        source,
        [message(clean[n]) for clean, order in zip(visits, orders, strict=True) for n in order],
    )
    for visitor, clean in zip(visitors, visits, strict=True):
        assert_stored(store, visitor.key, Clean(clean))
        pointer(store, visitor)


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_doubled_and_in_messages_of_several_the_account_is_the_same(
    source: Bigtable, store: Store, visitor: Visitor, seed: int
) -> None:
    clean = visit(visitor)
    features(source, disordered(clean, seed))
    assert_stored(store, visitor.key, Clean(clean))


def test_one_message_with_all_of_it_needs_no_merge(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    clean = visit(visitor)
    counts = features(source, [message(*clean)])
    assert_stored(store, visitor.key, Clean(clean))
    pointer(store, visitor)
    assert counts["fold/merged"] == 0


def test_a_duplicate_from_before_the_login_changes_nothing_after_it(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    clean = visit(visitor)
    features(source, [message(event) for event in clean])
    counts = features(source, [message(clean[0]), message(clean[1], clean[0]), message(clean[2])])
    assert_stored(store, visitor.key, Clean(clean))
    assert (counts["fold/new"], counts["fold/duplicate"]) == (0, 4)
    assert outputs["new"] == outputs["profile writes"] == outputs["item writes"] == []


def test_the_merge_happens_once_however_often_the_visitor_logs_in(
    source: Bigtable, visitor: Visitor
) -> None:
    before = visitor.anonymously("scroll")
    logins = [visitor.logged_in("identify", at_s=n) for n in range(1, 4)]
    assert features(source, [message(event) for event in (before, *logins)])["fold/merged"] == 1
    assert features(source, [message(visitor.logged_in("identify", at_s=9))])["fold/merged"] == 0


def test_a_new_job_still_sends_what_the_browser_does_to_the_account(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    clean = visit(visitor)
    features(source, [message(event) for event in clean[:4]])
    counts = features(source, [message(event) for event in clean[4:]])
    assert_stored(store, visitor.key, Clean(clean))
    assert counts["fold/warm_started"] == 2  # the link is read once, not again for each event


def test_once_a_browser_is_merged_what_names_its_account_goes_there_at_once(
    source: Bigtable, visitor: Visitor
) -> None:
    events = [visitor.logged_in("scroll", at_s=n) for n in range(2)]
    features(source, [message(event) for event in events])
    assert outputs["by account"] == [(visitor.key, facts(events[1]))]


def test_a_new_anonymous_id_is_somebody_new(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    clean = visit(visitor)
    other = visitor.anonymously("scroll", at_s=60, anonymous_id=f"b{visitor.tag}")
    features(source, [message(event) for event in (*clean, other)])
    assert_same(stored_profile(store, visitor.key), Clean(clean).profile)
    assert_same(stored_profile(store, f"a#b{visitor.tag}"), Clean([other]).profile)


def test_a_second_account_on_the_same_browser_gets_its_own_events_and_no_others(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    second = f"second{visitor.tag}"
    clean = visit(visitor)
    own = [visitor.logged_in("identify", at_s=60 + n, user_id=second) for n in range(2)]
    after = visitor.anonymously("scroll", at_s=70)
    features(source, [message(event) for event in (*clean, own[0])])
    features(source, [message(own[1], after)])
    assert_same(stored_profile(store, f"u#{second}"), Clean(own).profile)
    assert_same(stored_profile(store, visitor.key), Clean([*clean, after]).profile)
    pointer(store, visitor)


def test_two_browsers_of_one_person_are_merged_into_the_one_account(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    phone = {"anonymous_id": f"phone{visitor.tag}", "session_id": "s2"}
    on_phone = [
        visitor.anonymously("view_product", "scarf", 100, **phone),
        visitor.logged_in("view_product", "hat", 110, **phone),
    ]
    clean = visit(visitor) + on_phone
    messages = [message(event) for event in clean]
    Random(1).shuffle(messages)
    features(source, messages)
    assert_same(stored_profile(store, visitor.key), Clean(clean).profile)
    assert_same(stored_items(store, Clean(clean).items), Clean(clean).items)


def test_the_link_of_a_browser_is_as_old_as_what_made_it_and_is_written_anew_after_a_day_of_use(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    def written_at() -> int:
        found = store.read(layout.PROFILE, visitor.browser)
        assert found is not None
        return found[1]

    day_s = REFRESH_LINK_MS / 1000
    features(source, [message(visitor.logged_in("identify"))])
    assert written_at() == START_MS
    features(source, [message(visitor.anonymously("scroll", at_s=day_s - 1))])
    assert written_at() == START_MS
    features(source, [message(visitor.anonymously("scroll", at_s=day_s))])
    assert written_at() == START_MS + REFRESH_LINK_MS
    assert pointer(store, visitor).account == visitor.key


def test_every_event_is_handed_on_once_and_under_the_key_whose_profile_has_it(
    source: Bigtable, visitor: Visitor
) -> None:
    clean = visit(visitor)
    features(source, disordered(clean, 7) + [message(event) for event in clean])
    handed_on = Counter(event.event_id for _, new in outputs["new"] for event, _ in new.facts)
    assert handed_on == Counter(event.event_id for event in clean)
    assert {key for key, _ in outputs["new"]} <= {visitor.key, visitor.browser}
