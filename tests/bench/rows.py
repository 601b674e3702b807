"""One figure of a benchmark."""

from __future__ import annotations

from typing import TypedDict


class Row(TypedDict):
    """A measured value, its target, and what was measured beside it in the same run (None where
    there is none).
    """

    name: str
    value: float
    unit: str
    target: float | None
    floor: str | None
    floor_value: float | None


def row(
    name: str,
    value: float,
    unit: str,
    target: float | None = None,
    floor: str | None = None,
    floor_value: float | None = None,
) -> Row:
    """A row with its figures rounded to what a reader can use."""
    return Row(
        name=name,
        value=_short(value),
        unit=unit,
        target=None if target is None else _short(target),
        floor=floor,
        floor_value=None if floor_value is None else _short(floor_value),
    )


def _short(value: float) -> float:
    return round(value, 3) if abs(value) < 100 else round(value, 1)
