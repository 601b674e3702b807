"""The catalog as the browser gets it: one JSON document, compressed once and kept until the file
changes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIELDS = ("title", "category", "brand", "price", "in_stock")
PICTURED = ("material",)  # attributes that pictures are drawn by


@dataclass(frozen=True)
class CatalogDocument:
    """`{"items": [...]}` as bytes, plain and gzipped, with its entity tag.

    `details` holds of each item id what only the product page shows, as JSON: its description and
    those of its attributes that are texts.
    """

    plain: bytes
    gzipped: bytes
    etag: str
    details: Mapping[str, bytes]


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
        rows = [
            _row(line, number, path) for number, line in enumerate(lines, start=1) if line.strip()
        ]
    plain = _json({"items": [_item(row) for row in rows]})
    etag = f'"{hashlib.sha256(plain).hexdigest()[:20]}"'
    return CatalogDocument(
        plain=plain,
        gzipped=gzip.compress(plain, mtime=0),
        etag=etag,
        details={row["item_id"]: _json(_details(row)) for row in rows},
    )


def _row(line: str, number: int, path: Path) -> dict[str, Any]:
    try:
        raw: dict[str, Any] = json.loads(line)
        item_id = raw["item_id"] if "item_id" in raw else raw["id"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}:{number}: expected an object with an id, got {line[:80]!r}"
        ) from error
    return raw | {"item_id": str(item_id)}


def _item(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in FIELDS if row.get(name) not in (None, "")}
    texts = _texts(row)
    pictured = {name: texts[name] for name in PICTURED if name in texts}
    return {"item_id": row["item_id"]} | kept | pictured


def _details(row: dict[str, Any]) -> dict[str, Any]:
    return {"description": row.get("description") or "", "attributes": _texts(row)}


def _texts(row: dict[str, Any]) -> dict[str, str]:
    """Attributes that are texts. Numbers stay with the shop: a margin is one too."""
    attributes = row.get("attributes") or {}
    return {name: value for name, value in attributes.items() if value and isinstance(value, str)}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
