"""The store's file of placements: it holds the rows of the store's pages, and leaves the built-in
ones as they are.
"""

from __future__ import annotations

import re

import msgspec

from pipeline.core.item_columns import ItemColumns
from tests.stack.environment import PLACEMENTS
from tests.stack.prerequisites import REPO
from vertex.api.config import Config
from vertex.api.placements import built_in
from vertex.api.placements_file import load_placements
from vertex.api.rules import AtMost

CONFIG = Config(project="demo-project", instance="freshet", placements=str(PLACEMENTS))
FOUND = load_placements(CONFIG, ItemColumns({}).fields.types).by_name


def test_each_row_of_the_store_is_a_placement_of_the_file() -> None:
    rows = (REPO / "web" / "store" / "public" / "placements.js").read_text(encoding="utf-8")
    asked = set(re.findall(r'placement: "(\w+)"', rows))
    assert len(asked) >= 8
    assert asked <= set(FOUND)


def test_the_built_in_placements_are_as_without_the_file_but_for_a_title() -> None:
    for name, placement in built_in(CONFIG).by_name.items():
        assert msgspec.structs.replace(FOUND[name], title=placement.title) == placement


def test_rows_of_the_store_hide_what_was_bought_and_are_not_of_one_category() -> None:
    for name in ("home_picks", "cart_picks", "category_picks", "search_picks"):
        assert FOUND[name].hide == {"cart", "bought"}
        kept = [rule for rule in FOUND[name].rules if isinstance(rule, AtMost)]
        assert any(rule.of == "category" and rule.n <= 2 for rule in kept)
