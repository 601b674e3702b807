"""Messages into profiles and items: whatever the order, the split and the duplicates, the same sums
come out.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog import Item
from pipeline.core.decay import HOUR_MS
from pipeline.core.events import Event
from pipeline.core.fold import Folded, Pair, adopt, category_of, changed, fold, item_sums, linked
from pipeline.core.items import BOUGHT, TOUCHED, ItemStats
from pipeline.core.profile import MAX_SESSIONS, UserProfile
from pipeline.core.profile_keys import profile_key
from pipeline.core.session_totals import MAX_SESSION_ITEMS
from tests.pipeline.core.streams import (
    CATALOG,
    LATE_MS,
    START_MS,
    Fact,
    assert_same,
    disorder,
    event,
    laws,
    messages,
    random_stream,
    randoms,
    shuffled,
)
from tests.simulator.parity import from_file

Sums = dict[str, ItemStats]


def fold_all(parts: Iterable[list[Fact]], profile: UserProfile | None = None) -> list[Folded]:
    """Each message into the visitor's profile, which is stored and read in between."""
    profile, found = profile or UserProfile(), []
    for message in parts:
        found.append(fold(profile, message))
        profile = profile.copy()
    return found


def merged(partials: Iterable[Sums]) -> Sums:
    """Partial sums, each stored and read, merged by item."""
    total: Sums = {}
    for partial in partials:
        for item_id, stats in partial.items():
            total.setdefault(item_id, ItemStats()).merge(ItemStats.decode(stats.encode()))
    return total


def assert_same_sums(left: Sums, right: Sums) -> None:
    """The same items, counts, neighbours, vectors and popularities; one that no pair is left of
    counts as absent.
    """
    nothing = ItemStats()
    for item_id in left.keys() | right.keys():
        one, two = left.get(item_id, nothing), right.get(item_id, nothing)
        assert_same(one, two, item_id)
        popularity = one.log2_popularity(), two.log2_popularity()
        assert (
            popularity[0] == pytest.approx(popularity[1], abs=1e-9)
            if popularity[1]
            else popularity[0] is None
        )


def pairs_of(folded: Iterable[Folded], kind: int = TOUCHED) -> dict[tuple[str, str, int], float]:
    """What remains of the pairs of one kind: (items, hour) -> weight, without those that were taken
    back.
    """
    sums: dict[tuple[str, str, int], float] = {}
    for pair in itertools.chain.from_iterable(found.pairs for found in folded):
        if pair.kind == kind:
            key = (min(pair.item, pair.other), max(pair.item, pair.other), pair.time_ms)
            sums[key] = sums.get(key, 0.0) + pair.weight
    return {key: weight for key, weight in sums.items() if weight}


def touched(*events: Event) -> list[tuple[str, str]]:
    """The pairs of a fold of the events one by one, sorted, each as often as it counts."""
    found = pairs_of(fold_all([[(one, None)] for one in events]))
    assert all(weight > 0 for weight in found.values())
    return sorted(
        (one, two) for (one, two, _), weight in found.items() for _ in range(round(weight))
    )


# laws


@laws
@given(st.integers(1, 4), st.integers(0, 40), randoms())
def test_any_shuffle_split_and_duplication_of_several_visitors_gives_the_items_of_the_clean_streams(
    visitors: int, size: int, random: Random
) -> None:
    clean = [random_stream(random, size, visitor=f"v{n}") for n in range(visitors)]
    one_message = item_sums(fold(UserProfile(), stream) for stream in clean)
    folded = [
        found for stream in clean for found in fold_all(messages(random, disorder(random, stream)))
    ]
    assert_same_sums(merged(item_sums([found]) for found in shuffled(random, folded)), one_message)
    assert_same_sums(merged([item_sums(folded)]), one_message)


@laws
@given(st.integers(1, 40), randoms())
def test_what_is_folded_as_new_is_every_event_once(size: int, random: Random) -> None:
    stream = random_stream(random, size)
    folded = fold_all(messages(random, disorder(random, stream)))
    assert sorted(found.event_id for one in folded for found, _ in one.new) == sorted(
        found.event_id for found, _ in stream
    )


@laws
@given(st.integers(2, 30), randoms())
def test_a_first_event_that_comes_hours_late_moves_the_sessions_pairs_to_its_hour(
    size: int, random: Random
) -> None:
    times = random.sample(range(0, LATE_MS // 1000, 600), size)
    stream: list[Fact] = [
        (event(random.choice(("click", "purchase")), at_s, product_id=f"p{n % 9}"), None)
        for n, at_s in enumerate(times)
    ]
    late_last = sorted(stream, key=lambda fact: -fact[0].time_ms)
    folded = fold_all(messages(random, late_last, 3))
    whole = [fold(UserProfile(), stream)]
    for kind in (TOUCHED, BOUGHT):
        assert pairs_of(folded, kind) == pairs_of(whole, kind)
    hour_ms = (START_MS + min(times) * 1000) // HOUR_MS * HOUR_MS
    assert {time_ms for *_, time_ms in pairs_of(folded)} <= {hour_ms}
    assert_same_sums(merged(item_sums([found]) for found in folded), item_sums(whole))


@laws
@given(st.integers(MAX_SESSION_ITEMS, 70), randoms())
def test_a_session_of_many_items_links_the_same_sample_in_any_order(
    items: int, random: Random
) -> None:
    stream: list[Fact] = [
        (event(random.choice(("view_product", "purchase")), n, product_id=f"p{n}"), None)
        for n in range(items)
    ]
    folded = fold_all(messages(random, disorder(random, stream), 9))
    whole = [fold(UserProfile(), stream)]
    assert (
        len({name for one, two, _ in pairs_of(folded) for name in (one, two)}) == MAX_SESSION_ITEMS
    )
    for kind in (TOUCHED, BOUGHT):
        assert pairs_of(folded, kind) == pairs_of(whole, kind)
    assert_same_sums(merged(item_sums([found]) for found in folded), item_sums(whole))


@laws
@given(st.integers(0, 40), st.integers(0, 40), randoms())
def test_an_anonymous_visitor_adopted_at_any_point_leaves_the_items_of_one_known_all_along(
    size: int, at: int, random: Random
) -> None:
    stream = shuffled(random, random_stream(random, size))
    before, after = stream[:at], stream[at:]
    anonymous, account = UserProfile(), UserProfile()
    folded: list[Folded] = []
    for message in messages(random, before):  # the other device is known already
        profile = random.choice((anonymous, account))
        folded.append(fold(profile, disorder(random, message)))
        folded.append(fold(profile, disorder(random, message)))
    folded.append(adopt(account, anonymous.copy()))
    folded += fold_all(messages(random, disorder(random, [*before, *after])), account)
    whole = [fold(UserProfile(), stream)]
    for kind in (TOUCHED, BOUGHT):
        assert pairs_of(folded, kind) == pairs_of(whole, kind)
    assert_same_sums(merged(item_sums([found]) for found in folded), item_sums(whole))


@laws
@given(st.integers(0, 40), randoms())
def test_adopting_gives_the_profile_of_one_visitor_known_all_along(
    size: int, random: Random
) -> None:
    stream = random_stream(random, size)
    cut = random.randint(0, size)
    account, anonymous = UserProfile(), UserProfile()
    fold(account, stream[:cut])
    fold(anonymous, stream[cut:])
    adopt(account, anonymous)
    known = UserProfile()
    fold(known, stream)
    assert_same(account.copy(), known.copy())


@laws
@given(
    st.lists(
        st.tuples(st.frozensets(st.sampled_from("abcdef")), st.integers(0, 3)),
        min_size=1,
        max_size=6,
    )
)
def test_the_differences_from_state_to_state_add_up_to_the_last_state(
    states: list[tuple[frozenset[str], int]],
) -> None:
    nothing = linked(None)
    steps = [
        nothing,
        *(nothing._replace(touched=items, time_ms=hour * HOUR_MS) for items, hour in states),
    ]
    every = [pair for one, two in itertools.pairwise(steps) for pair in changed(one, two)]
    assert pairs_of([Folded([], every)]) == pairs_of(
        [Folded([], list(changed(nothing, steps[-1])))]
    )


# pairs by stories


def test_each_pair_of_a_session_counts_once_whichever_comes_first_and_however_often() -> None:
    stream = [event(at_s=s, product_id=p) for s, p in enumerate("abacabcb")]
    for order in itertools.islice(itertools.permutations(stream), 0, 40_320, 1009):
        assert touched(*order, *stream) == [("a", "b"), ("a", "c"), ("b", "c")]


def test_items_of_different_sessions_are_no_pair() -> None:
    assert touched(event(product_id="a"), event(at_s=1, product_id="b", session_id="s2")) == []


def test_only_what_was_done_on_purpose_makes_a_pair() -> None:
    view, impression = event(product_id="a"), event("impression", 1, product_id="b")
    assert touched(view, impression) == touched(impression, view) == []
    assert touched(view, event("scroll", 1)) == []


def test_the_same_pair_counts_again_in_another_session() -> None:
    stream = [
        event(at_s=s, product_id=p, session_id=f"s{s // 10}")
        for s, p in ((0, "a"), (1, "b"), (10, "a"), (11, "b"))
    ]
    found = pairs_of(fold_all([[(one, None)] for one in stream]))
    assert found == {("a", "b", START_MS): 2.0}


def test_only_what_was_bought_in_one_session_is_bought_together() -> None:
    stream = [
        event("purchase", 0, product_id="a"),
        event(at_s=1, product_id="b"),
        event("purchase", 2, product_id="c"),
    ]
    found = pairs_of(fold_all([[(one, None)] for one in stream]), BOUGHT)
    assert found == {("a", "c", START_MS): 1.0}


@pytest.mark.parametrize(("at_s", "expected"), [(3599.999, [("a", "b")]), (3600, [])])
def test_without_a_session_id_the_same_clock_hour_makes_a_pair(
    at_s: float, expected: list[tuple[str, str]]
) -> None:
    stream = [
        event(product_id="a", session_id=None),
        event(at_s=at_s, product_id="b", session_id=None),
    ]
    assert touched(*stream) == touched(*stream[::-1]) == expected


def test_a_message_of_duplicates_changes_nothing() -> None:
    profile, facts = (
        UserProfile(),
        [(event(product_id="a"), None), (event(at_s=1, product_id="b"), None)],
    )
    assert len(fold(profile, facts).pairs) == 1
    before = profile.encode()
    assert fold(profile, facts) == Folded([], []) and profile.encode() == before


def test_a_pair_counts_at_the_hour_its_session_began() -> None:
    found = fold(
        UserProfile(),
        [(event(at_s=3599, product_id="a"), None), (event(at_s=3601, product_id="b"), None)],
    )
    assert found.pairs == [Pair("a", "b", TOUCHED, 1.0, START_MS)]


def test_both_items_of_a_pair_become_neighbours_and_take_each_others_direction() -> None:
    sums = item_sums(
        [
            fold(
                UserProfile(),
                [(event(product_id="a"), None), (event(at_s=1, product_id="b"), None)],
            )
        ]
    )
    assert sums["a"].neighbours(START_MS) == {"b": pytest.approx(1.0)}
    assert sums["b"].neighbours(START_MS) == {"a": pytest.approx(1.0)}
    assert sums["a"].context.direction() is not None


def test_a_session_adopted_from_a_browser_links_what_was_touched_on_either_side() -> None:
    account, browser = UserProfile(), UserProfile()
    folded = [
        fold(account, [(event(product_id="a"), None)]),
        fold(browser, [(event(at_s=1, product_id="b"), None)]),
    ]
    assert pairs_of(folded) == {}
    folded.append(adopt(account, browser))
    assert pairs_of(folded) == {("a", "b", START_MS): 1.0}


def test_a_session_of_the_browser_alone_is_adopted_without_a_pair_changing() -> None:
    account, browser = UserProfile(), UserProfile()
    fold(account, [(event(product_id="a"), None)])
    fold(browser, [(event(at_s=n, product_id=f"p{n}", session_id="s2"), None) for n in range(3)])
    assert adopt(account, browser) == Folded([], [])
    assert fold(account, [(event(at_s=9, product_id="p9", session_id="s2"), None)]).pairs == [
        Pair("p9", f"p{n}", TOUCHED, 1.0, START_MS) for n in range(3)
    ]


def test_a_session_that_comes_back_after_two_newer_ones_counts_its_pairs_again() -> None:
    def visit(number: int, at_s: float) -> list[list[Fact]]:
        return [
            [(event(at_s=at_s + n, product_id=p, session_id=f"s{number}"), None)]
            for n, p in enumerate("ab")
        ]

    parts = [visit(n, 100.0 * n) for n in range(MAX_SESSIONS + 1)] + [visit(0, 1000.0)]
    assert pairs_of(fold_all(itertools.chain(*parts))) == {("a", "b", START_MS): MAX_SESSIONS + 2.0}


def test_the_category_of_a_fact_is_the_catalogs_else_the_events() -> None:
    said = event(product_id="p", metadata={"category": "said"})
    assert category_of((said, Item("p", category="true"))) == "true"
    assert category_of((said, Item("p"))) == category_of((said, None)) == "said"
    stats = item_sums([fold(UserProfile(), [(said, CATALOG["p1"])])])["p"]
    assert stats.category == CATALOG["p1"].category


@pytest.mark.parametrize(
    "order", [list, lambda parts: parts[::-1]], ids=["as they came", "overtaken"]
)
def test_pairs_taken_back_in_one_bundle_and_added_in_another_cancel_in_any_order(
    order: Callable[[list[Sums]], list[Sums]],
) -> None:
    profile = UserProfile()
    first = fold(profile, [(event(at_s=9000 + n, product_id=p), None) for n, p in enumerate("abc")])
    second = fold(profile, [(event("scroll", 0), None)])
    assert {pair.weight for pair in second.pairs} == {1.0, -1.0}
    total = merged(order([item_sums([first]), item_sums([second])]))
    whole = item_sums(
        [
            Folded(
                [], [Pair(*two, TOUCHED, 1.0, START_MS) for two in itertools.combinations("abc", 2)]
            )
        ]
    )
    for item_id in "abc":
        assert total[item_id].neighbours(START_MS) == pytest.approx(
            whole[item_id].neighbours(START_MS)
        )


def test_real_visits_give_the_same_states_event_by_event_and_as_one_message_a_visitor(
    shared_data: Callable[[str], Path],
) -> None:
    visits: dict[str, list[Fact]] = {}
    messages_of_file = from_file(shared_data("rees46_2019-10-01.csv"))[:1_000]
    for found in itertools.chain.from_iterable(messages_of_file):
        visits.setdefault(profile_key(found), []).append((found, None))
    one_by_one: list[Folded] = []
    whole: list[Folded] = []
    for facts in visits.values():
        profile, at_once = UserProfile(), UserProfile()
        for fact in facts:
            one_by_one.append(fold(profile, [fact]))
            profile.settle()
        whole.append(fold(at_once, facts))
        assert_same(profile, at_once.copy())
    assert sum(len(found.pairs) for found in whole) > 1_000
    assert_same_sums(item_sums(one_by_one), item_sums(whole))


# clicks after searches


def clicks_of(folded: Iterable[Folded]) -> dict[tuple[str, int], float]:
    """How often each search counts as clicked, by query and time in ms."""
    found: dict[tuple[str, int], float] = defaultdict(float)
    for click in itertools.chain.from_iterable(each.clicks for each in folded):
        found[click.query, click.time_ms] += click.weight
    return {search: weight for search, weight in found.items() if weight}


def searching(query: str, at_s: float = 0, **fields: Any) -> Fact:
    return event("search", at_s, f"{query}{at_s}", metadata={"query": query}, **fields), None


def viewing(at_s: float, **fields: Any) -> Fact:
    return event("view_product", at_s, product_id="p", **fields), None


@laws
@given(st.integers(0, 50), st.integers(0, 15), randoms())
def test_clicks_after_searches_are_the_same_in_any_order_and_with_duplicates(
    size: int, searches: int, random: Random
) -> None:
    stream = random_stream(random, size, span_ms=1_200_000)
    stream += [viewing(random.randrange(1_200)) for _ in range(size)]
    stream += [searching(random.choice("abc") * 2, 60 * n) for n in range(searches)]
    whole = [fold(UserProfile(), stream)]
    folded = fold_all(messages(random, disorder(random, stream)), UserProfile())
    assert clicks_of(folded) == clicks_of(whole)


@laws
@given(st.integers(0, 20), st.integers(0, 20), randoms())
def test_a_login_at_any_point_leaves_the_clicks_of_a_visitor_known_all_along(
    size: int, at: int, random: Random
) -> None:
    stream = shuffled(random, random_stream(random, size, span_ms=1_200_000))
    anonymous, account = UserProfile(), UserProfile()
    folded = [fold(random.choice((anonymous, account)), [fact]) for fact in stream[:at]]
    folded.append(adopt(account, anonymous))
    folded += fold_all(messages(random, stream[at:]), account)
    assert clicks_of(folded) == clicks_of([fold(UserProfile(), stream)])


def test_a_click_speaks_for_the_search_before_it_alone() -> None:
    folded = fold(UserProfile(), [searching("lmap"), searching("lamp", 5), viewing(9)])
    assert clicks_of([folded]) == {("lamp", START_MS + 5_000): 1.0}


def test_a_search_that_comes_late_takes_the_click_from_the_one_before_it() -> None:
    profile = UserProfile()
    first = fold(profile, [searching("lmap"), viewing(9)])
    assert clicks_of([first]) == {("lmap", START_MS): 1.0}
    assert clicks_of([first, fold(profile, [searching("lamp", 5)])]) == {
        ("lamp", START_MS + 5_000): 1.0
    }


@pytest.mark.parametrize(
    "facts",
    [
        [viewing(1), searching("lamp", 5)],
        [searching("lamp"), viewing(601)],
        [searching("lamp"), viewing(5, session_id="s2")],
        [searching("ann@example.com"), viewing(5)],
    ],
    ids=["before", "ten minutes later", "in another session", "of no counted query"],
)
def test_a_touch_is_no_click_after_a_search(facts: list[Fact]) -> None:
    assert clicks_of([fold(UserProfile(), facts)]) == {}


def test_only_the_first_searches_and_touches_of_a_long_session_are_judged() -> None:
    searched_8 = [fact for n in range(0, 80, 10) for fact in (searching("lamp", n), viewing(n + 1))]
    later = [searching("lamp", 90), viewing(91), searching("lamp", 95), viewing(96)]
    assert sum(clicks_of([fold(UserProfile(), searched_8 + later)]).values()) == 8
    touched_32 = [viewing(n) for n in range(1, 33)]
    after = [searching("lamp", 40), viewing(41)]
    assert clicks_of([fold(UserProfile(), touched_32 + after)]) == {}
    assert clicks_of([fold(UserProfile(), touched_32[:-1] + after)]) != {}
