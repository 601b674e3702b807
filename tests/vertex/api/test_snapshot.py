"""The snapshot job on the real emulator: what the catalog holds is in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.catalog import Item
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import ItemStats
from pipeline.runtime.clock import now_ms
from pipeline.store import layout
from pipeline.store.blocking import Bigtable
from pipeline.store.item_snapshot import FILE_NAME, load_items
from pipeline.store.layout import cell, item_write
from tests.pipeline.core.streams import event
from vertex.api.snapshot import main
from vertex.text_model import load_text_encoder


@pytest.fixture
def alone(fresh: Mapping[str, str]) -> Bigtable:
    """Tables that hold nothing of other tests."""
    return Bigtable(fresh["GOOGLE_CLOUD_PROJECT"], fresh["FRESHET_BIGTABLE_INSTANCE"])


def environment(alone: Bigtable, directory: Path) -> dict[str, str]:
    return {
        "GOOGLE_CLOUD_PROJECT": alone.project,
        "FRESHET_BIGTABLE_INSTANCE": alone.instance,
        "FRESHET_SNAPSHOT_DIR": str(directory),
        "FRESHET_ITEM_TTL_DAYS": "36500",
    }


def test_the_snapshot_holds_the_catalog_most_viewed_first_and_no_stub(
    alone: Bigtable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stats, began_ms = ItemStats(), now_ms()
    stats.add(event(product_id="b"))
    alone.store().write(
        [
            item_write(Item("a", "Lamp", price=2.0), began_ms),
            item_write(Item("b", "Rug"), began_ms),
            cell(layout.STATS, "b", stats.encode(), 1),
            cell(layout.STATS, "stub", stats.encode(), 1),
        ]
    )

    assert main(environment(alone, tmp_path)) == 0

    items = ItemColumns()
    header = load_items(str(tmp_path), items, 10)
    assert header.began_ms >= began_ms
    assert items.ids(items.all_rows()) == ["b", "a"]
    assert items.item("a") == Item("a", "Lamp", price=2.0)
    assert int(items.newest_ms[items.row("b")]) == stats.newest_ms
    encoder = load_text_encoder()
    assert encoder is not None and items.text.model == encoder.name
    assert np.allclose(items.text.get(items.rows(["b"])), encoder.encode(["Rug"]), atol=1e-3)
    assert "snapshot: 2 items in" in capsys.readouterr().out


def test_without_an_item_nothing_is_written(
    alone: Bigtable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(environment(alone, tmp_path)) == 0
    assert not (tmp_path / FILE_NAME).exists()
    assert "no item in the catalog, nothing written" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_ends_with_code_1_and_the_reason(
    alone: Bigtable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone.store().write([item_write(Item("a"), now_ms())])
    (tmp_path / "file").touch()

    assert main(environment(alone, tmp_path / "file")) == 1
    assert "nothing written, the one before stays: FileExistsError" in capsys.readouterr().err


def test_a_run_without_a_folder_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main({}) == 2
    assert "FRESHET_SNAPSHOT_DIR: expected a local or gs:// folder" in capsys.readouterr().err
