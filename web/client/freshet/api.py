"""Questions to the API, and writes of the catalog: sent from the caller's thread, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from freshet.contract import check_consent
from freshet.events import encode
from freshet.questions import (
    Question,
    RankQuestion,
    RowsQuestion,
    SuggestQuestion,
    VisitorQuestion,
    encode_lines,
    encode_question,
)


class NoAnswer(Exception):
    """The API could not be reached, or refused.

    Attributes:
        status: the HTTP status; None without a response.
        field, reason: what the API refused, and what it expected there; empty where it did not say.
        retry_after_s: after so many seconds the same may be asked again; None where it did not say.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        field: str = "",
        reason: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        self.status = status
        self.field = field
        self.reason = reason
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ApiMethods:
    """The methods of a client that ask the API. None is tried twice, for a page waits.

    All raise `ValueError` for an argument that breaks the contract, naming it, and where there is
    no `api_url` or the client is closed; `NoAnswer` without a response of the API.
    """

    _http: httpx.Client
    _api_url: str | None
    _api_key: str | None

    # ---- recommendations -------------------------------------------------------------------------

    def recommend(
        self,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        session_id: str | None = None,
        placement: str = "home",
        product_id: str | None = None,
        product_ids: Sequence[str] = (),
        k: int | None = None,
        cursor: str | None = None,
        filter: str | None = None,
        context: Mapping[str, Any] | None = None,
        exclude: Sequence[str] = (),
        explain: bool | None = None,
        deadline_ms: int | None = None,
        consent: Mapping[str, bool] | None = None,
        user_token: str | None = None,
    ) -> dict[str, Any]:
        """Return the API's response: `recommendations` (ids), `ranked_feed`, `request_id`, more.

        Args:
            product_ids: further items that the page is about.
            k: how many; None is as many as the placement has.
            cursor: of an answer: asks for what comes after it.
            filter: an expression that all items fulfil.
            context: `country`, `device`, `language`, `referrer_kind` and `traits` by name, for
                ranking, filters and rules.
            explain: the grounds of each item, where the API shows them.
            deadline_ms: after so long the answer is what is there.
            user_token: of `user_id`, where the API has `FRESHET_USER_KEY`; see
                `freshet.user_token`.
        """
        return self._ask("/v1/recommendations", Question, _stated(locals()))

    def recommend_rows(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        session_id: str | None = None,
        product_id: str | None = None,
        product_ids: Sequence[str] = (),
        filter: str | None = None,
        context: Mapping[str, Any] | None = None,
        exclude: Sequence[str] = (),
        explain: bool | None = None,
        deadline_ms: int | None = None,
        consent: Mapping[str, bool] | None = None,
        user_token: str | None = None,
    ) -> dict[str, Any]:
        """Return the rows of a page (`rows`), those with the likeliest clicks first, no item twice.

        Args:
            rows: up to 12, each with its `placement`, and `k` and `product_ids` where they are not
                those of the placement and the page. An answer's `row` is the place in this list.
            others: as `recommend`; they hold for all rows.
        """
        return self._ask("/v1/pages", RowsQuestion, _stated(locals()))

    def rank(
        self,
        items: Sequence[str],
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        session_id: str | None = None,
        placement: str = "home",
        product_id: str | None = None,
        keep: float | None = None,
        scores: Sequence[float] | None = None,
        context: Mapping[str, Any] | None = None,
        explain: bool | None = None,
        deadline_ms: int | None = None,
        consent: Mapping[str, bool] | None = None,
        user_token: str | None = None,
    ) -> dict[str, Any]:
        """Return up to 1,000 items of the caller's in the order for a visitor (`ranked`), more.

        Args:
            items: their ids in the caller's order, e.g. of a search result.
            keep: the weight of that order, or of `scores`, in the score.
            scores: the caller's own, one an item.
            context: as `recommend`.
        """
        return self._ask("/v1/rank", RankQuestion, _stated(locals()))

    def similar(self, product_id: str, n: int | None = None) -> dict[str, Any]:
        """Return items like one, the same for everybody; `n` is at most 100."""
        query = {} if n is None else {"n": n}
        return self._send("GET", f"{_item(product_id)}/similar", params=query)

    def suggest(
        self,
        q: str,
        *,
        n: int | None = None,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        consent: Mapping[str, bool] | None = None,
        user_token: str | None = None,
    ) -> dict[str, Any]:
        """Return how the text typed into a search box may go on (`suggestions`), up to `n`."""
        return self._ask("/v1/search/suggest", SuggestQuestion, _stated(locals()))

    def assign(
        self,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        session_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        consent: Mapping[str, bool] | None = None,
        user_token: str | None = None,
    ) -> dict[str, Any]:
        """Return the visitor's variants of all experiments that run (`experiments`), each as
        `experiment=variant`.
        """
        return self._ask("/v1/experiments/assign", VisitorQuestion, _stated(locals()))

    # ---- the catalog -----------------------------------------------------------------------------

    def put_item(self, item_id: str, **fields: Any) -> dict[str, Any]:
        """Write a whole item, and return it; what is not named has its default."""
        return self._send("PUT", _item(item_id), encode(fields, {}))

    def patch_item(self, item_id: str, **fields: Any) -> dict[str, Any]:
        """Change the fields that are named, and return the item; None is the default."""
        return self._send("PATCH", _item(item_id), encode(fields, {}))

    def delete_item(self, item_id: str) -> None:
        """Delete an item: it is not shown any more."""
        self._send("DELETE", _item(item_id))

    def write_items(self, items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Write many items, each a mapping with its `item_id`, in requests of up to 10,000.

        Returns:
            `written`, how many, and `errors`: of each item that was refused its place in `items`
            from 1 (`line`), `field`, `reason` and `value`.
        """
        written = 0
        errors: list[dict[str, Any]] = []
        for before, body in encode_lines(items):
            answer = self._send("POST", "/v1/items", body)
            written += answer["written"]
            errors += [{**error, "line": before + error["line"]} for error in answer["errors"]]
        return {"written": written, "errors": errors}

    # ---- requests --------------------------------------------------------------------------------

    def _ask(
        self, path: str, kind: type[msgspec.Struct], fields: Mapping[str, Any]
    ) -> dict[str, Any]:
        return self._send("POST", path, encode_question(fields, kind))

    def _send(
        self, method: str, path: str, body: bytes | None = None, params: Any = None
    ) -> dict[str, Any]:
        if self._api_url is None:
            raise ValueError("api_url: expected the API's address, got nothing")
        if self._http.is_closed:
            raise ValueError("client: expected an open one, got one that was closed")
        headers = {"content-type": "application/json"}
        if self._api_key is not None:
            headers["x-freshet-key"] = self._api_key
        try:
            response = self._http.request(
                method, self._api_url + path, content=body, headers=headers, params=params
            )
            if response.status_code != 200:
                raise _refusal(response)
            return msgspec.json.decode(response.content, type=dict[str, Any])
        except (httpx.HTTPError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NoAnswer(f"the API did not answer ({type(error).__name__})") from error


class _Error(msgspec.Struct):
    field: str = ""
    reason: str = ""


class _Refusal(msgspec.Struct):
    error: _Error = msgspec.field(default_factory=_Error)


def _refusal(response: httpx.Response) -> NoAnswer:
    """The error of a response; its reason is left out of the message, for it may quote the
    caller's data.
    """
    said = _Error()
    with suppress(msgspec.DecodeError, UnicodeDecodeError):  # a proxy's page of HTML
        said = msgspec.json.decode(response.content, type=_Refusal).error
    status = response.status_code
    message = f"the API answered {status}"
    if said.field:
        message += f" ({said.field})"
    return NoAnswer(message, status, said.field, said.reason, _seconds(response))


def _seconds(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _item(item_id: str) -> str:
    return f"/v1/items/{quote(item_id, safe='')}"


def _stated(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a method as fields of its question."""
    stated = {name: value for name, value in arguments.items() if name != "self"}
    if stated.get("consent") is not None:
        stated["consent"] = check_consent(stated["consent"])
    return {name: list(v) if isinstance(v, tuple) else v for name, v in stated.items()}
