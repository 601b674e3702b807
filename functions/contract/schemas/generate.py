"""Generates the JSON Schemas from the tables of event types and of metadata fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from functions.contract.schemas import BESIDE, COMMON, CUSTOM
from pipeline.core.event_types import EVENT_CODES, EVENT_TYPES, EventType
from pipeline.core.events import MAX_ID_LENGTH, MAX_NUMBER
from pipeline.core.metadata_fields import METADATA_FIELDS, MetadataField

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_CHECKED = tuple(field for field in METADATA_FIELDS if field.is_checked)
_DAY = (
    r"^(?:[12][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    r"|(?:[12][0-9](?:0[48]|[2468][048]|[13579][26])|(?:12|16|20|24|28)00)-02-29)"
)
_TIME_OF_DAY = (
    r"[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])$"
)
_DESCRIPTION = (
    "What every event has. Fields beside these are kept under `metadata`; what `metadata` holds"
    " goes first. Not said here: the timestamp lies within 48 h before and 5 min after arrival (a"
    " backfill's in 2000 to 2100), an event has at most 64 kB of JSON and 32 levels of nesting, and"
    " printable means printable by Unicode 14."
)


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by its name, the common part first, `custom` last."""
    of_events = {event.name: event_schema(event) for event in EVENT_TYPES}
    return {COMMON: common_schema(), **of_events, CUSTOM: custom_schema()}


def write(folder: Path) -> None:
    """Write each schema as `<name>.json`."""
    for name, schema in schemas().items():
        (folder / f"{name}.json").write_bytes(as_file(schema))


def as_file(schema: dict[str, Any]) -> bytes:
    """The bytes of a schema's file: indented by two spaces."""
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def event_schema(event: EventType) -> dict[str, Any]:
    """The schema of one event: the common part, its name, its product and its fields."""
    schema = _head(event.name, event.description, event.since)
    if event.needs_product:
        schema["required"] = ["product_id"]
    properties: dict[str, Any] = {"event": {"const": event.name}}
    if event.needs_product:
        properties["product_id"] = _of_common("required_id")
    properties["metadata"] = {
        "properties": {name: _of_common(name) for name in event.fields.split()}
    }
    return schema | {"properties": properties}


def custom_schema() -> dict[str, Any]:
    """The schema of every name that is none of the table's."""
    description = "Whatever else a site counts: kept in the log and counted, not ranked on."
    schema = _head(CUSTOM, description, "1")
    return schema | {"properties": {"event": {"not": {"enum": list(EVENT_CODES)}}}}


def common_schema() -> dict[str, Any]:
    """The schema of the part that all events share, with the definitions of all fields."""
    return {
        "$schema": DRAFT,
        "title": COMMON,
        "x-since": "1",
        "description": _DESCRIPTION,
        "type": "object",
        "required": ["event_id", "event", "timestamp"],
        "properties": _properties(),
        "anyOf": [_stated("user_id"), _stated("anonymous_id")],
        "allOf": [_own(f"{field.name}{BESIDE}") for field in _CHECKED],
        "$defs": {
            "id": _id(["string", "null"]),
            "required_id": _id("string"),
            **{field.name: _definition(field) for field in METADATA_FIELDS},
            **{f"{field.name}{BESIDE}": _beside(field.name) for field in _CHECKED},
        },
    }


def _head(name: str, description: str, since: str) -> dict[str, Any]:
    return {
        "$schema": DRAFT,
        "title": name,
        "description": description,
        "x-since": since,
        "$ref": f"{COMMON}.json",
    }


def _properties() -> dict[str, Any]:
    return {
        "event_id": {
            "description": "The event's own id: what is sent again keeps it, and counts once. Where"
            " it is missing, the collector derives it from the content before it checks.",
            **_own("required_id"),
        },
        "event": {
            "description": "What the visitor did: a name of the tracking plan, or any other, which "
            "is then custom.",
            **_own("required_id"),
        },
        "timestamp": {
            "description": "When it happened, by the client's clock: RFC 3339 with a zone.",
            "type": "string",
            "pattern": _DAY + _TIME_OF_DAY,
            "x-range": "48 h before to 5 min after arrival",
            "examples": ["2026-01-31T12:00:00.000Z"],
        },
        "user_id": {
            "description": "Who it was, after a login. This or `anonymous_id` is required.",
            **_own("id"),
        },
        "anonymous_id": {
            "description": "Which browser or app it was. This or `user_id` is required.",
            **_own("id"),
        },
        "session_id": {
            "description": "Which visit it belongs to, as the client counts visits.",
            **_own("id"),
        },
        "product_id": {"description": "Which item it is about.", **_own("id")},
        "ingest_time": {"description": "Ignored: the collector writes its own."},
        "metadata": {
            "description": "All else.",
            "type": ["object", "null"],
            "x-range": "any names; those below are read",
            "properties": {field.name: _own(field.name) for field in _CHECKED},
        },
    }


def _definition(field: MetadataField) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": field.description}
    if field.is_checked:
        schema |= _rule(field.kind)
    if field.range is not None:
        schema["x-range"] = field.range
    if field.expected or not field.is_checked:
        schema["x-expected"] = {"type": field.kind, **field.expected}
    if field.unit is not None:
        schema["x-unit"] = field.unit
    if field.is_added:
        schema["x-set-by"] = "collector"
    return schema


def _rule(kind: str) -> dict[str, Any]:
    """The check of the parser; null stands for a field that is not there."""
    if kind == "number":
        return {"type": [kind, "null"], "minimum": 0, "maximum": int(MAX_NUMBER)}
    return {"type": [kind, "null"], "x-range": "any text"}


def _id(kind: str | list[str]) -> dict[str, Any]:
    return {
        "description": f"1 to {MAX_ID_LENGTH} printable characters.",
        "type": kind,
        "minLength": 1,
        "maxLength": MAX_ID_LENGTH,
        "pattern": r"^(?: |[^\p{C}\p{Z}])*$",
    }


def _stated(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"type": "string"}}}


def _beside(name: str) -> dict[str, Any]:
    """The rule of a field beside `metadata`, which does not hold where `metadata` has it too."""
    inside = {"type": "object", "required": [name]}
    return {
        "anyOf": [
            {"properties": {name: _own(name)}},
            {"required": ["metadata"], "properties": {"metadata": inside}},
        ]
    }


def _own(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _of_common(name: str) -> dict[str, Any]:
    return {"$ref": f"{COMMON}.json#/$defs/{name}"}
