"""`GET /v1/items/{id}/similar`: items like one, the same for everybody, so that caches may keep
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from pipeline.core.context import NO_CONTEXT
from pipeline.core.expressions.scalars import scalars_of
from pipeline.core.profile import UserProfile
from vertex.api.asks import Ask, Asker
from vertex.api.breaker import Unavailable
from vertex.api.contract import MAX_K, InvalidRequest
from vertex.api.items import SEED_HARD_S, SEED_SOFT_S, ItemCache
from vertex.api.placements import KINDS, Placement, Placements
from vertex.api.slates import Slates
from vertex.api.timing import StageTimer

MAX_AGE_S = 30
"""For so long a cache may keep an answer: so long an item that is sold out may stand in it."""
_KIND = "similar"


class UnknownItem(InvalidRequest):
    """An item that neither the catalog nor the events know (404)."""


class SimilarItems:
    """Finds items like one.

    Args:
        placements: that of the kind `similar` says what may be shown, and from which sources.
        items: what is known of items.
        slates: makes the slate.
        now: wall clock, ms since the Unix epoch.
    """

    def __init__(
        self,
        placements: Placements,
        items: ItemCache,
        slates: Slates,
        now: Callable[[], int],
    ) -> None:
        self._placement = _for_everybody(placements)
        self._items = items
        self._slates = slates
        self._now = now

    async def answer(self, item_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        """The response body: up to `n` items in turn from each source, best first.

        Raises:
            UnknownItem: for one that is not known.
            InvalidRequest: for an `n` that is none.
            Unavailable: when memory does not know the item and Bigtable does not answer.
        """
        n = _number(query.get("n"), self._placement.k)
        await self._ensure(item_id)
        now_ms = self._now()
        nobody = UserProfile()
        asker = Asker(nobody, now_ms, scalars_of(nobody, NO_CONTEXT, now_ms), is_anybody=True)
        ask = Ask(self._placement, n, item_id, (item_id,))
        slate = (await self._slates.make([ask], asker, StageTimer()))[0]
        return {
            "item_id": item_id,
            "recommendations": [shown.id for shown in slate.shown],
            "sources": [shown.source for shown in slate.shown],
            "model_version": slate.model_version,
        }

    async def _ensure(self, item_id: str) -> None:
        try:
            await self._items.ensure([item_id], SEED_SOFT_S, SEED_HARD_S)
        except Unavailable:
            if item_id not in self._items.columns:
                raise
        if item_id not in self._items.columns:
            raise UnknownItem("item_id", "expected a known item", item_id)


def etag_of(body: bytes) -> str:
    """The ETag of a response body."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def _for_everybody(placements: Placements) -> Placement:
    """The shop's placement of that name, or the built-in one within the filter of the default: as
    the sources find the items, for there is no visitor to score them for, and without chance.
    """
    placement = placements.find(_KIND)
    kind = placement.kind
    if kind.subject != "page":
        kind = KINDS[_KIND]
        placement = msgspec.structs.replace(placement, sources=kind.sources, rules=())
    kind = msgspec.structs.replace(kind, order="source")
    return msgspec.structs.replace(placement, kind=kind, fallback="", explore=0.0)


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_K):
        raise InvalidRequest("n", f"expected a whole number from 1 to {MAX_K}", text)
    return int(text)
