"""Snowplow's self-describing JSON: an event, or one of the entities beside it (its contexts), under
its Iglu schema.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from functions.protocols.values import from_base64, read_object
from pipeline.core.invalid_event import InvalidEvent

MAX_KEPT_BYTES = 16 * 1024
"""Bound of the entities in one event's metadata, in bytes of JSON."""

_encoder = msgspec.json.Encoder()


class SelfDescribing(msgspec.Struct, frozen=True):
    """`{"schema": "iglu:<vendor>/<name>/jsonschema/<version>", "data": ...}`.

    Attributes:
        schema: the URI as it came.
        kind: `<vendor>/<name>`, by which known ones are found, in any version.
        data: any JSON.
    """

    schema: str
    kind: str
    data: Any

    @property
    def vendor(self) -> str:
        """E.g. `com.snowplowanalytics.snowplow`."""
        return self.kind.partition("/")[0]

    @property
    def name(self) -> str:
        """E.g. `link_click`."""
        return self.kind.partition("/")[2]

    @property
    def fields(self) -> dict[str, Any]:
        """The data where it is an object; empty where it is something else."""
        return self.data if isinstance(self.data, dict) else {}


class Contexts(msgspec.Struct, frozen=True):
    """The entities of one event, in the tracker's order."""

    entities: Sequence[SelfDescribing] = ()

    def all(self, kind: str) -> list[dict[str, Any]]:
        """The data of every entity of a kind."""
        return [entity.fields for entity in self.entities if entity.kind == kind]

    def first(self, kind: str) -> dict[str, Any]:
        """The data of the first entity of a kind; empty where there is none."""
        return next((entity.fields for entity in self.entities if entity.kind == kind), {})

    def kept(self, without: Collection[str] = ()) -> dict[str, Any]:
        """`{"contexts": [{"schema", "data"}, ...]}` for an event's metadata, but for the kinds in
        `without`.

        Above `MAX_KEPT_BYTES` those that still fit are kept and the rest counted in
        `contexts_dropped`.
        """
        kept: list[dict[str, Any]] = []
        size = dropped = 0
        for entity in self.entities:
            if entity.kind in without:
                continue
            whole = {"schema": entity.schema, "data": entity.data}
            weight = len(_encoder.encode(whole))
            if size + weight > MAX_KEPT_BYTES:
                dropped += 1
            else:
                size += weight
                kept.append(whole)
        found: dict[str, Any] = {}
        if kept:
            found["contexts"] = kept
        if dropped:
            found["contexts_dropped"] = dropped
        return found


def described(value: Any, field: str) -> SelfDescribing:
    """A JSON value as self-describing JSON.

    Raises:
        InvalidEvent: naming `field`, for anything else.
    """
    if isinstance(value, dict) and isinstance(value.get("schema"), str):
        schema: str = value["schema"]
        parts = schema.removeprefix("iglu:").split("/")
        if len(parts) == 4 and all(parts):
            return SelfDescribing(schema, f"{parts[0]}/{parts[1]}", value.get("data"))
    expected = "expected self-describing JSON (iglu:vendor/name/format/version)"
    raise InvalidEvent(field, expected, value)


def embedded(fields: Mapping[str, Any], plain: str, encoded: str) -> SelfDescribing | None:
    """The self-describing JSON that an event carries as a text under `plain`, or in base64url under
    `encoded`.

    Raises:
        InvalidEvent: naming the one that cannot be read.
    """
    for name in (plain, encoded):
        text = fields.get(name)
        if text is None or text == "":
            continue
        if not isinstance(text, str):
            raise InvalidEvent(name, "expected JSON in a text", text)
        json = text if name == plain else from_base64(text, name)
        return described(read_object(json, name), name)
    return None


def embedded_json(fields: Mapping[str, Any]) -> bytes:
    """All JSON that an event carries as texts, not parsed; invalid base64 is left out."""
    found = [
        fields[name].encode("utf-8", "replace")
        for name in ("ue_pr", "co")
        if isinstance(fields.get(name), str)
    ]
    for name in ("ue_px", "cx"):
        text = fields.get(name)
        if isinstance(text, str):
            with suppress(InvalidEvent):
                found.append(from_base64(text, name))
    return b"".join(found)


def read_contexts(fields: Mapping[str, Any]) -> Contexts:
    """The entities under `co`, or in base64url under `cx`.

    Raises:
        InvalidEvent: field `co` or `cx`.
    """
    envelope = embedded(fields, "co", "cx")
    if envelope is None:
        return Contexts()
    name = "co" if fields.get("co") else "cx"
    if not isinstance(envelope.data, list):
        raise InvalidEvent(name, "expected a list of contexts", envelope.data)
    return Contexts([described(entity, name) for entity in envelope.data])


def renamed(data: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The fields of `data` that are listed in `names` and hold something, under our names; of two
    the last.
    """
    return {ours: data[theirs] for theirs, ours in names.items() if data.get(theirs) is not None}
