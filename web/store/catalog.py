"""The catalog as the browser gets it: one JSON document, compressed once and kept until the file
changes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIELDS = ("title", "category", "brand", "price", "in_stock")


@dataclass(frozen=True)
class CatalogDocument:
    """`{"items": [...]}` as bytes, plain and gzipped, with its entity tag."""

    plain: bytes
    gzipped: bytes
    etag: str


class CatalogFile:
    """Reads a JSON lines file of items; reads it again only when its time or size has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._document: CatalogDocument | None = None

    def document(self) -> CatalogDocument:
        """The current document.

        Raises OSError when the file cannot be read, ValueError for a broken line.
        """
        stat = self._path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        if self._document is None or stamp != self._stamp:
            self._document = build_document(self._path)
            self._stamp = stamp
        return self._document


def build_document(path: Path) -> CatalogDocument:
    """Reads every line of `path`.

    Raises ValueError naming a line that is no item with `item_id` or `id`.
    """
    with path.open(encoding="utf-8") as lines:
        items = [
            _item(line, number, path) for number, line in enumerate(lines, start=1) if line.strip()
        ]
    plain = json.dumps({"items": items}, ensure_ascii=False, separators=(",", ":")).encode()
    etag = f'"{hashlib.sha256(plain).hexdigest()[:20]}"'
    return CatalogDocument(plain=plain, gzipped=gzip.compress(plain, mtime=0), etag=etag)


def _item(line: str, number: int, path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(line)
        item_id = raw["item_id"] if "item_id" in raw else raw["id"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}:{number}: expected an object with an id, got {line[:80]!r}"
        ) from error
    kept = {name: raw[name] for name in FIELDS if raw.get(name) not in (None, "")}
    return {"item_id": str(item_id)} | kept
