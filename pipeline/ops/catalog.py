"""Loads a catalog, JSON lines or CSV, into Bigtable: `python -m pipeline.ops.catalog FILE`.

Where FRESHET_CATALOG names a file, as on the local stack, the demo store's products go there too.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pipeline.core.catalog import Item
from pipeline.core.catalog_rows import parse_item
from pipeline.core.invalid_item import InvalidItem
from pipeline.runtime.clock import now_ms
from pipeline.runtime.environ import InvalidConfig, bigtable_instance, project_id
from pipeline.store.blocking import Store
from pipeline.store.layout import item_write

WRITE_AT_ONCE = 500


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The file's rows with their line numbers: of a `.csv` with a header as objects, else one JSON
    text a line.
    """
    # spreadsheets put a byte order mark first
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            yield from enumerate(csv.DictReader(file), start=2)
        else:
            yield from (
                (number, line.strip()) for number, line in enumerate(file, start=1) if line.strip()
            )


def load(path: Path, store: Store, copy: Path | None = None) -> tuple[int, list[str]]:
    """Write every valid row, the last of an id winning; return how many items, and what is wrong
    with the others.

    `copy`, where given, is a file of JSON lines that gets the same items beside those it holds: the
    demo store reads its products from there.
    """
    items: dict[str, Item] = {}
    problems: list[str] = []
    for number, row in rows(path):
        try:
            item = parse_item(row if isinstance(row, dict) else _object(row))
        except InvalidItem as error:
            problems.append(f"{path.name} line {number}: {error}")
        else:
            items[item.item_id] = item
    writes = [item_write(item, now_ms()) for item in items.values()]
    for start in range(0, len(writes), WRITE_AT_ONCE):
        store.write(writes[start : start + WRITE_AT_ONCE])
    if copy is not None and copy.resolve() != path.resolve():
        _add_to(copy, items)
    return len(items), problems


def _add_to(copy: Path, items: dict[str, Item]) -> None:
    """Rewrite the file with `items` in place of its own of the same ids; a reader sees the old file
    or the new one.
    """
    held = (
        [parse_item(_object(row)) for _, row in rows(copy) if isinstance(row, str)]
        if copy.is_file()
        else []
    )
    merged = {item.item_id: item for item in held} | items
    copy.parent.mkdir(parents=True, exist_ok=True)
    draft = copy.with_suffix(".draft")
    draft.write_bytes(
        b"".join(
            msgspec.json.encode(msgspec.structs.asdict(item)) + b"\n" for item in merged.values()
        )
    )
    draft.replace(copy)


def main(argv: list[str], environ: dict[str, str]) -> int:
    """Load the file named in `argv`; exit code 0 when every row was good, 1 when some were not, 2
    for bad usage.
    """
    if len(argv) != 1:
        print("usage: python -m pipeline.ops.catalog FILE.jsonl|FILE.csv", file=sys.stderr)
        return 2
    path = Path(argv[0])
    if not path.is_file():
        print(f"catalog: expected a file, got {path}", file=sys.stderr)
        return 2
    try:
        store = Store(project_id(environ), bigtable_instance(environ))
    except InvalidConfig as error:
        print(f"catalog: {error}", file=sys.stderr)
        return 2
    try:
        copy = environ.get("FRESHET_CATALOG")
        loaded, problems = load(path, store, Path(copy) if copy else None)
    except UnicodeDecodeError:
        print(f"catalog: expected UTF-8 text in {path.name}", file=sys.stderr)
        return 2
    finally:
        store.close()
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    print(f"catalog: loaded from {path.name}: {loaded}, refused: {len(problems)}")
    return 1 if problems else 0


def _object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidItem("line", "expected a JSON object", line) from None
    if not isinstance(row, dict):
        raise InvalidItem("line", "expected a JSON object", line)
    return row


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "Connecting to Bigtable emulator", RuntimeWarning)
    sys.exit(main(sys.argv[1:], dict(os.environ)))
