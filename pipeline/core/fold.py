"""One message into one profile: what is new, which items it links, whether it can be trusted.

The pipeline, the backfill and training all fold with this function, so they cannot differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

import msgspec

from pipeline.core.catalog import Item
from pipeline.core.decay import HOUR_MS
from pipeline.core.events import Event
from pipeline.core.items import BOUGHT, TOUCHED, ItemStats, Link
from pipeline.core.privacy.bots import is_bot
from pipeline.core.profile import UserProfile
from pipeline.core.profile_keys import account_key
from pipeline.core.queries import SearchClick
from pipeline.core.session_totals import SessionTotals, is_bot_session, session_key

Fact = tuple[Event, Item | None]  # an event and what the catalog knows of its item
Links = defaultdict[str, list[Link]]  # by item id


class Pair(msgspec.Struct, frozen=True, gc=False):
    """Two items of one session: `weight` 1 adds the pair, -1 takes it back; it counts at
    `time_ms`."""

    item: str
    other: str
    kind: int
    weight: float
    time_ms: int


class Linked(NamedTuple):
    """Items that one session links: those touched, those bought, and the hour it began, in ms."""

    touched: frozenset[str]
    bought: frozenset[str]
    time_ms: int


class Folded(NamedTuple):
    """A message, folded: its facts that were new to the profile, in order, and the pairs, and
    clicks after searches, that came or went.
    """

    new: list[Fact]
    pairs: list[Pair]
    clicks: tuple[SearchClick, ...] = ()


_NOTHING = Linked(frozenset(), frozenset(), 0)
Clicked = set[tuple[int, str]]
"""Searches of a session that a click came after: see `SessionTotals.clicked`."""


class Said(NamedTuple):
    """The part of a session that is not its visitor's: items linked, searches that led to one."""

    linked: Linked
    clicked: Clicked


def fold(profile: UserProfile, facts: Iterable[Fact]) -> Folded:
    """Add a message's facts to the profile.

    Pairs come from the sessions' sets of items, as the difference of what each session links after
    and before: the sum of all differences is what the finished session links, in any order of its
    events. What a bot did links nothing.
    """
    before: dict[str, Said] = {}
    new: list[Fact] = []
    for fact in facts:
        key = session_key(fact[0])
        if key not in before and not is_bot_session(key):
            before[key] = said(profile.sessions.get(key))
        if profile.add(*fact):
            new.append(fact)
    pairs: list[Pair] = []
    clicks: list[SearchClick] = []
    for key in sorted(before):
        after = said(profile.sessions.get(key))
        pairs += changed(before[key].linked, after.linked)
        clicks += changed_clicks(before[key].clicked, after.clicked)
    return Folded(new, pairs, tuple(clicks))


def adopt(profile: UserProfile, other: UserProfile) -> Folded:
    """Merge another visitor's profile (the anonymous one, at login); what sessions of both now
    link.
    """
    keys = [key for key in other.sessions if key in profile.sessions and not is_bot_session(key)]
    parts = {key: (said(profile.sessions[key]), said(other.sessions[key])) for key in keys}
    profile.merge(other)
    pairs: list[Pair] = []
    clicks: list[SearchClick] = []
    for key in sorted(key for key in keys if key in profile.sessions):
        own, theirs = parts[key]
        after = said(profile.sessions[key])
        pairs += changed(own.linked, after.linked)
        pairs += changed(theirs.linked, _NOTHING)
        clicks += changed_clicks(own.clicked, after.clicked)
        clicks += changed_clicks(theirs.clicked, set())
    return Folded([], pairs, tuple(clicks))


def said(session: SessionTotals | None) -> Said:
    """The items linked, and the clicks after searches, of a session as it is now."""
    return Said(linked(session), session.clicked() if session is not None else set())


def changed_clicks(before: Clicked, after: Clicked) -> list[SearchClick]:
    """The clicks after searches to add and to take back, from one state of a session to the
    next.
    """
    if before == after:
        return []
    gone, come = sorted(before - after), sorted(after - before)
    return [
        *(SearchClick(query, -1.0, time_s * 1000) for time_s, query in gone),
        *(SearchClick(query, 1.0, time_s * 1000) for time_s, query in come),
    ]


def first_account(events: Iterable[Event]) -> str:
    """The profile key of the account that the first event to arrive with one names; empty when none
    does.
    """
    named = [
        (event.ingest_time or event.timestamp, event.timestamp, event.event_id, event.user_id)
        for event in events
        if event.user_id
    ]
    if not named:
        return ""
    return account_key(min(named)[3])


def of_people(folded: Folded) -> Folded:
    """A folded message without a bot's facts: what may count beyond the visitor's own profile."""
    new = [fact for fact in folded.new if not is_bot(fact[0])]
    if len(new) == len(folded.new):
        return folded
    return folded._replace(new=new)


def linked(session: SessionTotals | None) -> Linked:
    """Items that a session links now."""
    if session is None or not session.items:
        return _NOTHING
    hour_ms = session.first_ms // HOUR_MS * HOUR_MS
    return Linked(frozenset(session.items), frozenset(session.bought), hour_ms)


def changed(before: Linked, after: Linked) -> list[Pair]:
    """The pairs to add and to take back, from one state of a session to the next."""
    pairs: list[Pair] = []
    if before == after:
        return pairs
    same_time = before.time_ms == after.time_ms
    for kind, old, new in (
        (TOUCHED, before.touched, after.touched),
        (BOUGHT, before.bought, after.bought),
    ):
        if same_time and old == new:
            continue
        if same_time and old < new:
            kept, added = sorted(old), new - old
            for item in sorted(added):
                pairs += [Pair(item, other, kind, 1.0, after.time_ms) for other in kept]
            pairs += _pairs(added, kind, 1.0, after.time_ms)
        else:
            pairs += _pairs(old, kind, -1.0, before.time_ms)
            pairs += _pairs(new, kind, 1.0, after.time_ms)
    return pairs


def _pairs(items: Iterable[str], kind: int, weight: float, time_ms: int) -> list[Pair]:
    """Each two of `items`, in order."""
    return [Pair(one, two, kind, weight, time_ms) for one, two in combinations(sorted(items), 2)]


def category_of(fact: Fact) -> str:
    """The category of the fact's item: the catalog's, else the event's."""
    event, item = fact
    if item is not None and item.category:
        return item.category
    return event.text("category")


def catalog_category(fact: Fact) -> str | None:
    """The catalog's category of the fact's item, which may be empty; None for an item that the
    catalog does not hold.

    Only these have scopes: the sender of an event chooses its category, from unlimited names.
    """
    _, item = fact
    return item.category if item is not None else None


def item_sums(folded: Iterable[Folded]) -> dict[str, ItemStats]:
    """Partial item statistics by item id of some folded messages."""
    stats: dict[str, ItemStats] = defaultdict(ItemStats)
    links: Links = defaultdict(list)
    for new, pairs, *_ in folded:
        for event, item in new:
            if event.product_id is not None:
                stats[event.product_id].add(event, catalog_category((event, item)))
        add_links(links, pairs)
    for item_id, found in links.items():
        stats[item_id].link_all(found)
    return dict(stats)


def add_links(links: Links, pairs: Iterable[Pair]) -> None:
    """Add each pair to the links of both of its items, where `ItemStats.link_all` takes them."""
    for pair in pairs:
        links[pair.item].append((pair.other, pair.kind, pair.weight, pair.time_ms))
        links[pair.other].append((pair.item, pair.kind, pair.weight, pair.time_ms))
