"""The client's requests to the API: a response, or an error that a page can be shown without."""

from __future__ import annotations

import json
from typing import Any

import pytest

from freshet import Freshet, NoAnswer, user_token
from freshet.contract import MAX_LINES, MAX_LINES_BYTES
from freshet.questions import encode_lines
from tests.web.client.http_server import NOWHERE, server


def test_recommendations_are_the_api_s_answer() -> None:
    said = b'{"recommendations":["p1"]}'
    with (
        server(lambda *_: (200, {}, said)) as requests,
        Freshet(NOWHERE, "key", requests.url) as client,
    ):
        token = user_token(b"sixteen bytes or more", "u1")
        answer = client.recommend(user_id="u1", user_token=token, placement="cart", k=3)
        assert answer == {"recommendations": ["p1"]}
    ((headers, body),) = requests
    assert headers["path"] == "/v1/recommendations" and "x-freshet-key" not in headers
    assert (body["user_id"], body["user_token"]) == ("u1", token)
    assert body["placement"] == "cart" and body["k"] == 3


def test_what_is_asked_of_a_placement_goes_along_and_what_is_not_stays_away() -> None:
    with (
        server(lambda *_: (200, {}, b"{}")) as requests,
        Freshet(NOWHERE, "key", requests.url) as client,
    ):
        client.recommend(user_id="u1")
        client.recommend(product_ids=["p1", "p2"], cursor="AQ", filter="price < 5")
    (_, plain), (_, body) = requests
    assert {"k", "cursor", "filter"}.isdisjoint(plain)
    assert body["product_ids"] == ["p1", "p2"]
    assert (body["cursor"], body["filter"]) == ("AQ", "price < 5")


def test_the_apis_own_key_goes_along_where_there_is_one() -> None:
    with (
        server(lambda *_: (200, {}, b"{}")) as requests,
        Freshet(NOWHERE, "key", requests.url, api_key="other") as client,
    ):
        client.recommend(user_id="u1")
    ((headers, _),) = requests
    assert headers["x-freshet-key"] == "other"


def test_without_an_answer_there_is_an_error_with_the_status() -> None:
    with (
        server(lambda *_: (503, {}, b"")) as requests,
        Freshet(NOWHERE, "key", requests.url) as client,
        pytest.raises(NoAnswer, match="503") as raised,
    ):
        client.recommend(user_id="u1")
    assert raised.value.status == 503
    with (
        Freshet(NOWHERE, "key", NOWHERE) as client,
        pytest.raises(NoAnswer, match="ConnectError"),
    ):
        client.recommend(user_id="u1")


def test_an_invalid_request_is_an_error_that_names_the_argument() -> None:
    with Freshet(NOWHERE, "key", NOWHERE) as client, pytest.raises(ValueError, match="k: expected"):
        client.recommend(user_id="u1", k=101)
    with Freshet(NOWHERE, "key") as client, pytest.raises(ValueError, match="api_url: expected"):
        client.recommend(user_id="u1")
    with (
        Freshet(NOWHERE, "key", NOWHERE) as client,
        pytest.raises(ValueError, match="consent: expected"),
    ):
        client.recommend(user_id="u1", consent={"personalisation": False})
    with pytest.raises(ValueError, match="client: expected an open one"):
        client.recommend(user_id="u1")


def test_each_question_is_a_request_to_its_route() -> None:
    with (
        server(lambda *_: (200, {}, b"{}")) as requests,
        Freshet(NOWHERE, "key", requests.url) as client,
    ):
        client.recommend_rows([{"placement": "home_picks", "k": 4}], user_id="u1", filter="new")
        client.rank(["p1", "p2"], anonymous_id="a1", keep=0.5, consent={"personalization": True})
        client.similar("p/1 ?", n=4)
        client.suggest("so", n=3, user_id="u1")
        client.assign(anonymous_id="a1", context={"country": "NL"})
    paths = [(headers["method"], headers["path"]) for headers, _ in requests]
    assert paths == [
        ("POST", "/v1/pages"),
        ("POST", "/v1/rank"),
        ("GET", "/v1/items/p%2F1%20%3F/similar?n=4"),
        ("POST", "/v1/search/suggest"),
        ("POST", "/v1/experiments/assign"),
    ]
    rows, ranked, _, typed, assigned = (body for _, body in requests)
    assert rows["rows"] == [{"placement": "home_picks", "k": 4}] and rows["filter"] == "new"
    assert ranked["items"] == ["p1", "p2"] and ranked["consent"] == {"personalization": True}
    assert typed == {"q": "so", "n": 3, "user_id": "u1"}
    assert assigned["anonymous_id"] == "a1" and assigned["context"] == {"country": "NL"}


def test_items_are_written_changed_and_deleted_with_the_key() -> None:
    with (
        server(lambda *_: (200, {}, b"{}")) as requests,
        Freshet(NOWHERE, "key", requests.url, api_key="secret") as client,
    ):
        client.put_item("p1", title="Lamp", price=9.5, attributes={"watts": 5})
        client.patch_item("p1", price=None)
        client.delete_item("p1")
    assert {(headers["path"], headers["x-freshet-key"]) for headers, _ in requests} == {
        ("/v1/items/p1", "secret")
    }
    assert [headers["method"] for headers, _ in requests] == ["PUT", "PATCH", "DELETE"]
    written, changed, _ = (body for _, body in requests)
    assert written == {"title": "Lamp", "price": 9.5, "attributes": {"watts": 5}}
    assert changed == {"price": None}


def test_many_items_go_in_several_requests_and_errors_name_their_place_among_all() -> None:
    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        lines = len(body.get("lines", [body]))
        error = {"line": 2, "field": "price", "reason": "expected a number", "value": "dear"}
        errors = [error] if lines > 1 else []
        said = {"written": lines - len(errors), "errors": errors}
        return 200, {}, json.dumps(said).encode()

    items = [{"item_id": f"p{n}", "title": "x" * 20} for n in range(2 * MAX_LINES + 1)]
    with (
        server(answer) as requests,
        Freshet(NOWHERE, "key", requests.url, api_key="secret") as client,
    ):
        found = client.write_items(items)
        assert client.write_items([]) == {"written": 0, "errors": []}
    assert len(requests) == 3
    assert found["written"] == len(items) - 2
    assert [error["line"] for error in found["errors"]] == [2, MAX_LINES + 2]


def test_a_request_with_lines_is_no_larger_than_the_api_takes() -> None:
    large = [{"item_id": f"p{n}", "description": "x" * (MAX_LINES_BYTES // 4)} for n in range(7)]
    bodies = [*encode_lines(large)]
    assert [before for before, _ in bodies] == [0, 3, 6]
    assert max(len(body) for _, body in bodies) <= MAX_LINES_BYTES


def test_a_refusal_says_field_and_reason_and_when_to_ask_again() -> None:
    said = {"error": {"field": "filter", "reason": "expected a field, got prise", "value": "x"}}
    answers = [
        (400, {}, json.dumps(said).encode()),
        (503, {"retry-after": "2"}, b"<html>busy</html>"),
    ]
    with (
        server(lambda number, _: answers[number - 1]) as requests,
        Freshet(NOWHERE, "key", requests.url) as client,
    ):
        with pytest.raises(NoAnswer, match=r"400 \(filter\)$") as refused:
            client.recommend(user_id="u1", filter="prise < 5")
        with pytest.raises(NoAnswer, match=r"503$") as busy:
            client.rank(["p1"], user_id="u1")
    assert refused.value.field == "filter"
    assert refused.value.reason == "expected a field, got prise"
    assert refused.value.retry_after_s is None
    assert (busy.value.field, busy.value.retry_after_s) == ("", 2.0)
