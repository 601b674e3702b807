"""The replayed past: what the pipeline would hold, in order, each event once."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from pipeline.core.events import Event
from pipeline.core.items import ItemStats
from tests.vertex import planted
from tests.vertex.folding import folded_by_hand
from tests.vertex.planted import shown
from vertex.data.replay import World, in_order

CATALOG = planted.catalog()


def test_visitors_who_share_an_event_id_keep_their_events() -> None:
    mine = shown("r1", 0, "p1")[0]
    others = [
        msgspec.structs.replace(mine, **other)
        for other in ({"user_id": "other"}, {"product_id": "p2"})
    ]
    assert len(in_order([mine, *others, mine])) == 3


def test_doubles_of_an_event_count_once() -> None:
    twice = shown("r1", 0, "p1") * 2
    assert in_order(twice) == twice[:1]


def assert_holds(world: World, stats: dict[str, ItemStats]) -> None:
    """Assert that the world's items have these statistics, floats to rounding."""
    assert sorted(world.item_ids()) == sorted(stats)
    for name, state in stats.items():
        held = world.stats(name)
        assert held is not None
        assert (held.newest_ms, held.category_at) == (state.newest_ms, state.category_at)
        assert held.counts == state.counts
        assert held.log2_popularity() == state.log2_popularity()
        for kind in ("neighbour_weights", "bought_weights"):
            weights, expected = getattr(held, kind), getattr(state, kind)
            assert weights.landmark == expected.landmark
            assert weights.sums == pytest.approx(expected.sums, rel=1e-9)
        assert held.context.landmark == state.context.landmark
        np.testing.assert_allclose(
            np.frombuffer(held.context.values), np.frombuffer(state.context.values), atol=1e-9
        )


def test_the_world_is_what_the_pipeline_would_hold(log: list[Event]) -> None:
    world = World(CATALOG)
    for each in [*log[:3_000], *log[:50]]:  # redelivered events included
        world.add(each)
    profiles, stats = folded_by_hand(log[:3_000])
    assert world.profiles == profiles
    assert_holds(world, stats)


@pytest.mark.parametrize("max_pairs_waiting", [20, 100_000])
def test_the_world_is_the_same_whether_items_are_read_meanwhile_or_not(
    max_pairs_waiting: int,
) -> None:
    log = in_order(planted.views_of_pairs())
    world = World(CATALOG, max_pairs_waiting)
    for number, each in enumerate(log):
        world.add(each)
        if number % 3 == 0:
            world.rows([log[number // 2].product_id or ""])
    assert_holds(world, folded_by_hand(log)[1])
