"""The token of a user id is what any HMAC-SHA256 says, and nothing else passes for it."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.user_tokens import check_user_token, user_token

KEY = b"sixteen bytes or more"
TOKEN = "83350d4f8719579d7daa12eed60db379a99ebd6a7230741d91b1e846423774b1"
"""`printf u1 | openssl dgst -sha256 -hmac "sixteen bytes or more"`"""


def test_a_token_is_what_openssl_makes_of_the_user_id() -> None:
    assert user_token(KEY, "u1") == TOKEN
    check_user_token(KEY, "u1", TOKEN)


@pytest.mark.parametrize(
    "given", [None, "", TOKEN[:-1], TOKEN.upper(), f"{TOKEN} ", 7, [TOKEN], "é", "\ud83d"]
)
def test_anything_else_is_refused_by_name_and_not_repeated(given: Any) -> None:
    with pytest.raises(InvalidEvent) as raised:
        check_user_token(KEY, "u1", given)
    assert raised.value.field == "user_token" and raised.value.value is None


def test_a_token_of_another_user_or_key_is_refused() -> None:
    for key, user in ((KEY, "u2"), (b"another secret of the shop", "u1")):
        with pytest.raises(InvalidEvent, match="expected the HMAC-SHA256"):
            check_user_token(key, user, TOKEN)
