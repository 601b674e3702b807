"""The request for recommendations: sent from the caller's thread, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import httpx
import msgspec

from freshet.contract import MAX_EXCLUDED, MAX_ID_LENGTH, MAX_K, MAX_SEEDS, Consent, invalid
from freshet.events import encode

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]


class NoRecommendations(Exception):
    """The API could not be reached, or refused; `status` is None without a response."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(reason)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a request, as the API reads it."""

    user_id: Id | None = None
    user_token: str | None = None
    anonymous_id: Id | None = None
    session_id: Id | None = None
    placement: Id = "home"
    product_id: Id | None = None
    product_ids: Annotated[list[Id], msgspec.Meta(max_length=MAX_SEEDS)] = []
    k: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)] | None = None
    cursor: str | None = None
    filter: str | None = None
    exclude: Annotated[list[str], msgspec.Meta(max_length=MAX_EXCLUDED)] = []
    consent: Consent | None = None


def encode_request(fields: Mapping[str, Any]) -> bytes:
    """Encode the body of a request, once it is valid; None stands for absent.

    Raises:
        ValueError: it breaks the contract, naming the field.
    """
    stated = {name: value for name, value in fields.items() if value is not None}
    body = encode(stated, {})
    try:
        msgspec.json.decode(body, type=Request)
    except msgspec.ValidationError as error:
        raise _named(str(error), stated) from None
    return body


def fetch(http: httpx.Client, url: str, body: bytes, key: str | None) -> dict[str, Any]:
    """Return the API's response. It is not tried twice, for a page waits for it.

    Raises:
        NoRecommendations: there is none.
    """
    headers = {"content-type": "application/json"}
    if key is not None:
        headers["x-freshet-key"] = key
    try:
        response = http.post(url, content=body, headers=headers)
        status = response.status_code
        if status != 200:
            raise NoRecommendations(f"the API answered {status}", status)
        return msgspec.json.decode(response.content, type=dict[str, Any])
    except (httpx.HTTPError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoRecommendations(f"the API did not answer ({type(error).__name__})") from error


def _named(message: str, fields: Mapping[str, Any]) -> ValueError:
    """Turn msgspec's "Expected `int` <= 100 - at `$.k`" into an error of our form."""
    expected, _, path = message.partition(" - at `$.")
    field = path.rstrip("`")
    expected = expected.partition(", got")[0].lower()
    return invalid(field, expected, fields.get(field.partition("[")[0]))
