"""Paths, and the protocol that answers each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from functions.protocols.contract import VendorProtocol
from functions.protocols.registry import PROTOCOLS

OWN_PATHS: Mapping[str, tuple[str, ...]] = {
    "/healthz": ("GET", "HEAD"),
    "/openapi.json": ("GET", "HEAD"),
}


FOREIGN_PATHS: Mapping[str, str] = {
    "/matomo.php": "Matomo",
    "/piwik.php": "Matomo",
    "/ppms.php": "Piwik PRO",
    "/e": "PostHog",
    "/i/v0/e": "PostHog",
    "/capture": "PostHog",
    "/decide": "PostHog",
    "/flags": "PostHog",
    "/b/ss": "Adobe Analytics",
    "/ee": "Adobe Experience Platform",
    "/h": "Heap",
    "/api/track": "Heap",
    "/v3/js": "mParticle",
    "/v2/events": "mParticle",
    "/v2/bulkevents": "mParticle",
    "/event": "Tealium",
    "/vdata/i.gif": "Tealium",
    "/api/event": "Plausible",
    "/api/send": "Umami",
}
"""Trackers whose protocol is not read, by the path, or its beginning, that they send to."""


def foreign_tracker(path: str) -> str | None:
    """The tracker that sends to this path or to one below it, where it is a well-known one."""
    path = path.lower().rstrip("/")
    for known, tracker in FOREIGN_PATHS.items():
        if path == known or path.startswith(f"{known}/"):
            return tracker
    return None


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
