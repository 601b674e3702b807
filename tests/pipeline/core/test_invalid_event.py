"""An error about an event shows its value in short, whatever it is."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pipeline.core.invalid_event import MAX_SHOWN, InvalidEvent


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        ("a text", "a text"),
        ("", ""),
        ("x" * MAX_SHOWN, "x" * MAX_SHOWN),
        ("x" * 81, "x" * 77 + "..."),
        (b"plain", "plain"),
        (b"\xff\xfe", "//4="),
        (b"", ""),
        ({"a": [1, True]}, '{"a": [1, true]}'),
        (list(range(10**6)), str(list(range(30)))[:77] + "..."),
        (10**5000, "unprintable int"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_in_short(value: Any, shown: str | None) -> None:
    error = InvalidEvent("field", "expected something else", value)
    assert error.value == shown
    got = "nothing" if shown is None else shown
    assert str(error) == f"field: expected something else, got {got}"


def test_an_error_survives_pickling() -> None:
    error = InvalidEvent("user_id", "expected a text", 5)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) and copy.as_dict() == error.as_dict()
