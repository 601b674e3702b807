"""Addresses name their sender, however they are written; hashed, they tell nothing to whoever lacks
the secret.
"""

from __future__ import annotations

import re

import pytest

from pipeline.core.privacy.addresses import address_key, client_address

SECRET = b"a secret of the tests"


def key(address: str | None, secret: bytes = SECRET) -> str:
    found = address_key(address, secret)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.255", "192.0.3.0", False),
        ("2001:db8:1:2::3", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::3", "2001:0DB8:0001:0002:0000:0000:0000:0003", True),
        ("2001:db8:1::", "2001:db8:2::", False),
        ("::ffff:192.0.2.1", "192.0.2.77", True),
        ("::ffff:192.0.2.1", "::ffff:198.51.100.1", False),
        ("32.1.13.184", "2001:db8::", False),  # whose first bytes are those four
    ],
)
def test_a_key_is_of_the_24_bit_network_of_ipv4_and_of_the_48_bit_network_of_ipv6(
    one: str, other: str, same: bool
) -> None:
    assert (key(one) == key(other)) == same


def test_a_key_is_16_hexadecimal_digits() -> None:
    assert all(
        re.fullmatch(r"[0-9a-f]{16}", key(address)) for address in ("192.0.2.1", "2001:db8::1")
    )


def test_another_secret_makes_another_key() -> None:
    assert key("192.0.2.1") == key("192.0.2.1") != key("192.0.2.1", b"the next secret")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "unknown",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.1:",
        "[192.0.2.1",
        "::g",
        "1" * 10_000,
    ],
)
def test_what_is_no_address_has_no_key(text: str | None) -> None:
    assert address_key(text, SECRET) is None


@pytest.mark.parametrize(
    "forwarded_for",
    [
        ["192.0.2.1"],
        ["10.0.0.1, 192.0.2.1"],
        ["203.0.113.9, nonsense ,,192.0.2.1"],
        ["203.0.113.9", "192.0.2.1"],
        ["203.0.113.9", "198.51.100.1,192.0.2.1 "],
    ],
)
def test_the_client_is_the_last_that_was_appended_whatever_the_client_wrote_before_it(
    forwarded_for: list[str],
) -> None:
    assert client_address(forwarded_for, "169.254.1.1") == "192.0.2.1"


def test_without_the_header_the_client_is_the_peer() -> None:
    assert client_address([], "192.0.2.1") == "192.0.2.1"
    assert client_address([], None) is None
