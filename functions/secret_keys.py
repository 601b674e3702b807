"""Secrets of the environment by which ids and addresses are hashed."""

from __future__ import annotations

from collections.abc import Mapping

from functions.invalid import InvalidConfig

MIN_KEY_BYTES, MAX_KEY_BYTES = 16, 64


def secret_key(environ: Mapping[str, str], name: str) -> bytes | None:
    """The secret under a variable's name, 16 to 64 bytes; None where there is none.

    Raises:
        InvalidConfig: naming the variable; without the value.
    """
    secret = environ.get(name, "").strip().encode()
    if secret and not MIN_KEY_BYTES <= len(secret) <= MAX_KEY_BYTES:
        raise InvalidConfig(f"{name}: expected {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, got {len(secret)}")
    return secret or None
