"""Generates the event names in the browser SDK's types from the table of event types."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.core.event_types import EVENT_CODES

TYPES = Path(__file__).resolve().parents[3] / "web" / "sdk" / "freshet.d.ts"
_EVENT_NAME = re.compile(r"export type EventName =\n(?:  \| .*\n)+")


def typed(text: str) -> str:
    """`text` with the type `EventName` of the table: its names, or any other text.

    Raises:
        ValueError: when `text` declares no such type.
    """
    names = "".join(f'  | "{name}"\n' for name in EVENT_CODES)
    declared = f"export type EventName =\n{names}  | (string & {{}});\n"
    typed, count = _EVENT_NAME.subn(lambda _: declared, text)
    if count != 1:
        raise ValueError(f"text: expected one `export type EventName`, got {count}")
    return typed
