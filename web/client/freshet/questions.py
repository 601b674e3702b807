"""The bodies of requests to the API, valid before they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec

from freshet.contract import (
    MAX_EXCLUDED,
    MAX_ID_LENGTH,
    MAX_K,
    MAX_LINES,
    MAX_LINES_BYTES,
    MAX_RANKED,
    MAX_ROWS,
    MAX_SEEDS,
    MAX_SUGGESTIONS,
    MAX_TYPED,
    Consent,
    invalid,
)
from freshet.events import encode

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
Seeds = Annotated[list[Id], msgspec.Meta(max_length=MAX_SEEDS)]
Context = dict[str, str | dict[str, str | float | bool]]
Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_K)]


class VisitorQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a question that says who asks, and on which page."""

    user_id: Id | None = None
    user_token: str | None = None
    anonymous_id: Id | None = None
    session_id: Id | None = None
    placement: Id = "home"
    product_id: Id | None = None
    explain: bool = False
    deadline_ms: Annotated[int, msgspec.Meta(ge=1)] | None = None
    consent: Consent | None = None
    context: Context = {}


class Question(VisitorQuestion, frozen=True, kw_only=True):
    """A question for recommendations."""

    product_ids: Seeds = []
    k: Count | None = None
    cursor: str | None = None
    filter: str | None = None
    exclude: Annotated[list[str], msgspec.Meta(max_length=MAX_EXCLUDED)] = []


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a page."""

    placement: Id
    k: Count | None = None
    product_ids: Seeds = []


class RowsQuestion(Question, frozen=True, kw_only=True):
    """A question for the rows of a page."""

    rows: Annotated[list[Row], msgspec.Meta(min_length=1, max_length=MAX_ROWS)]


class RankQuestion(VisitorQuestion, frozen=True, kw_only=True):
    """A list of the caller's own, to be ordered for a visitor."""

    items: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=MAX_RANKED)]
    keep: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    scores: list[float] | None = None


class SuggestQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Text typed into a search box, and its visitor."""

    q: Annotated[str, msgspec.Meta(max_length=MAX_TYPED)] = ""
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_SUGGESTIONS)] = 8
    user_id: Id | None = None
    user_token: str | None = None
    anonymous_id: Id | None = None
    consent: Consent | None = None


def encode_question(fields: Mapping[str, Any], kind: type[msgspec.Struct] = Question) -> bytes:
    """Encode the body of a request, once it is valid; None stands for absent.

    Raises:
        ValueError: it breaks the contract, naming the field.
    """
    stated = {name: value for name, value in fields.items() if value is not None}
    body = encode(stated, {})
    try:
        msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _named(str(error), stated) from None
    return body


def encode_lines(items: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, bytes]]:
    """Bodies of requests with an item on each line, as large as the API takes them.

    Yields:
        The number of lines before the body, and the body.

    Raises:
        ValueError: an item cannot be written as JSON; those before it have been yielded.
    """
    lines: list[bytes] = []
    size = before = 0
    for item in items:
        line = encode(item, {})
        if lines and (len(lines) == MAX_LINES or size + len(line) >= MAX_LINES_BYTES):
            yield before, b"\n".join(lines)
            before += len(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield before, b"\n".join(lines)


def _named(message: str, fields: Mapping[str, Any]) -> ValueError:
    """Turn msgspec's "Expected `int` <= 100 - at `$.k`" into an error of our form."""
    expected, _, path = message.partition(" - at `$.")
    field = path.rstrip("`")
    expected = expected.partition(", got")[0].lower()
    return invalid(field, expected, fields.get(field.partition("[")[0]))
