"""The country that a request comes from: by a load balancer's header or by a table of networks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import maxminddb

from pipeline.core.context import country_code
from pipeline.runtime.environ import InvalidConfig

IPV4_IN_IPV6 = "::ffff:"
_NETWORKS_TRIED = 1000
_UNREADABLE = (
    maxminddb.InvalidDatabaseError,
    ValueError,
    OSError,
    TypeError,
    KeyError,
    RecursionError,
)


class Countries:
    """Countries of requests. An address is looked up, and neither kept nor cached.

    Args:
        header: name of the header that the load balancer overwrites with the country
            (`x-client-region`, `x-appengine-country`, `cf-ipcountry`). Without such a balancer
            every client could write it.
        path: of a file in MaxMind's format, asked where the header says nothing. It is mapped into
            memory: replace it by renaming another one over it, and never write into it.

    Raises:
        InvalidConfig: the file cannot be read, or names no country in its first thousand networks.
    """

    def __init__(self, header: str | None = None, path: str | None = None) -> None:
        self._header = header.strip().lower() if header else None
        self._reader = _opened(path) if path else None
        self.looks = self._header is not None or self._reader is not None
        """True where countries are looked up at all."""

    def of(self, headers: Mapping[str, str], address: str | None) -> str | None:
        """The country's ISO 3166-1 alpha-2 code in upper case, or None.

        Args:
            headers: of the request, lower-case names.
            address: the client's, whole, as unchecked text.
        """
        code = country_code(headers.get(self._header)) if self._header else None
        if code or self._reader is None or not address:
            return code
        return _looked_up(self._reader, address)

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()


def _opened(path: str) -> maxminddb.Reader:
    try:
        reader = maxminddb.open_database(path)
        found = any(_country(record) for _, record in islice(reader, _NETWORKS_TRIED))
    except _UNREADABLE as error:
        expected = f"expected a MaxMind database, got {path!r} ({error})"
        raise InvalidConfig(f"FRESHET_COUNTRIES_FILE: {expected}") from None
    if not found:
        reader.close()
        expected = f"expected a database with countries, got {path!r}"
        raise InvalidConfig(f"FRESHET_COUNTRIES_FILE: {expected}")
    return reader


def _looked_up(reader: maxminddb.Reader, address: str) -> str | None:
    try:
        return _country(reader.get(address.removeprefix(IPV4_IN_IPV6)))
    except _UNREADABLE:
        return None


def _country(record: Any) -> str | None:
    """GeoIP2's and DB-IP's files say `country.iso_code`, others `country_code` or `country`."""
    if not isinstance(record, dict):
        return None
    country = record.get("country")
    code = country.get("iso_code") if isinstance(country, dict) else country
    return country_code(record.get("country_code")) or country_code(code)
