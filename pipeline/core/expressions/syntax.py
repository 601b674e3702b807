"""The grammar of expressions, and the tree that is parsed from one."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any

from lark import (
    Lark,
    Token,
    Transformer,
    UnexpectedCharacters,
    UnexpectedInput,
    UnexpectedToken,
    v_args,
)

from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS
from pipeline.core.expressions.errors import InvalidExpression
from pipeline.core.expressions.fields import Kind

MAX_LENGTH = 2_000
"""Characters of an expression."""
MAX_TERMS = 100
"""Comparisons, flags and `has` in an expression."""
MAX_DEPTH = 20
"""Levels of `and`, `or` and `not` within each other."""

KEYWORDS = ("and", "or", "not", "in", "under", "has", "now", "true", "false")
"""Words that are no names."""

_GRAMMAR = r"""
?start: either
?either: both (_OR both)*
?both: negated (_AND negated)*
?negated: NOT negated -> negation
    | term
?term: "(" either ")"
    | operand -> flag
    | operand COMPARISON operand -> comparison
    | operand IN operand -> membership
    | operand NOT IN operand -> no_membership
    | operand UNDER operand -> under
    | HAS "(" field ")" -> has
?operand: field | constant | moment | list
field: NAME
constant: TEXT | NUMBER | DURATION | TRUE | FALSE
moment: NOW
    | NOW SIGN DURATION -> shifted_moment
list: LEFT_BRACKET constant (_COMMA constant)* "]"

_AND: /and\b/
_OR: /or\b/
NOT: /not\b/
IN: /in\b/
UNDER: /under\b/
HAS: /has\b/
NOW: /now\b/
TRUE: /true\b/
FALSE: /false\b/
COMPARISON: "==" | "=" | "!=" | "<=" | ">=" | "<" | ">"
LEFT_BRACKET: "["
_COMMA: ","
SIGN: "+" | "-"
NAME: /(?!(?:KEYWORDS)\b)[^\W\d]\w*(?:\.[^\W\d]\w*)*/
TEXT: /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/
DURATION.2: /\d+(?:\.\d+)?(?:s|m|h|d|w)\b/
NUMBER: /-?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?/
%ignore /\s+/
"""

_UNIT_MS = {"s": 1_000, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_ESCAPED = re.compile(r"\\(.)")
_WORD = re.compile(r"\w+|\S")
# Terminals as a reader knows them, in the order in which an error lists them.
_WORDS = {
    "NAME": "a field",
    "TEXT": "a value",
    "LPAR": '"("',
    "COMPARISON": "a comparison",
    "IN": '"in"',
    "UNDER": '"under"',
    "SIGN": '"+" or "-"',
    "_COMMA": '","',
    "RSQB": '"]"',
    "_AND": '"and"',
    "_OR": '"or"',
    "RPAR": '")"',
    "$END": "the end",
}


@dataclass(frozen=True)
class Field:
    """A name."""

    at: int
    name: str


@dataclass(frozen=True)
class Constant:
    """A value that the expression spells out; durations in ms."""

    at: int
    kind: Kind
    value: str | float


@dataclass(frozen=True)
class Moment:
    """The time of evaluation, so many ms later."""

    at: int
    shift_ms: float


@dataclass(frozen=True)
class ListOf:
    """Values in brackets, one at least."""

    at: int
    values: tuple[Constant, ...]


Operand = Field | Constant | Moment | ListOf


@dataclass(frozen=True)
class Flag:
    """A field that is true or false by itself."""

    operand: Operand
    terms: int = 1
    depth: int = 0


@dataclass(frozen=True)
class Comparison:
    """Two values and an operator: `=`, `!=`, `<`, `<=`, `>`, `>=`, `in` or `under`."""

    at: int
    operator: str
    left: Operand
    right: Operand
    terms: int = 1
    depth: int = 0


@dataclass(frozen=True)
class Has:
    """True where the field's value is known."""

    field: Field
    terms: int = 1
    depth: int = 0


@dataclass(frozen=True)
class Negation:
    """True where its part is not."""

    part: Tree
    terms: int
    depth: int


@dataclass(frozen=True)
class Both:
    """True where all parts are."""

    parts: tuple[Tree, ...]
    terms: int
    depth: int


@dataclass(frozen=True)
class Either:
    """True where one part is at least."""

    parts: tuple[Tree, ...]
    terms: int
    depth: int


Tree = Flag | Comparison | Has | Negation | Both | Either


def parse(text: str) -> Tree:
    """The tree of an expression.

    Raises:
        InvalidExpression: naming the place and the expectation; also beyond `MAX_LENGTH`,
            `MAX_TERMS` and `MAX_DEPTH`.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidExpression(
            MAX_LENGTH + 1, f"at most {MAX_LENGTH:,} characters", f"{len(text):,}"
        )
    try:
        tree: Any = _parser.parse(text)
    except UnexpectedInput as error:
        raise _unexpected(text, error) from None
    _check_size(tree)
    parsed: Tree = tree
    return parsed


def _check_size(tree: Tree) -> None:
    if tree.terms > MAX_TERMS:
        raise InvalidExpression(1, f"at most {MAX_TERMS} terms", f"{tree.terms}")


def _unexpected(text: str, error: UnexpectedInput) -> InvalidExpression:
    at = len(text)
    if not _is_at_end(error):
        at = min(error.pos_in_stream or 0, at)
    if isinstance(error, UnexpectedCharacters) and text[at] in "\"'":
        return InvalidExpression(at + 1, f"a closing {text[at]}", _word(text, at))
    return InvalidExpression(at + 1, _list_of(_accepted(text)), _word(text, at))


def _is_at_end(error: UnexpectedInput) -> bool:
    return isinstance(error, UnexpectedToken) and error.token.type == "$END"


def _accepted(text: str) -> set[str]:
    """The terminals that may stand where the text breaks the grammar."""
    interactive = _parser.parse_interactive(text)
    with suppress(UnexpectedInput):
        interactive.exhaust_lexer()
    accepted: set[str] = interactive.accepts()  # type: ignore[no-untyped-call]
    return accepted


def _list_of(terminals: set[str]) -> str:
    """`a comparison, "in" or the end`."""
    if {"NAME", "TEXT"} <= terminals:
        return "a field or a value"
    if terminals == {"DURATION"}:
        return "a duration such as 7d"
    words = [word for name, word in _WORDS.items() if name in terminals]
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _word(text: str, at: int) -> str:
    found = _WORD.search(text, at)
    return found[0] if found else "the end"


def _column(token: Token) -> int:
    return (token.start_pos or 0) + 1


def _bounded(at: int, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise InvalidExpression(at, f"at most {MAX_DEPTH} levels of nesting", "more")
    return depth


@v_args(inline=True)
class _TreeBuilder(Transformer[Token, Any]):
    """Makes the tree while the parser goes, so that no depth of nesting costs recursion."""

    def field(self, token: Token) -> Field:
        return Field(_column(token), str(token))

    def constant(self, token: Token) -> Constant:
        return _constant(token)

    def moment(self, now: Token) -> Moment:
        return Moment(_column(now), 0.0)

    def shifted_moment(self, now: Token, sign: Token, duration: Token) -> Moment:
        shift_ms = _duration_ms(duration)
        return Moment(_column(now), shift_ms if sign == "+" else -shift_ms)

    def list(self, bracket: Token, *values: Constant) -> ListOf:
        return ListOf(_column(bracket), values)

    def flag(self, operand: Operand) -> Flag:
        return Flag(operand)

    def has(self, _: Token, field: Field) -> Has:
        return Has(field)

    def comparison(self, left: Operand, sign: Token, right: Operand) -> Comparison:
        operator = "=" if sign == "==" else str(sign)
        return Comparison(_column(sign), operator, left, right)

    def membership(self, left: Operand, sign: Token, right: Operand) -> Comparison:
        return Comparison(_column(sign), "in", left, right)

    def no_membership(self, left: Operand, no: Token, sign: Token, right: Operand) -> Negation:
        return Negation(self.membership(left, sign, right), 1, 1)

    def under(self, left: Operand, sign: Token, right: Operand) -> Comparison:
        return Comparison(_column(sign), "under", left, right)

    def negation(self, sign: Token, part: Tree) -> Negation:
        return Negation(part, part.terms, _bounded(_column(sign), part.depth + 1))

    def both(self, *parts: Tree) -> Both:
        return Both(parts, sum(part.terms for part in parts), _depth_over(parts))

    def either(self, *parts: Tree) -> Either:
        return Either(parts, sum(part.terms for part in parts), _depth_over(parts))


def _depth_over(parts: tuple[Tree, ...]) -> int:
    return _bounded(1, max(part.depth for part in parts) + 1)


def _constant(token: Token) -> Constant:
    at = _column(token)
    if token.type == "TEXT":
        return Constant(at, Kind.TEXT, _text(token))
    if token.type == "NUMBER":
        return Constant(at, Kind.NUMBER, _finite(token, float(token)))
    if token.type == "DURATION":
        return Constant(at, Kind.DURATION, _duration_ms(token))
    return Constant(at, Kind.FLAG, float(token.type == "TRUE"))


def _text(token: Token) -> str:
    text = _ESCAPED.sub(r"\1", token[1:-1])
    if not text:
        expected = "a text that is not empty (has(field) says that a value is known)"
        raise InvalidExpression(_column(token), expected, str(token))
    return text


def _duration_ms(token: Token) -> float:
    return _finite(token, float(token[:-1]) * _UNIT_MS[token[-1]])


def _finite(token: Token, number: float) -> float:
    if not isfinite(number):
        raise InvalidExpression(_column(token), "a finite number", str(token))
    return number


_parser = Lark(
    _GRAMMAR.replace("KEYWORDS", "|".join(KEYWORDS)), parser="lalr", transformer=_TreeBuilder()
)
