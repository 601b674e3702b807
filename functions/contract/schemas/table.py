"""The tracking plan as tables in Markdown, from the schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from functions.contract.schemas import BESIDE, COMMON, CUSTOM, EVENTS, documents, fields
from pipeline.runtime.generated_parts import with_part

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "tracking-plan.md"
BEGIN = "<!-- tracking plan: begin, written by `make schemas ARGS=--write` -->"
END = "<!-- tracking plan: end -->"
_EVENT_HEAD = ("event", "means", "required", "fields of `metadata`", "since")
_FIELD_HEAD = ("field", "means", "type", "unit", "range", "else", "since")
_ELSE_REJECTED, _ELSE_IGNORED = "rejected", "not read"


def tables(schemas: Mapping[str, Any] | None = None) -> str:
    """The plan: events, the fields that every event has, those of `metadata`, and those that the
    collector adds.
    """
    if schemas is None:
        schemas = documents()
    common = schemas[COMMON]
    own = {name: _own(common, name) for name in _sent(common)}
    metadata = {name: common["$defs"][name] for name in metadata_fields(common)}
    clients = {name: field for name, field in metadata.items() if not _is_added(field)}
    added = {name: field for name, field in metadata.items() if _is_added(field)}
    parts = (
        "## Events",
        _table(_EVENT_HEAD, (_event_row(name, schemas) for name in EVENTS)),
        "## Fields of every event",
        _field_table(own, common),
        "## Fields of `metadata`",
        _field_table(clients, common),
        "## What the collector adds to `metadata`",
        _field_table(added, common),
    )
    return "\n\n".join(parts)


def documented(text: str, plan: str) -> str:
    """`text` with the plan between its two markers.

    Raises:
        ValueError: when `text` lacks a marker.
    """
    return with_part(text, BEGIN, END, plan)


def kind(schema: Mapping[str, Any]) -> str:
    """The type that a field's schema names or expects; null aside, which stands for a field that is
    not there.
    """
    types = schema.get("type", schema.get("x-expected", {}).get("type", "any"))
    if isinstance(types, str):
        types = [types]
    return " or ".join(name for name in types if name != "null")


def extent(schema: Mapping[str, Any]) -> str:
    """The range of a field: an interval, how many characters, or the values that there are."""
    if "x-range" in schema:
        return str(schema["x-range"])
    rule = {**schema, **schema.get("x-expected", {})}
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    if "maxLength" in rule:
        return _length(rule.get("minLength", 0), rule["maxLength"])
    if "properties" in rule:
        return ", ".join(f"`{name}`: {kind(value)}" for name, value in rule["properties"].items())
    if kind(schema) == "number":
        return f"{_low(rule)}, {_high(rule)}"
    return ""


def _length(shortest: int, longest: int) -> str:
    if shortest == longest:
        return f"{longest} characters"
    return f"{shortest} to {longest} characters"


def _low(rule: Mapping[str, Any]) -> str:
    if rule.get("exclusiveMinimum") == 0:
        return "(0"
    if "minimum" in rule:
        return f"[{_number(rule['minimum'])}"
    return "(-∞"


def _high(rule: Mapping[str, Any]) -> str:
    if "maximum" in rule:
        return f"{_number(rule['maximum'])}]"
    return "∞)"


def _number(value: float) -> str:
    if abs(value) >= 1e9:
        return f"{value:.0e}".replace("e+", "e")
    return f"{value:,}"


def _event_row(name: str, schemas: Mapping[str, Any]) -> tuple[str, ...]:
    schema, common = schemas[name], schemas[COMMON]
    shown = "any other name" if name == CUSTOM else f"`{name}`"
    required = [*common["required"], *schema.get("required", ())]
    either = " or ".join(f"`{choice['required'][0]}`" for choice in common["anyOf"])
    return (
        shown,
        schema["description"],
        ", ".join([*(f"`{field}`" for field in required), either]),
        ", ".join(f"`{field}`" for field in fields(schema)),
        schema["x-since"],
    )


def _field_table(schemas: Mapping[str, Any], common: Mapping[str, Any]) -> str:
    rows = (_field_row(name, schema, common) for name, schema in schemas.items())
    return _table(_FIELD_HEAD, rows)


def _field_row(name: str, schema: Mapping[str, Any], common: Mapping[str, Any]) -> tuple[str, ...]:
    """`else`: what becomes of an event whose value is another, or of the value."""
    return (
        f"`{name}`",
        schema["description"],
        kind(schema),
        schema.get("x-unit", ""),
        _range(schema),
        _otherwise(schema),
        schema.get("x-since", common["x-since"]),
    )


def _otherwise(schema: Mapping[str, Any]) -> str:
    if schema.get("x-set-by"):
        return ""
    if "type" in schema:
        return _ELSE_REJECTED
    return _ELSE_IGNORED


def _range(schema: Mapping[str, Any]) -> str:
    """Expected values within those that are accepted, where the two differ."""
    expected = extent(schema)
    accepted = extent({name: value for name, value in schema.items() if name != "x-expected"})
    if accepted in ("", expected):
        return expected
    return f"{expected} (accepted: {accepted})"


def metadata_fields(common: Mapping[str, Any]) -> list[str]:
    """Every field of `metadata` that the common part describes, in its order."""
    apart = ("id", "required_id")
    return [name for name in common["$defs"] if name not in apart and not name.endswith(BESIDE)]


def _is_added(schema: Mapping[str, Any]) -> bool:
    return "x-set-by" in schema


def _sent(common: Mapping[str, Any]) -> list[str]:
    return [name for name in common["properties"] if name != "ingest_time"]


def _own(common: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A field's schema with what it refers to."""
    schema: dict[str, Any] = common["properties"][name]
    target = schema.get("$ref", "").rpartition("/")[2]
    return {**common["$defs"].get(target, {}), **schema}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [
        head,
        ("---",) * len(head),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
