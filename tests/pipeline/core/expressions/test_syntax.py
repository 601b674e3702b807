"""What breaks the grammar is named with its place; what is too large is refused before it costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.expressions.errors import InvalidExpression
from pipeline.core.expressions.syntax import MAX_DEPTH, MAX_LENGTH, MAX_TERMS, parse

AFTER_A_FIELD = 'a comparison, "in", "under", "and", "or" or the end'


@pytest.mark.parametrize(
    ("text", "column", "expected", "got"),
    [
        ("", 1, "a field or a value", "the end"),
        ("price <", 8, "a field or a value", "the end"),
        ("price < 5 5", 11, '"and", "or" or the end', "5"),
        ("price < 10%", 11, '"and", "or" or the end', "%"),
        ("(price < 5", 11, '"and", "or" or ")"', "the end"),
        ("a orange", 3, AFTER_A_FIELD, "orange"),
        ("a ~ 3", 3, AFTER_A_FIELD, "~"),
        ("a AND b", 3, AFTER_A_FIELD, "AND"),
        ('brand = "abc', 9, 'a closing "', '"'),
        ("brand in []", 11, "a value", "]"),
        ("brand in ['a' 'b']", 15, '"," or "]"', "'"),
        ("brand not 'a'", 11, '"in"', "'"),
        ("now - 7 < a", 7, "a duration such as 7d", "7"),
        ("has('a')", 5, "a field", "'"),
        ("a = 1e999", 5, "a finite number", "1e999"),
        ("a = ''", 5, "a text that is not empty (has(field) says that a value is known)", "''"),
        ("a\nand @", 7, "a field or a value", "@"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, column: int, expected: str, got: str) -> None:
    with pytest.raises(InvalidExpression) as caught:
        parse(text)
    error = caught.value
    assert (error.column, error.expected, error.got) == (column, expected, got)
    assert str(error) == f"column {column}: expected {expected}, got {got}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" * (MAX_LENGTH + 1), f"at most {MAX_LENGTH:,} characters"),
        ("not " * (MAX_DEPTH + 1) + "a", f"at most {MAX_DEPTH} levels of nesting"),
        (" or ".join(["a=1"] * (MAX_TERMS + 1)), f"at most {MAX_TERMS} terms"),
    ],
)
def test_what_is_too_large_is_refused(text: str, expected: str) -> None:
    with pytest.raises(InvalidExpression) as caught:
        parse(text)
    assert caught.value.expected == expected


def test_what_just_fits_is_parsed() -> None:
    assert parse("not " * MAX_DEPTH + "a").depth == MAX_DEPTH
    assert parse(" or ".join(["a=1"] * MAX_TERMS)).terms == MAX_TERMS
    parse("(" * 900 + "a" + ")" * 900)


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            "a now not and or in under has ( ) [ ] , 1 7d -2.5 'x' \" < = == + - true `".split()
        ),
        max_size=30,
    ).map(" ".join)
)
def test_any_text_is_parsed_or_refused_with_a_place_in_it(text: str) -> None:
    refused = refusal(text)
    assert refused is None or (
        1 <= refused.column <= len(text) + 1 and refused.expected and refused.got
    )


def refusal(text: str) -> InvalidExpression | None:
    try:
        parse(text)
    except InvalidExpression as error:
        return error
    return None
