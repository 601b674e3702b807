"""The table of event types: codes, weights, rules, schemas, SDK types and docs follow from it."""

from __future__ import annotations

import msgspec

from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS


class EventType(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the tracking plan.

    Attributes:
        name: its name on the wire.
        code: its number in stored states, 0 to 30. Append, never renumber.
        description: a sentence for the tracking plan.
        needs_product: an event without `product_id` is rejected.
        is_deliberate: the visitor did it on purpose: it moves "last" features and windows of
            activity; an impression does not.
        interest: the weight of one event in an interest, in product views.
        fields: of `metadata`, separated by spaces; see `metadata_fields`.
        since: the version of the schemas that had it first.
    """

    name: str
    code: int
    description: str
    needs_product: bool = False
    is_deliberate: bool = False
    interest: float | None = None
    fields: str = ""
    since: str = "1"


EVENT_TYPES = (
    EventType(
        name="page_view",
        code=0,
        description="A page was shown.",
        fields="url title referrer category latitude longitude",
    ),
    EventType(
        name="click",
        code=1,
        description=(
            "Something was clicked: a recommendation when it names its request, else whatever the "
            "site counts."
        ),
        is_deliberate=True,
        interest=0.5,
        fields=(
            "url title category brand price request_id placement variant experiments position"
            " propensity"
        ),
    ),
    EventType(
        name="search", code=2, description="The visitor searched.", fields="query results url"
    ),
    EventType(
        name="scroll",
        code=3,
        description="The visitor scrolled; the deepest point of a visit counts.",
        fields="depth scroll_depth url",
    ),
    EventType(
        name="view_product",
        code=4,
        description="The page of an item was shown.",
        needs_product=True,
        is_deliberate=True,
        interest=1.0,
        fields=(
            "title category brand price list_price discount url referrer request_id placement"
            " variant experiments position propensity"
        ),
    ),
    EventType(
        name="add_to_cart",
        code=5,
        description="An item went into the cart.",
        needs_product=True,
        is_deliberate=True,
        interest=3.0,
        fields=(
            "title category brand price list_price discount quantity url request_id placement"
            " variant experiments position propensity"
        ),
    ),
    EventType(
        name="remove_from_cart",
        code=6,
        description="An item was taken out of the cart.",
        needs_product=True,
        is_deliberate=True,
        fields="title category brand price list_price discount quantity url",
    ),
    EventType(
        name="purchase",
        code=7,
        description="An item was bought; an order of three items is three of these.",
        needs_product=True,
        is_deliberate=True,
        interest=5.0,
        fields=(
            "title category brand price list_price discount quantity url request_id placement"
            " variant experiments position propensity"
        ),
    ),
    EventType(
        name="media_play",
        code=8,
        description="A film or song started, or went on.",
        is_deliberate=True,
        interest=1.0,
        fields=(
            "watched_ms title category brand url request_id placement variant experiments position"
            " propensity"
        ),
    ),
    EventType(
        name="media_pause",
        code=9,
        description="It was paused, or ended.",
        fields="watched_ms title category brand url",
    ),
    EventType(
        name="media_progress",
        code=10,
        description="It is still running: a report from time to time.",
        fields="watched_ms title category brand url",
    ),
    EventType(
        name="dwell",
        code=11,
        description="The visitor stayed on a page.",
        fields="dwell_ms url title category brand",
    ),
    EventType(
        name="impression",
        code=12,
        description="An item of a recommendation was seen.",
        needs_product=True,
        fields="request_id placement variant experiments position propensity category brand price",
    ),
    EventType(
        name="identify",
        code=13,
        description=(
            "The visitor logged in: `user_id` with `anonymous_id` joins the browser's history to "
            "the account's."
        ),
        fields="url",
    ),
    EventType(
        name="visibility",
        code=14,
        description=(
            "The page came to the front or went to the back; the time between counts as time on it."
        ),
        fields="state url",
    ),
)

CUSTOM_CODE = 31
"""The code of every other name."""
EVENT_CODES = {event.name: event.code for event in EVENT_TYPES}
PRODUCT_EVENTS = frozenset(event.name for event in EVENT_TYPES if event.needs_product)
ENGAGED = frozenset(event.name for event in EVENT_TYPES if event.is_deliberate)
ENGAGED_CODES = frozenset(event.code for event in EVENT_TYPES if event.is_deliberate)
INTEREST = {event.name: event.interest for event in EVENT_TYPES if event.interest is not None}

WINDOWS_MS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "1h": HOUR_MS, "24h": DAY_MS}
# Each window is read from the ring whose buckets are fine enough: (ring attribute, bucket width,
# buckets kept). Kept are the window, the bucket that straddles its start, and 5 min more: so far
# ahead may an event's clock run.
MINUTES_RING = ("minutes", 10_000, 61)
HOUR_RING = ("hour", 2 * MINUTE_MS, 34)
DAY_RING = ("day", HOUR_MS, 26)
RINGS = {"1m": MINUTES_RING, "5m": MINUTES_RING, "1h": HOUR_RING, "24h": DAY_RING}
