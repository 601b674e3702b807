"""Privacy signals of a browser: Global Privacy Control and Do Not Track."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Signal(Enum):
    """A request header in which a browser states its visitor's choice; the one that binds first."""

    GPC = "sec-gpc"
    DNT = "dnt"


def signal_of(headers: Mapping[str, str]) -> Signal | None:
    """The signal of a request, of two the one that binds; None without one.

    Args:
        headers: lower-case names. Only the value 1 is a signal (W3C Global Privacy Control, the
            Sec-GPC header field); of several with commas between any.
    """
    return next((signal for signal in Signal if _is_set(headers.get(signal.value))), None)


def _is_set(value: str | None) -> bool:
    return value is not None and (value == "1" or "1" in map(str.strip, value.split(",")))
