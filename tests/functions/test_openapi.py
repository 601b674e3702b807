"""The OpenAPI description: valid, complete, and true of what the collector's own protocol reads and
answers.
"""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from functions.contract.schemas import EVENTS
from functions.http.exchange import Incoming, Refusal
from functions.http.problems import problem
from functions.openapi import Paths, description, encoded
from functions.protocols.contract import Outcome, Rejected
from functions.protocols.native import protocol as native
from functions.protocols.pixel import protocol as pixel
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.timestamps import parse_time

VENDORS: Paths = {
    "segment": {"/v1/batch": ("POST",), "/v1/batch/": ("POST",)},
    "snowplow": {"/i": ("GET", "HEAD"), "/com.snowplowanalytics.snowplow/tp2": ("POST",)},
}
NOW = parse_time("now", "2026-01-01T12:00:00Z")
EVENT = {"event_id": "e1", "event": "click", "user_id": "u1", "timestamp": "2026-01-01T12:00:00Z"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return description(VENDORS)


def component(document: dict[str, Any], name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        {**document, "$ref": f"#/components/schemas/{name}"}, offline=True
    )


def test_a_batch_and_the_pixel_have_a_place_for_the_token_of_a_user(
    document: dict[str, Any],
) -> None:
    assert "user_token" in document["components"]["schemas"]["Batch"]["properties"]
    pixel_parameters = document["paths"]["/v1/pixel.gif"]["get"]["parameters"]
    assert "user_token" in [parameter["name"] for parameter in pixel_parameters]


def test_it_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    loaded = schemathesis.openapi.from_dict(document)
    loaded.validate()
    assert loaded.raw_schema["openapi"].startswith("3.1.")
    assert len(list(loaded.get_all_operations())) == 9


def test_a_broken_description_would_be_found(document: dict[str, Any]) -> None:
    broken = {**document, "paths": {"/v1/events": {"post": {"responses": {"202": {}}}}}}
    with pytest.raises(jsonschema_rs.ValidationError):
        schemathesis.openapi.from_dict(broken).validate()


def test_every_schema_in_it_is_valid_and_refers_to_what_is_there(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.meta.validate(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        )
        component(document, name)
    assert all(
        target.startswith("#/") and resolved(document, target) is not None
        for target in references(document)
    )


def test_what_is_served_is_the_same_as_json(document: dict[str, Any]) -> None:
    assert msgspec.json.decode(encoded(VENDORS)) == document


def test_our_own_paths_are_those_that_the_protocols_answer(document: dict[str, Any]) -> None:
    for protocol in (native, pixel):
        for path, methods in protocol.PATHS.items():
            described = {method.upper() for method in document["paths"][path]}
            assert described == set(methods) - {"HEAD"}


def test_vendors_paths_are_listed_with_their_methods(document: dict[str, Any]) -> None:
    assert set(document["paths"]["/i"]) == {"get", "head"}
    assert document["paths"]["/v1/batch"]["post"]["tags"] == ["segment"]
    assert "requestBody" not in document["paths"]["/i"]["get"]
    named = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert len(named) == len(set(named))


def test_without_vendors_there_are_our_own_paths_alone() -> None:
    assert set(description({})["paths"]) == {
        "/v1/events",
        "/v1/pixel.gif",
        "/healthz",
        "/openapi.json",
    }


def test_every_event_of_the_plan_is_one_of_the_bodies(document: dict[str, Any]) -> None:
    one_of = document["components"]["schemas"]["Event"]["oneOf"]
    assert [choice["$ref"].rpartition("/")[2] for choice in one_of] == list(EVENTS)
    for name in EVENTS:
        assert component(document, "Event").is_valid({**EVENT, "event": name, "product_id": "p1"})


def test_an_event_without_an_id_is_a_body_for_the_collector_derives_it(
    document: dict[str, Any],
) -> None:
    event = component(document, "Event")
    assert event.is_valid({**EVENT, "event_id": None})
    assert event.is_valid({name: value for name, value in EVENT.items() if name != "event_id"})
    assert not event.is_valid({**EVENT, "event_id": ""})


@pytest.mark.parametrize("status", [400, 401, 403, 408, 413, 415, 429, 500, 503])
def test_every_refusal_is_described_and_has_the_shape_that_is_sent(
    document: dict[str, Any], status: int
) -> None:
    sent = msgspec.json.decode(problem(Refusal(status, "body", "expected JSON", value="<")).body)
    component(document, "Problem").validate(sent)
    assert str(status) in document["paths"]["/v1/events"]["post"]["responses"]
    assert str(status) in document["paths"]["/v1/pixel.gif"]["get"]["responses"]


def test_an_answer_that_rejects_has_the_shape_that_is_described(document: dict[str, Any]) -> None:
    request = Incoming("POST", "/v1/events", "", {}, b"", NOW)
    rejected = (Rejected(1, InvalidEvent("metadata.price", "expected a finite number", "x"), None),)
    answer = native.accepted(request, Outcome(2, rejected, 1))
    told = msgspec.json.decode(answer.body)
    assert answer.status == 202
    component(document, "Accepted").validate(told)
    assert set(told) == set(document["components"]["schemas"]["Accepted"]["properties"])
    assert set(told["errors"][0]) == {"index", "event_id", "field", "reason", "value"}


@pytest.mark.parametrize(
    "body",
    [
        {"events": []},
        {"events": [EVENT], "sent_at": None},
        {
            "events": [EVENT],
            "sent_at": "2026-01-01T12:00:00Z",
            "backfill": True,
            "consent": {"analytics": False},
        },
        {"events": [EVENT], "sent_at": "yesterday"},
        {"events": [EVENT], "backfill": None},
        {"events": [EVENT] * 500},
        {"events": [EVENT] * 501},
        {"events": EVENT},
    ],
)
def test_a_batch_is_readable_where_the_description_says_so(
    document: dict[str, Any], body: dict[str, Any]
) -> None:
    assert component(document, "Batch").is_valid(body) == is_read(body)


def test_requests_can_be_made_from_it(document: dict[str, Any]) -> None:
    """What Schemathesis generates is read: the patterns in the schemas are ones it can make texts
    for.
    """
    operation = schemathesis.openapi.from_dict(document)["/v1/events"]["POST"]

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case: schemathesis.Case[Any]) -> None:
        if case.media_type == "application/json":
            assert is_read(case.body)

    check()


def is_read(body: Any) -> bool:
    try:
        native.read_batch(msgspec.json.encode(body))
    except InvalidEvent:
        return False
    return True


def references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [target for value in part for target in references(value)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [target for value in part.values() for target in references(value)]


def resolved(document: Any, target: str) -> Any:
    for name in target.removeprefix("#/").split("/"):
        document = document[name]
    return document
