"""The error about an event: its field, the expectation, and a short form of the value."""

from __future__ import annotations

import base64
import json
from typing import Any

MAX_SHOWN = 80
"""Characters of an offending value."""
_shown_encoder = json.JSONEncoder(ensure_ascii=False, default=repr)


class InvalidEvent(ValueError):
    """An event that breaks the contract, with field, expectation and offending value."""

    def __init__(self, field: str, reason: str, value: Any = None) -> None:
        self.field = field
        self.reason = reason
        self.value = _shown(value)
        got = "nothing" if self.value is None else self.value
        super().__init__(f"{field}: {reason}, got {got}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.field, self.reason, self.value)

    def as_dict(self) -> dict[str, str | None]:
        """`{"field", "reason", "value"}`, ready for an HTTP answer."""
        return {"field": self.field, "reason": self.reason, "value": self.value}


class TooMuch(InvalidEvent):
    """A request that holds too much, or would: its sender has to split it."""


def _shown(value: Any) -> str | None:
    """A value as text of at most `MAX_SHOWN` characters; None stays None."""
    if value is None:
        return None
    text = _text_of(value)
    if len(text) > MAX_SHOWN:
        return text[: MAX_SHOWN - 3] + "..."
    return text


def _text_of(value: Any) -> str:
    """A text as it is, bytes that are no text in base64, all else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        text = value[:80].decode("utf-8", "ignore")
        if text and text.isprintable():
            return text
        return base64.b64encode(value[:64]).decode()
    try:
        return _beginning(value)
    except (TypeError, ValueError, RecursionError):
        # an integer of thousands of digits, a list a thousand deep
        return f"unprintable {type(value).__name__}"


def _beginning(value: Any) -> str:
    """A value as JSON, no more of it than is shown: it may be a megabyte."""
    text = ""
    for part in _shown_encoder.iterencode(value):
        text += part
        if len(text) > MAX_SHOWN:
            break
    return text
