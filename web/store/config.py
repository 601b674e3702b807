"""The store's configuration, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.runtime.environ import InvalidConfig, port, required


@dataclass(frozen=True)
class Config:
    """Address of the store, and the URLs that it points the browser at."""

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
            catalog=Path(required(environ, "FRESHET_CATALOG")),
            port=port(environ, "PORT", 8000),
        )


def _url(environ: Mapping[str, str], key: str) -> str:
    value = required(environ, key)
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InvalidConfig(f"{key}: expected an http or https URL, got {value!r}")
    return value.rstrip("/")
