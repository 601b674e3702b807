"""The logic of items: sums of a bundle, one partial into one item, with no runner and no store."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.catalog import Item, decode_item
from pipeline.core.decay import DAY_MS
from pipeline.core.fold import Fact, Folded, Pair
from pipeline.core.items import BOUGHT, TOUCHED, ItemStats, Trending
from pipeline.steps.items import ItemFold, Partials, add_rank, partials, sums
from pipeline.store import layout
from tests.pipeline.running import START_MS, Visitor

VISITOR = Visitor("items")
PRODUCT, OTHER = VISITOR.product("p"), VISITOR.product("other")


def of(*found: Fact, pairs: list[Pair] | None = None, shards: int = 1) -> Partials:
    return partials([Folded(list(found), pairs or [])], shards)


def viewed(
    at_s: float = 0,
    product: str = PRODUCT,
    item: Item | None = None,
    visitor: Visitor = VISITOR,
    **said: object,
) -> Fact:
    event = visitor.did("view_product", "p", at_s, metadata=said)
    return msgspec.structs.replace(event, product_id=product), item


def add(total: ItemStats, found: Partials, fold: ItemFold | None = None) -> bool:
    """Fold an item's one partial; whether its stub is due."""
    [(item_id, (addition, _))] = [one for one in found.items if one[0] == PRODUCT]
    return (fold or ItemFold(1)).add(item_id, total, addition)


def test_visitors_of_one_bundle_are_summed_by_item_and_by_scope() -> None:
    views = [viewed(item=Item(PRODUCT, category="c"), visitor=Visitor(f"v{n}")) for n in range(6)]
    found = partials([Folded([view], []) for view in views], 1)
    [(item_id, (encoded, stub))] = found.items
    assert (item_id, stub) == (PRODUCT, b"")
    assert sum(ItemStats.decode(encoded).counts.totals.values()) == 6
    scopes = {row: Trending.decode(scope).counts.totals for row, scope in found.scopes}
    assert {row: sum(totals.values()) for row, totals in scopes.items()} == {
        "global#all#00": 6,
        "category#c#00": 6,
    }


def test_an_event_without_a_product_changes_no_item() -> None:
    assert of((VISITOR.did("scroll"), None)) == Partials([], [])


def test_an_item_that_changes_its_category_counts_each_event_where_it_was() -> None:
    found = of(*(viewed(n, item=Item(PRODUCT, category=name)) for n, name in enumerate("ab")))
    scopes = {row: Trending.decode(scope).counts.totals for row, scope in found.scopes}
    assert (scopes["category#a#00"], scopes["category#b#00"]) == ({0: 1}, {0: 1})
    fold, total = ItemFold(1), ItemStats()
    add(total, found, fold)
    assert {row for row, _ in fold.take_ranks()} == {"global#all#00", "category#b#00"}


def test_a_pair_that_is_taken_back_later_leaves_nothing() -> None:
    total = ItemStats()
    for weight, left in ((1.0, {OTHER: 1.0}), (-1.0, {})):
        pairs = [Pair(PRODUCT, OTHER, kind, weight, START_MS) for kind in (TOUCHED, BOUGHT)]
        add(total, of(pairs=pairs))
        stored = ItemStats.decode(total.encode())
        assert (stored.neighbours(START_MS), stored.bought_with(START_MS)) == (left, left)


def test_popularity_is_that_of_all_history_and_is_taken_once() -> None:
    fold, total = ItemFold(1), ItemStats()
    for n in range(2):
        add(total, of(viewed(n, item=Item(PRODUCT))), fold)
    [(row, scope)] = fold.take_ranks()
    assert row == "global#all#00"
    assert Trending.decode(scope).scores == {PRODUCT: total.log2_popularity()}
    assert fold.take_ranks() == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_item_that_the_catalog_comes_to_hold_moves_with_its_whole_popularity(
    order: tuple[int, int],
) -> None:
    views = [viewed(0), viewed(1, item=Item(PRODUCT, category=""))]
    whole, told = ItemStats(), dict[str, Trending]()
    for n in order:
        items, counted = sums([Folded([views[n]], [])], 1)
        whole.merge(items[PRODUCT])
        assert counted.keys() == {"stubs#all#00" if n == 0 else "global#all#00"}
        add_rank(told, PRODUCT, whole, 1)
    assert told["global#all#00"].scores == {PRODUCT: whole.log2_popularity()}
    last = dict[str, Trending]()
    add_rank(last, PRODUCT, whole, 1)
    assert last.keys() == {"global#all#00"}


# stubs


def test_a_stub_is_due_with_the_first_event_and_on_each_later_day() -> None:
    total, day_s = ItemStats(), DAY_MS / 1000
    due = [add(total, of(viewed(at_s))) for at_s in (0, 1, day_s, day_s + 1, 2)]
    assert due == [True, False, True, False, False]


def test_a_stub_is_due_with_an_items_own_first_event_though_its_neighbours_came_before() -> None:
    total = ItemStats()
    pair = Pair(PRODUCT, OTHER, TOUCHED, 1.0, START_MS)
    assert not add(total, of(viewed(1, OTHER), pairs=[pair]))
    assert add(total, of(viewed(0)))


def test_a_stub_says_what_the_first_event_of_the_bundle_said() -> None:
    found = of(viewed(0, category="c"), viewed(1, category="d"))
    [(_, (_, stub))] = found.items
    assert decode_item(stub).category == "c"
    [(row, _)] = found.scopes
    assert row == layout.trending_key(layout.STUB_SCOPE, 0)
