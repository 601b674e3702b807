"""Sequences of items: the sessions of the log, for models that learn from order."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.event_types import ENGAGED
from pipeline.core.events import Event
from pipeline.core.profile_keys import profile_key


def session_items(events: Iterable[Event]) -> list[list[str]]:
    """The items of each session in the order of `events`, immediate repeats once; no sessions of
    one item.
    """
    sessions: dict[tuple[str, str], list[str]] = {}
    for event in events:
        if event.product_id is None or event.event not in ENGAGED:
            continue
        items = sessions.setdefault((profile_key(event), event.session_id or ""), [])
        if not items or items[-1] != event.product_id:
            items.append(event.product_id)
    return [items for items in sessions.values() if len(items) > 1]
