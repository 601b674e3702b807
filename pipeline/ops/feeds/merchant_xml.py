"""Google Merchant XML: RSS 2.0 and Atom, of `g:` names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from pipeline.core.invalid_item import InvalidItem
from pipeline.ops.feeds.merchant import merchant_columns
from pipeline.ops.feeds.rows import Columns, FeedRow, InvalidFeed

MAX_ITEM_BYTES = 1_000_000
_ITEMS = frozenset({"item", "entry"})


def merchant_xml(path: Path, columns: Columns) -> Iterator[FeedRow]:
    """A row for each item, counted from 1. Entities and a DTD are refused, so that nothing expands.

    Raises:
        InvalidFeed: it is no XML, an item is above `MAX_ITEM_BYTES`, or there is a DTD.
    """
    with path.open("rb") as file:
        source = _Source(file)
        number = 0
        try:
            for item in _items(source):
                number += 1
                source.unread = 0
                yield _row(f"item {number}", item, columns)
        except (ParseError, DefusedXmlException) as error:
            raise InvalidFeed(f"after item {number}: {error}") from None


class _Source:
    """Counts bytes since the last item, and ends what grows without one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.unread = 0

    def read(self, size: int = -1) -> bytes:
        self.unread += size
        if self.unread > MAX_ITEM_BYTES:
            raise InvalidFeed(f"expected an item within {MAX_ITEM_BYTES} bytes")
        return self._file.read(size)


def _items(source: _Source) -> Iterator[Element]:
    """The elements of items; each is forgotten after its turn, with all that stands between."""
    parents: list[Element] = []
    for event, element in iterparse(source, ("start", "end"), forbid_dtd=True):
        if event == "start":
            parents.append(element)
            continue
        parents.pop()
        if _name(element) in _ITEMS:
            yield element
        if parents and not any(_name(parent) in _ITEMS for parent in parents):
            parents[-1].remove(element)


def _row(place: str, item: Element, columns: Columns) -> FeedRow:
    values: dict[str, list[str]] = {}
    for child in item:
        text = (child.text or child.get("href") or "").strip()
        if text and not len(child):
            values.setdefault(_name(child), []).append(text)
    try:
        return FeedRow(place, columns.item(merchant_columns(values)))
    except InvalidItem as error:
        return FeedRow(place, error)


def _name(element: Element) -> str:
    """The name without its namespace."""
    return str(element.tag).rpartition("}")[2]
