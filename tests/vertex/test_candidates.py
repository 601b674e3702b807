"""Candidates come from several sources in turn, each item once, and none starves."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.columns import Mask, Rows
from pipeline.core.decay import MINUTE_MS
from pipeline.core.embedding import CONTEXT_DIM
from pipeline.core.features.moment import Moment
from pipeline.core.item_columns import ItemColumns, Seed
from pipeline.core.items import ItemRow, ItemStats
from pipeline.core.profile import UserProfile
from pipeline.core.text_vectors import encode_waiting
from pipeline.core.vectors import VectorIndex
from tests.vertex.api.fakes import NOW_MS, event, item, row, visitor
from tests.vertex.text_encoder import WordEncoder
from vertex.api.shelves import build_contexts, build_texts
from vertex.candidates import (
    FRESH_MS,
    SOURCES,
    Allowed,
    Situation,
    Units,
    gather,
    in_turn,
    top_categories,
)


def every(rows: Rows) -> Mask:
    return np.ones(len(rows), np.bool_)


def columns_of(*ids: str, vectors: VectorIndex | None = None) -> ItemColumns:
    """Items of which nothing is known but the id."""
    return ItemColumns.of([ItemRow(Item(item_id), ItemStats()) for item_id in ids], vectors)


def texts_of(**texts: str) -> ItemColumns:
    """Items with these texts, encoded."""
    items = columns_of(*texts)
    for item_id, text in texts.items():
        items.text.note(items.row(item_id), text)
    encode_waiting(items.text, WordEncoder())
    return items


def names(kind: str, count: int) -> list[str]:
    return [f"{kind}{number}" for number in range(count)]


def found(situation: Situation, allowed: Allowed = every, limit: int = 200) -> list[str]:
    return situation.moment.items.ids(gather(situation, allowed, limit).rows)


def ids_of(situation: Situation, source: str) -> list[str]:
    gathered = gather(situation, every)
    ids = situation.moment.items.ids(gathered.rows)
    return [name for name, of in zip(ids, gathered.sources, strict=True) if of == source]


def rich_situation() -> Situation:
    """A visitor of p0 (category c0) for whom every source knows hundreds of items of its own."""
    profile = visitor(*(event("view_product", f"p{i}", i + 1) for i in range(40)), items=[item(0)])
    seed = row(item(0), neighbours=names("covisited", 50))
    angles = np.linspace(0.0, 1.0, 201)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    company = seed.stats.context.direction()
    assert company is not None
    # at right angles to it
    stranger = np.linalg.qr(np.stack([company, np.ones(CONTEXT_DIM)], axis=1))[0][:, 1]
    # (201, CONTEXT_DIM)
    contexts = np.cos(angles)[:, None] * company + np.sin(angles)[:, None] * stranger
    items = columns_of(
        *names("p", 40),
        *names("alike", 200),
        *names("fresh", 100),
        *names("covisited", 50),
        *names("similar", 200),
        *names("company", 200),
        *names("trending", 300),
        *names("in", 300),
        vectors=VectorIndex(["p0", *names("similar", 200)], vectors),
    )
    for number, item_id in enumerate(["p0", *names("alike", 199)]):
        alike = " ".join(["gas", "grill", *["word"] * (number // 100), f"w{number}"])
        items.text.note(items.row(item_id), alike if number else "gas grill")
    encode_waiting(items.text, WordEncoder())
    return Situation(
        Moment(profile, items, NOW_MS, {"p0": Seed(seed.stats)}),
        texts=build_texts(items, items.rows(["p0", *names("alike", 199)])),
        contexts=Units(items.rows(["p0", *names("company", 200)]), contexts.astype(np.float32)),
        trending=items.rows(names("trending", 300)),
        trending_in={"c0": items.rows(names("in", 300))},
        arrivals=published(items, names("fresh", 100)),
    )


def published(items: ItemColumns, ids: list[str], category: str = "") -> Rows:
    """The rows of these items, which get a time of publication, each a minute before the last."""
    for number, item_id in enumerate(ids):
        stamp = NOW_MS - (number + 1) * MINUTE_MS
        items.put(ItemRow(Item(item_id, category=category, published_ms=stamp), ItemStats()))
    return items.rows(ids)


def test_every_source_gets_its_share_and_the_limit_holds() -> None:
    gathered = gather(rich_situation(), every, 200)

    sources = Counter(gathered.sources)
    assert len(gathered.rows) == len(set(gathered.rows.tolist())) == 200
    assert set(sources) == set(SOURCES)
    assert min(sources.values()) >= 10


def test_each_source_gives_its_best_first() -> None:
    situation = rich_situation()

    assert ids_of(situation, "recent")[:2] == ["p0", "p1"]
    assert ids_of(situation, "covisit")[:2] == ["covisited0", "covisited1"]
    assert ids_of(situation, "embedding")[:2] == ["similar0", "similar1"]
    assert ids_of(situation, "context")[:2] == ["company0", "company1"]
    assert ids_of(situation, "category")[:2] == ["in0", "in1"]
    assert ids_of(situation, "trending")[:2] == ["trending0", "trending1"]
    assert set(ids_of(situation, "content")[:20]) < set(names("alike", 99))


def test_items_are_alike_by_the_texts_of_the_last_items_the_last_the_most() -> None:
    columns = texts_of(
        p0="gas grill", p1="running shoes", a="gas grill lid", b="running socks", c="sun lotion"
    )
    profile = visitor(
        event("view_product", "p0", 1), event("view_product", "p1", 9), items=[item(0), item(1)]
    )
    known = build_texts(columns, columns.rows("abc"))

    situation = Situation(Moment(profile, columns, NOW_MS), texts=known)

    assert ids_of(situation, "content") == ["a", "b"]


def test_items_encoded_since_are_found_beside_the_others() -> None:
    columns = texts_of(p0="gas grill", a="gas grill lid", b="gas grill cover and lid")
    profile = visitor(event("view_product", "p0"), items=[item(0)])
    moment = Moment(profile, columns, NOW_MS)
    known = build_texts(columns, columns.rows("b"))

    alone = Situation(moment, encoded=columns.rows("a"))
    beside = Situation(moment, texts=known, encoded=columns.rows("a"))

    assert ids_of(alone, "content") == ["a"]
    assert ids_of(beside, "content") == ["a", "b"]


def test_a_visitor_of_items_without_text_has_no_items_by_content() -> None:
    columns = texts_of(p0="", a="gas grill lid")
    profile = visitor(event("view_product", "p0"), items=[item(0)])
    known = build_texts(columns, columns.rows("a"))

    for visited in (profile, visitor()):
        situation = Situation(Moment(visited, columns, NOW_MS), texts=known)
        assert ids_of(situation, "content") == []


def test_what_keeps_other_company_is_no_candidate_of_context() -> None:
    seed = row(item(0), neighbours=["p1", "p2"])
    kept = [row(item(5), neighbours=["p1", "p2"]), row(item(6), neighbours=["p1", "p7", "p8"])]
    others = [row(item(index), neighbours=[f"p{index + 1}"]) for index in range(20, 60)]
    profile = visitor(event("view_product", "p0"), items=[item(0)])
    items = ItemColumns.of([*others, *kept])
    contexts = build_contexts(items, items.all_rows())
    moment = Moment(profile, items, NOW_MS, {"p0": Seed(seed.stats)})
    situation = Situation(moment, contexts)

    close = ids_of(situation, "context")

    assert close[:2] == ["p5", "p6"]
    assert len(close) < 10
    assert ids_of(Situation(Moment(visitor(), items, NOW_MS), contexts), "context") == []


def test_the_source_that_found_an_item_first_keeps_it() -> None:
    profile = visitor(event("view_product", "p0"), items=[item(0)])
    items = columns_of("p0", "p1")

    moment = Moment(profile, items, NOW_MS)
    gathered = gather(Situation(moment, trending=items.rows(["p0", "p1"])), every)

    assert items.ids(gathered.rows) == ["p0", "p1"]
    assert gathered.sources == ["recent", "trending"]


def test_what_was_published_lately_is_found_the_visitors_categories_first() -> None:
    items = columns_of("p0")
    other = published(items, ["other0", "other1"], "c1")
    own = published(items, ["own0"], "c0")
    stamp = NOW_MS - FRESH_MS - 1
    items.put(ItemRow(Item("stale", published_ms=stamp), ItemStats()))
    items.put(ItemRow(Item("undated"), ItemStats()))
    profile = visitor(event("view_product", "p0"), items=[item(0)])
    rows = np.concatenate([other, own, items.rows(["stale", "undated"])])

    def of(who: UserProfile) -> list[str]:
        return ids_of(Situation(Moment(who, items, NOW_MS), arrivals=rows), "fresh")

    assert of(profile) == ["own0", "other0", "other1"]
    assert of(visitor()) == ["other0", "other1", "own0"]


def test_what_is_not_allowed_takes_no_place() -> None:
    situation = rich_situation()

    def of_trending(rows: Rows) -> Mask:
        return np.isin(rows, situation.trending)

    assert found(situation, of_trending, 50) == names("trending", 50)


def test_an_unknown_visitor_gets_what_is_trending_then_what_was_viewed_most() -> None:
    items = columns_of("p1", "p2", "p3")
    situation = Situation(
        Moment(visitor(), items, NOW_MS),
        trending=items.rows(["p1"]),
        popular=items.rows(["p2", "p1", "p3"]),
    )

    assert found(situation) == ["p1", "p2", "p3"]


def test_a_category_shows_what_is_trending_there_then_the_rest_of_its_shelf() -> None:
    profile = visitor(event("view_product", "p0"), items=[item(0)])
    items = columns_of("p4", "p8", "p12")
    situation = Situation(
        Moment(profile, items, NOW_MS),
        trending_in={"c0": items.rows(["p4"])},
        shelves={"c0": items.rows(["p8", "p4", "p12"])},
    )

    assert ids_of(situation, "category") == ["p4", "p8", "p12"]


def test_categories_take_turns() -> None:
    queues = [np.array(rows, np.int32) for rows in ([1, 2, 3], [], [7], [8, 9])]
    assert in_turn(queues).tolist() == [1, 7, 8, 2, 9, 3]
    assert in_turn([]).tolist() == []


def test_the_category_last_clicked_counts_however_weak_its_interest() -> None:
    old = [
        event("purchase", f"p{i}", 100 + i, metadata={"category": f"old{i % 4}"}) for i in range(20)
    ]
    profile = visitor(*old, event("click", "p99", 1, metadata={"category": "new"}))

    assert len(top_categories(profile)) == 4
    assert "new" in top_categories(profile)
