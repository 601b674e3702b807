"""Rules as text: the tables of docs/rules.md."""

from __future__ import annotations

import pytest

from pipeline.core.rules import Rules
from pipeline.ops.rules_docs import BEGIN, END, documented
from pipeline.ops.rules_file import DEFAULT_FILE, DOCS_FILE, load, parse


def test_the_tables_of_the_documentation_are_not_stale() -> None:
    text = DOCS_FILE.read_text()
    assert text == documented(text, load()), "run `python -m pipeline.ops.rules_file --docs`"
    names = [rule.name for rule in load().campaigns] + [rule.name for rule in load().anomalies]
    assert all(f"| `{name}` |" in text for name in names)


def test_a_changed_threshold_makes_the_documentation_stale() -> None:
    text = DOCS_FILE.read_text()
    rules = parse(
        DEFAULT_FILE.read_bytes().replace(b"at_least: 300}", b"at_least: 301}"), "my.yaml"
    )
    assert documented(text, rules) != text


def test_only_what_lies_between_the_markers_is_written() -> None:
    made = documented(f"before {BEGIN} stale {END} after", Rules())
    assert (
        made.startswith(f"before {BEGIN}") and made.endswith(f"{END} after") and "stale" not in made
    )
    with pytest.raises(ValueError, match="expected the lines"):
        documented(f"{BEGIN} without an end", Rules())
