"""Attributes of messages and of dead letters, which go to Pub/Sub beside the events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote_plus

import msgspec

from functions.access.sites import Site
from functions.routes import Route
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.consent import GRANTED, Consent
from pipeline.core.timestamps import format_time

SCHEMA_VERSION = "1"
MAX_TOLD = 256
"""Characters of a field's name and of a reason."""


def event_attributes(
    route: Route,
    site: Site,
    received_at: datetime,
    trace_id: str,
    *,
    sender: str,
    history: bool,
    address: str | None,
) -> dict[str, str]:
    """Of a message of accepted events.

    Args:
        sender: see `Site.sender`.
        address: the key of the visitor's network, where it is known; see `addresses.address_key`.
    """
    attributes = {
        "schema_version": SCHEMA_VERSION,
        "site": site.name,
        "sender": sender,
        "ingest_time": format_time(received_at),
        "trace_id": trace_id,
        "protocol": route.name,
    }
    if history:
        attributes["backfill"] = "1"
    elif address is not None:
        attributes["address"] = address
    return attributes


def dead_letter_attributes(
    route: Route,
    path: str,
    site: Site,
    error: InvalidEvent,
    received_at: datetime,
    consent: Consent = GRANTED,
    *,
    sender: str,
    unproven: bool = False,
) -> dict[str, str]:
    """Of a dead letter: why it is one, and what it takes to send it again.

    Args:
        sender: see `Site.sender`.
        consent: what the visitor agreed to, whether the event, its request or the browser said so.
        unproven: whether a user id that it names lacks its proof.
    """
    attributes = {
        "source": "collector",
        "field": error.field[:MAX_TOLD],
        "reason": error.reason[:MAX_TOLD],
        "received_at": format_time(received_at),
        "protocol": route.name,
        "site": site.name,
        "sender": sender,
    }
    if route.name != "native":
        attributes["path"] = path
    if not consent.is_full:
        attributes["consent"] = msgspec.json.encode(consent).decode()
    if unproven:
        attributes["unproven"] = "user_id"
    return attributes


def keyless(payload: bytes, keys: Iterable[str]) -> bytes:
    """An unreadable payload without the keys in it, plain or as in a query: a server's is a
    secret."""
    for key in keys:
        for written in (key, quote_plus(key, errors="replace")):
            payload = payload.replace(written.encode("utf-8", "surrogatepass"), b"***")
    return payload
