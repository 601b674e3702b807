"""The events of the contract as JSON Schemas (draft 2020-12): a folder a version, a file an event.

`make schemas ARGS=--write` generates the files from `pipeline/core/event_types.py` and
`pipeline/core/metadata_fields.py`. A schema accepts the events that `parse_event` accepts and no
others, except for the checks that no schema can express (`event.json` names them). Values that the
collector takes as they come, and that profiles read only where they make sense, have keywords
beside the rules: `x-expected` is the schema that such a value meets, `x-unit` its unit, `x-since`
the version of the schemas that had it first, `x-set-by` its writer where that is not the client,
and `x-range` describes its range where no rule does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.core.event_types import EVENT_CODES

VERSION = "1"
COMMON, CUSTOM = "event", "custom"
EVENTS = (*EVENT_CODES, CUSTOM)
"""The names of the tracking plan, in its order; `custom` stands for every other name."""

BESIDE = "_beside_metadata"
"""The end of the names of rules for fields that stand beside `metadata` in place of in it."""

FOLDER = Path(__file__).parent / VERSION


def documents() -> dict[str, dict[str, Any]]:
    """Every schema by its name, the common part first; each a new copy.

    References go by file: `event.json#/$defs/id`.

    Raises:
        OSError, msgspec.DecodeError: a file is missing or broken; that is a fault of the
            installation.
    """
    return {name: _read(name) for name in (COMMON, *EVENTS)}


def fields(schema: Mapping[str, Any]) -> list[str]:
    """The fields of `metadata` that an event's schema names, in its order."""
    return list(schema["properties"].get("metadata", {}).get("properties", ()))


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.json.decode(
        (FOLDER / f"{name}.json").read_bytes(), type=dict[str, Any]
    )
    return content
