"""What training and experiments see: neither bots nor who denied personalization, as the pipeline
reads metadata.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pipeline.core.events import Event
from pipeline.core.privacy.bots import is_bot
from pipeline.core.privacy.consent import may_fold
from tests.sql.conftest import Warehouse

METADATA: dict[str, dict[str, Any]] = {
    "nothing": {},
    "other": {"category": "c", "nested": {"bot": "x", "consent": {"personalization": False}}},
    "agreed": {"consent": {"analytics": True, "personalization": True}},
    "analytics denied": {"consent": {"analytics": False, "personalization": True}},
    "denied": {"consent": {"analytics": True, "personalization": False}},
    "denied at the end": {"title": "t", "consent": {"personalization": False}},
    "a text": {"consent": {"personalization": "true"}},
    "empty": {"consent": {}},
    "null within": {"consent": {"personalization": None}},
    "null": {"consent": None, "bot": None},
    "no object": {"consent": "granted"},
    "a list": {"consent": [True]},
    "bot": {"bot": "user_agent"},
    "bot without a reason": {"bot": ""},
    "no bot": {"bot": False},
    "number": {"bot": 1},
    "an object": {"bot": {"a": "b"}},
    "both": {"bot": "rate", "consent": {"analytics": True, "personalization": True}},
}


def test_the_view_asks_of_metadata_what_the_pipeline_asks(tables: Warehouse) -> None:
    noon = datetime(2025, 1, 1, 12, tzinfo=UTC)
    row = {"event": "click", "visitor": "u#1", "timestamp": noon.isoformat()}
    rows = [
        {"event_id": name, **row, "metadata": json.dumps(found)} for name, found in METADATA.items()
    ]
    tables.insert("events", [*rows, {"event_id": "none", **row}])

    trusted = {found["event_id"] for found in tables.rows("events_trusted", "event_id")}

    events = {
        name: Event(event_id=name, event="click", timestamp=noon, user_id="1", metadata=found)
        for name, found in METADATA.items()
    }
    assert trusted == {
        "none",
        *(name for name, event in events.items() if may_fold(event) and not is_bot(event)),
    }
    assert trusted >= {"nothing", "other", "agreed", "analytics denied", "null", "no bot"}
