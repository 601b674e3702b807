"""The columns of the log of events: the pipeline writes them, the archive and training read them.

`sql/schema/events.sql` gives each its type and its description.
"""

from __future__ import annotations

EVENT_COLUMNS = (
    "event_id",
    "event",
    "user_id",
    "anonymous_id",
    "session_id",
    "product_id",
    "timestamp",
)
"""The fields of an event, each in a column of its name."""
METADATA_COLUMNS = (
    "category",
    "brand",
    "price",
    "query",
    "request_id",
    "placement",
    "variant",
    "position",
    "propensity",
)
"""The fields of `metadata` that have a column of their own; `metadata` itself holds all as JSON."""
LOG_COLUMNS = (
    *EVENT_COLUMNS[:2],
    "visitor",
    *EVENT_COLUMNS[2:],
    "ingest_time",
    *METADATA_COLUMNS,
    "metadata",
    "site",
    "sender",
)
"""All columns, in the order of the table."""
ARCHIVE_COLUMNS = (*EVENT_COLUMNS, "ingest_time", "metadata")
"""The columns that hold an event whole."""
