"""The proof that a browser may name an account: an HMAC of the user id, made by the shop's own
server.

    user_token = lower-case hex of HMAC-SHA256(key, user_id in UTF-8)        RFC 2104, FIPS 180-4

The shop's server makes it at login and gives it to the page, which sends it beside the user id.
Pure.
"""

from __future__ import annotations

import hmac
from typing import Any

from pipeline.core.invalid_event import InvalidEvent

USER_TOKEN = "user_token"
"""The field that carries it."""


def user_token(key: bytes, user_id: str) -> str:
    """The token of a user id, 64 hexadecimal digits.

    Args:
        key: the shop's secret, 16 to 64 bytes.
        user_id: as events name it.
    """
    return hmac.digest(key, user_id.encode("utf-8", "surrogatepass"), "sha256").hex()


def check_user_token(key: bytes, user_id: str, given: Any) -> None:
    """Compare in constant time what a request gave with the token of its user id.

    Raises:
        InvalidEvent: field `user_token`; neither token is in it.
    """
    if given is None:
        raise InvalidEvent(
            USER_TOKEN, "required with a user_id: the shop's server makes it at login", None
        )
    text = given if isinstance(given, str) else ""
    if not hmac.compare_digest(
        text.encode("utf-8", "surrogatepass"), user_token(key, user_id).encode()
    ):
        raise InvalidEvent(
            USER_TOKEN, "expected the HMAC-SHA256 of the user_id under the shop's key", None
        )
