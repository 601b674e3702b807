"""The proof that a page may name an account, made by the shop's own server at login.

user_token = lower-case hex of HMAC-SHA256(key, user_id in UTF-8)        RFC 2104, FIPS 180-4
"""

from __future__ import annotations

import hmac


def user_token(key: bytes, user_id: str) -> str:
    """Make the token of a user id, 64 hexadecimal digits.

    Args:
        key: the value of `FRESHET_USER_KEY`, 16 to 64 bytes.
        user_id: as events name it.
    """
    return hmac.digest(key, user_id.encode("utf-8", "surrogatepass"), "sha256").hex()
