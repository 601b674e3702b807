"""The fold of searches: each new search counts once, public queries reach the top, the words of
others are stored nowhere.
"""

from __future__ import annotations

from random import Random

import pytest

from pipeline.core.events import Event
from pipeline.core.queries import CLICKED, EMPTY, SEARCH, QueryStats, TopQueries, query_sums
from pipeline.steps.queries import TOP, query_partials, top_partial
from pipeline.store import layout
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.layout import query_row, top_queries_row
from tests.pipeline.core.streams import assert_same
from tests.pipeline.running import START_MS, Visitor, disordered, features, message


def searches(tag: str, query: str, visitors: int, results: int = 3) -> list[list[Event]]:
    """Each visitor searches, views what was found, and searches again."""
    found = []
    for n in range(visitors):
        visitor = Visitor(f"{tag}{n}")
        said = {"query": query, "results": results}
        found.append(
            [
                visitor.did("search", at_s=60 * n, metadata=said),
                visitor.did("view_product", "p", at_s=60 * n + 5),
                visitor.did("search", at_s=60 * n + 20, metadata=said),
            ]
        )
    return found


def stored(store: Store, query: str) -> QueryStats:
    found = store.read(layout.QUERY, query_row(query))
    assert found is not None, f"no row of {query}"
    return QueryStats.decode(found[0])


def top(store: Store, query: str) -> TopQueries:
    found = store.read(layout.TOP_QUERIES, top_queries_row(query))
    return TopQueries.decode(found[0]) if found is not None else TopQueries()


@pytest.mark.parametrize("seed", range(2))
def test_a_disordered_stream_with_duplicates_stores_what_one_clean_fold_does(
    source: Bigtable, store: Store, tag: str, seed: int
) -> None:
    query = f"lamp {tag}"
    events = [event for each in searches(tag, query, 6) for event in each]
    features(source, disordered(events, seed))
    stats = stored(store, query)
    clean = query_sums(events, [])[query]
    assert_same(stats.counts.sums[SEARCH], clean.counts.sums[SEARCH])
    assert stats.visitors == clean.visitors and EMPTY not in stats.counts.sums
    assert stats.counts.sums[CLICKED] == pytest.approx(stats.counts.sums[SEARCH] / 2, rel=1e-3)
    entry = top(store, query).queries[query]
    assert entry.searches(START_MS + 300_000) == pytest.approx(12, rel=0.01)
    assert entry.empty == 0.0 and entry.clicked == pytest.approx(0.5, rel=1e-3)


def test_the_words_of_a_query_are_stored_once_five_visitors_typed_them(
    source: Bigtable, store: Store, tag: str
) -> None:
    query = f"gift for {tag}"
    few = [message(*each) for each in searches(tag, query, 4)]
    features(source, few)
    assert not stored(store, query).is_public and query not in top(store, query).queries
    row = store.read(layout.QUERY, query_row(query))
    assert row is not None and query.encode() not in row[0] and query not in query_row(query)
    features(source, [message(*searches(f"{tag}x", query, 1)[0])])
    assert query in top(store, query).queries


def test_a_click_that_comes_later_reaches_the_top(source: Bigtable, store: Store, tag: str) -> None:
    query, visits = f"sofa {tag}", searches(tag, f"sofa {tag}", 5)
    features(source, [message(visit[0]) for visit in visits])
    assert top(store, query).queries[query].clicked == 0
    features(source, [message(visit[1]) for visit in visits])
    assert top(store, query).queries[query].clicked == 1


def test_searches_of_a_bot_count_for_nothing(source: Bigtable, store: Store, tag: str) -> None:
    visits = searches(tag, f"spam {tag}", 6)
    for visit in visits:
        visit[0].metadata["bot"] = "user_agent"
    features(source, [message(visit[0]) for visit in visits])
    assert store.read(layout.QUERY, query_row(f"spam {tag}")) is None


def test_a_message_without_searches_makes_no_partial() -> None:
    assert query_partials([]) == [] and TOP == "top"


def test_a_private_query_has_no_place_in_the_top() -> None:
    random = Random(1)
    stats = QueryStats(visitors={random.randrange(2**32) for _ in range(4)})
    stats.counts.add(SEARCH, 1.0, START_MS, 1_000)
    assert top_partial("lamp", stats, 1) is None
    stats.visitors.add(7)
    assert top_partial("lamp", stats, 1) is not None
