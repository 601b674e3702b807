"""Which protocol answers which path."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple, cast

from functions.protocols import native, pixel
from functions.protocols.contract import VendorProtocol

VENDORS = ("segment", "ga4", "snowplow", "mixpanel", "amplitude")
PROTOCOLS: Mapping[str, VendorProtocol] = {
    "native": native,
    "pixel": pixel,
    **{
        name: cast(VendorProtocol, import_module(f"functions.protocols.{name}"))
        for name in VENDORS
        if find_spec(f"functions.protocols.{name}")
    },
}
"""By the name that a dead letter carries."""

OWN_PATHS: Mapping[str, tuple[str, ...]] = {"/healthz": ("GET", "HEAD"), "/openapi.json": ("GET", "HEAD")}


class Route(NamedTuple):
    """A path's protocol, by name, and its methods."""

    name: str
    protocol: VendorProtocol
    methods: tuple[str, ...]


ROUTES: Mapping[str, Route] = {
    path: Route(name, protocol, methods)
    for name, protocol in PROTOCOLS.items()
    for path, methods in protocol.PATHS.items()
}
