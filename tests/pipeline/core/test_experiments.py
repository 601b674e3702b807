"""A unit's variant follows from hashes alone, and stays while traffic grows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.experiments import (
    HOLDOUT,
    SLOTS,
    Experiment,
    Experiments,
    Units,
    Variant,
    slot_of,
)

VECTORS = json.loads((Path(__file__).parent / "slots.json").read_text("utf-8"))
HALVES = (Variant("a", SLOTS // 2), Variant("b", SLOTS // 2))
MANY = [f"visitor-{number}" for number in range(20_000)]


def variants(experiment: Experiment, visitors: list[str] = MANY) -> dict[str, str]:
    found = {visitor: experiment.variant_of(Units(visitor)) for visitor in visitors}
    return {visitor: each.name for visitor, each in found.items() if each is not None}


def share(names: dict[str, str], name: str) -> float:
    return sum(each == name for each in names.values()) / len(names)


@pytest.mark.parametrize(("salt", "unit", "slot"), VECTORS)
def test_slots_are_those_of_the_shared_file(salt: str, unit: str, slot: int) -> None:
    assert slot_of(salt, unit) == slot


@given(st.text(), st.text())
def test_any_text_has_a_slot(salt: str, unit: str) -> None:
    assert 0 <= slot_of(salt, unit) < SLOTS


def test_variants_have_their_shares_and_two_experiments_are_independent() -> None:
    one = variants(Experiment("one", (Variant("a", 3_000), Variant("b", 7_000))))
    two = variants(Experiment("two", HALVES))
    assert len(one) == len(two) == len(MANY)
    assert share(one, "a") == pytest.approx(0.3, abs=0.012)  # 3.5 standard deviations
    among_a = {visitor: two[visitor] for visitor, name in one.items() if name == "a"}
    assert share(among_a, "a") == pytest.approx(0.5, abs=0.025)


def test_as_traffic_grows_nobody_changes_the_variant() -> None:
    before = variants(Experiment("one", HALVES, traffic_slots=1_000))
    after = variants(Experiment("one", HALVES, traffic_slots=5_000))
    assert len(before) / len(MANY) == pytest.approx(0.1, abs=0.01)
    assert before.items() <= after.items()
    assert len(after) > 4 * len(before)


def test_another_salt_assigns_anew() -> None:
    one, again = (variants(Experiment("one", HALVES, salt=salt)) for salt in ("", "2"))
    same = sum(one[visitor] == again[visitor] for visitor in MANY) / len(MANY)
    assert same == pytest.approx(0.5, abs=0.02)


def test_experiments_of_one_layer_exclude_each_other() -> None:
    one = variants(Experiment("one", HALVES, layer="page", traffic_slots=4_000))
    two = variants(Experiment("two", HALVES, layer="page", first_slot=4_000, traffic_slots=6_000))
    assert not one.keys() & two.keys()
    assert one.keys() | two.keys() == set(MANY)


def test_a_login_changes_no_variant_of_a_visitor_and_an_account_has_its_own() -> None:
    before, after = Units.of(None, "a1", "s1"), Units.of("u1", "a1", "s1")
    visitor, account = (Experiment("one", HALVES, unit=unit) for unit in ("visitor", "account"))
    assert visitor.variant_of(before) == visitor.variant_of(after)
    assert account.variant_of(before) is None
    assert account.variant_of(after) == account.variant_of(Units.of("u1", "a2", "s9"))
    assert visitor.variant_of(Units.of("u1", None, None)) is not None


def test_who_is_forced_into_a_variant_is_in_it_whatever_the_traffic() -> None:
    experiment = Experiment("one", HALVES, traffic_slots=0, forced={"tester": "b"})
    assert experiment.variant_of(Units("tester")) == HALVES[1]
    assert experiment.variant_of(Units("other")) is None


def test_an_experiment_runs_from_its_start_to_before_its_end() -> None:
    experiment = Experiment("one", HALVES, start_ms=1_000, end_ms=2_000)
    every = Experiments((experiment,))
    assert [bool(every.assigned(Units("v"), now)) for now in (999, 1_000, 1_999, 2_000)] == [
        False,
        True,
        True,
        False,
    ]


def test_who_is_held_out_is_in_no_experiment_and_sees_what_is_popular() -> None:
    every = Experiments((Experiment("one", HALVES),), holdout_slots=1_000)
    found = [every.assigned(Units(visitor), 0) for visitor in MANY]
    held_out = [each for each in found if each[0].experiment == HOLDOUT]
    assert len(held_out) / len(MANY) == pytest.approx(0.1, abs=0.01)
    assert all(len(each) == 1 and each[0].variant.is_popular for each in held_out)


def test_only_those_that_are_meant_for_who_asks_count() -> None:
    every = Experiments((Experiment("one", HALVES), Experiment("two", HALVES)))
    found = every.assigned(Units("v"), 0, lambda experiment: experiment.name == "two")
    assert [each.experiment for each in found] == ["two"]
