"""Compiles an expression to a mask over columns, for fields of known kinds.

filter = compile_expression('price < 50 and "nl" in regions and not adult', fields)
shown = rows[filter.mask(columns, rows, {"now": now_ms})]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

import numpy as np

from pipeline.core.columns import Mask, Rows
from pipeline.core.expressions import conditions, syntax
from pipeline.core.expressions.conditions import Condition, NumberSource, TextSource
from pipeline.core.expressions.errors import InvalidExpression
from pipeline.core.expressions.fields import (
    AGE,
    NOW,
    PUBLISHED_AT,
    FieldColumns,
    FieldTypes,
    Kind,
    Scalar,
)
from pipeline.core.expressions.syntax import Comparison, Constant, ListOf, Moment, Operand, Tree
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.timestamps import parse_time

MAX_COMPILED = 256
"""Expressions that are kept compiled, those used last."""
_MAX_NAME = 100  # characters of a name that is looked for among the known ones
_NUMERIC = frozenset({Kind.NUMBER, Kind.TIME, Kind.DURATION, Kind.FLAG})
_TEXT = frozenset({Kind.TEXT, Kind.ID})
_TEXTUAL = _TEXT | {Kind.TEXTS}
_LENGTH_OF_DATE = 10  # 2026-12-01


class Expression:
    """A compiled expression, which knows no rows."""

    def __init__(self, text: str, condition: Condition) -> None:
        self.text = text
        self._condition = condition

    def mask(self, columns: FieldColumns, rows: Rows, scalars: Mapping[str, Scalar]) -> Mask:
        """True for the rows that fulfil it, `(n,)`.

        Args:
            columns: of the fields that the expression was compiled for.
            rows: those that are asked about.
            scalars: values of `now` (ms since the Unix epoch), visitor and context by name; what
                is missing is unknown.
        """
        verdict = self._condition.holds(conditions.Evaluation(columns, rows, scalars))
        if isinstance(verdict, np.ndarray):
            return verdict
        return np.full(len(rows), verdict)


@lru_cache(maxsize=MAX_COMPILED)
def compile_expression(text: str, fields: FieldTypes) -> Expression:
    """Compile an expression, or find it compiled.

    Raises:
        InvalidExpression: naming the place and the expectation.
    """
    return Expression(text, _Compiler(fields).condition(syntax.parse(text)))


@dataclass(frozen=True)
class _Compiler:
    """Checks kinds, and makes conditions of the parts of a tree."""

    fields: FieldTypes

    def condition(self, tree: Tree) -> Condition:
        match tree:
            case syntax.Both(parts):
                return conditions.All(tuple(map(self.condition, parts)))
            case syntax.Either(parts):
                return conditions.AnyOf(tuple(map(self.condition, parts)))
            case syntax.Negation(part):
                return conditions.Not(self.condition(part))
            case syntax.Flag(operand):
                return self._flag(operand)
            case syntax.Has(field):
                return self._has(field)
            case syntax.Comparison():
                return self._comparison(tree)

    def _flag(self, operand: Operand) -> Condition:
        kind = self._kind(operand)
        if kind != Kind.FLAG:
            raise InvalidExpression(
                operand.at, "a comparison, or a field that is true or false", f"{kind} alone"
            )
        return conditions.ComparesNumbers("=", self._numbers(operand), conditions.FixedNumber(1.0))

    def _has(self, field: syntax.Field) -> Condition:
        kind = self._kind(field)
        if kind in _NUMERIC:
            return conditions.ValueIsKnown(self._numbers(field))
        if not self._is_column(field):
            return conditions.ScalarTextIsKnown(conditions.ScalarTexts(field.name))
        if kind == Kind.TEXTS:
            return conditions.ListIsKnown(field.name)
        return conditions.TextIsKnown(field.name)

    def _comparison(self, of: Comparison) -> Condition:
        if of.operator == "under":
            return self._under(of)
        if of.operator == "in":
            return self._membership(of)
        if Kind.TEXTS in (self._kind(of.left), self._kind(of.right)):
            raise InvalidExpression(of.at, '"in" for a list, as in "x" in tags', of.operator)
        left, right = self._same_kind(of.left, of.right)
        kind = self._kind(left)
        if kind in _NUMERIC:
            if kind == Kind.FLAG:
                _check_equality(of, "flags")
            return conditions.ComparesNumbers(
                of.operator, self._numbers(left), self._numbers(right)
            )
        _check_equality(of, "texts")
        equal = self._matches(of, left, right)
        return conditions.Not(equal) if of.operator == "!=" else equal

    def _membership(self, of: Comparison) -> Condition:
        kind = self._kind(of.right)
        if isinstance(of.right, ListOf) and self._kind(of.left) in _NUMERIC:
            return self._number_in(of.left, of.right)
        if kind != Kind.TEXTS:
            raise InvalidExpression(of.right.at, "a list", self._described(of.right))
        if self._kind(of.left) not in _TEXTUAL:
            raise InvalidExpression(of.left.at, "a text or a list", self._described(of.left))
        return self._matches(of, of.left, of.right)

    def _number_in(self, left: Operand, values: ListOf) -> Condition:
        pairs = [self._same_kind(left, value) for value in values.values]
        numbers = tuple(float(value.value) for _, value in pairs if isinstance(value, Constant))
        return conditions.NumberIsIn(self._numbers(left), numbers)

    def _under(self, of: Comparison) -> Condition:
        if self._kind(of.left) not in {Kind.TEXT, Kind.TEXTS}:
            raise InvalidExpression(of.left.at, "a text or a list", self._described(of.left))
        if self._kind(of.right) not in {Kind.TEXT, Kind.TEXTS}:
            raise InvalidExpression(
                of.right.at, "a path or a list of paths", self._described(of.right)
            )
        if self._is_column(of.right):
            raise InvalidExpression(
                of.right.at, "a path that is the same for all items", _name(of.right)
            )
        return self._matches(of, of.left, of.right)

    def _matches(self, of: Comparison, left: Operand, right: Operand) -> Condition:
        """Texts compared: of a field with what is the same for all items, or two of the latter."""
        is_under = of.operator == "under"
        if self._is_column(right):
            left, right = right, left
        if self._is_column(right):
            raise InvalidExpression(
                of.at, "at most one field of the item", f"{_name(left)} and {_name(right)}"
            )
        texts = self._texts(right)
        if not isinstance(left, syntax.Field) or not self._is_column(left):
            return conditions.ScalarTextMatches(self._texts(left), is_under, texts)
        match = conditions.codes_under if is_under else conditions.equal_codes
        is_list = self._kind(left) == Kind.TEXTS
        return conditions.FieldTextMatches(left.name, is_list, match, texts)

    def _same_kind(self, left: Operand, right: Operand) -> tuple[Operand, Operand]:
        """Both, a text beside a time read as a time."""
        left = self._as_time_beside(right, left)
        right = self._as_time_beside(left, right)
        kinds = self._kind(left), self._kind(right)
        if kinds[0] != kinds[1] and not set(kinds) <= _TEXT:
            wrong, other = (left, right) if isinstance(left, Constant) else (right, left)
            raise InvalidExpression(wrong.at, self._kind(other), self._described(wrong))
        return left, right

    def _as_time_beside(self, other: Operand, operand: Operand) -> Operand:
        if not isinstance(operand, Constant) or operand.kind != Kind.TEXT:
            return operand
        if self._kind(other) != Kind.TIME:
            return operand
        return Constant(operand.at, Kind.TIME, _time_ms(operand))

    def _kind(self, operand: Operand) -> Kind:
        match operand:
            case Constant(_, of_value):
                return of_value
            case Moment():
                return Kind.TIME
            case ListOf(_, values):
                return _kind_of_list(values)
            case syntax.Field():
                return self._kind_of_field(operand)

    def _kind_of_field(self, field: syntax.Field) -> Kind:
        kind = self.fields.kind(field.name)
        if kind is None:
            raise InvalidExpression(field.at, self._known_names(field.name), field.name)
        return kind

    def _known_names(self, name: str) -> str:
        names = sorted({*self.fields.item, *self.fields.scalars})
        near = get_close_matches(name[:_MAX_NAME], names, n=3)
        return f"a known field, such as {', '.join(near or names[:10])}"

    def _described(self, operand: Operand) -> str:
        kind = self._kind(operand)
        if isinstance(operand, syntax.Field):
            return f"{operand.name}, which is {kind}"
        return kind

    def _is_column(self, operand: Operand) -> bool:
        return isinstance(operand, syntax.Field) and operand.name in self.fields.item

    def _numbers(self, operand: Operand) -> NumberSource:
        match operand:
            case Constant(_, _, value):
                return conditions.FixedNumber(float(value))
            case Moment(_, shift_ms):
                return conditions.ScalarNumber(NOW, shift_ms)
            case syntax.Field(_, name) if name not in self.fields.item:
                return conditions.ScalarNumber(name)
            case syntax.Field(_, name) if name == AGE:
                return conditions.TimeSince(PUBLISHED_AT)
            case syntax.Field(_, name):
                return conditions.FieldNumbers(name)
            case ListOf(at):
                raise InvalidExpression(at, "one value", "a list")

    def _texts(self, operand: Operand) -> TextSource:
        match operand:
            case syntax.Field(_, name):
                return conditions.ScalarTexts(name)
            case ListOf(_, values):
                return conditions.FixedTexts(tuple(str(value.value) for value in values))
            case Constant(_, _, value):
                return conditions.FixedTexts((str(value),))
            case Moment(at):
                raise InvalidExpression(at, "a text", "a time")


def _kind_of_list(values: tuple[Constant, ...]) -> Kind:
    for value in values:
        if value.kind != values[0].kind:
            raise InvalidExpression(value.at, f"{values[0].kind} as the others", value.kind)
    return Kind.TEXTS if values[0].kind == Kind.TEXT else values[0].kind


def _check_equality(of: Comparison, what: str) -> None:
    if of.operator not in {"=", "!="}:
        raise InvalidExpression(of.at, f"= or != between {what}", of.operator)


def _time_ms(constant: Constant) -> float:
    """An RFC 3339 time, or a date for its beginning in UTC, in ms."""
    text = str(constant.value)
    if len(text) == _LENGTH_OF_DATE:
        text += "T00:00:00Z"
    try:
        return parse_time("", text).timestamp() * 1000.0
    except InvalidEvent:
        expected = 'a time such as "2026-12-01T08:00:00Z", or a date'
        raise InvalidExpression(constant.at, expected, str(constant.value)) from None


def _name(operand: Operand) -> str:
    return operand.name if isinstance(operand, syntax.Field) else ""
