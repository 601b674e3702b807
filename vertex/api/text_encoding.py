"""Text vectors of the items in memory, made in the background: an item has its own soon after it
comes, however many wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pipeline.core.text_vectors import TextEncoder
from vertex.api.items import ItemCache

log = logging.getLogger(__name__)

# A text takes 0.1 to 0.2 ms of the interpreter, so a batch some 3 ms: no answer waits
# for more.
BATCH = 16
PAUSE_S = 0.05


class TextEncoding:
    """Encodes the texts that wait, the newest first.

    Args:
        items: the items in memory.
        load: gives the model of texts, None where there is none; called in a thread.
    """

    def __init__(self, items: ItemCache, load: Callable[[], TextEncoder | None]) -> None:
        self._items = items
        self._load = load

    async def keep_encoding(self) -> None:
        """Load the model and encode what waits; runs until cancelled, or ends without a model."""
        encoder = await asyncio.to_thread(self._load)
        if encoder is None:
            self._items.columns.text.use_none()
            return
        self._items.columns.text.use_model(encoder.name)
        log.info("texts of items are encoded by %s", encoder.name)
        while True:
            encoded = await self.encode_batch(encoder)
            await asyncio.sleep(0.0 if encoded else PAUSE_S)

    async def encode_batch(self, encoder: TextEncoder) -> int:
        """Encode the next batch in a thread, and return how many texts it held."""
        texts = self._items.columns.text.take(BATCH)
        if texts.texts:
            vectors = await asyncio.to_thread(encoder.encode, texts.texts)
            self._items.note_encoded(self._items.columns.text.put(texts, vectors))
        return len(texts.texts)

    def describe(self) -> dict[str, Any]:
        """The state for `/healthz`: the model, null while there is none, and how many texts
        wait.
        """
        text = self._items.columns.text
        return {"text_model": text.model or None, "texts_waiting": text.waiting}
