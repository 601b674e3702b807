"""The logic of decoding: one message into rows and into facts by visitor, with no runner and no
store.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pipeline.core.catalog import Item
from pipeline.core.events import Event, encode_message
from pipeline.core.fold import Fact
from pipeline.core.invalid_event import InvalidEvent
from pipeline.steps.decode import (
    KNOWN_ITEM_TTL_S,
    UNKNOWN_ITEM_TTL_S,
    AccountLinks,
    CatalogCache,
    Decoded,
    Decoder,
)
from tests.pipeline.running import START_MS, Visitor

VISITOR = Visitor("decoder")
LAMP = Item(VISITOR.product("lamp"), category="home.light", brand="b", price=5.0)
NOW_S = 1000.0


class Catalog:
    """A catalog in memory, and the reads of it."""

    def __init__(self, *items: Item) -> None:
        self.held = {item.item_id: item for item in items}
        self.reads: list[set[str]] = []

    def read(self, ids: Iterable[str]) -> dict[str, Item]:
        ids = set(ids)
        self.reads.append(ids)
        return {item_id: self.held[item_id] for item_id in ids & self.held.keys()}


def decode(*events: Event, links: AccountLinks | None = None) -> Decoded:
    decoder = Decoder(CatalogCache(Catalog(LAMP).read), links or AccountLinks())
    return decoder.decode(encode_message(list(events)), {"site": "shop"}, NOW_S)


def alone(*events: Event) -> list[Fact]:
    return [(event, None) for event in events]


def test_an_event_has_its_item_beside_it_where_the_catalog_holds_it() -> None:
    views = [VISITOR.did("view_product", name) for name in ("lamp", "unknown")]
    decoded = decode(*views)
    assert decoded.facts == [(views[0], LAMP), (views[1], None)]
    assert [row.row["category"] for row in decoded.rows] == ["home.light", None]
    assert {row.row["site"] for row in decoded.rows} == {"shop"}


def test_an_event_of_a_browser_goes_by_its_browser_whether_or_not_it_names_an_account() -> None:
    before, after = VISITOR.anonymously("scroll"), VISITOR.logged_in("scroll", at_s=1)
    decoded = decode(before, after)
    assert decoded.by_browser == {VISITOR.browser: alone(before, after)}
    assert decoded.by_account == {}


def test_what_a_merged_browser_sends_for_its_account_goes_there_at_once_and_the_rest_does_not() -> (
    None
):
    links = AccountLinks()
    links.add(f"a{VISITOR.tag}", VISITOR.tag)
    own, silent = VISITOR.logged_in("scroll"), VISITOR.anonymously("scroll", at_s=1)
    others = VISITOR.logged_in("scroll", at_s=2, user_id="other")
    elsewhere = VISITOR.logged_in("scroll", at_s=3, anonymous_id="new")
    decoded = decode(own, silent, others, elsewhere, links=links)
    assert decoded.by_account == {VISITOR.key: alone(own)}
    assert decoded.by_browser == {
        VISITOR.browser: alone(silent, others),
        "a#new": alone(elsewhere),
    }


def test_a_full_memory_of_links_starts_anew_and_then_browsers_are_asked_again() -> None:
    links, event = AccountLinks(max_links=1), VISITOR.logged_in("scroll")
    links.add(f"a{VISITOR.tag}", VISITOR.tag)
    assert links.holds(event)
    links.add("one more", "than it holds")
    assert not links.holds(event)


def test_consent_keeps_an_event_out_of_the_log_or_out_of_the_folds() -> None:
    denied = [{"personalization": False}, {"analytics": False}]
    unfolded, unlogged = (
        VISITOR.did("scroll", at_s=n, metadata={"consent": {**GRANTED, **consent}})
        for n, consent in enumerate(denied)
    )
    decoded = decode(unfolded, unlogged)
    assert [row.row["event_id"] for row in decoded.rows] == [unfolded.event_id]
    assert decoded.by_account == {VISITOR.key: alone(unlogged)}
    assert decoded.visits == [(VISITOR.key, START_MS + 1000)]
    assert decoded.facts == alone(unfolded, unlogged)


GRANTED = {"analytics": True, "personalization": True}


def test_one_bad_event_spoils_its_whole_message() -> None:
    with pytest.raises(InvalidEvent, match="product_id"):
        decode(VISITOR.did("scroll"), VISITOR.did("purchase"))


# the catalog's cache


def test_an_item_loaded_after_its_first_event_is_known_when_the_cache_is_old() -> None:
    catalog, wanted = Catalog(), {LAMP.item_id}
    cache = CatalogCache(catalog.read)
    assert cache.items(wanted, NOW_S) == {}
    catalog.held[LAMP.item_id] = LAMP
    assert cache.items(wanted, NOW_S + UNKNOWN_ITEM_TTL_S - 0.1) == {}
    assert cache.items(wanted, NOW_S + UNKNOWN_ITEM_TTL_S) == {LAMP.item_id: LAMP}


def test_a_changed_item_is_noticed_when_the_cache_is_old() -> None:
    old, new = Item("p", price=1.0), Item("p", price=2.0)
    catalog = Catalog(old)
    cache = CatalogCache(catalog.read)
    assert cache.items({"p"}, NOW_S) == {"p": old}
    catalog.held["p"] = new
    assert cache.items({"p"}, NOW_S + KNOWN_ITEM_TTL_S - 0.1) == {"p": old}
    assert cache.items({"p"}, NOW_S + KNOWN_ITEM_TTL_S) == {"p": new}


def test_only_what_the_cache_lacks_is_read() -> None:
    catalog = Catalog(Item("a"), Item("b"))
    cache = CatalogCache(catalog.read)
    cache.items({"a"}, NOW_S)
    assert set(cache.items({"a", "b"}, NOW_S + 1)) == {"a", "b"}
    cache.items({"a", "b"}, NOW_S + 2)
    assert catalog.reads == [{"a"}, {"b"}]


def test_a_full_cache_starts_anew_and_still_answers_for_the_whole_message() -> None:
    catalog = Catalog(*(Item(name) for name in "abc"))
    cache = CatalogCache(catalog.read, max_items=1)
    cache.items({"a", "b"}, NOW_S)
    assert set(cache.items({"a", "c"}, NOW_S + 1)) == {"a", "c"}
    assert catalog.reads[-1] == {"a", "c"}
