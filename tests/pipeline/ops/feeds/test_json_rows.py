"""JSON lines and arrays, one row at a time in memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from pipeline.core.attributes import AttributeSchema
from pipeline.core.invalid_item import InvalidItem
from pipeline.ops.feeds.json_rows import MAX_ROW_LENGTH, is_array, json_array, json_lines
from pipeline.ops.feeds.rows import Columns, FeedRow, InvalidFeed


def columns() -> Columns:
    return Columns(AttributeSchema())


def array(tmp_path: Path, text: str) -> list[FeedRow]:
    path = tmp_path / "feed.json"
    path.write_text(text, encoding="utf-8")
    return list(json_array(path, columns()))


@pytest.mark.parametrize("text", ["[]", " [ ] ", "\ufeff[]"])
def test_an_empty_array_has_no_row(tmp_path: Path, text: str) -> None:
    assert array(tmp_path, text) == []


def test_an_array_is_read_element_by_element(tmp_path: Path) -> None:
    rows = [{"id": f"p{number}", "title": "x" * 500} for number in range(1_000)]
    found = array(tmp_path, json.dumps(rows, indent=1))
    assert [each.row for each in found] == rows
    assert found[-1].place == "item 1000"


def test_an_element_that_is_no_object_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    bad, good = array(tmp_path, '[5, {"id": "p"}]')
    assert isinstance(bad.row, InvalidItem) and bad.place == "item 1"
    assert good.row == {"id": "p"}


@pytest.mark.parametrize(
    "text",
    ["", "{}", '[{"id": "p"}', '[{"id": "p"} {"id": "q"}]', '[{"id"', "[,]", "[" + "[" * 100_000],
)
def test_what_is_no_array_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidFeed, match="expected "):
        array(tmp_path, text)


def test_rows_are_bounded(tmp_path: Path) -> None:
    with pytest.raises(InvalidFeed):
        array(tmp_path, '[{"id": "' + "x" * (MAX_ROW_LENGTH + 200_000))
    path = tmp_path / "feed.jsonl"
    path.write_text("x" * (MAX_ROW_LENGTH + 1), encoding="utf-8")
    with pytest.raises(InvalidFeed, match="line 1: expected at most 1000000 characters"):
        list(json_lines(path, columns()))


def test_an_array_is_told_from_lines_by_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "feed.json"
    for text, expected in ((" \n[{}]", True), ('{"id": "p"}', False), ("", False)):
        path.write_text(text, encoding="utf-8")
        assert is_array(path) is expected


def test_memory_does_not_grow_with_the_array(tmp_path: Path) -> None:
    path = tmp_path / "feed.json"
    row = json.dumps({"id": "p", "title": "x" * 200})
    path.write_text("[" + ",".join([row] * 20_000) + "]", encoding="utf-8")
    tracemalloc.start()
    count = sum(1 for _ in json_array(path, columns()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000 and peak < 2_000_000
