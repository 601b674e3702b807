"""Readers of environment variables: each value that cannot be used is refused by the name of its
variable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.runtime import environ as readers
from pipeline.runtime.environ import InvalidConfig


def words(environ: dict[str, str]) -> int:
    return readers.choice(environ, "V", {"one": 1, "two": 2, "three": 3}, default=0)


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (
            lambda environ: readers.required(environ, "V"),
            "",
            "V: required, expected a non-empty text",
        ),
        (
            lambda environ: readers.number(environ, "V", 1, 0, 2),
            "nan",
            "V: expected a number from 0 to 2, got 'nan'",
        ),
        (
            lambda environ: readers.number(environ, "V", 1, 0, 2),
            "2.1",
            "V: expected a number from 0 to 2, got '2.1'",
        ),
        (
            lambda environ: readers.whole_number(environ, "V", 1, 0, 2),
            "1.5",
            "V: expected a whole number from 0 to 2, got '1.5'",
        ),
        (
            lambda environ: readers.whole_number(environ, "V", 1, 0, 2),
            "inf",
            "V: expected a whole number from 0 to 2, got 'inf'",
        ),
        (
            lambda environ: readers.port(environ, "V", 80),
            "0",
            "V: expected a whole number from 1 to 65535, got '0'",
        ),
        (words, "four", "V: expected one, two or three, got 'four'"),
        (lambda environ: readers.flag(environ, "V"), "maybe", "V: expected 0 or 1, got 'maybe'"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(
    read: Callable[[dict[str, str]], Any], text: str, message: str
) -> None:
    with pytest.raises(InvalidConfig) as refused:
        read({"V": text})
    assert str(refused.value) == message


@pytest.mark.parametrize("environ", [{}, {"V": ""}])
def test_an_unset_or_empty_variable_has_its_default(environ: dict[str, str]) -> None:
    assert readers.number(environ, "V", 1.5, 0, 2) == 1.5
    assert readers.whole_number(environ, "V", 1, 0, 2) == 1
    assert words(environ) == 0
    assert not readers.flag(environ, "V")
    assert readers.rate_per_s(environ, "V") is None
    assert readers.secret_key(environ, "V") is None


def test_a_word_counts_in_any_case_and_without_the_spaces_around_it() -> None:
    assert words({"V": " Two\n"}) == 2


def test_the_bounds_of_a_number_are_included() -> None:
    assert [readers.number({"V": text}, "V", 1, 0, 2) for text in ("0", "2")] == [0, 2]
    assert [readers.whole_number({"V": text}, "V", 1, 0, 2) for text in ("0", "2")] == [0, 2]


def test_an_empty_list_of_names_is_no_default() -> None:
    assert readers.names({"V": ""}, "V", default="product") == []
    assert readers.names({}, "V", default="product") == ["product"]
    assert readers.names({"V": " a ,b,,"}, "V") == ["a", "b"]


def test_dataset_and_instance_are_those_of_terraform_unless_named() -> None:
    assert (readers.dataset_name({}), readers.bigtable_instance({})) == ("freshet", "freshet")
    named = {"FRESHET_DATASET": "d", "FRESHET_BIGTABLE_INSTANCE": "i", "GOOGLE_CLOUD_PROJECT": "p"}
    assert (readers.dataset_name(named), readers.bigtable_instance(named)) == ("d", "i")
    assert readers.project_id(named) == "p"
