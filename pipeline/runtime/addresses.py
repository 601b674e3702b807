"""Client addresses of ASGI requests."""

from __future__ import annotations

from typing import Any

from pipeline.core.privacy.addresses import client_address, parse_address

SENDER_IPV6_BYTES = 8
"""A /64: what one subscriber or one machine is given, each address of which it may use."""
NO_ADDRESS = ""
"""The sender of all requests whose address cannot be parsed."""


def address_of(scope: Any) -> str | None:
    """`client_address` of an ASGI scope."""
    peer = scope.get("client")
    forwarded_for = [
        value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"
    ]
    return client_address(forwarded_for, peer[0] if peer else None)


def sender_of(scope: Any) -> str:
    """Name the client of an ASGI scope for limits: an IPv4 address, a /64 of IPv6, or
    `NO_ADDRESS`."""
    address = parse_address(address_of(scope) or "")
    if address is None:
        return NO_ADDRESS
    return str(address) if address.version == 4 else address.packed[:SENDER_IPV6_BYTES].hex()
