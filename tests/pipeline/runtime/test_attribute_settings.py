"""Declared types of attributes: a file, or its text; what is wrong is named by line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime.attribute_settings import attributes_from_env, parse_attributes
from pipeline.runtime.environ import InvalidConfig
from pipeline.runtime.yaml_reader import InvalidFile

TYPES = {"color": "text", "weight": "number", "adult": "boolean", "since": "time", "tags": "list"}
YAML = "# our fields\n" + "".join(f"{name}: {kind}\n" for name, kind in TYPES.items())


def test_types_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "attributes.yaml"
    path.write_text(YAML)
    assert attributes_from_env({"FRESHET_ATTRIBUTES": str(path)}) == TYPES


@pytest.mark.parametrize("text", [YAML, '{"color": "text"}', "color: text"])
def test_types_are_read_from_the_variable_itself(text: str) -> None:
    found = attributes_from_env({"FRESHET_ATTRIBUTES": text})
    assert found is not None and found["color"] == "text"


def test_without_the_variable_types_are_inferred() -> None:
    assert attributes_from_env({}) is None
    assert attributes_from_env({"FRESHET_ATTRIBUTES": " "}) is None


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidConfig) as caught:
        attributes_from_env({"FRESHET_ATTRIBUTES": "/no/such.yaml"})
    assert str(caught.value) == (
        "FRESHET_ATTRIBUTES: expected a file that can be read, or the YAML itself, "
        "got '/no/such.yaml' (No such file or directory)"
    )


def test_all_that_is_wrong_is_named_by_line_and_field() -> None:
    with pytest.raises(InvalidFile) as caught:
        parse_attributes(
            b"color: txt\nprice: number\na-b: text\ncolor: text\nsize:\n[1]: text\n", "a.yaml"
        )
    kinds = "one of text, number, boolean, time, list"
    assert caught.value.problems == (
        f"a.yaml:1: attributes.color: expected {kinds}, got 'txt' (did you mean text?)",
        "a.yaml:2: attributes: expected a name that no field of an item has, got 'price'",
        "a.yaml:3: attributes: expected a name of 1 to 64 letters, digits and underscores, "
        "got 'a-b'",
        "a.yaml:4: attributes: expected each key once, got 'color'",
        f"a.yaml:5: attributes.size: expected {kinds}, got ''",
        "a.yaml:6: attributes: expected a name of 1 to 64 letters, digits and underscores, "
        "got a list",
    )


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidFile, match=r"a\.yaml:1: attributes: expected names with types"):
        parse_attributes(text.encode(), "a.yaml")


@pytest.mark.parametrize("text", ["[]", "- color", "color", "{"])
def test_what_holds_no_names_is_refused(text: str) -> None:
    with pytest.raises(InvalidFile, match=r"a\.yaml:\d"):
        parse_attributes(text.encode(), "a.yaml")
