"""CSV and TSV with a header: our own names of fields, or Google Merchant's."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.invalid_item import InvalidItem
from pipeline.ops.feeds.merchant import MERCHANT_ONLY, merchant_columns, merchant_name
from pipeline.ops.feeds.rows import Columns, FeedRow, InvalidFeed

MAX_CELL_LENGTH = 1_000_000


def delimited_rows(path: Path, delimiter: str, columns: Columns) -> Iterator[FeedRow]:
    """The rows of a file; a header that names a field of Google's alone makes it one of theirs.

    Raises:
        InvalidFeed: a cell above `MAX_CELL_LENGTH`, or another thing that csv cannot read.
    """
    csv.field_size_limit(MAX_CELL_LENGTH)
    # spreadsheets put a byte order mark first
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        is_merchant = not MERCHANT_ONLY.isdisjoint(map(merchant_name, reader.fieldnames or ()))
        try:
            for row in reader:
                place = f"line {reader.line_num}"
                yield (
                    _merchant(place, row, columns)
                    if is_merchant
                    else FeedRow(place, columns.item(row))
                )
        except csv.Error as error:
            raise InvalidFeed(f"after line {reader.line_num}: {error}") from None


def _merchant(place: str, row: dict[str, str], columns: Columns) -> FeedRow:
    values = {merchant_name(name): [text] for name, text in row.items() if name and text}
    try:
        return FeedRow(place, columns.item(merchant_columns(values)))
    except InvalidItem as error:
        return FeedRow(place, error)
