"""Vectors without training: names are far apart, what keeps the same company is near."""

from __future__ import annotations

import itertools
from random import Random

import numpy as np
import pytest

from pipeline.core.embedding import CONTEXT_DIM, DIM, item_vector, signature
from pipeline.core.fold import fold, item_sums
from pipeline.core.items import ItemStats
from pipeline.core.profile import UserProfile
from tests.pipeline.core.streams import event

SHELVES = ("shoes", "hats", "lamps", "books", "tools")


def cosine(one: np.ndarray, two: np.ndarray) -> float:
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


@pytest.mark.parametrize("dim", [DIM, CONTEXT_DIM])
def test_a_names_direction_is_the_same_each_time_and_a_unit_vector_of_its_own(dim: int) -> None:
    one = signature("item", "p1", dim)
    assert one.shape == (dim,) and np.linalg.norm(one) == pytest.approx(1.0)
    signature.cache_clear()
    assert np.array_equal(one, signature("item", "p1", dim))
    assert not np.array_equal(one, signature("brand", "p1", dim))
    with pytest.raises(ValueError, match="read-only"):
        one[0] = 0.0


def test_directions_are_those_that_stored_vectors_were_summed_from() -> None:
    signs = "-+--+++-+++-+-+-"
    expected = [0.25 if sign == "+" else -0.25 for sign in signs]
    assert signature("item", "p1").tolist() == expected
    brand = signature("brand", "b1")
    shared = signature("category", "c.s") + 0.5 * signature("department", "c") + 0.5 * brand
    assert np.array_equal(item_vector("p1", "c.s", "b1"), signature("item", "p1") + shared)


def test_different_names_are_nearly_orthogonal() -> None:
    names = [signature("item", f"p{n}", CONTEXT_DIM) for n in range(60)]
    cosines = [cosine(one, two) for one, two in itertools.combinations(names, 2)]
    # Random signs in d dimensions: mean 0, standard deviation 1 / sqrt(d).
    assert abs(np.mean(cosines)) < 0.01 and np.std(cosines) == pytest.approx(
        CONTEXT_DIM**-0.5, rel=0.1
    )


def test_items_of_one_category_and_brand_are_alike_before_anybody_has_seen_them() -> None:
    def mean_likeness(category: str, brand: str) -> float:
        pairs = [
            (item_vector(f"a{n}", "shoes.boots", "acme"), item_vector(f"b{n}", category, brand))
            for n in range(50)
        ]
        return float(np.mean([cosine(*pair) for pair in pairs]))

    same, department, stranger = (
        mean_likeness("shoes.boots", "acme"),
        mean_likeness("shoes.sandals", ""),
        mean_likeness("tools.saws", "best"),
    )
    assert same > 0.4 > department > stranger


def planted_shop(random: Random, visitors: int) -> dict[str, ItemStats]:
    """Visitors who each look at five items of one shelf and at one of another."""
    folded = []
    for visitor in range(visitors):
        shelf, other = random.sample(SHELVES, 2)
        seen = [f"{shelf}{n}" for n in random.sample(range(8), 5)] + [
            f"{other}{random.randrange(8)}"
        ]
        visit = [
            (event(at_s=60 * visitor + n, event_id=f"{visitor}/{n}", product_id=item_id), None)
            for n, item_id in enumerate(seen)
        ]
        folded.append(fold(UserProfile(), visit))
    return item_sums(folded)


def direction(stats: ItemStats) -> np.ndarray:
    """The item's context vector."""
    found = stats.context.direction()
    assert found is not None
    return found


def shelf_of_nearest(stats: ItemStats, shop: dict[str, ItemStats]) -> str:
    """The shelf whose items' context vectors are, in the mean, nearest to this one's."""
    likeness = {
        shelf: float(np.mean([direction(stats) @ direction(shop[f"{shelf}{n}"]) for n in range(8)]))
        for shelf in SHELVES
    }
    return max(likeness, key=lambda shelf: likeness[shelf])


@pytest.mark.parametrize("seed", range(10))
def test_a_brand_new_item_is_nearest_to_shoes_after_three_visitors_who_looked_at_shoes(
    seed: int,
) -> None:
    random = Random(seed)
    shop = planted_shop(random, 120)
    new = ItemStats()
    for visitor in range(3):
        seen = [f"shoes{n}" for n in random.sample(range(8), 4)]
        visit = [
            (event(at_s=n, event_id=f"v{visitor}/{n}", product_id=item_id), None)
            for n, item_id in enumerate(seen)
        ]
        visit.append((event(at_s=9, event_id=f"v{visitor}/new", product_id="new"), None))
        new.merge(item_sums([fold(UserProfile(), visit)])["new"])
    assert shelf_of_nearest(new, shop) == "shoes"


def test_items_are_nearest_to_their_own_shelf() -> None:
    shop = planted_shop(Random(0), 200)
    assert [shelf_of_nearest(shop[f"{shelf}{n}"], shop) for shelf in SHELVES for n in range(8)] == [
        shelf for shelf in SHELVES for _ in range(8)
    ]
