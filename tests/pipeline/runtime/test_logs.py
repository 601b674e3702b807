"""Log lines are JSON and hold no payload."""

from __future__ import annotations

import json
import logging
import sys

from pipeline.runtime.logs import JsonFormatter


def line(message: str, exc_info: bool = False, **extra: object) -> dict[str, object]:
    """What the formatter makes of a record."""
    record = logging.makeLogRecord(
        {
            "name": "n",
            "levelname": "WARNING",
            "msg": message,
            "exc_info": sys.exc_info() if exc_info else None,
        }
        | extra
    )
    found: dict[str, object] = json.loads(JsonFormatter().format(record))
    return found


def test_a_line_holds_severity_message_logger_and_extras() -> None:
    assert line("rejected", rejected=3, fields=["timestamp"]) == {
        "severity": "WARNING",
        "message": "rejected",
        "logger": "n",
        "rejected": 3,
        "fields": ["timestamp"],
    }


def test_an_exception_is_named_with_its_place_and_without_its_text() -> None:
    try:
        raise ValueError("anna@example.com")
    except ValueError:
        made = line("request failed", exc_info=True)
    assert str(made["exception"]).startswith("ValueError at ")
    assert "anna" not in json.dumps(made)
