"""Suggestions: which kinds, in which order, for everybody and for one visitor."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from pipeline.core.catalog import Item
from pipeline.core.decay import DAY_MS
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import ItemRow, ItemStats
from pipeline.core.profile import UserProfile
from pipeline.core.queries import MIN_VISITORS, QueryStats, SearchClick, TopQueries, query_sums
from tests.pipeline.core.streams import START_MS, event, shuffled
from tests.vertex.api.fakes import FakeReader
from vertex.api.suggest.answer import NOBODY, Person, Suggestion, person_of
from vertex.api.suggest.phrases import category_text, query_entries
from vertex.api.suggest.refresh import Suggestions

NOW_MS = START_MS + DAY_MS
CATALOG = [
    Item("p1", "Red desk lamp", "home.lighting", "Oakmere", 10.0),
    Item("p2", "Floor lamp", "home.lighting", "Lumen", 20.0),
    Item("p3", "Lampshade", "home.living_room", "Oakmere", 5.0),
    Item("p4", "Running shoes", "apparel.shoes", "Fleet", 90.0),
]


def top_of(**searches: Any) -> TopQueries:
    """Top queries by words: how many visitors searched, how many of them had results and clicks."""
    top = TopQueries(NOW_MS)
    for name, (visitors, results, clicks) in searches.items():
        query = name.replace("_", " ")
        events = [
            event(
                "search",
                n,
                f"{query}{n}",
                anonymous_id=f"v{n}",
                metadata={"query": query, "results": int(n < results)},
            )
            for n in range(visitors)
        ]
        clicked = [SearchClick(query, 1.0, START_MS) for _ in range(clicks)]
        stats = QueryStats()
        for partial in query_sums(events, clicked).values():
            stats.merge(partial)
        found = stats.top(1)
        if found is not None:
            top.note(query, found)
    return top


async def shop(
    top: TopQueries | None = None, items: list[Item] | None = None
) -> tuple[Suggestions, ItemColumns, FakeReader]:
    columns, reader = ItemColumns(), FakeReader()
    for item in CATALOG if items is None else items:
        columns.put(ItemRow(item, viewed(item.item_id, 1)))
    reader.top = top or TopQueries()
    suggestions = Suggestions(reader, lambda: columns)
    await suggestions.refresh()
    return suggestions, columns, reader


def viewed(item_id: str, views: int) -> ItemStats:
    stats = ItemStats()
    for n in range(views):
        stats.add(event("view_product", n, product_id=item_id), "c")
    return stats


def told(suggestions: Suggestions, typed: str, person: Person = NOBODY, n: int = 20) -> list[str]:
    return [f"{one.kind}:{one.text}" for one in suggestions.suggester.suggest(typed, n, person)]


async def test_queries_categories_brands_and_products_are_suggested() -> None:
    suggestions, *_ = await shop(top_of(lamp=(6, 6, 3)))
    assert told(suggestions, "lam") == [
        "query:lamp",
        "product:Lampshade",
        "product:Floor lamp",
        "product:Red desk lamp",
    ]
    assert told(suggestions, "ligh") == ["category:lighting"]
    assert told(suggestions, "oak")[0] == "brand:Oakmere"
    [shoes] = [one for one in suggestions.suggester.suggest("sho", 5) if one.kind == "category"]
    assert shoes == Suggestion("shoes", "category", "apparel.shoes", shoes.score)


async def test_where_nothing_is_typed_phrases_are_suggested_and_no_products() -> None:
    suggestions, *_ = await shop(top_of(lamp=(6, 6, 3)))
    kinds = {line.partition(":")[0] for line in told(suggestions, "  ")}
    assert kinds == {"query", "category", "brand"} and told(suggestions, "")[0] == "query:lamp"


async def test_a_query_without_results_sinks_and_one_that_never_had_any_is_not_suggested() -> None:
    top = top_of(lamp_a=(9, 9, 5), lamp_b=(9, 4, 5), lamp_c=(9, 0, 0))
    suggestions, *_ = await shop(top)
    assert [one for one in told(suggestions, "lamp") if "query" in one] == [
        "query:lamp a",
        "query:lamp b",
    ]


async def test_a_query_that_no_click_comes_after_sinks_below_a_rarer_one() -> None:
    suggestions, *_ = await shop(top_of(lamp_a=(40, 40, 0), lamp_b=(12, 12, 9)))
    assert [one for one in told(suggestions, "lamp") if "query" in one] == [
        "query:lamp b",
        "query:lamp a",
    ]


async def test_what_few_visitors_typed_is_suggested_to_nobody_else() -> None:
    random = Random(3)
    words = ["gift", "for", "ann", "divorce", "lawyer", "lamp"]
    private = {" ".join(shuffled(random, words)[:3]) for _ in range(20)}
    few = random.randrange(1, MIN_VISITORS)
    searches = {query.replace(" ", "_"): (few, 1, 1) for query in private}
    suggestions, *_ = await shop(top_of(**searches, lamp=(MIN_VISITORS, 5, 5)))
    for typed in ["", *words]:
        assert {one for one in told(suggestions, typed) if "query" in one} <= {"query:lamp"}


# one visitor


def searcher(*queries: str) -> UserProfile:
    profile = UserProfile()
    for at_s, query in enumerate(queries):
        profile.add(event("search", at_s, metadata={"query": query}))
    return profile


async def test_a_visitors_own_queries_come_first_the_newest_before_the_others() -> None:
    suggestions, *_ = await shop(top_of(lamp=(6, 6, 3)))
    person = person_of(searcher("Lamp for Ann", "sofa", "lamp oil", "ann@example.com"))
    assert told(suggestions, "lam", person)[:3] == [
        "query:lamp oil",
        "query:lamp for ann",
        "query:lamp",
    ]
    assert told(suggestions, "", person)[:3] == [
        "query:lamp oil",
        "query:sofa",
        "query:lamp for ann",
    ]
    assert "query:lamp oil" not in told(suggestions, "lam")
    assert not any("@" in one for one in told(suggestions, "ann", person))


async def test_products_of_a_category_that_the_visitor_likes_come_first() -> None:
    suggestions, *_ = await shop()
    assert told(suggestions, "lamp")[0] == "product:Lampshade"
    person = Person(interest={"home.lighting": 1.0})
    assert told(suggestions, "lamp", person)[:2] == ["product:Floor lamp", "product:Red desk lamp"]


# what changes


async def test_a_new_item_and_a_new_query_are_found_after_the_next_look() -> None:
    suggestions, columns, reader = await shop()
    columns.put(ItemRow(Item("p9", "Lava lamp", "home.lighting", "Lumen"), viewed("p9", 3)))
    reader.top = top_of(lava=(6, 6, 6))
    await suggestions.refresh()
    assert told(suggestions, "lava") == ["query:lava", "product:Lava lamp"]


@pytest.mark.parametrize(
    "how", ["sold out", "expired", "removed", "another title", "another item in its row"]
)
async def test_an_item_that_is_gone_is_suggested_no_more(how: str) -> None:
    suggestions, columns, _ = await shop()
    row = ItemRow(Item("p4", "Hiking boots", "apparel.shoes", "Fleet"), viewed("p4", 1))
    if how == "sold out":
        columns.put(ItemRow(Item("p4", "Running shoes", in_stock=False), viewed("p4", 1)))
        assert told(suggestions, "running") == []  # at once
    elif how == "expired":
        columns.put(ItemRow(Item("p4", "Running shoes", expires_ms=1), viewed("p4", 1)))
        assert told(suggestions, "running") == []
    elif how == "another title":
        columns.put(row)
    else:
        columns.remove("p4")
    if how == "another item in its row":
        columns.put(ItemRow(Item("p5", "Garden hose", "outdoor", "Fleet"), viewed("p5", 1)))
    await suggestions.refresh()
    assert told(suggestions, "running") == []
    found = {"another title": ["product:Hiking boots"]}
    assert told(suggestions, "hiking") == found.get(how, [])
    assert bool(told(suggestions, "garden")) == (how == "another item in its row")


async def test_the_title_of_a_product_that_only_events_name_is_not_suggested() -> None:
    suggestions, *_ = await shop(items=[Item("x", "Buy at evil.example", stub=True)])
    assert told(suggestions, "buy") == [] and told(suggestions, "") == []


async def test_without_bigtable_the_queries_read_last_are_suggested() -> None:
    suggestions, _, reader = await shop(top_of(lamp=(6, 6, 3)))
    reader.is_up = False
    await suggestions.refresh()
    assert told(suggestions, "lam")[0] == "query:lamp"


async def test_a_product_that_is_looked_at_more_rises() -> None:
    suggestions, columns, _ = await shop()
    columns.put(ItemRow(CATALOG[0], viewed("p1", 500)))
    await suggestions.refresh()
    assert told(suggestions, "lamp")[0] == "product:Red desk lamp"


@pytest.mark.parametrize(
    ("path", "text"),
    [("home.living_room", "living room"), ("toys", "toys"), ("a.b-c", "b c"), ("x._", "x")],
)
def test_a_category_reads_as_people_write_it(path: str, text: str) -> None:
    assert category_text(path) == text


def test_no_queries_make_no_entries() -> None:
    assert query_entries(TopQueries()) == []
