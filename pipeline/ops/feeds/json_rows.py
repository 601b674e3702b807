"""JSON: one object a line, or one array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pipeline.core.catalog_rows import read_row
from pipeline.core.invalid_item import InvalidItem
from pipeline.ops.feeds.rows import Columns, FeedRow, InvalidFeed

MAX_ROW_LENGTH = 1_000_000
_CHUNK = 64 * 1024
_decoder = json.JSONDecoder()


def json_lines(path: Path, columns: Columns) -> Iterator[FeedRow]:
    """A row for each line that is not blank."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        number = 0
        while line := file.readline(MAX_ROW_LENGTH + 1):
            number += 1
            if len(line) > MAX_ROW_LENGTH:
                raise InvalidFeed(f"line {number}: expected at most {MAX_ROW_LENGTH} characters")
            if line.strip():
                yield _row(f"line {number}", line.strip(), columns)


def json_array(path: Path, columns: Columns) -> Iterator[FeedRow]:
    """A row for each element of the array, counted from 1.

    Raises:
        InvalidFeed: it is no array, or its end is missing.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        array = _Array(file)
        for number, element in enumerate(array, start=1):
            yield _row(f"item {number}", element, columns)


def is_array(path: Path) -> bool:
    """True where the file begins with a bracket."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return file.read(1_000).lstrip().startswith("[")


class _Array:
    """The elements of an array as texts, in memory for one of them."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._is_read = False

    def __iter__(self) -> Iterator[str]:
        self._expect("[")
        if self._next() == "]":
            return
        while True:
            yield self._element()
            if self._expect(",]") == "]":
                return

    def _next(self) -> str:
        """The next character that is no space; empty at the end of the file."""
        self._text = self._text.lstrip()
        while not self._text and self._read():
            self._text = self._text.lstrip()
        return self._text[:1]

    def _expect(self, characters: str) -> str:
        found = self._next()
        if not found or found not in characters:
            expected = " or ".join(characters)
            raise InvalidFeed(f"expected {expected} of a JSON array, got {found or 'its end'}")
        self._text = self._text[1:]
        return found

    def _element(self) -> str:
        self._next()
        while True:
            try:
                _, end = _decoder.raw_decode(self._text)
            except RecursionError:
                raise InvalidFeed("expected objects that nest less") from None
            except ValueError as error:
                if len(self._text) > MAX_ROW_LENGTH or not self._read():
                    raise InvalidFeed(f"expected JSON, got {self._text[:60]} ({error})") from None
            else:
                element, self._text = self._text[:end], self._text[end:]
                return element

    def _read(self) -> bool:
        """Read on; False at the end of the file."""
        chunk = self._file.read(_CHUNK)
        self._text += chunk
        return bool(chunk)


def _row(place: str, text: str, columns: Columns) -> FeedRow:
    try:
        return FeedRow(place, columns.item(read_row(text.encode("utf-8", "surrogatepass"))))
    except InvalidItem as error:
        return FeedRow(place, error)
