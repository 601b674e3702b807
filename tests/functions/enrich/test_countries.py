"""A country by the load balancer's header or by the table of networks; nothing else of an address
remains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.enrich.countries import Countries
from pipeline.core.context import country_code
from pipeline.runtime.environ import InvalidConfig

GERMANY = {"country": {"iso_code": "DE", "names": {"en": "Germany"}}}
NETWORKS = {
    "192.0.2.0/24": GERMANY,
    "198.51.100.0/25": {"country_code": "fr", "country": "France"},
    "203.0.113.0/24": {"country": "NO"},
    "203.0.112.0/24": {"registered_country": {"iso_code": "SE"}},
    "2001:db8::/32": {"country": {"iso_code": "PT"}},
}


def unsigned(kind: int, value: int) -> bytes:
    """A number as uint16 (kind 5), uint32 (6) or uint64 (9), already encoded."""
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return (bytes([kind << 5 | len(raw)]) if kind < 8 else bytes([len(raw), kind - 7])) + raw


def encoded(value: Any) -> bytes:
    """A value of a MaxMind DB's data section (maxmind.github.io/MaxMind-DB, "Output Data
    Section")."""
    if isinstance(value, str):
        raw = value.encode()
        return (
            bytes([2 << 5 | len(raw)]) + raw
            if len(raw) < 29
            else bytes([2 << 5 | 29, len(raw) - 29]) + raw
        )
    if isinstance(value, int):
        return unsigned(6, value)
    if isinstance(value, bytes):
        return value
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(map(encoded, value))
    return bytes([7 << 5 | len(value)]) + b"".join(
        encoded(k) + encoded(v) for k, v in value.items()
    )


def bits(network: IPv4Network | IPv6Network) -> Iterator[int]:
    """From the root of an IPv6 tree, which has IPv4 below ::/96."""
    width = 128
    prefix = network.prefixlen + (96 if network.version == 4 else 0)
    address = int(network.network_address)
    return (address >> (width - 1 - at) & 1 for at in range(prefix))


def database(networks: Mapping[str, Any]) -> bytes:
    """The smallest MaxMind DB of IPv6 with records of 24 bits."""
    nodes: list[list[int | None]] = [[None, None]]
    offsets: dict[tuple[int, int], int] = {}
    data = b""
    for text, record in networks.items():
        node, path = 0, list(bits(ip_network(text)))
        for bit in path[:-1]:
            if nodes[node][bit] is None:
                nodes.append([None, None])
                nodes[node][bit] = len(nodes) - 1
            node = nodes[node][bit] or 0
        offsets[node, path[-1]] = len(data)
        data += encoded(record)
    count = len(nodes)
    tree = b""
    for index, pair in enumerate(nodes):
        for bit in (0, 1):
            below = pair[bit]
            at = offsets.get((index, bit))
            target = count + 16 + at if at is not None else count if below is None else below
            tree += target.to_bytes(3, "big")
    about = {
        "node_count": unsigned(6, count),
        "record_size": unsigned(5, 24),
        "ip_version": unsigned(5, 6),
        "database_type": "Test-Country",
        "languages": ["en"],
        "binary_format_major_version": unsigned(5, 2),
        "binary_format_minor_version": unsigned(5, 0),
        "build_epoch": unsigned(9, 1_735_689_600),
        "description": {"en": "of a test"},
    }
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encoded(about)


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "countries.mmdb"
    file.write_bytes(database(NETWORKS))
    return str(file)


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("192.0.2.1", "DE"),
        ("192.0.2.255", "DE"),
        ("192.0.3.0", None),
        ("198.51.100.127", "FR"),
        ("198.51.100.128", None),
        ("203.0.113.9", "NO"),
        ("203.0.112.9", None),  # where it is registered is not where it is
        ("2001:db8::1", "PT"),
        ("2001:db9::1", None),
        ("::ffff:192.0.2.1", "DE"),
        (None, None),
        ("", None),
        ("unknown", None),
        ("192.0.2.1:80", None),
        ("1" * 10_000, None),
    ],
)
def test_an_address_has_the_country_of_its_network(
    path: str, address: str | None, country: str | None
) -> None:
    assert Countries(path=path).of({}, address) == country


@pytest.mark.parametrize(
    ("value", "country"),
    [
        ("DE", "DE"),
        ("de", "DE"),
        ("ZZ", None),
        ("XX", None),
        ("xx", None),
        ("T1", None),
        ("DEU", None),
        ("D", None),
        ("", None),
        ("ÄÖ", None),
        (" D", None),
    ],
)
def test_the_header_counts_where_it_is_two_letters_that_are_a_country(
    value: str, country: str | None
) -> None:
    assert Countries(header="CF-IPCountry").of({"cf-ipcountry": value}, "192.0.2.1") == country


def test_the_header_comes_before_the_file_and_the_file_answers_where_it_is_silent(
    path: str,
) -> None:
    countries = Countries("x-client-region", path)
    assert countries.of({"x-client-region": "JP"}, "192.0.2.1") == "JP"
    assert countries.of({"x-client-region": "ZZ"}, "192.0.2.1") == "DE"
    assert countries.of({}, "192.0.2.1") == "DE"


def test_without_a_header_or_a_file_no_country_is_known() -> None:
    assert Countries().of({"cf-ipcountry": "DE", "x-client-region": "DE"}, "192.0.2.1") is None


def test_a_header_that_is_not_the_configured_one_is_not_believed() -> None:
    assert Countries(header="x-client-region").of({"cf-ipcountry": "DE"}, None) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a database",
        database(NETWORKS)[-200:],
        database({"192.0.2.0/24": {"autonomous_system_number": 1}}),
    ],
)
def test_a_file_without_countries_is_refused_at_the_start(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.mmdb"
    file.write_bytes(content)
    with pytest.raises(InvalidConfig, match=r"FRESHET_COUNTRIES_FILE: expected a .*broken\.mmdb"):
        Countries(path=str(file))


def test_a_file_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="FRESHET_COUNTRIES_FILE"):
        Countries(path=str(tmp_path / "missing.mmdb"))


def test_a_directory_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="FRESHET_COUNTRIES_FILE"):
        Countries(path=str(tmp_path))


def test_a_network_whose_record_is_broken_has_no_country(tmp_path: Path) -> None:
    file = tmp_path / "broken.mmdb"
    content = database(
        {"192.0.2.0/24": GERMANY, "198.51.100.0/24": {"country": {"iso_code": "FR"}}}
    )
    at = content.index(b"FR") - 1
    # a map of a length that nothing follows
    file.write_bytes(content[:at] + b"\xff" + content[at + 1 :])
    countries = Countries(path=str(file))
    assert countries.of({}, "198.51.100.1") is None
    assert countries.of({}, "192.0.2.1") == "DE"


@given(st.one_of(st.none(), st.text(max_size=5), st.integers(), st.lists(st.text())))
def test_a_country_is_two_upper_case_letters_or_none(value: Any) -> None:
    code = country_code(value)
    assert code is None or (
        len(code) == 2 and code.isascii() and code.isupper() and code == value.upper()
    )
