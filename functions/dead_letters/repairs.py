"""Repairs by rule of a rejected payload, by the paths of its fields. Pure: no clock, no I/O."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from functions.dead_letters import field_paths
from pipeline.core.metadata_fields import NUMBER_METADATA

MAX_SHIFT_S = 10 * 365 * 86_400.0
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?(e[+-]?[0-9]{1,2})?", re.IGNORECASE)


class Repairs(msgspec.Struct, frozen=True, kw_only=True):
    """Changes to a payload, made in this order. A field is a path, see `field_paths`.

    Attributes:
        rename: (old, new) paths; the old one stays where the new one is taken or has no holder.
        drop: fields to remove.
        assign: (field, text); the text is read as a number where the contract wants one.
        number: fields whose text to read as a number; what is no number stays.
        shift_s: seconds to add to the timestamps.
        split: let the good events of a body go without the bad ones.

    Raises:
        ValueError: naming the repair that cannot be done.
    """

    rename: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    assign: tuple[tuple[str, str], ...] = ()
    number: tuple[str, ...] = ()
    shift_s: float = 0.0
    split: bool = False

    def __post_init__(self) -> None:
        if not abs(self.shift_s) <= MAX_SHIFT_S:
            raise ValueError(
                f"shift: expected at most {MAX_SHIFT_S:.0f} s either way, got {self.shift_s}"
            )
        for field, text in self.assign:
            if _wants_number(field) and number_of(text) is None:
                raise ValueError(f"set: {field}: expected a number, got {text!r}")

    def apply(self, value: Any, *, flat: bool = False) -> None:
        """Repair a JSON value or a form in place.

        Args:
            value: what `rename`, `drop`, `assign` and `number` change.
            flat: a form: a dot is a part of a field's name, and every value is a text.
        """
        for old, new in self.rename:
            _rename(value, old, new, flat)
        for field in self.drop:
            field_paths.take(value, field, flat=flat)
        for field, text in self.assign:
            number = number_of(text) if _wants_number(field) and not flat else None
            field_paths.put(value, field, text if number is None else number, flat=flat)
        for field in self.number:
            given = field_paths.get(value, field, flat=flat)
            number = number_of(given) if isinstance(given, str) and not flat else None
            if number is not None:
                field_paths.put(value, field, number)


def number_of(text: str) -> int | float | None:
    """The number that a text is; None where it is none."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _wants_number(field: str) -> bool:
    """True where the contract does; it reads an unknown field beside `metadata` as one in it."""
    return field.removeprefix("metadata.") in NUMBER_METADATA


def _rename(value: Any, old: str, new: str, flat: bool) -> None:
    given = field_paths.get(value, old, flat=flat)
    is_free = field_paths.get(value, new, flat=flat) is None
    if given is not None and is_free and field_paths.put(value, new, given, flat=flat):
        field_paths.take(value, old, flat=flat)
