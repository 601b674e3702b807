"""The question to the API, asked on the caller's thread, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from functions.client.payloads import encoded
from vertex.api.contract import parse_request


class NoRecommendations(Exception):
    """The API could not be reached, or refused; `status` is that of its answer, None without one."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(reason)


def ask(http: httpx.Client, url: str, question: Mapping[str, Any], key: str | None) -> dict[str, Any]:
    """The API's answer. Nothing is tried twice, for a page is waiting.

    Raises:
        ValueError: for a question that breaks the contract, naming the field.
        NoRecommendations: there is no answer.
    """
    body = encoded(question, {})
    parse_request(body, allow_as_of=False)
    headers = {"content-type": "application/json"} | ({} if key is None else {"x-freshet-key": key})
    try:
        answer = http.post(url, content=body, headers=headers)
        if answer.status_code != 200:
            raise NoRecommendations(f"the API answered {answer.status_code}", answer.status_code)
        return msgspec.json.decode(answer.content, type=dict[str, Any])
    except (httpx.HTTPError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoRecommendations(f"the API did not answer ({type(error).__name__})") from error
