"""A site's own tracking plan, stricter than the contract: a JSON Schema for each of its events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jsonschema_rs
import msgspec

from pipeline.core.events import MAX_ID_LENGTH
from pipeline.core.invalid_event import InvalidEvent
from pipeline.runtime.environ import InvalidConfig

MAX_PLAN_BYTES = 1024 * 1024
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CONTRACT_FIELDS = tuple(
    "event_id event timestamp user_id anonymous_id session_id product_id".split()
)
_OWN_FIELDS = frozenset((*_CONTRACT_FIELDS, "ingest_time", "metadata"))
_SOMETHING_ELSE = "*"
_RULES = "JSON Schema 2020-12, patterns without look-around"
_UNEXPECTED = ("additionalProperties", "unevaluatedProperties")

# The draft's own schema, with every keyword refused that has no meaning in it: a rule that is
# misspelt is no rule.
_STRICT_DIALECT = {
    "$schema": DIALECT,
    "$id": "urn:freshet:plan-dialect",
    "$dynamicAnchor": "meta",
    "$ref": DIALECT,
    "properties": {"$schema": {"const": DIALECT}, "dependencies": False, "definitions": False},
    "patternProperties": {"^x-": True},
    "unevaluatedProperties": False,
}


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outer shape of a plan's file."""

    events: dict[str, dict[str, Any] | bool]
    unknown_events: Literal["accept", "reject"] = "accept"


class Plan:
    """Checks events against a plan; each rule is compiled once.

    Args:
        validators: by the event's name.
        names: the names that the plan itself gives to fields; only these go into logs and dead
            letters.
        accept_unknown: whether events pass that the plan does not name.
    """

    __slots__ = ("_accept_unknown", "_names", "_validators")

    def __init__(
        self,
        validators: Mapping[str, jsonschema_rs.Draft202012Validator],
        names: frozenset[str],
        accept_unknown: bool,
    ) -> None:
        self._validators = validators
        self._names = names
        self._accept_unknown = accept_unknown

    @staticmethod
    def load(source: str | Path | Mapping[str, Any]) -> Plan:
        """Read a plan: `{"unknown_events": "accept" | "reject", "events": {<name>: <JSON Schema
        over the event>}}`.

        The schemas are of draft 2020-12, formats are checked, patterns are matched in linear time
        (so without look-around and back-references), and references lead nowhere outside of the
        schema.

        Args:
            source: the path of a JSON file, or what stands in one.

        Raises:
            InvalidConfig: naming the plan, the place in it, and what was expected there.
        """
        name = "plan" if isinstance(source, Mapping) else str(source)
        try:
            document = _document(source)
        except (OSError, ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            raise InvalidConfig(f"{name}: {error}") from None
        validators = {
            event: _compiled(name, event, schema) for event, schema in document.events.items()
        }
        named = _OWN_FIELDS.union(_names(list(document.events.values())))
        return Plan(validators, named, document.unknown_events == "accept")

    def check(self, fields: Mapping[str, Any]) -> None:
        """Validate an event as it will be stored: fields beside the contract's are searched under
        `metadata`, and a field of the contract that is null is absent.

        Args:
            fields: the event on the wire; it stays as it is. One without a readable name passes,
                for the contract to refuse.

        Raises:
            InvalidEvent: naming the field (dotted, `*` for names that the plan does not know) and
                the rule.
        """
        event = fields.get("event")
        if not isinstance(event, str):
            return
        validator = self._validators.get(event)
        if validator is None:
            if not self._accept_unknown:
                reason = "violates rule /unknown_events: expected an event of the plan"
                raise InvalidEvent("event", reason, event)
            return
        try:
            validator.validate(_as_stored(fields))
        except jsonschema_rs.ValidationError as error:
            raise self._violation(event, error) from None
        except (ValueError, TypeError):
            # no JSON: a text that is no Unicode, a tree without end
            rule = _pointer("events", event)
            raise InvalidEvent("event", f"violates rule {rule}: expected plain JSON") from None

    def _violation(self, event: str, error: jsonschema_rs.ValidationError) -> InvalidEvent:
        path = list(error.instance_path)
        message = error.message
        value: Any = None
        keyword = error.kind.name
        # The messages of unexpected fields and of propertyNames quote names that the sender chose.
        if keyword == "required":
            path.append(error.kind.as_dict()["property"])
        elif keyword in _UNEXPECTED:
            path.append(_SOMETHING_ELSE)
            value = ", ".join(error.kind.as_dict()["unexpected"])
            message = "no other fields are allowed"
        elif keyword == "propertyNames" or "propertyNames" in error.schema_path:
            path.append(_SOMETHING_ELSE)
            message = "a name of a field is not allowed"
        elif not isinstance(error.instance, (dict, list)):
            value = error.instance
        rule = _pointer("events", event, *error.evaluation_path)
        return InvalidEvent(self._dotted(path), f"violates rule {rule}: {message}", value)

    def _dotted(self, path: list[str | int]) -> str:
        parts = (
            str(part) if isinstance(part, int) or part in self._names else _SOMETHING_ELSE
            for part in path
        )
        return ".".join(parts) or "event"


def _document(source: str | Path | Mapping[str, Any]) -> _Document:
    if isinstance(source, Mapping):
        document = msgspec.convert(source, _Document)
    else:
        with open(source, "rb") as file:
            content = file.read(MAX_PLAN_BYTES + 1)
        if len(content) > MAX_PLAN_BYTES:
            raise ValueError(f"expected at most {MAX_PLAN_BYTES} bytes")
        document = msgspec.json.decode(content, type=_Document)
    for event in document.events:
        if not (0 < len(event) <= MAX_ID_LENGTH and event.isprintable()):
            expected = f"names of 1 to {MAX_ID_LENGTH} printable characters"
            raise ValueError(f"events: expected {expected}, got {event!r}")
    return document


def _compiled(
    name: str, event: str, schema: dict[str, Any] | bool
) -> jsonschema_rs.Draft202012Validator:
    where = f"{name}: {_pointer('events', event)}"
    # Of the errors about one fault the deepest names it; the others are about its surroundings.
    faults = list(_dialect.iter_errors(schema))
    if faults:
        raise _invalid(where, max(faults, key=lambda error: len(error.instance_path)))
    try:
        return jsonschema_rs.Draft202012Validator(
            schema,
            offline=True,
            mask="the value",
            pattern_options=jsonschema_rs.RegexOptions(),
            validate_formats=True,
            ignore_unknown_formats=False,
        )
    except jsonschema_rs.ValidationError as error:
        raise _invalid(where, error) from None
    except (ValueError, TypeError, RecursionError, jsonschema_rs.ReferencingError) as error:
        raise InvalidConfig(f"{where}: {error}") from None


def _invalid(where: str, error: jsonschema_rs.ValidationError) -> InvalidConfig:
    return InvalidConfig(f"{where}{_pointer(*error.instance_path)}: {error.message} ({_RULES})")


_dialect = jsonschema_rs.Draft202012Validator(_STRICT_DIALECT, offline=True)


def _as_stored(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The event with its fields where the log has them.

    Metadata that are no object stay as they are.
    """
    stored = {name: fields[name] for name in _CONTRACT_FIELDS if fields.get(name) is not None}
    metadata = fields.get("metadata")
    if metadata is None:
        metadata = {}
    if isinstance(metadata, dict):
        beside = {name: value for name, value in fields.items() if name not in _OWN_FIELDS}
        whole = {**beside, **metadata}
        metadata = {name: value for name, value in whole.items() if value is not None}
    stored["metadata"] = metadata
    return stored


def _names(schema: Any) -> Iterator[str]:
    """The names of fields in a schema: the keys of its `properties`, the entries of its `required`,
    at any depth.
    """
    if isinstance(schema, list):
        for part in schema:
            yield from _names(part)
    elif isinstance(schema, dict):
        for keyword, value in schema.items():
            if keyword in ("properties", "dependentRequired") and isinstance(value, dict):
                yield from value
            if keyword == "required" and isinstance(value, list):
                yield from (name for name in value if isinstance(name, str))
            yield from _names(value)


def _pointer(*parts: str | int) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)
