"""A vendor's event that cannot be one of ours: what becomes of it its visitor's consent decides, as
of any other.
"""

from __future__ import annotations

from typing import Any

from functions.protocols.contract import Translated
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.json_limits import check_work
from pipeline.core.untrusted_json import UNREADABLE, read


def refused_event(source: Any, error: InvalidEvent, consent: Any = None) -> Translated:
    """One that was read as far as it can be.

    Args:
        source: see `Translated`.
        error: why.
        consent: what it says of its visitor's, in our form, unchecked; None where it says nothing.
    """
    return Translated(source, () if consent is None else ({"consent": consent},), error)


def object_of_any_depth(data: bytes) -> dict[str, Any] | None:
    """A JSON object that may nest deeper than events do, to look for a consent in; None for what is
    none.

    It may be too deep to be written as JSON again: what is kept of it is `data`.

    Raises:
        TooMuch: more than `check_work` allows.
    """
    check_work(data)
    try:
        value = read(data)
    except UNREADABLE:
        return None
    return value if isinstance(value, dict) else None
