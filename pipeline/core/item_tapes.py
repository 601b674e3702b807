"""Tapes of items that a profile remembers by a hash: those shown, clicked on slates, and bought.

An entry is 10 bytes: the time in whole seconds since 2000, 4 bytes of the item's id, and 2 that say
which slate or event it was. A tape keeps the newest (see `decay.tape_add`).
"""

from __future__ import annotations

from zlib import crc32

from pipeline.core.decay import DAY_MS, tape_entries
from pipeline.core.events import Event

TAPE_WIDTH = 10
MAX_IMPRESSIONS = 24
MAX_SLATE_CLICKS = 6
MAX_PURCHASES = 6
FATIGUE_HALF_LIFE_MS = DAY_MS

# Whole seconds since 2000, the first year an event may be of, take half the bytes of milliseconds.
_EPOCH_S = 946_684_800


def seconds(time_ms: int) -> int:
    """Whole seconds since 2000 of a time in ms since the Unix epoch; 0 before."""
    return max(time_ms // 1000 - _EPOCH_S, 0)


def milliseconds(time_s: int) -> int:
    """A time in ms since the Unix epoch of whole seconds since 2000."""
    return (time_s + _EPOCH_S) * 1000


def item_hash(item_id: str) -> int:
    """The 32 bits by which the tapes know an item."""
    return crc32(item_id.encode("utf-8", "surrogatepass"))


def slate_entry(event: Event, time_ms: int) -> bytes:
    """An impression, or a click on a slate: (time, item, request)."""
    request = item_hash(event.text("request_id")) & 0xFFFF
    return _entry(time_ms, event.product_id or "", request)


def purchase_entry(item_id: str, time_ms: int, event_hash: int) -> bytes:
    """A purchase: (time, item, event)."""
    return _entry(time_ms, item_id, event_hash & 0xFFFF)


def fatigue(impressions: bytes, now_ms: int) -> dict[int, float]:
    """Impressions by `item_hash`, each weighing 2^(-age / 1 d)."""
    weights: dict[int, float] = {}
    for entry in tape_entries(impressions, TAPE_WIDTH):
        age_ms = max(now_ms - _time_ms(entry), 0)
        item = _item(entry)
        weights[item] = weights.get(item, 0.0) + 2.0 ** (-age_ms / FATIGUE_HALF_LIFE_MS)
    return weights


def last_bought(purchases: bytes) -> dict[int, int]:
    """Items bought by `item_hash`, each with its newest time in ms."""
    return {_item(entry): _time_ms(entry) for entry in tape_entries(purchases, TAPE_WIDTH)}


def clicks_on_unshown(slate_clicks: bytes, impressions: bytes) -> int:
    """Number of clicks that name an item and a request that are not among the impressions.

    A click older than the oldest impression remembered does not count.
    """
    shown = tape_entries(impressions, TAPE_WIDTH)
    oldest = shown[0][:4] if len(shown) == MAX_IMPRESSIONS else b""
    known = {entry[4:] for entry in shown}
    clicks = tape_entries(slate_clicks, TAPE_WIDTH)
    return sum(1 for entry in clicks if entry[4:] not in known and entry[:4] >= oldest)


def most_of_one_item(purchases: bytes, span_ms: int) -> int:
    """The most purchases of one item within `span_ms`."""
    entries = tape_entries(purchases, TAPE_WIDTH)
    most = 0
    for place, entry in enumerate(entries):
        end_ms = _time_ms(entry) + span_ms
        same = [
            other
            for other in entries[place:]
            if _item(other) == _item(entry) and _time_ms(other) <= end_ms
        ]
        most = max(most, len(same))
    return most


def _entry(time_ms: int, item_id: str, tie: int) -> bytes:
    return b"".join(
        (
            seconds(time_ms).to_bytes(4, "big"),
            item_hash(item_id).to_bytes(4, "big"),
            tie.to_bytes(2, "big"),
        )
    )


def _time_ms(entry: bytes) -> int:
    return milliseconds(int.from_bytes(entry[:4], "big"))


def _item(entry: bytes) -> int:
    return int.from_bytes(entry[4:8], "big")
