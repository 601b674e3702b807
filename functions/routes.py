"""Which protocol answers which path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from functions.protocols import amplitude, ga4, mixpanel, native, pixel, segment, snowplow
from functions.protocols.contract import VendorProtocol

PROTOCOLS: Mapping[str, VendorProtocol] = {
    "native": native,
    "pixel": pixel,
    "segment": segment,
    "ga4": ga4,
    "snowplow": snowplow,
    "mixpanel": mixpanel,
    "amplitude": amplitude,
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
