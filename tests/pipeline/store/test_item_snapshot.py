"""The snapshot's file holds the items whole, or is refused with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pipeline.core.catalog import Item
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import ItemRow, ItemStats
from pipeline.store import item_snapshot
from pipeline.store.item_snapshot import (
    FILE_NAME,
    FORMAT,
    InvalidSnapshot,
    SnapshotHeader,
    load_items,
    save_items,
)
from tests.vertex.cloud_storage import fake_storage

ITEMS = [
    Item(f"p{n}", f"Läufer {n}", "home.rugs", "b", 1.5 + n, in_stock=n % 2 == 0) for n in range(9)
]
BEGAN_MS = 1_750_000_000_000


def saved(directory: str) -> str:
    items = ItemColumns.of(ItemRow(item, ItemStats()) for item in ITEMS)
    return save_items(directory, items, items.all_rows()[::-1], BEGAN_MS)


def loaded(directory: str, limit: int = 100) -> tuple[SnapshotHeader, list[Item | None]]:
    items = ItemColumns()
    header = load_items(directory, items, limit)
    return header, [items.item(name) for name in items.ids(items.all_rows())]


def test_items_come_back_in_the_order_in_which_they_were_saved(tmp_path: Path) -> None:
    saved(str(tmp_path))

    assert loaded(str(tmp_path)) == (SnapshotHeader(FORMAT, BEGAN_MS, 9), ITEMS[::-1])


def test_where_fewer_fit_the_first_are_loaded_and_the_header_has_the_number_of_all(
    tmp_path: Path,
) -> None:
    saved(str(tmp_path))

    header, found = loaded(str(tmp_path), limit=4)

    assert (header.items, found) == (9, ITEMS[:4:-1])


def test_a_second_snapshot_takes_the_place_of_the_first_and_leaves_no_draft(tmp_path: Path) -> None:
    saved(str(tmp_path))
    first = (tmp_path / FILE_NAME).stat().st_ino
    saved(str(tmp_path))

    assert (tmp_path / FILE_NAME).stat().st_ino != first
    assert os.listdir(tmp_path) == [FILE_NAME]


def test_a_snapshot_lies_in_cloud_storage_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_storage() as storage:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-project")
        with pytest.raises(InvalidSnapshot, match="got none"):
            loaded("gs://bucket/snapshot")
        place = saved("gs://bucket/snapshot")

        assert place == "gs://bucket/snapshot/items.npz"
        assert loaded("gs://bucket/snapshot")[1] == ITEMS[::-1]


def test_a_missing_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSnapshot, match=f"expected a file {FILE_NAME}, got none"):
        loaded(str(tmp_path))


def test_a_snapshot_of_another_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_snapshot, "FORMAT", 99)
    saved(str(tmp_path))
    monkeypatch.undo()

    with pytest.raises(InvalidSnapshot, match="expected format 2, got 99"):
        loaded(str(tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_snapshot_is_refused(tmp_path: Path, share: float) -> None:
    path = Path(saved(str(tmp_path)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(InvalidSnapshot, match="expected a whole"):
        loaded(str(tmp_path))


def test_a_snapshot_with_a_damaged_byte_is_refused_or_gives_the_same_items(tmp_path: Path) -> None:
    path = Path(saved(str(tmp_path)))
    content = path.read_bytes()
    refused = 0
    for place in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            # a byte of a name's time or of padding changes nothing
            assert loaded(str(tmp_path))[1] == ITEMS[::-1]
        except InvalidSnapshot:
            refused += 1
    assert refused > 20


def test_a_snapshot_without_one_of_its_columns_is_refused(tmp_path: Path) -> None:
    path = Path(saved(str(tmp_path)))
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays if name != "price."}
    np.savez(path, **kept)

    with pytest.raises(InvalidSnapshot, match="KeyError"):
        loaded(str(tmp_path))


def test_a_header_of_other_content_is_refused(tmp_path: Path) -> None:
    path = Path(saved(str(tmp_path)))
    with np.load(path) as arrays:
        kept = dict(arrays)
    for content in (b"[]", b"{", msgspec.json.encode({"format": FORMAT, "items": "x"})):
        np.savez(path, **(kept | {"header": np.frombuffer(content, np.uint8)}))
        with pytest.raises(InvalidSnapshot):
            loaded(str(tmp_path))
