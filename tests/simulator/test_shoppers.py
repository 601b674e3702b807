"""Shoppers: seeded, click by taste and position, and the same in both arms of an experiment."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from tests.simulator import catalog
from tests.simulator.shoppers import (
    VIEWABLE,
    Act,
    Look,
    Shopper,
    Step,
    World,
    arm,
    attract,
    examine,
    visit,
)
from tests.simulator.statistics import click_through, lift

Policy = Callable[[Shopper, Look], Sequence[str]]
SHOPPERS = 250


@cache
def world() -> World:
    return World(catalog.generate())


def steps_of(number: int, policy: Policy, visits: int = 0) -> list[Step]:
    """All steps of a visit to a shop that shows what `policy` says."""
    shopper = world().shopper(number)
    steps = visit(world(), shopper, visits)
    taken: list[Step] = []
    answer: Sequence[str] | None = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration:
            return taken
        taken.append(step)
        shows = isinstance(step, Look)
        answer = (
            policy(shopper, step)[: VIEWABLE[step.placement]] if isinstance(step, Look) else None
        )
        assert shows == (answer is not None)


def totals(policy: Policy, visits: int = 0) -> tuple[list[int], list[int]]:
    """Clicks and impressions of each of the first shoppers, one visit each."""
    clicks, impressions = [], []
    for number in range(SHOPPERS):
        shown: list[int] = []

        def counted(shopper: Shopper, look: Look, shown: list[int] = shown) -> Sequence[str]:
            ids = policy(shopper, look)
            shown.append(len(ids[: VIEWABLE[look.placement]]))
            return ids

        steps = steps_of(number, counted, visits)
        clicks.append(sum(isinstance(step, Act) and step.event == "click" for step in steps))
        impressions.append(sum(shown))
    return clicks, impressions


def at_random(seed: int) -> Policy:
    rng = random.Random(seed)
    return lambda shopper, look: [product.id for product in rng.sample(world().products, 10)]


def nothing(shopper: Shopper, look: Look) -> Sequence[str]:
    return []


def most_appealing(shopper: Shopper, look: Look) -> Sequence[str]:
    """What most people like most: the best that one row for everybody can do, near enough."""
    return [world().products[item].id for item in np.argsort(-_mean_taste())[:10]]


@cache
def _mean_taste() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    chances = [
        1 / (1 + np.exp(4.5 - world().taste(shopper, shopper.liked[0])))
        for shopper in map(world().shopper, range(1_000, 1_400))
    ]
    return np.asarray(np.mean(chances, axis=0))


def oracle(shopper: Shopper, look: Look) -> Sequence[str]:
    """The best row for this shopper, tastes known, though not what today's visit is for."""
    order = np.argsort(-world().taste(shopper, shopper.liked[0]))
    return [world().products[item].id for item in order[:10]]


def test_the_same_shopper_who_is_shown_the_same_does_the_same() -> None:
    assert steps_of(3, at_random(1)) == steps_of(3, at_random(1))
    assert steps_of(3, at_random(1)) != steps_of(3, at_random(1), visits=1)


def test_shoppers_react_to_what_they_are_shown() -> None:
    changed = [steps_of(number, oracle) != steps_of(number, nothing) for number in range(20)]
    assert all(changed)


def test_nobody_clicks_where_nothing_is_shown() -> None:
    clicks, impressions = totals(nothing)
    assert sum(clicks) == sum(impressions) == 0


def test_random_rows_get_some_clicks_and_an_oracle_gets_far_more_than_one_row_for_all() -> None:
    random_rows, popular, best = (
        click_through(*totals(p)) for p in (at_random(2), most_appealing, oracle)
    )
    assert 0.004 < random_rows.value < popular.value
    found = lift(best, popular)
    assert found is not None and found.low > 0.5
    assert best.value < 0.2


def test_the_first_position_gets_more_clicks_than_the_sixth_for_the_same_products() -> None:
    clicks: Counter[int] = Counter()
    policy = at_random(3)
    for number in range(600):
        for step in steps_of(number, lambda s, look: oracle_shuffled(s, policy), visits=2):
            if isinstance(step, Act) and step.event == "click" and step.position is not None:
                clicks[step.position] += 1
    assert clicks[0] > 1.5 * clicks[5] > 0


def oracle_shuffled(shopper: Shopper, policy: Policy) -> Sequence[str]:
    ids = list(oracle(shopper, Look(0, "home")))
    random.Random(str(policy(shopper, Look(0, "home")))).shuffle(ids)
    return ids


def test_examination_falls_with_the_position_and_attraction_rises_with_the_taste() -> None:
    assert examine(0) == 1 and all(examine(p) > examine(p + 1) > 0 for p in range(20))
    assert 0 < attract(-5) < attract(0) < attract(5) < 0.6


def test_a_click_names_a_product_that_was_shown_there() -> None:
    shown: dict[int, Sequence[str]] = {}

    def remember(shopper: Shopper, look: Look) -> Sequence[str]:
        shown[look.number] = oracle(shopper, look)
        return shown[look.number]

    for step in (step for number in range(60) for step in [*steps_of(number, remember), "next"]):
        if isinstance(step, Act) and step.event == "click":
            assert step.product is not None and step.look is not None and step.position is not None
            assert step.product in world().products
    steps = steps_of(1, remember)
    clicks = [step for step in steps if isinstance(step, Act) and step.event == "click"]
    assert all(shown[c.look or 0][c.position or 0] == c.product.id for c in clicks if c.product)


def test_every_click_is_followed_by_the_product_page() -> None:
    for number in range(40):
        steps = [step for step in steps_of(number, oracle) if isinstance(step, Act)]
        for click, after in pairwise(steps):
            if click.event == "click":
                assert after.event == "view_product" and after.product == click.product


def test_visits_are_bounded_whatever_is_shown() -> None:
    assert max(len(steps_of(number, oracle)) for number in range(100)) < 400


def test_only_what_lay_in_the_cart_is_bought_or_removed() -> None:
    for number in range(100):
        acts = [step for step in steps_of(number, oracle) if isinstance(step, Act)]
        carted = [act.product for act in acts if act.event == "add_to_cart"]
        gone = [act.product for act in acts if act.event in ("purchase", "remove_from_cart")]
        assert set(gone) <= set(carted) and len(gone) == len(set(gone))


def test_half_of_the_shoppers_go_to_each_arm_and_stay_there() -> None:
    ids = [world().shopper(number).id for number in range(2_000)]
    share = sum(arm(name) == "personalized" for name in ids) / len(ids)
    assert 0.46 < share < 0.54
    assert [arm(name) for name in ids] == [arm(name) for name in ids]


def test_both_arms_hold_the_same_kind_of_people() -> None:
    people = [world().shopper(number) for number in range(3_000)]
    for trait in (lambda s: s.mood, lambda s: s.level, lambda s: float(s.registered)):
        groups = {
            name: np.array([trait(shopper) for shopper in people if arm(shopper.id) == name])
            for name in ("personalized", "popular")
        }
        a, b = groups.values()
        assert abs(a.mean() - b.mean()) < 3.3 * np.sqrt(a.var() / len(a) + b.var() / len(b))


def test_the_same_rows_for_both_arms_give_no_lift_19_times_in_20() -> None:
    clicks, impressions = totals(oracle)
    ids = [world().shopper(number).id for number in range(SHOPPERS)]
    covered = 0
    for salt in range(200):
        sides = [arm(name, str(salt)) == "personalized" for name in ids]
        halves = [
            click_through(
                [c for c, is_here in zip(clicks, sides, strict=True) if is_here == side],
                [n for n, is_here in zip(impressions, sides, strict=True) if is_here == side],
            )
            for side in (True, False)
        ]
        found = lift(*halves)
        assert found is not None
        covered += found.low <= 0 <= found.high
    assert 0.91 <= covered / 200 <= 0.99


def test_a_registered_shopper_has_an_account_and_a_device_the_others_a_device_only() -> None:
    people = [world().shopper(number) for number in range(200)]
    assert all(("user_id" in shopper.identity) == shopper.registered for shopper in people)
    assert all(shopper.identity["anonymous_id"] for shopper in people)
    assert len({shopper.identity["anonymous_id"] for shopper in people}) == 200


@pytest.mark.parametrize("seed", [1, 2])
def test_a_world_is_the_same_for_the_same_seed(seed: int) -> None:
    products = catalog.generate(200)
    one, two = World(products, seed), World(products, seed)
    assert np.array_equal(one.style, two.style) and np.array_equal(one.appeal, two.appeal)
