"""The fold of items and scopes: each new event counts once, in its shard, and what trends follows
from the items.
"""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.catalog import Item
from pipeline.core.decay import DAY_MS
from pipeline.core.events import Event
from pipeline.core.fold import Pair
from pipeline.core.items import TOUCHED, ItemStats, Trending
from pipeline.core.trust import NewFacts
from pipeline.runtime.clock import now_ms
from pipeline.steps.bigtable import WriteToBigtable
from pipeline.steps.items import FoldItems, add_rank, shard_of
from pipeline.steps.keyed_state import StateOptions
from pipeline.store import layout
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.layout import item_write
from tests.pipeline.core.streams import assert_same
from tests.pipeline.running import (
    RUNNERS,
    START_MS,
    Clean,
    Visitor,
    collect,
    disordered,
    features,
    message,
    outputs,
    run,
    script,
    stored_items,
    stored_stubs,
)


def catalog_of(tag: str, products: int = 9) -> dict[str, Item]:
    """The products of `shoppers`, in three categories."""
    items = [Item(f"{tag}-p{n}", category=f"{tag}.c{n % 3}") for n in range(products)]
    return {item.item_id: item for item in items}


def new(
    visitor: Visitor, *events: Event, pairs: list[Pair] | None = None, trusted: bool = True
) -> Any:
    """What the fold of a message hands on."""
    return visitor.key, NewFacts([(event, None) for event in events], pairs or [], trusted)


def shoppers(tag: str, products: int = 9) -> list[tuple[Visitor, list[Event]]]:
    """Six visitors who view, cart and buy some of the products."""
    found = []
    for n in range(6):
        visitor = Visitor(f"{tag}{n}")
        names = ("view_product", "impression", "click", "add_to_cart", "purchase")
        events = [
            visitor.did(names[m % 5], at_s=60 * n + m, metadata={"category": f"{tag}.said{m}"})
            for m in range(10)
        ]
        found.append(
            (
                visitor,
                [_of(event, f"{tag}-p{(n + m) % products}") for m, event in enumerate(events)],
            )
        )
    return found


def _of(event: Event, product_id: str) -> Event:
    return Event(
        **{name: getattr(event, name) for name in event.__struct_fields__}
        | {"product_id": product_id}
    )


def total(parts: list[ItemStats]) -> ItemStats:
    whole = ItemStats()
    for part in parts:
        whole.merge(part)
    return whole


@pytest.mark.parametrize("shards", [1, 4])
def test_scopes_hold_what_is_computed_from_the_item_rows_and_shards_share_no_item(
    alone: Bigtable, tag: str, shards: int
) -> None:
    everything, catalog = shoppers(tag), catalog_of(tag)
    alone.store().write([item_write(item, now_ms()) for item in catalog.values()])
    features(
        alone, disordered([event for _, events in everything for event in events], 5), shards=shards
    )
    items = {key: ItemStats.decode(value) for key, value in alone.store().scan(layout.STATS)}
    clean = [Clean(events, shards, catalog).items for _, events in everything]
    ids = {item_id for found in clean for item_id in found}
    assert_same(
        items,
        {
            item_id: total([found[item_id] for found in clean if item_id in found])
            for item_id in ids
        },
    )

    expected: dict[str, Trending] = {}
    for item_id, stats in items.items():
        add_rank(expected, item_id, stats, shards)
        shard = shard_of(item_id, shards)
        for scope in (layout.GLOBAL_SCOPE, layout.category_scope(stats.category)):
            expected[layout.trending_key(scope, shard)].counts.merge(stats.counts)
    scopes = {key: Trending.decode(value) for key, value in alone.store().scan(layout.TRENDING)}
    assert_same(scopes, expected)
    of_all = [
        scope.scores.keys() for row, scope in scopes.items() if row.startswith(layout.GLOBAL_SCOPE)
    ]
    assert len(of_all) == (1 if shards == 1 else 4)
    assert sorted(item_id for shard in of_all for item_id in shard) == sorted(ids)
    alone.store().close()


def test_items_touched_in_one_session_are_neighbours_once_from_both_sides_whatever_the_order(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    views = [visitor.did("view_product", name, at_s) for at_s, name in enumerate("abcab")]
    bought = [visitor.did("purchase", name, 10) for name in "ab"]
    features(source, disordered(views + bought, 2))
    items = stored_items(store, [visitor.product(name) for name in "abc"])
    a, b, c = (items[visitor.product(name)] for name in "abc")
    assert a.neighbours(START_MS) == pytest.approx(
        {visitor.product("b"): 1.0, visitor.product("c"): 1.0}, rel=1e-9
    )
    assert a.bought_with(START_MS) == pytest.approx({visitor.product("b"): 1.0}, rel=1e-9)
    assert b.neighbour_weights.sums[visitor.product("a")] == pytest.approx(
        a.neighbour_weights.sums[visitor.product("b")], rel=1e-9
    )
    assert c.bought_with(START_MS) == {}


@pytest.mark.parametrize("runner", RUNNERS)
def test_visitors_of_one_bundle_are_summed_by_item_before_the_fold(
    source: Bigtable, tag: str, runner: type
) -> None:
    visitors = [Visitor(f"{tag}{n}") for n in range(6)]
    views = [new(v, _of(v.did("view_product"), f"{tag}-p")) for v in visitors]
    run(lambda p: collect(p | script(views) | FoldItems(StateOptions(source), 4), "writes"), runner)
    [stats] = [
        ItemStats.decode(value) for kind, _, value, _ in outputs["writes"] if kind == layout.STATS
    ]
    assert stats.counts.totals == {0: 6}


def test_what_is_not_trusted_counts_nowhere(source: Bigtable, visitor: Visitor) -> None:
    pairs = [Pair(visitor.product("a"), visitor.product("b"), TOUCHED, 1.0, START_MS)]
    marked = new(visitor, visitor.did("view_product", "a"), pairs=pairs, trusted=False)
    run(lambda p: collect(p | script([marked]) | FoldItems(StateOptions(source)), "writes"))
    assert outputs["writes"] == []


def test_a_category_that_only_events_name_has_no_scope(alone: Bigtable, tag: str) -> None:
    visitor, known = Visitor(tag), Item(f"{tag}-known", category="lamps")
    alone.store().write([item_write(known, now_ms()), item_write(Item(f"{tag}-bare"), now_ms())])
    said = [
        visitor.did("view_product", name, n, metadata={"category": f"lamps#{n}"})
        for n, name in enumerate(("known", "bare", "unknown"))
    ]
    features(alone, [message(*said)])
    scopes = {key: Trending.decode(value) for key, value in alone.store().scan(layout.TRENDING)}
    assert {row: set(scope.scores) for row, scope in scopes.items()} == {
        "global#all#00": {visitor.product("known"), visitor.product("bare")},
        "category#lamps#00": {visitor.product("known")},
        "stubs#all#00": {visitor.product("unknown")},
    }
    assert [sum(scope.counts.totals.values()) for _, scope in sorted(scopes.items())] == [1, 2, 1]
    alone.store().close()


# stubs


def test_an_item_the_catalog_does_not_hold_gets_a_stub_which_a_load_overwrites(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    item_id = visitor.product("new")
    features(
        source,
        [message(visitor.did("view_product", "new", metadata={"category": "c", "price": 2}))],
    )
    assert stored_stubs(store, [item_id]) == {
        item_id: Item(item_id, category="c", price=2.0, stub=True)
    }
    assert store.read_items([item_id]) == {}
    loaded = Item(item_id, title="Lamp", category="home")
    store.write([item_write(loaded, now_ms())])
    features(source, [message(visitor.did("view_product", "new", 1, metadata={"category": "c"}))])
    assert store.read_items([item_id]) == {item_id: loaded}
    assert stored_items(store, [item_id])[item_id].counts.totals == {0: 2}


def test_a_stub_is_as_old_as_its_last_day_and_as_the_first_event_told_it(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    item_id, day_s = visitor.product("new"), DAY_MS / 1000
    titles = {0.0: "first", 1.0: "same day", day_s: "next day", day_s + 1: "same next day"}
    views = [
        visitor.did("view_product", "new", at_s, metadata={"title": title})
        for at_s, title in titles.items()
    ]
    features(source, [message(view) for view in views])
    assert stored_stubs(store, [item_id])[item_id].title == "first"
    [(_, written_ms)] = store.read_many(layout.STUB, [item_id]).values()
    assert written_ms == START_MS + DAY_MS
    assert [kind for kind, *_ in outputs["item writes"]].count(layout.STUB) == 2


def test_a_stub_does_not_hide_an_item_that_the_catalog_already_held(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    view, item_id = visitor.did("view_product", "known"), visitor.product("known")
    store.write([item_write(Item(item_id, title="Lamp"), now_ms())])
    # A process that looked before the load believes for some seconds that the catalog lacks it.
    stale = script([new(visitor, view)])
    run(
        lambda p: (
            p
            | stale
            | FoldItems(StateOptions(source))
            | WriteToBigtable(source, after_commit=False)
        )
    )
    assert stored_stubs(store, [item_id])[item_id].stub
    assert store.read_items([item_id])[item_id].title == "Lamp"
