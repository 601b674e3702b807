"""Conditions: the parts of a compiled expression, each of which gives the rows that fulfil it.

An unknown value equals nothing, is less than nothing and in no list; `Not` reverses what its part
says. For numbers that is how NaN compares.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import UNKNOWN, Mask, Rows
from pipeline.core.expressions.fields import NOW, Codes, FieldColumns, Scalar, Texts, Values

NAN = float("nan")
PATH_SEPARATOR = "."
Verdict = Mask | np.bool_
"""`(n,)`, or one for all rows."""
Numbers = NDArray[Any] | float
"""`(n,)`, or one for all rows; NaN where unknown."""
Match = Callable[[Codes, Sequence[str], NDArray[np.int32]], Mask]
"""True for the codes whose texts match."""

# So many codes are compared one by one, more of them by a table.
_FEW_CODES = 8
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass
class Evaluation:
    """One evaluation: rows of columns, and the scalars; a column is gathered once."""

    columns: FieldColumns
    rows: Rows
    scalars: Mapping[str, Scalar]
    _gathered: dict[str, NDArray[Any]] = field(default_factory=dict)

    def values(self, name: str) -> NDArray[Any]:
        """The rows' numbers, flags or times."""
        return self._gather(name, self.columns.values)

    def codes(self, name: str) -> NDArray[np.int32]:
        """The codes of the rows' texts."""
        return self._gather(name, self.columns.texts)

    def number(self, name: str) -> float:
        """A scalar as a number, a flag as 1 or 0; NaN where it is unknown."""
        value = self.scalars.get(name)
        return float(value) if isinstance(value, (int, float)) else NAN

    def texts(self, name: str) -> Sequence[str]:
        """A scalar's texts; none where it is unknown."""
        value = self.scalars.get(name)
        if isinstance(value, str):
            return (value,) if value else ()
        return () if value is None or isinstance(value, (int, float)) else value

    def _gather(self, name: str, column: Callable[[str], Values | Texts]) -> NDArray[Any]:
        found = self._gathered.get(name)
        if found is None:
            found = self._gathered[name] = column(name).get(self.rows)
        return found


class Condition(Protocol):
    """Rows that fulfil it."""

    def holds(self, at: Evaluation) -> Verdict:
        """True for the rows that do."""
        ...


class NumberSource(Protocol):
    """Numbers of the rows, or one for all."""

    def numbers(self, at: Evaluation) -> Numbers: ...


class TextSource(Protocol):
    """Texts that are the same for all rows."""

    def texts(self, at: Evaluation) -> Sequence[str]: ...


@dataclass(frozen=True)
class FieldNumbers:
    """A field's numbers, flags or times."""

    name: str

    def numbers(self, at: Evaluation) -> Numbers:
        return at.values(self.name)


@dataclass(frozen=True)
class TimeSince:
    """Time since a field's time, ms."""

    name: str

    def numbers(self, at: Evaluation) -> Numbers:
        return at.number(NOW) - at.values(self.name)


@dataclass(frozen=True)
class ScalarNumber:
    """A number of visitor or context."""

    name: str
    shift: float = 0.0

    def numbers(self, at: Evaluation) -> Numbers:
        return at.number(self.name) + self.shift


@dataclass(frozen=True)
class FixedNumber:
    """A number of the expression."""

    value: float

    def numbers(self, at: Evaluation) -> Numbers:
        return self.value


@dataclass(frozen=True)
class FixedTexts:
    """Texts of the expression."""

    values: tuple[str, ...]

    def texts(self, at: Evaluation) -> Sequence[str]:
        return self.values


@dataclass(frozen=True)
class ScalarTexts:
    """The text, or the list of texts, of visitor or context."""

    name: str

    def texts(self, at: Evaluation) -> Sequence[str]:
        return at.texts(self.name)


@dataclass(frozen=True)
class ComparesNumbers:
    """Numbers, flags, times or durations compared."""

    sign: str
    left: NumberSource
    right: NumberSource

    def holds(self, at: Evaluation) -> Verdict:
        compare = _COMPARE[self.sign]
        verdict: Verdict = np.asarray(compare(self.left.numbers(at), self.right.numbers(at)))[()]
        return verdict


@dataclass(frozen=True)
class NumberIsIn:
    """A number is one of these."""

    left: NumberSource
    values: tuple[float, ...]

    def holds(self, at: Evaluation) -> Verdict:
        verdict: Verdict = np.isin(np.asarray(self.left.numbers(at)), self.values)[()]
        return verdict


@dataclass(frozen=True)
class FieldTextMatches:
    """The text of a field, or one text of its list, is one of these, or below one of these paths.

    Attributes:
        name: the field.
        is_list: the field holds lists.
        match: picks the codes.
        texts: what they are compared with.
    """

    name: str
    is_list: bool
    match: Match
    texts: TextSource

    def holds(self, at: Evaluation) -> Verdict:
        """True for the rows whose text matches."""
        texts = self.texts.texts(at)
        if not self.is_list:
            return self.match(at.columns.texts(self.name).dictionary, texts, at.codes(self.name))
        column = at.columns.lists(self.name)
        return column.has_chosen(at.rows, partial(self.match, column.dictionary, texts))


@dataclass(frozen=True)
class ScalarTextMatches:
    """A text of visitor, context or expression is one of these, or below one of these paths."""

    left: TextSource
    is_under: bool
    right: TextSource

    def holds(self, at: Evaluation) -> Verdict:
        """True or False for all rows."""
        wanted = self.right.texts(at)
        matches = _is_under if self.is_under else _is_one_of
        return np.bool_(any(matches(text, wanted) for text in self.left.texts(at)))


@dataclass(frozen=True)
class ValueIsKnown:
    """The number, flag or time is known."""

    source: NumberSource

    def holds(self, at: Evaluation) -> Verdict:
        """True for the rows that have one."""
        verdict: Verdict = ~np.isnan(np.asarray(self.source.numbers(at), np.float64))[()]
        return verdict


@dataclass(frozen=True)
class TextIsKnown:
    """The field's text is known."""

    name: str

    def holds(self, at: Evaluation) -> Verdict:
        """True for the rows that have one."""
        mask: Mask = at.codes(self.name) != UNKNOWN
        return mask


@dataclass(frozen=True)
class ListIsKnown:
    """The field's list holds a text at least."""

    name: str

    def holds(self, at: Evaluation) -> Verdict:
        """True for the rows that have one."""
        return at.columns.lists(self.name).lengths(at.rows) > 0


@dataclass(frozen=True)
class ScalarTextIsKnown:
    """The text, or a text of the list, of visitor or context is known."""

    source: TextSource

    def holds(self, at: Evaluation) -> Verdict:
        """True or False for all rows."""
        return np.bool_(len(self.source.texts(at)) > 0)


@dataclass(frozen=True)
class Not:
    """True where its part is not."""

    part: Condition

    def holds(self, at: Evaluation) -> Verdict:
        """The part's verdict, turned round."""
        verdict: Verdict = np.logical_not(self.part.holds(at))
        return verdict


@dataclass(frozen=True)
class All:
    """True where all parts are."""

    parts: tuple[Condition, ...]

    def holds(self, at: Evaluation) -> Verdict:
        """The parts' verdicts by `and`."""
        return reduce(operator.and_, (part.holds(at) for part in self.parts))


@dataclass(frozen=True)
class AnyOf:
    """True where one part is at least."""

    parts: tuple[Condition, ...]

    def holds(self, at: Evaluation) -> Verdict:
        """The parts' verdicts by `or`."""
        return reduce(operator.or_, (part.holds(at) for part in self.parts))


def equal_codes(dictionary: Codes, texts: Sequence[str], codes: NDArray[np.int32]) -> Mask:
    """True where the code's text is one of these."""
    return _is_in(codes, [dictionary.find(text) for text in texts])


def codes_under(dictionary: Codes, paths: Sequence[str], codes: NDArray[np.int32]) -> Mask:
    """True where the code's text is one of these dotted paths or below it."""
    prefixes = tuple(path + PATH_SEPARATOR for path in paths)
    text_of = dictionary.text
    present = _distinct(codes, len(dictionary))
    return _is_in(
        codes, [code for code in present if (text_of(code) + PATH_SEPARATOR).startswith(prefixes)]
    )


def _distinct(codes: NDArray[np.int32], of: int) -> list[int]:
    """The codes without repeats, out of `of`; counted where that is cheaper than sorted."""
    distinct = np.unique(codes) if of > len(codes) else np.flatnonzero(np.bincount(codes))
    found: list[int] = distinct.tolist()
    return found


def _is_under(text: str, paths: Sequence[str]) -> bool:
    return (text + PATH_SEPARATOR).startswith(tuple(path + PATH_SEPARATOR for path in paths))


def _is_one_of(text: str, texts: Sequence[str]) -> bool:
    return text in texts


def _is_in(codes: NDArray[np.int32], wanted: Iterable[int]) -> Mask:
    known = [code for code in wanted if code > UNKNOWN]
    if len(known) > _FEW_CODES:
        return np.isin(codes, known)
    mask = np.zeros(len(codes), np.bool_)
    for code in known:
        mask |= codes == code
    return mask
