"""A compiled expression picks the rows that the same expression picks one by one from dicts."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.attribute_columns import AttributeColumns
from pipeline.core.attributes import AttributeType, AttributeValue
from pipeline.core.expressions.compiler import MAX_COMPILED, compile_expression
from pipeline.core.expressions.errors import InvalidExpression
from pipeline.core.expressions.fields import KIND_OF_ATTRIBUTE, FieldTypes, Kind, Scalar
from pipeline.core.expressions.syntax import KEYWORDS

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
TYPES: dict[str, AttributeType] = {
    "price": "number",
    "was": "number",
    "category": "text",
    "brand": "text",
    "adult": "boolean",
    "in_stock": "boolean",
    "published_at": "time",
    "regions": "list",
    "paths": "list",
}
SCALARS = {
    "visitor.category": Kind.TEXT,
    "visitor.brands": Kind.TEXTS,
    "visitor.budget": Kind.NUMBER,
    "visitor.adult": Kind.FLAG,
    "context.country": Kind.TEXT,
}
FIELDS = FieldTypes(
    {**{name: KIND_OF_ATTRIBUTE[kind] for name, kind in TYPES.items()}, "age": Kind.DURATION},
    SCALARS,
)
Row = Mapping[str, AttributeValue]
Values = Mapping[str, Any]

PIECES = ("age", "now - 7d", "'a'", "['a', 'b']", "[1, 2]", "(", ")", "1", "7d", "=", "<", "!=")
WORDS_OF_THE_LANGUAGE = [*TYPES, *SCALARS, *KEYWORDS, *PIECES, "'2026-01-01'"]

WORDS = st.sampled_from(["a", "b", "a.b", "a.b.c", "ab"])
NUMBERS = st.sampled_from([0.0, 1.0, 2.5, -3.0])
TIMES = st.sampled_from([NOW_MS - 3 * DAY_MS, NOW_MS - DAY_MS, NOW_MS])
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "price": NUMBERS,
            "was": NUMBERS,
            "category": WORDS,
            "brand": WORDS,
            "adult": st.booleans(),
            "in_stock": st.booleans(),
            "published_at": TIMES,
            "regions": st.lists(WORDS, min_size=1, max_size=3),
            "paths": st.lists(WORDS, min_size=1, max_size=3),
        },
    ),
    max_size=12,
)
SCALAR_VALUES = st.fixed_dictionaries(
    {"now": st.just(NOW_MS)},
    optional={
        "visitor.category": st.none() | st.just("") | WORDS,
        "visitor.brands": st.lists(st.just("") | WORDS, max_size=3),
        "visitor.budget": st.none() | NUMBERS,
        "visitor.adult": st.booleans(),
        "context.country": WORDS,
    },
)


@dataclass(frozen=True)
class Sample:
    """A part of an expression as text, and its value for one row by its plain definition."""

    text: str
    holds: Callable[[Values], Any]


def field(*names: str) -> st.SearchStrategy[Sample]:
    return st.sampled_from([Sample(name, lambda row, name=name: row.get(name)) for name in names])  # type: ignore[misc]


def constant(
    values: st.SearchStrategy[Any], write: Callable[[Any], str]
) -> st.SearchStrategy[Sample]:
    return values.map(lambda value: Sample(write(value), lambda row: value))


def known(value: Any) -> bool:
    return value is not None and value != [] and value != ""


def compared(left: Sample, sign: str, right: Sample) -> Sample:
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}

    def holds(row: Values) -> bool:
        one, other = left.holds(row), right.holds(row)
        is_known = known(one) and known(other)
        if sign == "!=":
            return not (is_known and one == other)
        if sign in {"=", "=="}:
            return is_known and one == other
        return is_known and compare[sign](one, other)

    return Sample(f"{left.text} {sign} {right.text}", holds)


def listed(value: Any) -> list[Any]:
    if not known(value):
        return []
    return [each for each in value if each != ""] if isinstance(value, list) else [value]


def is_in(left: Sample, sign: str, right: Sample) -> Sample:
    def holds(row: Values) -> bool:
        found = set(listed(left.holds(row))) & set(listed(right.holds(row)))
        return bool(found) == (sign == "in")

    return Sample(f"{left.text} {sign} {right.text}", holds)


def is_under(left: Sample, right: Sample) -> Sample:
    def holds(row: Values) -> bool:
        return any(
            text == path or text.startswith(f"{path}.")
            for text in listed(left.holds(row))
            for path in listed(right.holds(row))
        )

    return Sample(f"{left.text} under {right.text}", holds)


def quoted(text: str) -> str:
    return f"'{text}'" if len(text) % 2 else f'"{text}"'


def written_list(values: list[Any], write: Callable[[Any], str]) -> str:
    return f"[{', '.join(map(write, values))}]"


SIGNS = st.sampled_from(["=", "==", "!=", "<", "<=", ">", ">="])
EQUALITY = st.sampled_from(["=", "==", "!="])
IN = st.sampled_from(["in", "not in"])
NUMBER = field("price", "was", "visitor.budget") | constant(NUMBERS, repr)
TEXT_FIELD = field("category", "brand", "visitor.category", "context.country")
WORD = field("visitor.category", "context.country") | constant(WORDS, quoted)
WORD_LIST = field("visitor.brands") | constant(
    st.lists(WORDS, min_size=1, max_size=12), lambda values: written_list(values, quoted)
)
NUMBER_LIST = constant(
    st.lists(NUMBERS, min_size=1, max_size=3), lambda values: written_list(values, repr)
)
LIST_FIELD = field("regions", "paths")
FLAG = field("adult", "in_stock", "visitor.adult")
TIME = field("published_at") | st.sampled_from(
    [
        Sample("now", lambda row: row["now"]),
        Sample("now - 1d", lambda row: row["now"] - DAY_MS),
        Sample("now + 36h", lambda row: row["now"] + 1.5 * DAY_MS),
    ]
)
AGE = st.just(
    Sample("age", lambda row: row["now"] - row["published_at"] if "published_at" in row else None)
)
DURATION = st.sampled_from(
    [Sample("1d", lambda row: DAY_MS), Sample("0.5w", lambda row: 3.5 * DAY_MS)]
)
KINDS_OF_TERM = st.one_of(
    st.builds(compared, NUMBER, SIGNS, NUMBER),
    st.builds(compared, TIME, SIGNS, TIME),
    st.builds(
        compared,
        field("published_at"),
        SIGNS,
        st.just(Sample('"2023-11-14T22:13:20Z"', lambda row: NOW_MS)),
    ),
    st.builds(compared, AGE, SIGNS, DURATION),
    st.builds(compared, TEXT_FIELD, EQUALITY, WORD),
    st.builds(compared, FLAG, EQUALITY, FLAG | st.just(Sample("false", lambda row: False))),
    FLAG.map(lambda flag: Sample(flag.text, lambda row: flag.holds(row) is True)),
    st.builds(is_in, NUMBER, IN, NUMBER_LIST),
    st.builds(is_in, TEXT_FIELD | LIST_FIELD, IN, WORD_LIST),
    st.builds(is_in, WORD, IN, LIST_FIELD),
    st.builds(is_under, TEXT_FIELD | LIST_FIELD, WORD | WORD_LIST),
    field(*TYPES, *SCALARS).map(
        lambda each: Sample(f"has({each.text})", lambda row: known(each.holds(row)))
    ),
)


@st.composite
def terms(draw: st.DrawFn) -> Sample:
    """One term, of any kind."""
    term: Sample = draw(KINDS_OF_TERM)
    return term


@st.composite
def unparenthesised(draw: st.DrawFn) -> Sample:
    """Four terms that precedence alone keeps apart."""
    return in_precedence(*(draw(KINDS_OF_TERM) for _ in range(4)))


def negated(part: Sample) -> Sample:
    return Sample(f"not ({part.text})", lambda row: not part.holds(row))


def joined(word: str, combine: Callable[..., bool], parts: list[Sample]) -> Sample:
    text = f" {word} ".join(f"({part.text})" for part in parts)
    return Sample(text, lambda row: combine(part.holds(row) for part in parts))


def in_precedence(a: Sample, b: Sample, c: Sample, d: Sample) -> Sample:
    text = f"not {a.text} and {b.text} or {c.text} and not {d.text}"
    return Sample(
        text,
        lambda row: (not a.holds(row) and b.holds(row)) or (c.holds(row) and not d.holds(row)),
    )


EXPRESSIONS = st.recursive(
    terms() | unparenthesised(),
    lambda parts: st.one_of(
        parts.map(negated),
        st.lists(parts, min_size=2, max_size=3).map(lambda some: joined("and", all, some)),
        st.lists(parts, min_size=2, max_size=3).map(lambda some: joined("or", any, some)),
    ),
    max_leaves=6,
)


def columns_of(rows: list[Row]) -> AttributeColumns:
    columns = AttributeColumns(TYPES)
    for place, row in enumerate(rows):
        columns.put(place, row)
    return columns


def chosen(text: str, rows: list[Row], scalars: Mapping[str, Scalar] | None = None) -> list[bool]:
    """The mask of all rows."""
    every = np.arange(len(rows), dtype=np.int32)
    mask = compile_expression(text, FIELDS).mask(
        columns_of(rows), every, scalars or {"now": NOW_MS}
    )
    assert mask.dtype == np.bool_ and mask.shape == (len(rows),)
    picked: list[bool] = mask.tolist()
    return picked


@settings(max_examples=200)
@given(EXPRESSIONS, ROWS, SCALAR_VALUES)
def test_masks_agree_with_the_definition_row_by_row(
    sample: Sample, rows: list[Row], scalars: dict[str, Scalar]
) -> None:
    expected = [sample.holds({**scalars, **row}) for row in rows]
    assert chosen(sample.text, rows, scalars) == expected


@given(st.lists(st.sampled_from(WORDS_OF_THE_LANGUAGE), max_size=8).map(" ".join))
def test_any_words_of_the_language_are_compiled_or_refused(text: str) -> None:
    compiled = None
    with suppress(InvalidExpression):
        compiled = compile_expression(text, FIELDS)
    if compiled is not None:
        mask = compiled.mask(columns_of([{}, {"price": 1.0}]), np.arange(2, dtype=np.int32), {})
        assert mask.dtype == np.bool_ and mask.shape == (2,)


def test_rows_are_answered_in_the_order_that_they_are_asked_for() -> None:
    columns = columns_of(
        [{"price": 1.0}, {"price": 9.0, "regions": ["nl"]}, {"regions": ["be", "nl"]}]
    )
    rows = np.array([2, 0, 2, 1], np.int32)
    cheap = compile_expression("price < 5", FIELDS).mask(columns, rows, {})
    dutch = compile_expression('"nl" in regions', FIELDS).mask(columns, rows, {})
    assert cheap.tolist() == [False, True, False, False]
    assert dutch.tolist() == [True, False, True, True]


def test_a_comparison_with_an_unknown_value_is_false_and_its_negation_true() -> None:
    for text in [
        "price < 5",
        "price >= 5",
        "price = 5",
        "adult",
        "adult = false",
        '"nl" in regions',
    ]:
        assert chosen(text, [{}]) == [False]
        assert chosen(f"not {text}", [{}]) == [True]
    assert chosen("price != 5", [{}]) == [True]
    assert chosen('brand not in ["a"]', [{}]) == [True]
    assert chosen("visitor.budget > 1 or visitor.budget <= 1", [{}]) == [False]


def test_an_empty_text_is_unknown_and_equals_no_other_unknown_one() -> None:
    assert chosen("brand in visitor.brands", [{}], {"visitor.brands": ["", "a"]}) == [False]
    assert chosen("brand = visitor.category", [{}], {"visitor.category": ""}) == [False]
    assert chosen("has(visitor.category)", [{}], {"visitor.category": ""}) == [False]


def test_a_category_is_under_itself_and_its_ancestors_alone() -> None:
    rows: list[Row] = [{"category": name} for name in ("shoes", "shoes.men", "shoestrings", "")]
    assert chosen('category under "shoes"', rows) == [True, True, False, False]
    assert chosen('category under ["x", "shoes.men"]', rows) == [False, True, False, False]


def test_quotes_and_backslashes_are_escaped_by_a_backslash() -> None:
    rows: list[Row] = [{"brand": "O'Neill"}, {"brand": 'a"b\\c'}, {"brand": "café"}]
    assert chosen(r"brand = 'O\'Neill'", rows) == [True, False, False]
    assert chosen(r'brand = "a\"b\\c"', rows) == [False, True, False]
    assert chosen('brand = "café"', rows) == [False, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prize < 5", "column 1: expected a known field, such as price, got prize"),
        ('price < "5"', "column 9: expected a number, got a text"),
        ('"x" = price', "column 1: expected a number, got a text"),
        ("price < brand", "column 9: expected a number, got brand, which is a text"),
        ('brand < "a"', "column 7: expected = or != between texts, got <"),
        ("adult >= true", "column 7: expected = or != between flags, got >="),
        (
            "in_stock and price",
            "column 14: expected a comparison, or a field that is true or false",
        ),
        ('regions = "nl"', 'column 9: expected "in" for a list'),
        ('price in [1, "2"]', "column 14: expected a number as the others, got a text"),
        ('brand in "x"', "column 10: expected a list, got a text"),
        ("brand in regions", "column 7: expected at most one field of the item"),
        ("brand = category", "column 7: expected at most one field of the item"),
        ("category under brand", "column 16: expected a path that is the same for all items"),
        ('price under "x"', "column 1: expected a text or a list, got price, which is a number"),
        ("age < 7", "column 7: expected a duration such as 7d, got a number"),
        ('published_at > "2026-13-01"', "column 16: expected a time such as"),
        ("published_at > 5", "column 16: expected a time, got a number"),
        ("price < [1]", "column 9: expected one value, got a list"),
        ("has(colour)", "column 5: expected a known field"),
    ],
)
def test_a_wrong_type_or_name_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidExpression) as caught:
        compile_expression(text, FIELDS)
    assert str(caught.value).startswith(message)


def test_an_expression_is_compiled_once_for_the_same_fields() -> None:
    first = compile_expression("price < 17", FIELDS)
    assert compile_expression("price < 17", FIELDS) is first
    others = FieldTypes({"price": Kind.TIME})
    with pytest.raises(InvalidExpression):
        compile_expression("price < 17", others)


def test_no_more_than_a_bounded_number_of_expressions_is_kept() -> None:
    first = compile_expression("price < 18", FIELDS)
    for number in range(MAX_COMPILED):
        compile_expression(f"price < 18.{number}", FIELDS)
    assert compile_expression("price < 18", FIELDS) is not first
