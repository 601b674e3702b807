"""The client's request to the API: its response, or an error that a page can be shown without."""

from __future__ import annotations

import pytest

from freshet import Freshet, NoRecommendations, user_token
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
        pytest.raises(NoRecommendations, match="503") as raised,
    ):
        client.recommend(user_id="u1")
    assert raised.value.status == 503
    with (
        Freshet(NOWHERE, "key", NOWHERE) as client,
        pytest.raises(NoRecommendations, match="ConnectError"),
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
