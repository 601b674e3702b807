"""The store's configuration, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


class InvalidConfig(ValueError):
    """A setting is missing or unusable; the message names it, its value and what was expected."""


@dataclass(frozen=True)
class Config:
    """Where the store listens and what it points the browser at."""

    collector_url: str
    api_url: str
    catalog: Path
    port: int = 8000

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Config:
        """Reads FRESHET_COLLECTOR_URL, FRESHET_API_URL, FRESHET_CATALOG and PORT (default 8000).

        Raises InvalidConfig for a missing or unusable value.
        """
        return cls(
            collector_url=_url(environ, "FRESHET_COLLECTOR_URL"),
            api_url=_url(environ, "FRESHET_API_URL"),
            catalog=Path(_required(environ, "FRESHET_CATALOG")),
            port=_port(environ.get("PORT", "8000")),
        )


def _required(environ: Mapping[str, str], key: str) -> str:
    value = environ.get(key, "")
    if not value:
        raise InvalidConfig(f"{key}: expected a value, got nothing")
    return value


def _url(environ: Mapping[str, str], key: str) -> str:
    value = _required(environ, key)
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InvalidConfig(f"{key}: expected an http or https URL, got {value!r}")
    return value.rstrip("/")


def _port(value: str) -> int:
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise InvalidConfig(f"PORT: expected a number from 1 to 65535, got {value!r}")
    return int(value)
