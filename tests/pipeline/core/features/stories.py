"""Short words for the events of a story."""

from __future__ import annotations

from typing import Any

from pipeline.core.catalog import Item
from pipeline.core.events import Event
from tests.pipeline.core.streams import Fact, event

SHOES, HATS = (
    Item("a", category="shoes", brand="acme", price=10.0),
    Item("b", category="hats", brand="best", price=1000.0),
)


def said(name: str, at_s: float = 0.0, product_id: str | None = None, **metadata: Any) -> Event:
    return event(name, at_s, product_id=product_id, metadata=metadata)


def touch(item: Item, name: str = "view_product", at_s: float = 0.0, **metadata: Any) -> Fact:
    return said(name, at_s, item.item_id, **metadata), item


def in_session(session_id: str, at_s: float, **metadata: Any) -> Event:
    return event(
        "page_view", at_s, f"{session_id}@{at_s}", session_id=session_id, metadata=metadata
    )


BERLIN, MUNICH = {"latitude": 52.52, "longitude": 13.405}, {"latitude": 48.137, "longitude": 11.575}
