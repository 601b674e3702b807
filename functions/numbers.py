"""Numbers of the environment."""

from __future__ import annotations

from collections.abc import Mapping

from functions.invalid import InvalidConfig

MIN_RATE_PER_S = 0.001
MIN_BURST = 1.0


def between(name: str, text: str, low: float, high: float) -> float:
    """The number that a variable's text is, from `low` to `high`.

    Raises:
        InvalidConfig: naming the variable, its value and what was expected.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise InvalidConfig(f"{name}: expected a number from {low:g} to {high:g}, got {text!r}")
    return value


def rate_per_s(environ: Mapping[str, str], name: str) -> float | None:
    """Requests a second, 0.001 to a million; None where there is no such limit."""
    return _limit(environ, name, MIN_RATE_PER_S)


def burst(environ: Mapping[str, str], name: str) -> float | None:
    """Requests at once, 1 to a million; None where nothing is said of them."""
    return _limit(environ, name, MIN_BURST)


def _limit(environ: Mapping[str, str], name: str, low: float) -> float | None:
    text = environ.get(name)
    return between(name, text, low, 1e6) if text else None
