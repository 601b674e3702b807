"""Candidates come from several sources in turn, each item once, and none starves."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipeline.core.embedding import CONTEXT_DIM
from pipeline.core.vectors import VectorIndex
from tests.vertex.api.fakes import NOW_MS, event, item, row, visitor
from vertex.api.shelves import build_contexts
from vertex.candidates import SOURCES, Candidate, Situation, gather, top_categories

EVERY = lambda item_id: True  # noqa: E731  # reads as what it means


def ids_of(candidates: list[Candidate], source: str) -> list[str]:
    return [each.item_id for each in candidates if each.source == source]


def rich_situation() -> Situation:
    """A visitor of p0 (category c0) for whom every source knows hundreds of items of its own."""
    profile = visitor(*(event("view_product", f"p{i}", i + 1) for i in range(40)), items=[item(0)])
    seed = row(item(0), neighbours=[f"covisited{i}" for i in range(50)])
    angles = np.linspace(0.0, 1.0, 201)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    company = seed.stats.context.direction()
    assert company is not None
    # at right angles to it
    stranger = np.linalg.qr(np.stack([company, np.ones(CONTEXT_DIM)], axis=1))[0][:, 1]
    # (201, CONTEXT_DIM)
    contexts = np.cos(angles)[:, None] * company + np.sin(angles)[:, None] * stranger
    return Situation(
        profile,
        NOW_MS,
        seeds={"p0": seed.stats},
        vectors=VectorIndex(["p0", *(f"similar{i}" for i in range(200))], vectors),
        contexts=VectorIndex(
            ["p0", *(f"company{i}" for i in range(200))], contexts.astype(np.float32)
        ),
        trending=[f"trending{i}" for i in range(300)],
        trending_in={"c0": [f"in{i}" for i in range(300)]},
    )


def test_every_source_gets_its_share_and_the_limit_holds() -> None:
    candidates = gather(rich_situation(), EVERY, 200)

    sources = Counter(each.source for each in candidates)
    assert len(candidates) == len({each.item_id for each in candidates}) == 200
    assert set(sources) == set(SOURCES)
    assert min(sources.values()) >= 10


def test_each_source_gives_its_best_first() -> None:
    candidates = gather(rich_situation(), EVERY, 200)

    assert ids_of(candidates, "recent")[:2] == ["p0", "p1"]
    assert ids_of(candidates, "covisit")[:2] == ["covisited0", "covisited1"]
    assert ids_of(candidates, "embedding")[:2] == ["similar0", "similar1"]
    assert ids_of(candidates, "context")[:2] == ["company0", "company1"]
    assert ids_of(candidates, "category")[:2] == ["in0", "in1"]
    assert ids_of(candidates, "trending")[:2] == ["trending0", "trending1"]


def test_what_keeps_other_company_is_no_candidate_of_context() -> None:
    seed = row(item(0), neighbours=["p1", "p2"])
    kept = [row(item(5), neighbours=["p1", "p2"]), row(item(6), neighbours=["p1", "p7", "p8"])]
    others = [row(item(index), neighbours=[f"p{index + 1}"]) for index in range(20, 60)]
    profile = visitor(event("view_product", "p0"), items=[item(0)])
    situation = Situation(
        profile, NOW_MS, seeds={"p0": seed.stats}, contexts=build_contexts([*others, *kept])
    )

    found = ids_of(gather(situation, EVERY), "context")

    assert found[:2] == ["p5", "p6"]
    assert len(found) < 10
    assert (
        ids_of(gather(Situation(visitor(), NOW_MS, contexts=situation.contexts), EVERY), "context")
        == []
    )


def test_the_source_that_found_an_item_first_keeps_it() -> None:
    profile = visitor(event("view_product", "p0"), items=[item(0)])

    candidates = gather(Situation(profile, NOW_MS, trending=["p0", "p1"]), EVERY)

    assert candidates == [Candidate("p0", "recent"), Candidate("p1", "trending")]


def test_what_is_not_allowed_takes_no_place() -> None:
    candidates = gather(rich_situation(), lambda item_id: item_id.startswith("trending"), 50)

    assert ids_of(candidates, "trending") == [f"trending{i}" for i in range(50)]


def test_an_unknown_visitor_gets_what_is_trending_then_what_was_viewed_most() -> None:
    situation = Situation(visitor(), NOW_MS, trending=["p1"], popular=["p2", "p1", "p3"])

    assert [each.item_id for each in gather(situation, EVERY)] == ["p1", "p2", "p3"]


def test_a_category_shows_what_is_trending_there_then_the_rest_of_its_shelf() -> None:
    profile = visitor(event("view_product", "p0"), items=[item(0)])
    situation = Situation(
        profile, NOW_MS, trending_in={"c0": ["p4"]}, shelves={"c0": ["p8", "p4", "p12"]}
    )

    assert ids_of(gather(situation, EVERY), "category") == ["p4", "p8", "p12"]


def test_the_category_last_clicked_counts_however_weak_its_interest() -> None:
    old = [
        event("purchase", f"p{i}", 100 + i, metadata={"category": f"old{i % 4}"}) for i in range(20)
    ]
    profile = visitor(*old, event("click", "p99", 1, metadata={"category": "new"}))

    assert len(top_categories(profile)) == 4
    assert "new" in top_categories(profile)
