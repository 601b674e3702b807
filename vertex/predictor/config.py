"""The predictor's configuration, read once at start from the AIP_* variables of a Vertex AI custom
container.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.runtime.environ import InvalidConfig, port


@dataclass(frozen=True)
class Config:
    """Configuration of one predictor process.

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

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Config:
        """Read the environment.

        Where AIP_STORAGE_URI is set, Vertex AI runs us: listen on all interfaces of the container.

        Raises:
            InvalidConfig: naming the variable, its value and what was expected.
        """
        storage_uri = environ.get("AIP_STORAGE_URI") or None
        health_route = _route(environ, "AIP_HEALTH_ROUTE", "/healthz")
        predict_route = _route(environ, "AIP_PREDICT_ROUTE", "/predict")
        if health_route == predict_route:
            raise InvalidConfig(
                f"AIP_PREDICT_ROUTE: expected another path than health's, got {predict_route!r}"
            )
        return cls(
            host=environ.get("FRESHET_HOST") or ("0.0.0.0" if storage_uri else "127.0.0.1"),
            port=port(environ, "AIP_HTTP_PORT", 8082),
            health_route=health_route,
            predict_route=predict_route,
            storage_uri=storage_uri,
            model_dir=environ.get("FRESHET_MODEL_DIR") or None,
        )


def _route(environ: Mapping[str, str], name: str, default: str) -> str:
    route = environ.get(name) or default
    if not route.startswith("/"):
        raise InvalidConfig(f"{name}: expected a path that starts with /, got {route!r}")
    return route
