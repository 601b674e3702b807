"""Loads a catalog into Bigtable: `python -m pipeline.ops.catalog FILE`, or `--table TABLE`.

The file is JSON lines, a JSON array, CSV, TSV or Google Merchant XML (docs/catalog.md). Where
FRESHET_CATALOG names a file, as on the local stack, the demo store's products go there too.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import msgspec

from pipeline.core.attributes import AttributeSchema
from pipeline.core.catalog import Item
from pipeline.core.catalog_rows import describe_item, parse_item, read_row
from pipeline.core.invalid_item import InvalidItem
from pipeline.ops.feeds.delimited import delimited_rows
from pipeline.ops.feeds.json_rows import is_array, json_array, json_lines
from pipeline.ops.feeds.merchant_xml import merchant_xml
from pipeline.ops.feeds.rows import Columns, FeedRow, InvalidFeed
from pipeline.ops.feeds.table import table_rows
from pipeline.runtime.attribute_settings import attributes_from_env
from pipeline.runtime.bigquery import bigquery_client
from pipeline.runtime.environ import (
    InvalidConfig,
    bigquery_emulator,
    bigtable_instance,
    project_id,
)
from pipeline.store.blocking import Store
from pipeline.store.catalog import write_items

WRITE_AT_ONCE = 500
MAX_PROBLEMS = 20
USAGE = "usage: python -m pipeline.ops.catalog FILE.jsonl|.json|.csv|.tsv|.xml, or --table TABLE"


@dataclass
class Loaded:
    """The outcome of a feed: items written, rows refused, the first `MAX_PROBLEMS` reasons, and why
    it broke off, if it did.
    """

    written: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)
    broken_off: str = ""

    def refuse(self, problem: str) -> None:
        """Count a row that is not written."""
        self.refused += 1
        if self.refused <= MAX_PROBLEMS:
            self.problems.append(problem)


class Loader:
    """Writes feeds, in memory for `WRITE_AT_ONCE` items at a time.

    Args:
        store: where items are written; those who hold items in memory see them within a second.
        schema: types of attributes; where they are inferred, the first value sets the type.
        copy: a file of JSON lines that gets the same items beside those it holds; the demo store
            reads its products from there.
    """

    def __init__(self, store: Store, schema: AttributeSchema, copy: Path | None = None) -> None:
        self._store = store
        self._schema = schema
        self._copy = copy
        self.columns = Columns(schema)

    def load(self, rows: Iterator[FeedRow], name: str) -> Loaded:
        """Write every valid row, the last of an id winning, as far as the feed can be read; `name`
        is the feed's in messages.
        """
        loaded = Loaded()
        copied: dict[str, Item] = {}
        items = self._items(rows, name, loaded)
        while batch := {item.item_id: item for item in islice(items, WRITE_AT_ONCE)}:
            write_items(self._store, list(batch.values()))
            loaded.written += len(batch)
            if self._copy is not None:
                copied |= batch
        if self._copy is not None and copied:
            _add_to(self._copy, copied)
        return loaded

    def _items(self, rows: Iterator[FeedRow], name: str, loaded: Loaded) -> Iterator[Item]:
        try:
            yield from self._valid(rows, name, loaded)
        except UnicodeDecodeError:
            loaded.broken_off = f"expected UTF-8 text in {name}"
        except InvalidFeed as error:
            loaded.broken_off = f"{name}: {error}"

    def _valid(self, rows: Iterator[FeedRow], name: str, loaded: Loaded) -> Iterator[Item]:
        for place, row in rows:
            try:
                if isinstance(row, InvalidItem):
                    raise row
                item = parse_item(row, self._schema)
                self._schema.learn(item.attributes)
            except InvalidItem as error:
                loaded.refuse(f"{name} {place}: {error}")
            else:
                yield item


def file_rows(path: Path, columns: Columns) -> Iterator[FeedRow]:
    """The rows of a file, by the ending of its name."""
    if path.suffix == ".csv":
        return delimited_rows(path, ",", columns)
    if path.suffix in (".tsv", ".txt"):
        return delimited_rows(path, "\t", columns)
    if path.suffix == ".xml":
        return merchant_xml(path, columns)
    if path.suffix == ".json" and is_array(path):
        return json_array(path, columns)
    return json_lines(path, columns)


def _add_to(copy: Path, items: dict[str, Item]) -> None:
    """Rewrite the file with `items` in place of its own of the same ids; a reader sees the old file
    or the new one.
    """
    held: list[Item] = []
    if copy.is_file():
        held = [parse_item(read_row(line)) for line in copy.read_bytes().splitlines() if line]
    merged = {item.item_id: item for item in held} | items
    copy.parent.mkdir(parents=True, exist_ok=True)
    draft = copy.with_suffix(".draft")
    draft.write_bytes(b"".join(_line(item) for item in merged.values()))
    draft.replace(copy)


def _line(item: Item) -> bytes:
    described = describe_item(item)
    del described["stub"]
    return msgspec.json.encode(described) + b"\n"


def main(argv: list[str], environ: dict[str, str]) -> int:
    """Load the feed named in `argv`; exit code 0 when every row was good, 1 when some were not, 2
    for bad usage, and for a feed that cannot be read to its end.
    """
    table = argv[1] if len(argv) == 2 and argv[0] == "--table" else None
    if table is None and (len(argv) != 1 or argv[0].startswith("-")):
        print(USAGE, file=sys.stderr)
        return 2
    path = Path(argv[0])
    if table is None and not path.is_file():
        print(f"catalog: expected a file, got {path}", file=sys.stderr)
        return 2
    try:
        schema = AttributeSchema(attributes_from_env(environ))
        store = Store(project_id(environ), bigtable_instance(environ))
    except InvalidConfig as error:
        print(f"catalog: {error}", file=sys.stderr)
        return 2
    name = table or path.name
    loader = Loader(store, schema, _copy(path, environ))
    try:
        rows = file_rows(path, loader.columns)
        if table is not None:
            client = bigquery_client(project_id(environ), bigquery_emulator(environ))
            rows = table_rows(client, table, loader.columns)
        loaded = loader.load(rows, name)
    except UnicodeDecodeError:
        loaded = Loaded(broken_off=f"expected UTF-8 text in {name}")
    finally:
        store.close()
    _report(loaded, name, loader)
    if loaded.broken_off:
        return 2
    return 1 if loaded.refused else 0


def _report(loaded: Loaded, name: str, loader: Loader) -> None:
    for problem in loaded.problems:
        print(problem, file=sys.stderr)
    if loader.columns.ignored:
        ignored = ", ".join(loader.columns.ignored)
        print(f"catalog: columns that are neither field nor attribute: {ignored}", file=sys.stderr)
    if loaded.broken_off:
        print(f"catalog: {loaded.broken_off}", file=sys.stderr)
    print(f"catalog: loaded from {name}: {loaded.written}, refused: {loaded.refused}")


def _copy(path: Path, environ: Mapping[str, str]) -> Path | None:
    """The demo store's file, unless it is the one that is loaded."""
    copy = environ.get("FRESHET_CATALOG")
    if not copy or Path(copy).resolve() == path.resolve():
        return None
    return Path(copy)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "Connecting to Bigtable emulator", RuntimeWarning)
    sys.exit(main(sys.argv[1:], dict(os.environ)))
