"""Experiments change placements for who is in them, and answers say so."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.context import Context
from pipeline.core.experiments import SLOTS
from pipeline.core.item_columns import ItemColumns
from pipeline.core.privacy.consent import StatedConsent
from pipeline.runtime.environ import InvalidConfig
from pipeline.runtime.yaml_reader import InvalidFile
from tests.stack.prerequisites import REPO
from tests.vertex.api.fakes import Service, event, shop, visitor
from vertex.api.config import Config
from vertex.api.contract import PageRequest, RankRequest, Request, RowRequest
from vertex.api.experiments_file import Trials, load_trials, parse_trials
from vertex.api.placements import built_in
from vertex.api.timing import StageTimer

CONFIG = Config("demo-project", "freshet", explore_rate=0.0)
PLACEMENTS = built_in(CONFIG)
FIELDS = ItemColumns().fields.types
ORDER = """
experiments:
  order:
    variants:
      control: {share: 0.5}
      cheap: {share: 0.5, placements: {home: {filter: price < 20, k: 5}}}
    force: {a-control: control, a-cheap: cheap}
"""


def trials(text: str) -> Trials:
    return parse_trials(text.encode(), "experiments.yaml", CONFIG, FIELDS, PLACEMENTS)


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(InvalidFile) as caught:
        trials(text)
    return caught.value.problems


async def ask(text: str, **question: Any) -> dict[str, Any]:
    service = Service(shop(), placements=PLACEMENTS, trials=trials(text), profile_view=False)
    await service.items.load()
    return await service.recommender.answer(Request(**question), StageTimer())


def named(answer: dict[str, Any]) -> list[str]:
    found: list[str] = answer["experiments"]
    return found


async def test_a_variant_changes_its_placement_and_the_answer_names_it() -> None:
    control = await ask(ORDER, anonymous_id="a-control")
    cheap = await ask(ORDER, anonymous_id="a-cheap")
    assert (named(control), named(cheap)) == (["order=control"], ["order=cheap"])
    assert len(control["recommendations"]) == 20
    assert len(cheap["recommendations"]) == 5
    assert all(10.0 + int(item_id[1:]) < 20 for item_id in cheap["recommendations"])


async def test_everybody_else_is_in_one_of_them_for_good() -> None:
    found = [named(await ask(ORDER, anonymous_id=f"a{number}")) for number in range(40)]
    again = [named(await ask(ORDER, anonymous_id=f"a{number}")) for number in range(40)]
    assert found == again
    assert {each for (each,) in found} == {"order=control", "order=cheap"}


async def test_an_experiment_is_named_only_where_it_makes_a_difference() -> None:
    assert named(await ask(ORDER, anonymous_id="a-cheap", placement="trending")) == []


async def test_without_experiments_an_answer_says_nothing_of_them() -> None:
    service = Service(shop())
    await service.items.load()
    answer = await service.recommender.answer(Request(anonymous_id="a1"), StageTimer())
    assert "experiments" not in answer


async def test_who_denies_personalization_or_asks_for_what_is_popular_is_in_none() -> None:
    denied = StatedConsent(analytics=True, personalization=False)
    assert named(await ask(ORDER, anonymous_id="a-cheap", consent=denied)) == []
    assert named(await ask(ORDER, anonymous_id="a-cheap", variant="popular")) == []


async def test_who_is_held_out_sees_what_is_popular_everywhere() -> None:
    answer = await ask(f"holdout: 1\n{ORDER}", anonymous_id="a-cheap", placement="home")
    assert named(answer) == ["holdout=holdout"]
    assert (answer["variant"], answer["served_by"]) == ("popular", "trending")


async def test_a_variant_may_show_what_is_popular() -> None:
    text = """
experiments:
  personal:
    variants: {with: {share: 0.5}, without: {share: 0.5, show: popular}}
    force: {a-with: with, a-without: without}
"""
    found = [await ask(text, anonymous_id=name) for name in ("a-with", "a-without")]
    assert [answer["variant"] for answer in found] == ["personalized", "popular"]
    assert [named(answer) for answer in found] == [
        ["personal=with"],
        ["personal=without"],
    ]


async def test_who_takes_part_may_depend_on_the_circumstances() -> None:
    text = ORDER.replace("    force:", '    where: context.country = "NL"\n    force:')
    here = await ask(text, anonymous_id="a-cheap", context=Context(country="NL"))
    there = await ask(text, anonymous_id="a-cheap", context=Context(country="BE"))
    assert (named(here), named(there)) == (["order=cheap"], [])


async def test_an_answer_does_not_tell_what_the_profile_of_another_says() -> None:
    text = ORDER.replace("    force:", "    where: visitor.purchases > 0\n    force:").replace(
        "a-cheap", "u1"
    )
    reader = shop(profiles={"u#u1": visitor(event("purchase", "p3", 30))})
    for profile_view, expected in ((False, []), (True, ["order=cheap"])):
        service = Service(
            reader, placements=PLACEMENTS, trials=trials(text), profile_view=profile_view
        )
        await service.items.load()
        answer = await service.recommender.answer(Request(user_id="u1"), StageTimer())
        assert named(answer) == expected


async def test_the_rows_of_a_page_and_a_ranked_list_are_tried_too() -> None:
    text = """
experiments:
  order:
    variants:
      control: {share: 0.5}
      plain: {share: 0.5, placements: {home: {k: 3, weights: {ctr: 0}}}}
    force: {a1: plain}
"""
    service = Service(shop(), placements=PLACEMENTS, trials=trials(text))
    await service.items.load()
    rows = [RowRequest(placement="home"), RowRequest(placement="trending")]
    page = await service.recommender.answer_page(
        PageRequest(anonymous_id="a1", rows=rows), StageTimer()
    )
    assert named(page) == ["order=plain"]
    assert {row["placement"]: len(row["recommendations"]) for row in page["rows"]}["home"] == 3
    ranked = await service.list_ranker.answer(
        RankRequest(anonymous_id="a1", items=["p1", "p2"], explain=True), StageTimer()
    )
    assert named(ranked) == ["order=plain"]
    assert {each["parts"]["ctr"] for each in ranked["explained"]} == {0.0}


def test_what_a_file_states_is_read() -> None:
    text = """
holdout: 0.05
experiments:
  one:
    unit: account
    layer: page
    from: 0.25
    traffic: 0.5
    salt: again
    start: 2026-12-01T00:00:00Z
    end: 2026-12-08T00:00:00Z
    variants: {a: {share: 0.3333}, b: {share: 0.6667}}
"""
    [one] = trials(text).experiments.experiments
    assert (one.unit, one.layer, one.first_slot, one.traffic_slots) == (
        "account",
        "page",
        2_500,
        5_000,
    )
    assert (one.salt, one.end_ms - one.start_ms) == ("again", 7 * 86_400_000)  # type: ignore[operator]
    assert [each.slots for each in one.variants] == [3_333, 6_667]
    assert trials(text).experiments.holdout_slots == SLOTS // 20


HALVES = "variants: {a: {share: 0.5}, b: {share: 0.5}}"
HOME = "variants: {a: {share: 1, placements: {home: {k: 3}}}}"


def variant_a(block: str) -> str:
    """A file of an experiment whose one variant states this."""
    return f"experiments: {{one: {{variants: {{a: {{share: 1, {block}}}}}}}}}"


def with_halves(block: str, name: str = "one") -> str:
    """A file of an experiment of two halves that states this."""
    return f"experiments: {{{name}: {{{block}, {HALVES}}}}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "experiments: {one: {variants: {a: {share: 0.5}, b: {share: 0.4}}}}",
            "1: one.variants: expected shares that come to 1 together, got '0.9'",
        ),
        (
            "experiments: {one: {variants: {a: {share: 0.33333}, b: {share: 0.66667}}}}",
            "1: one.variants.a.share: expected a share of at most four decimals, got '0.33333'",
        ),
        (
            "experiments: {one: {variants: {a: {share: 2}}}}",
            "1: one.variants.a.share: expected a number from 0 to 1, got '2'",
        ),
        (
            with_halves("unit: user"),
            "1: one.unit: expected one of visitor, account, session, got 'user'",
        ),
        ("experiments: {one: {unit: visitor}}", "1: one.variants: expected a value, got nothing"),
        (with_halves("unit: visitor", "One"), "1: experiments: expected up to 63 lowercase"),
        (
            with_halves("unit: visitor", "holdout"),
            "1: experiments: expected another name than holdout",
        ),
        (
            with_halves("from: 0.6, traffic: 0.5"),
            "1: one.traffic: expected at most 0.4: the layer ends there, got '0.5'",
        ),
        (
            with_halves("start: 2026-12-02T00:00:00Z, end: 2026-12-01T00:00:00Z"),
            "1: one.end: expected a time after the start",
        ),
        (with_halves("start: tomorrow"), "1: one.start: expected a time with its zone"),
        (with_halves("where: price < 3"), "1: one.where: expected .* at column 1, got 'price'"),
        (with_halves("force: {a1: c}"), "1: one.force: expected one of a, b, got 'c'"),
        (
            variant_a("placements: {nowhere: {k: 3}}"),
            "1: one.variants.a.placements: expected one of",
        ),
        (
            variant_a("placements: {home: {k: 0}}"),
            "1: one.variants.a.placements.home.k: expected a whole number",
        ),
        (
            variant_a("placements: {home: {kind: similar}}"),
            "1: one.variants.a.placements.home: expected one of title",
        ),
        (
            variant_a("placements: {home: {fallback: nowhere}}"),
            "1: one.variants.a.placements.home.fallback: expected",
        ),
        (
            variant_a("show: nothing"),
            "1: one.variants.a.show: expected one of popular, got 'nothing'",
        ),
        (
            f"experiments:\n  one: {{layer: page, {HALVES}}}\n"
            f"  two: {{layer: page, from: 0.5, {HALVES}}}",
            "3: two: expected another part of layer page: one has this one",
        ),
        (
            f"experiments:\n  one: {{{HOME}}}\n  two: {{{HOME}}}",
            "3: two: expected home changed by one layer alone: one changes it too",
        ),
        ("holdout: much", "1: holdout: expected a number from 0 to 1, got 'much'"),
        ("[]", "1: file: expected keys with values"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, expected: str) -> None:
    found = problems(text)
    assert any(re.match(f"experiments.yaml:{expected}", each) for each in found), found


def test_experiments_that_never_run_together_may_share_slots_and_placements() -> None:
    text = f"""
experiments:
  one: {{layer: page, end: 2026-12-01T00:00:00Z, {HOME}}}
  two: {{start: 2026-12-01T00:00:00Z, {HOME}}}
  three: {{layer: page, start: 2027-01-01T00:00:00Z, {HALVES}}}
"""
    assert len(trials(text).experiments.experiments) == 3


def test_a_file_that_cannot_be_used_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "experiments.yaml"
    file.write_text("holdout: much")
    for setting in (str(file), "holdout: much", str(tmp_path / "none")):
        with pytest.raises(InvalidConfig, match=r"(holdout|FRESHET_EXPERIMENTS): expected"):
            load_trials(replace(CONFIG, experiments=setting), FIELDS, PLACEMENTS)
    assert load_trials(CONFIG, FIELDS, PLACEMENTS).are_none


def test_the_file_of_the_documentation_can_be_used() -> None:
    text = (REPO / "docs" / "experiments.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    found = trials(block).experiments
    assert [each.name for each in found.experiments] == ["revenue_weight", "no_personalization"]
