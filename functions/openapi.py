"""The answer of `/openapi.json`: the collector in OpenAPI 3.1, made of the schemas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from functions.contract.schemas import BESIDE, COMMON, EVENTS, VERSION, documents
from functions.http.problems import CONTENT_TYPE
from pipeline.core.events import MAX_EVENTS
from pipeline.core.json_limits import MAX_CONTAINERS, MAX_VALUES

Paths = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Name of a protocol -> its paths -> their methods, e.g. `{"segment": {"/v1/batch":
("POST",)}}`."""

_SCHEMAS = "#/components/schemas/"
_REFUSALS: Mapping[int, str] = {
    400: "The body as a whole cannot be read; it is kept among the dead letters.",
    401: "The write key is missing, or no site's.",
    403: "A page of another site, or a backfill without its key.",
    408: "The body took too long.",
    413: f"Over 1 MB, {MAX_EVENTS} events, {MAX_CONTAINERS} objects and lists, or {MAX_VALUES} "
    "values: split it.",
    415: "A Content-Encoding other than gzip, deflate, br and identity.",
    429: "Too many requests with this key, or from this address.",
    500: "A fault of the collector's.",
    503: "Not confirmed in time: send the same request again. Events that were stored already "
    "count once.",
}
_RETRIED = (429, 503)
_PROVEN = (
    "Proves the `user_id` where the collector asks for it: its HMAC-SHA256 under the shop's "
    "key, in hexadecimal."
)
_PIXEL_FIELDS = (
    "event",
    "anonymous_id",
    "user_id",
    "session_id",
    "product_id",
    "timestamp",
    "event_id",
)
_KEYS: list[dict[str, list[str]]] = [{}, {"writeKey": []}, {"writeKeyInQuery": []}]


def encoded(vendor_paths: Paths) -> bytes:
    """`description` as JSON, to be made once at start."""
    return msgspec.json.encode(description(vendor_paths))


def description(vendor_paths: Paths) -> dict[str, Any]:
    """The OpenAPI document, for JSON.

    Args:
        vendor_paths: what is answered beside Freshet's own protocol; what comes twice is named by
            the last.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Freshet collector",
            "version": VERSION,
            "description": "Takes events of visitors. An answer of 202 says that Pub/Sub has "
            "confirmed all it accepts.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {**_own_paths(), **_vendors(vendor_paths)},
        "components": {
            "schemas": {**_events(), **_BODIES, **_ANSWERS},
            "responses": {str(status): _refusal(status) for status in _REFUSALS},
            "securitySchemes": _SECURITY,
        },
    }


def _own_paths() -> dict[str, Any]:
    return {
        "/v1/events": {"post": _collect()},
        "/v1/pixel.gif": {"get": _pixel()},
        "/healthz": {"get": _plain("health", "Whether the process answers", {"type": "object"})},
        "/openapi.json": {"get": _plain("describe", "This description", {"type": "object"})},
    }


def _collect() -> dict[str, Any]:
    """The body is read as JSON under any content type: `sendBeacon` sends `text/plain`, which needs
    no preflight.
    """
    body = {"anyOf": [{"$ref": f"{_SCHEMAS}Batch"}, {"$ref": f"{_SCHEMAS}Event"}]}
    beacon = {"type": "string", "contentMediaType": "application/json", "contentSchema": body}
    return {
        "operationId": "collect",
        "summary": "One event, or a batch of at most 500",
        "description": "Each event is accepted or rejected by itself: one that breaks the contract "
        "is told in the answer, goes to the dead letters, and leaves the others alone. Bodies may "
        "be encoded with gzip, br or deflate.",
        "security": [*_KEYS, {"backfillKey": []}, {"writeKey": [], "backfillKey": []}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body}, "text/plain": {"schema": beacon}},
        },
        "responses": {
            "202": {
                "description": "Stored, save what is in `errors`.",
                "content": _json(f"{_SCHEMAS}Accepted"),
            },
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _REFUSALS},
        },
    }


def _pixel() -> dict[str, Any]:
    image = {
        "content": {"image/gif": {"schema": {"type": "string", "contentMediaType": "image/gif"}}}
    }
    return {
        "operationId": "collect_by_image",
        "summary": "One event as an image, for mail and for pages without scripts",
        "description": "Without `event` a page_view, without `timestamp` now. Any other parameter "
        "becomes metadata. An event that breaks the contract goes to the dead letters, and the "
        "image comes all the same.",
        "security": _KEYS[:1] + _KEYS[2:],
        "parameters": [
            *map(_pixel_parameter, _PIXEL_FIELDS),
            _TOKEN_PARAMETER,
            _METADATA_PARAMETER,
        ],
        "responses": {
            "200": {"description": "An image of one transparent pixel.", **image},
            **{
                str(status): {"description": text, **_retry_after(status), **image}
                for status, text in _REFUSALS.items()
            },
        },
    }


def _pixel_parameter(name: str) -> dict[str, Any]:
    rule = f"{_SCHEMAS}{COMMON}/properties/{name}"
    return {"name": name, "in": "query", "required": False, "schema": {"$ref": rule}}


def _plain(operation: str, summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    answer = {"description": summary, "content": {"application/json": {"schema": schema}}}
    return {
        "operationId": operation,
        "summary": summary,
        "security": [{}],
        "responses": {"200": answer},
    }


def _vendors(vendor_paths: Paths) -> dict[str, Any]:
    return {
        path: {method.lower(): _vendor(name, path, method) for method in methods}
        for name, paths in vendor_paths.items()
        for path, methods in paths.items()
    }


def _vendor(name: str, path: str, method: str) -> dict[str, Any]:
    """Briefly: these are described by the vendors, whose SDKs use them."""
    answer = {"description": "As the vendor's own endpoint answers, refusals too."}
    operation: dict[str, Any] = {
        "operationId": f"{name}_{method.lower()}_{re.sub(r'[^A-Za-z0-9]', '_', path[1:])}",
        "summary": f"For the SDKs of {name}",
        "tags": [name],
        "description": "The write key stands where the vendor's SDK puts it: Basic authorization, "
        "query or body.",
        "responses": {"2XX": answer, "default": answer},
    }
    if method == "POST":
        operation["requestBody"] = {
            "content": {"application/json": {"schema": True}, "text/plain": {"schema": True}}
        }
    return operation


def _refusal(status: int) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": f"{_SCHEMAS}Problem"}}}
    return {"description": _REFUSALS[status], **_retry_after(status), "content": content}


def _retry_after(status: int) -> dict[str, Any]:
    if status not in _RETRIED:
        return {}
    seconds = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
    return {"headers": {"Retry-After": seconds}}


def _events() -> dict[str, Any]:
    """The schemas as components. Of those who send, an `event_id` is not required: the collector
    derives one.

    What is said of fields that stand beside `metadata` in place of in it is left out: tools that
    generate from it do not master so many alternatives.
    """
    schemas = {name: _referred(schema) for name, schema in documents().items()}
    common = schemas[COMMON]
    common["required"] = [name for name in common["required"] if name != "event_id"]
    del common["allOf"]
    common["$defs"] = {
        name: rule for name, rule in common["$defs"].items() if not name.endswith(BESIDE)
    }
    common["properties"]["event_id"]["$ref"] = f"{_SCHEMAS}{COMMON}/$defs/id"
    return {"Event": {"oneOf": [{"$ref": f"{_SCHEMAS}{name}"} for name in EVENTS]}, **schemas}


def _referred(schema: Any) -> Any:
    """A schema whose references go to the components, not to files; without `$schema`, the dialect
    is OpenAPI's own.
    """
    if isinstance(schema, list):
        return [_referred(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _referred(value) for name, value in schema.items() if name != "$schema"}
    target = kept.get("$ref")
    if isinstance(target, str):
        file, _, pointer = target.partition("#")
        kept["$ref"] = f"{_SCHEMAS}{file.removesuffix('.json') or COMMON}{pointer}"
    return kept


def _json(reference: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": reference}}}


_TEXT: dict[str, Any] = {"type": "string"}
_MAYBE_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_FAULT = {
    "field": {"description": "Which field, dotted, e.g. `metadata.price`.", **_TEXT},
    "reason": {"description": "What was expected of it.", **_TEXT},
    "value": {"description": "What it was, shortened to 80 characters.", **_MAYBE_TEXT},
}
_PLACE = {
    "index": {"description": "Its place in the batch, from 0.", **_COUNT},
    "event_id": {"description": "Its id, where it could be read.", **_MAYBE_TEXT},
}
_BODIES: dict[str, Any] = {
    "Batch": {
        "type": "object",
        "required": ["events"],
        "properties": {
            "events": {
                "type": "array",
                "maxItems": MAX_EVENTS,
                "items": {"$ref": f"{_SCHEMAS}Event"},
            },
            "sent_at": {
                "description": "The client's clock at sending. Where it is off by more than 60 s, "
                "all timestamps of "
                "the batch are shifted by the difference.",
                "anyOf": [{"$ref": f"{_SCHEMAS}{COMMON}/properties/timestamp"}, {"type": "null"}],
            },
            "backfill": {
                "description": "Timestamps of long ago are meant; needs the backfill key or a "
                "server's write key.",
                "type": "boolean",
            },
            "consent": {
                "description": "What the visitor agreed to, for the events that do not say so "
                "themselves.",
                "x-expected": {
                    "type": "object",
                    "properties": {
                        "analytics": {"type": "boolean"},
                        "personalization": {"type": "boolean"},
                    },
                },
            },
            "user_token": {
                "description": f"{_PROVEN} An event may have its own.",
                "x-expected": _TEXT,
            },
        },
    },
}
_ANSWERS: dict[str, Any] = {
    "Accepted": {
        "type": "object",
        "required": ["accepted", "rejected", "errors"],
        "properties": {
            "accepted": {"description": "How many events were stored.", **_COUNT},
            "rejected": {"description": "How many were not.", **_COUNT},
            "withheld": {
                "description": "How many of the accepted were not stored, for want of consent.",
                **_COUNT,
            },
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": [*_PLACE, *_FAULT],
                    "properties": {**_PLACE, **_FAULT},
                },
            },
        },
    },
    "Problem": {
        "description": "RFC 9457.",
        "type": "object",
        "required": ["type", "title", "status", "detail", "errors"],
        "properties": {
            "type": {
                "description": "Which kind of problem; a name, and no page.",
                "format": "uri",
                **_TEXT,
            },
            "title": {
                "description": "The same in words.",
                "examples": [HTTPStatus(413).phrase],
                **_TEXT,
            },
            "status": {
                "description": "As in the status line.",
                "type": "integer",
                "minimum": 400,
                "maximum": 599,
            },
            "detail": _TEXT,
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": [*_FAULT],
                    "properties": {**_PLACE, **_FAULT},
                },
            },
        },
    },
}
_TOKEN_PARAMETER: dict[str, Any] = {
    "name": "user_token",
    "in": "query",
    "description": _PROVEN,
    "schema": _TEXT,
}
_METADATA_PARAMETER: dict[str, Any] = {
    "name": "metadata",
    "in": "query",
    "description": "Any other parameter, under its own name, e.g. `placement=mail`.",
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
_SECURITY: dict[str, Any] = {
    "writeKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Freshet-Key",
        "description": "A site's write key.",
    },
    "writeKeyInQuery": {
        "type": "apiKey",
        "in": "query",
        "name": "key",
        "description": "The same, for beacons.",
    },
    "backfillKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Freshet-Backfill-Key",
        "description": "For batches with `backfill`.",
    },
}
