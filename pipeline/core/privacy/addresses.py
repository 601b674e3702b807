"""Network addresses: parsed, cut to their network in events, hashed where they leave the
collector."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any

IPV4_KEPT_BYTES, IPV6_KEPT_BYTES = 3, 6
KEY_CHARACTERS = 16
MAX_ADDRESS_LENGTH = 64
_MAPPED = bytes(10) + b"\xff\xff"
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")

Address = IPv4Address | IPv6Address


def client_address(forwarded_for: Sequence[str], peer: str | None) -> str | None:
    """The address that a request came from, as text that is not validated; None where it is
    unknown.

    Google's front end, before Cloud Functions and Cloud Run, keeps the `X-Forwarded-For` that a
    client sends and appends the address that it saw itself. So the last entry is the front end's
    word and all before it the client's, who could write another one for every request. Without the
    header there is no front end, and the peer is the client. Behind a load balancer of one's own
    the last entry is the balancer, the same for everybody: no key is to be set there.

    Args:
        forwarded_for: the values of all `X-Forwarded-For` headers, in order.
        peer: the address at the other end of the connection.
    """
    return forwarded_for[-1].rpartition(",")[2].strip() if forwarded_for else peer


def parse_address(text: str) -> Address | None:
    """The address in a text from anywhere; None for what is none.

    Reads `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80` and a zone (`fe80::1%eth0`) as well.
    An IPv4 address in IPv6's form (`::ffff:192.0.2.1`) is the IPv4 address.
    """
    found = _WITH_PORT.fullmatch(text)
    plain = (found[1] or found[2] or "") if found else text
    try:
        address = ip_address(plain)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def address_key(address: str | None, secret: bytes) -> str | None:
    """16 hexadecimal digits for the network that an address is in; None for what is no address.

    The network is the address's /24 (IPv4) or /48 (IPv6), so that a key stands for no household. It
    is hashed with `secret` (BLAKE2b, RFC 7693): without the secret the few millions of networks
    cannot be tried against a key, and with a new one all keys are new.

    Args:
        address: text from anywhere, as `parse_address` reads it.
        secret: 1 to 64 bytes.
    """
    found = parse_address(address or "")
    if found is None:
        return None
    kept = IPV4_KEPT_BYTES if found.version == 4 else IPV6_KEPT_BYTES
    return blake2b(found.packed[:kept], key=secret, digest_size=KEY_CHARACTERS // 2).hexdigest()


def truncated_address(value: Any) -> str | None:
    """The network of an address as text, its /24 (IPv4) or /48 (IPv6): `192.0.2.0`, `2001:db8:1::`.

    An IPv4 address in IPv6's form is the IPv4 address. None for what is no address, port and list
    included.
    """
    if not isinstance(value, str) or len(value) > MAX_ADDRESS_LENGTH:
        return None
    text = value.strip()
    try:
        if ":" not in text:
            return _network(AF_INET, inet_pton(AF_INET, text), IPV4_KEPT_BYTES)
        packed = inet_pton(AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):  # a text with a NUL is a ValueError
        return None
    if packed.startswith(_MAPPED):
        return _network(AF_INET, packed[len(_MAPPED) :], IPV4_KEPT_BYTES)
    return _network(AF_INET6, packed, IPV6_KEPT_BYTES)


def _network(family: int, packed: bytes, kept_bytes: int) -> str:
    return inet_ntop(family, packed[:kept_bytes].ljust(len(packed), b"\0"))
