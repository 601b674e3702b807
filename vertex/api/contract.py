"""Requests that a client may send, and the errors that name its mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from pipeline.core.context import Context
from pipeline.core.events import MAX_ID_LENGTH
from pipeline.core.invalid_event import InvalidEvent, TooMuch
from pipeline.core.json_limits import check_work
from pipeline.core.privacy.consent import StatedConsent, resolve_consent
from pipeline.core.privacy.user_tokens import check_user_token
from pipeline.core.profile_keys import account_key, browser_key
from pipeline.core.timestamps import parse_time
from pipeline.core.untrusted_json import UNREADABLE, read
from vertex.api.cursor import MAX_CURSOR_LENGTH, read_cursor

MAX_K = 100
MAX_PENDING = 200
MAX_TYPED, MAX_SUGGESTIONS = 100, 20
MAX_EXCLUDED = 1_000
MAX_SEEDS = 20
MAX_ROWS = 12
MAX_RANKED = 1_000
MAX_DEADLINE_MS = 60_000
MAX_KEEP = 1_000.0

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
T = TypeVar("T")
R = TypeVar("R", bound="VisitorRequest")
Variant = Literal["personalized", "popular"]

# How msgspec begins the message about a field that is not there.
_MISSING = "Object missing required field `"


class InvalidRequest(InvalidEvent):
    """A request that breaks the contract: field, expectation and value."""


class TooLarge(InvalidRequest):
    """A request of more than one may hold."""


class UnprovenUser(InvalidRequest):
    """A user id without a token (401), or with one that is not its own (403)."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__("user_token", reason)


class VisitorRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A question for one visitor: who asks, and on which page.

    `events` are the visitor's last events, as the collector takes them, which may not have been
    processed yet; what they lack of `user_id`, `anonymous_id` and `session_id` they take from the
    request. `explain` asks for the grounds of each item. `sent_at` is the client's clock at
    sending, by which theirs is repaired. `as_of` asks for the answer of another moment. `consent`
    is what the visitor agreed to, for the answer and for all events that do not say so themselves.
    `context` are the circumstances, for ranking, filters and rules. `user_token` proves the user
    id. By `deadline_ms` after its arrival the request is answered with
    what is there.
    """

    user_id: Id | None = None
    user_token: str | None = None
    anonymous_id: Id | None = None
    session_id: Id | None = None
    placement: Id = "home"
    product_id: Id | None = None
    explain: bool = False
    events: list[Any] = []
    sent_at: datetime | None = None
    variant: Variant = "personalized"
    as_of: datetime | None = None
    consent: StatedConsent | None = None
    context: Context = Context()
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=MAX_DEADLINE_MS)] | None = None

    def profile_keys(self) -> list[str]:
        """The keys under which the visitor may be known, the account first."""
        return profile_keys(self.user_id, self.anonymous_id)


class Request(VisitorRequest, frozen=True, kw_only=True):
    """One question for recommendations.

    `product_ids` are further items that the page is about. `k` is the placement's own where it is
    absent. `cursor` of an answer asks for what comes after it. `filter` is an expression that all
    items of the answer fulfil.
    """

    product_ids: Annotated[list[Id], msgspec.Meta(max_length=MAX_SEEDS)] = []
    k: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)] | None = None
    cursor: Annotated[str, msgspec.Meta(max_length=MAX_CURSOR_LENGTH)] | None = None
    exclude: Annotated[list[str], msgspec.Meta(max_length=MAX_EXCLUDED)] = []
    filter: str | None = None


class RowRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a page: its placement, how many items, the items that it is about in place of the
    page's.
    """

    placement: Id
    k: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)] | None = None
    product_ids: Annotated[list[Id], msgspec.Meta(max_length=MAX_SEEDS)] = []


class PageRequest(Request, frozen=True, kw_only=True):
    """A request for the rows of a page. What is said of the visitor and the page holds for all."""

    rows: Annotated[list[RowRequest], msgspec.Meta(min_length=1, max_length=MAX_ROWS)]


class RankRequest(VisitorRequest, frozen=True, kw_only=True):
    """A list that the caller brings, in its order, to be ordered for a visitor.

    An id that is given again counts where it is given first. `keep` is the weight of the caller's
    own order in the score, or of its own `scores`, one an item.
    """

    items: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=MAX_RANKED)]
    keep: Annotated[float, msgspec.Meta(ge=0.0, le=MAX_KEEP)] = 0.0
    scores: list[float] | None = None


class ProfileRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A look at one visitor's stored profile, and whether the event of this id, name and product is
    in it.
    """

    user_id: Id | None = None
    user_token: str | None = None
    anonymous_id: Id | None = None
    event_id: Id | None = None
    event: Id | None = None
    product_id: Id | None = None
    as_of: datetime | None = None

    def profile_keys(self) -> list[str]:
        """The keys under which the visitor may be known, the account first."""
        return profile_keys(self.user_id, self.anonymous_id)


class SuggestRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Text typed into a search box, and its visitor; without an id the answer is the same for all.

    At most `n` suggestions are wanted. `consent` is what the visitor agreed to.
    """

    q: Annotated[str, msgspec.Meta(max_length=MAX_TYPED)] = ""
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_SUGGESTIONS)] = 8
    user_id: Id | None = None
    user_token: str | None = None
    anonymous_id: Id | None = None
    consent: StatedConsent | None = None


def moment_ms(as_of: datetime | None, now_ms: Callable[[], int]) -> int:
    """The moment that a request is answered for, ms since the Unix epoch."""
    if as_of is None:
        return now_ms()
    return round(as_of.timestamp() * 1000)


def profile_keys(user_id: str | None, anonymous_id: str | None) -> list[str]:
    """The account's key and the browser's: those whose id is given."""
    keys = []
    if user_id:
        keys.append(account_key(user_id))
    if anonymous_id:
        keys.append(browser_key(anonymous_id))
    return keys


def check_user(
    request: VisitorRequest | ProfileRequest | SuggestRequest, key: bytes | None
) -> None:
    """Ask for the proof of a user id where there is a key for it.

    Raises:
        UnprovenUser: see there.
    """
    if key is None or request.user_id is None:
        return
    try:
        check_user_token(key, request.user_id, request.user_token)
    except InvalidEvent as error:
        status = 401 if request.user_token is None else 403
        raise UnprovenUser(status, error.reason) from None


def parse_request(body: bytes, allow_as_of: bool, allow_explain: bool = True) -> Request:
    """Read one request.

    Raises:
        InvalidRequest: naming field, expectation and value.
    """
    return _parse(body, Request, allow_as_of, allow_explain)


def parse_page_request(body: bytes, allow_as_of: bool, allow_explain: bool = True) -> PageRequest:
    """Read a request for the rows of a page.

    Raises:
        InvalidRequest: naming field, expectation and value.
    """
    request = _parse(body, PageRequest, allow_as_of, allow_explain)
    if request.cursor is not None:
        raise InvalidRequest("cursor", "expected at /v1/recommendations only", request.cursor)
    return request


def parse_visitor_request(body: bytes, allow_as_of: bool) -> VisitorRequest:
    """Read who asks, and in which circumstances.

    Raises:
        InvalidRequest: naming field, expectation and value.
    """
    return _parse(body, VisitorRequest, allow_as_of, True)


def parse_rank_request(body: bytes, allow_as_of: bool, allow_explain: bool = True) -> RankRequest:
    """Read a list that is to be ordered.

    Raises:
        InvalidRequest: naming field, expectation and value.
    """
    request = _parse(body, RankRequest, allow_as_of, allow_explain)
    if request.scores is not None:
        _check_scores(request.scores, request)
    return request


def _check_scores(scores: list[float], request: RankRequest) -> None:
    if len(scores) != len(request.items):
        raise InvalidRequest(
            "scores", f"expected one for each of the {len(request.items)} items", len(scores)
        )
    if request.keep == 0.0:
        raise InvalidRequest("keep", "expected above 0 beside scores: their weight", request.keep)


def _parse(body: bytes, kind: type[R], allow_as_of: bool, allow_explain: bool) -> R:
    raw = _object(body)
    if raw.get("sent_at") is not None:
        raw["sent_at"] = _time("sent_at", raw["sent_at"])
    if isinstance(raw.get("consent"), dict):
        _check_consent(raw["consent"])
    request = _convert(raw, kind, allow_as_of)
    if request.explain and not allow_explain:
        raise InvalidRequest("explain", "not allowed here: FRESHET_PROFILE_VIEW is not set", True)
    if isinstance(request, Request) and request.cursor is not None:
        _check_cursor(request.cursor)
    return request


def parse_profile_request(question: bytes | Mapping[str, Any], allow_as_of: bool) -> ProfileRequest:
    """Read a look at a profile: a body, or the parameters of a query.

    Raises:
        InvalidRequest: naming field, expectation and value.
    """
    raw = _object(question) if isinstance(question, bytes) else dict(question)
    request = _convert(raw, ProfileRequest, allow_as_of)
    if not request.profile_keys():
        raise InvalidRequest("user_id", "expected user_id or anonymous_id", None)
    if request.event_id is not None and request.event is None:
        raise InvalidRequest("event", "required beside event_id: the event's name", None)
    return request


def parse_suggest_request(question: bytes | Mapping[str, Any]) -> SuggestRequest:
    """Read what was typed: a body, or the parameters of a query.

    Raises:
        InvalidRequest: naming field, expectation and value.
    """
    if isinstance(question, bytes):
        raw = _object(question)
        if isinstance(raw.get("consent"), dict):
            _check_consent(raw["consent"])
        return _convert(raw, SuggestRequest, allow_as_of=False)
    raw = dict(question)
    if "consent" in raw:
        raise InvalidRequest("consent", "expected in the body of a POST", raw["consent"])
    if "n" in raw:
        raw["n"] = _whole_number("n", raw["n"])
    return _convert(raw, SuggestRequest, allow_as_of=False)


def _object(body: bytes) -> dict[str, Any]:
    try:
        check_work(body)
        raw = read(body)
    except TooMuch as error:
        raise TooLarge(error.field, error.reason, None) from None
    except UNREADABLE as error:
        raise InvalidRequest("body", f"expected JSON ({error})", body) from None
    if not isinstance(raw, dict):
        raise InvalidRequest("body", "expected a JSON object", raw)
    return raw


def _convert(raw: dict[str, Any], kind: type[T], allow_as_of: bool) -> T:
    if raw.get("as_of") is not None:
        raw = {**raw, "as_of": parse_as_of(raw["as_of"], allow_as_of)}
    try:
        return msgspec.convert(
            {key: value for key, value in raw.items() if value is not None}, kind
        )
    except msgspec.ValidationError as error:
        raise _named(str(error), raw) from None


def parse_as_of(value: Any, allowed: bool) -> datetime:
    """The moment asked for.

    Raises:
        InvalidRequest: when it is no time, or none may be asked for.
    """
    if not allowed:
        raise InvalidRequest("as_of", "not allowed here", value)
    return _time("as_of", value)


def _check_cursor(text: str) -> None:
    try:
        read_cursor(text)
    except ValueError:
        raise InvalidRequest("cursor", "expected the cursor of an answer", text) from None


def _check_consent(stated: dict[str, Any]) -> None:
    """A name that is misspelt would be a denial that is not read."""
    try:
        resolve_consent({}, stated, None)
    except InvalidEvent as error:
        raise InvalidRequest(error.field, error.reason, stated) from None


def _whole_number(field: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(field, "expected a whole number", text)
    return int(text)


def _time(field: str, value: Any) -> datetime:
    try:
        return parse_time(field, value)
    except InvalidEvent as error:
        raise InvalidRequest(field, error.reason, value) from None


def _named(message: str, raw: dict[str, Any]) -> InvalidRequest:
    """msgspec's "Expected `int`, got `str` - at `$.k`" in our own form."""
    reason, _, path = message.partition(" - at `$.")
    place = path.rstrip("`")
    if reason.startswith(_MISSING):
        name = reason.removeprefix(_MISSING).rstrip("`")
        return InvalidRequest(".".join(filter(None, [place, name])), "required")
    field = place or "body"
    return InvalidRequest(
        field, reason.partition(", got")[0].lower(), raw.get(field.partition("[")[0])
    )
