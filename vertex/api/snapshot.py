"""Writes the snapshot of the catalog's items, from which the API starts without a scan: `python -m
vertex.api.snapshot`.

One scan of Bigtable, with all items in memory: 2.5 kB each. Their texts are encoded here, so that
no process of the API does it again: some 0.1 ms each. Exit codes: 0 a snapshot was written,
or there is no item; 1 Bigtable or the folder failed; 2 for bad usage.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.core.columns import Rows
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import VIEW
from pipeline.core.text_vectors import TextEncoder, encode_waiting
from pipeline.runtime.clock import now_ms
from pipeline.runtime.environ import InvalidConfig, bigtable_instance, number, project_id
from pipeline.store.item_snapshot import save_items
from pipeline.store.serving import AsyncStore
from vertex.text_model import load_text_encoder

# So many texts wait for the model of texts at a time.
ENCODED_AT_ONCE = 1_000


@dataclass(frozen=True)
class Config:
    """Configuration of one run.

    `directory` is a local or `gs://` folder; `item_ttl_days` as in the API.
    """

    project: str
    instance: str
    directory: str
    item_ttl_days: float = 90.0

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> Config:
        """Read the environment.

        Raises:
            InvalidConfig: naming the variable, its value and what was expected.
        """
        directory = environ.get("FRESHET_SNAPSHOT_DIR", "")
        if not directory:
            raise InvalidConfig("FRESHET_SNAPSHOT_DIR: expected a local or gs:// folder, got ''")
        return Config(
            project=project_id(environ),
            instance=bigtable_instance(environ),
            directory=directory,
            item_ttl_days=number(environ, "FRESHET_ITEM_TTL_DAYS", 90.0, 1.0, 36_500.0),
        )


async def write_snapshot(config: Config, encoder: TextEncoder | None) -> str:
    """Scan, encode the texts where there is a model of them, and write; return a line that says
    what was done.
    """
    began_ms, began_s = now_ms(), time.monotonic()
    store, items = AsyncStore(config.project, config.instance, config.item_ttl_days), ItemColumns()
    if encoder is None:
        items.text.use_none()
    try:
        async for row in store.scan_items(with_stubs=False):
            items.put(row)
            if encoder is not None and items.text.waiting >= ENCODED_AT_ONCE:
                encode_waiting(items.text, encoder)
    finally:
        await store.close()
    if encoder is not None:
        encode_waiting(items.text, encoder)
    left_out = f"{store.unreadable} rows could not be read"
    if not len(items):
        return f"no item in the catalog, nothing written; {left_out}"
    place = save_items(config.directory, items, most_viewed_first(items, began_ms), began_ms)
    took_s = time.monotonic() - began_s
    return f"{len(items)} items in {took_s:.1f} s into {place}; {left_out}"


def most_viewed_first(items: ItemColumns, at_ms: int) -> Rows:
    """All items, so that a reader without room for all takes those that most visitors want."""
    rows = items.all_rows()
    return rows[np.argsort(-items.counts.get(rows, VIEW, at_ms), kind="stable")]


def main(environ: Mapping[str, str]) -> int:
    """Run once; say on standard output what was done."""
    try:
        config = Config.from_env(environ)
    except InvalidConfig as error:
        print(f"snapshot: {error}", file=sys.stderr)
        return 2
    try:
        print(f"snapshot: {asyncio.run(write_snapshot(config, load_text_encoder()))}")
    except Exception as error:  # of Bigtable, of the disk, of Cloud Storage: the old one stays
        reason = f"{type(error).__name__}: {error}"
        print(f"snapshot: nothing written, the one before stays: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    # Google's clients warn of their own internals.
    warnings.simplefilter("ignore")
    sys.exit(main(os.environ))
