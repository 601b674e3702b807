"""A file of placements: what is read from it, and that all that is wrong in it is named with its
line.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.core.item_columns import ItemColumns
from pipeline.runtime.environ import InvalidConfig
from pipeline.runtime.yaml_reader import InvalidFile
from tests.stack.prerequisites import REPO
from vertex.api.config import Config, Weights
from vertex.api.placements import KINDS, Placement, Placements, placement_of
from vertex.api.placements_file import VARIABLE, load_placements, parse_placements
from vertex.api.rules import AtMost, Boost, Freshness, Pin, Repeats, Share

CONFIG = Config(project="demo-project", instance="freshet", explore_rate=0.1)
FIELDS = ItemColumns(
    {"list_price": "number", "sponsored": "boolean", "adult": "boolean", "seller": "text"}
).fields.types
HOME = "home: {kind: for_you}\n"


def parse(text: str) -> Placements:
    return parse_placements(text.encode(), "my.yaml", CONFIG, FIELDS)


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidFile) as caught:
        parse(text)
    return list(caught.value.problems)


def home_with(block: str) -> str:
    """A file of one placement with this block, which starts in line 3."""
    return f"home:\n  kind: for_you\n{block}"


def home(block: str) -> Placement:
    return parse(home_with(block)).find("home")


def test_the_file_of_the_documentation_can_be_used() -> None:
    text = (REPO / "docs" / "placements.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)

    found = parse(block)

    home = found.find("home")
    assert (home.k, home.diversity, home.deadline_s) == (24, 0.7, 0.06)
    assert home.weights == Weights(1.0, 0.3, 0.1, 0.2, revenue=0.2)
    assert [type(rule) for rule in home.rules] == [
        Boost,
        Freshness,
        Repeats,
        AtMost,
        Share,
        Pin,
    ]
    assert home.rules[-1] == Pin(name="the sofa of the month", item_id="sofa-12", slot=0)
    assert found.find("similar").fallback == "bestsellers"
    assert found.find("top").banner == ("cart", "category")


def test_every_kind_is_documented() -> None:
    text = (REPO / "docs" / "placements.md").read_text()
    assert all(f"`{kind}`" in text for kind in KINDS)


def test_what_a_placement_does_not_state_is_as_kind_and_settings_say() -> None:
    found = parse(HOME + "row: {kind: recently_viewed}\n")
    assert found.find("home") == placement_of("home", "for_you", CONFIG)
    assert found.find("row") == placement_of("row", "recently_viewed", CONFIG)
    assert found.find("unknown") == found.find("home")


def test_a_rule_without_a_name_is_called_by_what_it_says() -> None:
    rules = home("  rules:\n    - {at_most: 2, of: brand, within: 8}\n").rules
    assert [rule.name for rule in rules] == ["at_most 2, of brand, within 8"]


def test_the_filter_of_a_kind_holds_beside_that_of_the_placement() -> None:
    sale = parse(HOME + "sale: {kind: on_sale, filter: price < 5}\n").find("sale")
    assert sale.filter is not None
    assert sale.filter.text == "(price < list_price) and (price < 5)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "home: {kind: for_me}",
            "my.yaml:1: home.kind: expected one of for_you, .*, got 'for_me'"
            r" \(did you mean for_you\?\)",
        ),
        ("home: {title: x}", "my.yaml:1: home.kind: expected a value, got nothing"),
        ("away: {kind: for_you}", "my.yaml:1: placements: expected home, .*"),
        ("", "my.yaml:1: placements: expected home, .*"),
        ("home: 7", "my.yaml:1: home: expected keys with values, got '7'"),
        (
            home_with("  diversty: 0.5"),
            r"my.yaml:3: home: expected one of .*, got 'diversty' \(did you mean diversity\?\)",
        ),
        (
            home_with("  diversity: 2"),
            "my.yaml:3: home.diversity: expected a number from 0 to 1, got '2'",
        ),
        (home_with("  k: 0"), "my.yaml:3: home.k: expected a whole number from 1 to 100, got '0'"),
        (
            home_with("  deadline_ms: 0"),
            "my.yaml:3: home.deadline_ms: expected a whole number from 1 to 10000, got '0'",
        ),
        (
            home_with("  hide: [sean]"),
            r"my.yaml:3: home.hide: expected one of seen, bought, cart, got 'sean' .*",
        ),
        (home_with("  hide: seen"), "my.yaml:3: home.hide: expected a list, got 'seen'"),
        (
            home_with("  sources: {covist: 1}"),
            r"my.yaml:3: home.sources: .*got 'covist' \(did you mean covisit\?\)",
        ),
        (
            home_with("  sources: {covisit: 0}"),
            "my.yaml:3: home.sources.covisit: expected a whole number from 1 to 100, got '0'",
        ),
        (
            home_with("  weights: {click: 1}"),
            "my.yaml:3: home.weights: expected one of ctr, recency, category, interest,"
            " conversion, revenue, margin, watch_time, got 'click'.*",
        ),
        (
            home_with("  fallback: nowhere"),
            "my.yaml:3: home.fallback: expected popular, or a placement of this file,"
            " got 'nowhere'",
        ),
        (
            home_with("  banner: [weather]"),
            "my.yaml:3: home.banner: expected one of cart, search, category, got 'weather'",
        ),
        (
            home_with("  filter: prize < 5"),
            "my.yaml:3: home.filter: expected a known field, such as price.* at column 1,"
            " got 'prize'",
        ),
        (
            home_with("  rules:\n    - {boost: 2, where: brand = }"),
            "my.yaml:4: home.rules\\[0\\].where: expected .* at column .*",
        ),
        (
            home_with("  rules:\n    - {boost: 2}"),
            "my.yaml:4: home.rules\\[0\\].where: expected a value, got nothing",
        ),
        (
            home_with("  rules:\n    - {bost: 2}"),
            "my.yaml:4: home.rules\\[0\\]: expected a rule with one of boost, .*, got 'bost'",
        ),
        (
            home_with("  rules:\n    - {at_most: 2, of: colour, within: 8}"),
            "my.yaml:4: home.rules\\[0\\].of: expected one of seller, category, brand, group,"
            " department, got 'colour'",
        ),
        (
            home_with("  rules:\n    - {pin: p1, slot: 6}"),
            "my.yaml:4: home.rules\\[0\\].slot: expected another slot than 6, which is for chance"
            " while explore is above 0, got '6'",
        ),
        (
            home_with("  rules:\n    - {share: 0.5, where: sponsored, up_to: 0.2}"),
            "my.yaml:4: home.rules\\[0\\].up_to: expected at least 0.5, got '0.2'",
        ),
        (
            home_with("  rules:\n    - {repeats: 0.5, until: tomorrow}"),
            "my.yaml:4: home.rules\\[0\\].until: expected a time with its zone, .*, got 'tomorrow'",
        ),
        (
            home_with("  rules:\n    - {freshness: 0.5, half_life: soon}"),
            "my.yaml:4: home.rules\\[0\\].half_life: expected a span .*, got 'soon'",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert re.fullmatch(expected, problem), problem


def test_all_mistakes_are_named_at_once() -> None:
    assert len(problems(home_with("  k: 0\n  explore: 2\n  rules: [{pin: p1, slot: 0}]\n"))) == 3


def test_a_pin_may_take_the_sixth_slot_where_nothing_is_explored() -> None:
    assert home("  explore: 0\n  rules: [{pin: p1, slot: 6}]\n").rules[0].name == "pin p1, slot 6"


def test_a_kind_that_needs_an_attribute_says_so() -> None:
    with pytest.raises(InvalidFile, match=r"my\.yaml:2: sale\.kind: .*price < list_price"):
        parse_placements(
            f"{HOME}sale: {{kind: on_sale}}".encode(), "my.yaml", CONFIG, ItemColumns().fields.types
        )


def test_the_setting_names_a_file_or_holds_its_text(tmp_path: Path) -> None:
    path = tmp_path / "placements.yaml"
    path.write_text("home: {kind: for_you, k: 7}")
    for stated in (str(path), "home: {kind: for_you, k: 7}"):
        config = Config(project="demo-project", instance="freshet", placements=stated)
        assert load_placements(config, FIELDS).find("home").k == 7


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ("no/such.yaml", f"{VARIABLE}: expected a file that can be read, or the YAML itself"),
        ("home: {kind: x}", f"{VARIABLE}:1: home.kind: expected one of"),
    ],
)
def test_a_setting_that_cannot_be_used_is_no_configuration(stated: str, problem: str) -> None:
    config = Config(project="demo-project", instance="freshet", placements=stated)
    with pytest.raises(InvalidConfig, match=f"^{problem}"):
        load_placements(config, FIELDS)
