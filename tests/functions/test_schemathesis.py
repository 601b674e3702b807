"""The running collector keeps what `/openapi.json` promises, to requests that Schemathesis makes of
the description.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.stack import Stack

SEED = 20260101
OWN_EXAMPLES, VENDOR_EXAMPLES = 60, 5
OWN_PATHS = frozenset(("/v1/events", "/v1/pixel.gif", "/healthz", "/openapi.json"))
# A broken event is answered with 202 and its errors, so `negative_data_rejection` is none of them.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
Operation = Any
Case = Any


@pytest.fixture(scope="module")
def document(collector_stack: Stack) -> dict[str, Any]:
    answer = httpx.get(
        f"{collector_stack.env['FRESHET_COLLECTOR_URL']}/openapi.json", trust_env=False
    )
    described: dict[str, Any] = answer.json()
    return described


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_its_own_paths_answer_requests_that_keep_to_the_description(
    document: dict[str, Any], session: requests.Session, collector_stack: Stack
) -> None:
    seen = answers(operations(document, own=True), session, collector_stack, OWN_EXAMPLES)
    assert {path for path, _ in seen} == OWN_PATHS
    assert ("/v1/events", 202) in seen


def test_its_own_paths_answer_requests_that_break_the_description(
    document: dict[str, Any], session: requests.Session, collector_stack: Stack
) -> None:
    told = [
        operation for operation in operations(document, own=True) if is_told_something(operation)
    ]
    seen = answers(told, session, collector_stack, OWN_EXAMPLES, GenerationMode.NEGATIVE)
    assert {path for path, _ in seen} == {"/v1/events", "/v1/pixel.gif"}
    assert {("/v1/events", 400), ("/v1/events", 202)} <= seen


def test_vendors_paths_never_fail(
    document: dict[str, Any], session: requests.Session, collector_stack: Stack
) -> None:
    seen = answers(operations(document, own=False), session, collector_stack, VENDOR_EXAMPLES)
    assert {path for path, _ in seen} == set(document["paths"]) - OWN_PATHS


def test_an_answer_that_is_not_described_is_found(
    document: dict[str, Any], session: requests.Session, collector_stack: Stack
) -> None:
    described = document["paths"]["/healthz"]["get"]
    broken = {
        **document,
        "paths": {"/healthz": {"get": {**described, "responses": {"201": {"description": ""}}}}},
    }
    with pytest.raises(FailureGroup, match="Undocumented status code"):
        answers(operations(broken, own=True), session, collector_stack, 1)


def operations(document: dict[str, Any], own: bool) -> list[Operation]:
    loaded = schemathesis.openapi.from_dict(document)
    found: list[Operation] = [
        result.ok() for result in loaded.get_all_operations() if isinstance(result, Ok)
    ]
    return [operation for operation in found if (operation.path in OWN_PATHS) == own]


def is_told_something(operation: Operation) -> bool:
    """Whether there is anything in a request that could break the description."""
    return not operation.definition.raw.keys().isdisjoint(("parameters", "requestBody"))


def answers(
    operations: list[Operation],
    session: requests.Session,
    stack: Stack,
    examples: int,
    mode: GenerationMode = GenerationMode.POSITIVE,
) -> set[tuple[str, int]]:
    """Send every operation so many requests, check each answer, return paths and statuses."""
    seen: set[tuple[str, int]] = set()
    for operation in operations:
        for case in cases(operation.as_strategy(generation_mode=mode), examples):
            answer = case.call(stack.env["FRESHET_COLLECTOR_URL"], session=session, timeout=10.0)
            case.validate_response(answer, checks=checks_of(case, mode))
            seen.add((operation.path, answer.status_code))
    return seen


def checks_of(case: Case, mode: GenerationMode) -> list[Any]:
    """What is described in full is taken; of vendors' bodies, and of JSON that says it is text, no
    schema is told.
    """
    is_described = case.operation.path in OWN_PATHS and case.media_type != "text/plain"
    return (
        [*CHECKS, positive_data_acceptance]
        if is_described and mode is GenerationMode.POSITIVE
        else CHECKS
    )


def cases(strategy: SearchStrategy[Any], examples: int) -> list[Case]:
    found: list[Case] = []

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found
