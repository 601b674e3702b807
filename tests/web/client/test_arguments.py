"""What the client is given wrongly is an error at once; nothing of it is queued."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from freshet import Freshet
from tests.web.client.http_server import NOWHERE, accept_all, server

NOW = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
NEW_YORK = datetime.now(ZoneInfo("America/New_York")).replace(microsecond=0) - timedelta(hours=1)
ITSELF: list[Any] = []
ITSELF.append(ITSELF)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"user_id": 7}, "user_id: expected a text, got 7"),
        ({"user_id": None}, "user_id: expected user_id or anonymous_id, got nothing"),
        ({"user_id": "\udc80"}, "user_id: expected"),
        ({"event": ""}, "event: expected 1 to 256 printable characters"),
        ({"event": "purchase"}, "product_id: required for purchase"),
        ({"timestamp": datetime(2025, 1, 1)}, "timestamp: expected an RFC 3339 time with a zone"),
        ({"timestamp": NOW}, "timestamp: expected at most 48 h before ingest"),
        ({"event_id": "x" * 257}, "event_id: expected 1 to 256"),
        ({"price": "9.90"}, "metadata.price: expected a finite number, got 9.90"),
        ({"price": float("nan")}, "metadata.price: expected a finite number"),
        ({"thing": object()}, "metadata.thing: expected what JSON can say, got object"),
        ({"thing": ITSELF}, "metadata.thing: expected what JSON can say, got list"),
        ({"note": "x" * 70_000}, "metadata: expected an event of at most 65536 bytes"),
        ({"consent": {"analytics": "yes"}}, "consent: expected"),
        ({"consent": True}, "consent: expected"),
        ({"consent": {"personalisation": False}}, "consent: expected"),
    ],
)
def test_a_wrong_argument_is_an_error_at_once_and_names_itself(
    wrong: dict[str, Any], field: str
) -> None:
    with Freshet(NOWHERE, "key") as client:
        with pytest.raises(ValueError, match=field):
            client.track(**({"event": "click", "user_id": "u1"} | wrong))
        assert client.flush(0.0), "nothing was queued"


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (("", [{"product_id": "p1"}]), "order_id: expected a text of 1 to 240 characters"),
        (("o" * 241, [{"product_id": "p1"}]), "order_id: expected a text of 1 to 240 characters"),
        (
            ("o" * 240, [{"product_id": "p" * 20}]),
            "event_id: expected 1 to 256 printable characters",
        ),
        (("o1", [{"product_id": 7}]), "product_id: expected a text"),
        (("o1", []), "lines: expected one object or more"),
        (("o1", {"product_id": "p1"}), "lines: expected one object or more"),
        (("o1", [{"product_id": "p1"}, {"price": 1}]), "product_id: required for purchase"),
    ],
)
def test_of_a_wrong_order_no_line_is_queued(order: tuple[Any, Any], field: str) -> None:
    with Freshet(NOWHERE, "key") as client:
        with pytest.raises(ValueError, match=field):
            client.purchase(*order, user_id="u1")
        assert client.flush(0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"collector_url": "collector.example"},
        {"collector_url": "ftp://collector.example"},
        {"api_url": "https://"},
        {"write_key": "schlüssel"},
        {"write_key": ""},
        {"api_key": ""},
        {"batch_size": 0},
        {"batch_size": 501},
        {"batch_size": 1.5},
        {"flush_s": -1},
        {"queue_limit": 0},
        {"timeout_s": float("nan")},
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) + ": expected"):
        Freshet(**({"collector_url": NOWHERE, "write_key": "key"} | wrong))


@pytest.mark.parametrize(
    "timestamp",
    [
        NEW_YORK,
        NEW_YORK.isoformat(),
        NEW_YORK.astimezone(UTC),
        NEW_YORK.astimezone(UTC).isoformat(),
    ],
    ids=["time", "text", "time in UTC", "text in UTC"],
)
def test_a_moment_of_any_zone_is_sent_as_utc(timestamp: datetime | str) -> None:
    with server(accept_all) as requests, Freshet(requests.url, "key") as client:
        client.track("click", user_id="u1", timestamp=timestamp)
    (event,) = requests[0][1]["events"]
    assert (
        event["timestamp"].endswith("Z") and datetime.fromisoformat(event["timestamp"]) == NEW_YORK
    )
