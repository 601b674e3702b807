"""A network address as a key that tells senders apart and nothing about them: it leaves the collector only so."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from ipaddress import ip_address
from typing import Any

IPV4_KEPT_BYTES, IPV6_KEPT_BYTES = 3, 6
KEY_CHARACTERS = 16


def client_address(forwarded_for: Sequence[str], peer: str | None) -> str | None:
    """The address that a request came from, as text that nobody has checked; None where nothing is known of it.

    Google's front end, before Cloud Functions and Cloud Run, keeps the `X-Forwarded-For` that a client sends and
    appends the address that it saw itself. So the last entry is the front end's word and all before it the client's,
    who could write another one for every request. Without the header there is no front end, and the peer is the
    client. Behind a load balancer of one's own the last entry is the balancer, the same for everybody: no key is to
    be set there.

    Args:
        forwarded_for: the values of all `X-Forwarded-For` headers, in order.
        peer: the address at the other end of the connection.
    """
    return forwarded_for[-1].rpartition(",")[2].strip() if forwarded_for else peer


def address_of(scope: Any) -> str | None:
    """`client_address` of an ASGI scope."""
    peer = scope.get("client")
    forwarded_for = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return client_address(forwarded_for, peer[0] if peer else None)


def address_key(address: str | None, secret: bytes) -> str | None:
    """16 hexadecimal digits for the network that an address is in; None for what is no address.

    The network is the address's /24 (IPv4) or /48 (IPv6), so that a key stands for no household. It is hashed with
    `secret` (BLAKE2b, RFC 7693): without the secret nobody can try out which of the few millions of networks a key
    is, and with a new one all keys are new. An IPv4 address in IPv6's form (`::ffff:192.0.2.1`) is the IPv4 address.

    Args:
        address: text from anywhere.
        secret: 1 to 64 bytes.
    """
    try:
        network = _network(address or "")
    except ValueError:
        return None
    return blake2b(network, key=secret, digest_size=KEY_CHARACTERS // 2).hexdigest()


def _network(address: str) -> bytes:
    """The first 3 (IPv4) or 6 (IPv6) bytes of an address."""
    found = ip_address(address)
    if found.version == 6:
        mapped = found.ipv4_mapped
        if mapped is None:
            return found.packed[:IPV6_KEPT_BYTES]
        found = mapped
    return found.packed[:IPV4_KEPT_BYTES]
