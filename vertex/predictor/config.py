"""What the predictor is told, once, by its environment: the AIP_* variables of a Vertex AI custom container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Where to listen, and which model to serve.

    Attributes:
        host: interface to listen on; a container on Vertex AI listens on all.
        port, health_route, predict_route: AIP_HTTP_PORT, AIP_HEALTH_ROUTE, AIP_PREDICT_ROUTE.
        storage_uri: AIP_STORAGE_URI, the folder of one version; None: the latest of `model_dir`.
        model_dir: folder of versions; its LATEST is watched. None: the shipped prior.
    """

    host: str = "127.0.0.1"
    port: int = 8082
    health_route: str = "/healthz"
    predict_route: str = "/predict"
    storage_uri: str | None = None
    model_dir: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.port < 65_536:
            raise ValueError(f"AIP_HTTP_PORT: expected a port of 1 to 65535, got {self.port}")
        for name, route in (("AIP_HEALTH_ROUTE", self.health_route), ("AIP_PREDICT_ROUTE", self.predict_route)):
            if not route.startswith("/"):
                raise ValueError(f"{name}: expected a path that starts with /, got {route!r}")
        if self.health_route == self.predict_route:
            raise ValueError(f"AIP_PREDICT_ROUTE: expected another path than health's, got {self.predict_route!r}")

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> Config:
        """Read the environment; raises `ValueError` naming a variable that is wrong.

        Where AIP_STORAGE_URI is set, Vertex AI runs us: listen on all interfaces of the container.
        """
        storage_uri = environ.get("AIP_STORAGE_URI") or None
        return Config(
            host=environ.get("FRESHET_HOST") or ("0.0.0.0" if storage_uri else "127.0.0.1"),
            port=_port(environ.get("AIP_HTTP_PORT") or "8082"),
            health_route=environ.get("AIP_HEALTH_ROUTE") or "/healthz",
            predict_route=environ.get("AIP_PREDICT_ROUTE") or "/predict",
            storage_uri=storage_uri,
            model_dir=environ.get("FRESHET_MODEL_DIR") or None,
        )


def _port(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"AIP_HTTP_PORT: expected a port number, got {text!r}")
    return int(text)
