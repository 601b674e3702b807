"""Whatever fails, nothing is shown that stock, catalog, consent, filter or request forbid, and the
answer says what served it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import ItemRow
from pipeline.core.privacy.consent import StatedConsent
from tests.vertex.api.fakes import (
    FakeRanker,
    FakeReader,
    Service,
    event,
    item,
    local_ranker,
    shop,
    visitor,
)
from vertex.api.breaker import Unavailable
from vertex.api.config import Config
from vertex.api.contract import PageRequest, RankRequest, Request, RowRequest
from vertex.api.placements_file import parse_placements
from vertex.api.ranking import Ranker
from vertex.api.timing import StageTimer
from vertex.models.registry import prior_model

ITEMS = 40
NO_PERSONALIZATION = StatedConsent(analytics=True, personalization=False)
PLACEMENTS = """
home: {kind: for_you, filter: price < 40}
similar: {kind: similar, filter: price < 40}
"""
SERVED_BY = {"vertex", "local", "trending", "sources"}


class SilentEndpoint:
    """A Vertex endpoint that never answers in time."""

    async def predict(self, matrix: np.ndarray[Any, Any]) -> Any:
        raise Unavailable("vertex: silent")


def ranker_of(kind: str) -> Ranker:
    if kind == "vertex":
        return FakeRanker()
    if kind == "local":
        return local_ranker()
    return Ranker(SilentEndpoint(), prior_model, 0.05)  # type: ignore[arg-type]


def shop_without(sold_out: set[int], stubs: set[int]) -> FakeReader:
    """A shop of `ITEMS` items, of which u1 has viewed p3 and put p4 into the cart."""
    items = [item(index) for index in range(ITEMS)]
    acts = [event("view_product", "p3", 30), event("add_to_cart", "p4", 20)]
    reader = shop(ITEMS, {"u#u1": visitor(*acts, items=items)})
    for index in sold_out | stubs:
        known = reader.rows[f"p{index}"]
        changed = msgspec.structs.replace(
            known.item, in_stock=index not in sold_out, stub=index in stubs
        )
        reader.rows[f"p{index}"] = ItemRow(changed, known.stats)
    return reader


@pytest.fixture(scope="module")
def placements() -> Any:
    config = Config("demo-project", "freshet")
    return parse_placements(
        PLACEMENTS.encode(), "placements.yaml", config, ItemColumns().fields.types
    )


indexes = st.sets(st.integers(0, ITEMS - 1), max_size=12)


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    sold_out=indexes,
    stubs=indexes,
    excluded=indexes,
    is_up=st.booleans(),
    ranker=st.sampled_from(["vertex", "local", "silent"]),
    denied=st.booleans(),
    deadline_ms=st.sampled_from([None, 60_000]),
    explore_rate=st.sampled_from([0.0, 1.0]),
)
def test_no_path_shows_what_may_not_be_shown(
    placements: Any,
    sold_out: set[int],
    stubs: set[int],
    excluded: set[int],
    is_up: bool,
    ranker: str,
    denied: bool,
    deadline_ms: int | None,
    explore_rate: float,
) -> None:
    reader = shop_without(sold_out, stubs)
    visitor_says: dict[str, Any] = {
        "user_id": "u1",
        "product_id": "p7",
        "deadline_ms": deadline_ms,
        "consent": NO_PERSONALIZATION if denied else None,
    }
    hidden = [f"p{index}" for index in excluded]

    async def answers() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], list[str]]:
        service = Service(
            reader, ranker_of(ranker), placements=placements, explore_rate=explore_rate
        )
        await service.items.load()
        reader.is_up = is_up
        reader.read.clear()
        slate = await service.recommender.answer(
            Request(exclude=hidden, k=ITEMS, **visitor_says), StageTimer()
        )
        rows = [RowRequest(placement=name, k=9) for name in ("home", "similar")]
        page = await service.recommender.answer_page(
            PageRequest(rows=rows, exclude=hidden, **visitor_says), StageTimer()
        )
        every = [f"p{index}" for index in range(ITEMS)]
        ranked = await service.list_ranker.answer(
            RankRequest(items=every, **visitor_says), StageTimer()
        )
        read = list(reader.read)
        alike = None
        if "p7" in service.items.columns:
            alike = await service.similar_items.answer("p7", {"n": "40"})
        shown = [
            set(slate["recommendations"]),
            *(set(row["recommendations"]) for row in page["rows"]),
        ]
        for each in shown:
            assert not each & ({f"p{index}" for index in sold_out | stubs} | set(hidden) | {"p7"})
            assert {int(item_id[1:]) < 30 for item_id in each} <= {True}  # the filter
        if alike is not None:
            found = set(alike["recommendations"])
            assert not found & {f"p{index}" for index in sold_out | stubs | {7}}
            assert {int(item_id[1:]) < 30 for item_id in found} <= {True}
        return slate, page, ranked, read

    slate, page, ranked, read = asyncio.run(answers())

    assert {slate["served_by"], *(row["served_by"] for row in page["rows"])} <= SERVED_BY
    assert sorted(ranked["ranked"]) == sorted(f"p{index}" for index in range(ITEMS))
    in_stock = [name for name in ranked["ranked"] if name not in ranked["out_of_stock"]]
    assert ranked["ranked"][: len(in_stock) - len(ranked["unknown"])] == [
        name for name in in_stock if name not in ranked["unknown"]
    ]
    assert not {f"p{index}" for index in sold_out} & (set(in_stock) - set(ranked["unknown"]))
    if denied:
        assert "profile" not in read
        assert slate["variant"] == ranked["variant"] == "popular"
        assert "vertex" not in {slate["served_by"], ranked["served_by"]}
