"""Senders by their headers; most requests of a visitor have the same, so the reading is cached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from functions.enrich.bots import bot_reason
from functions.enrich.context import request_context
from functions.enrich.countries import Countries
from functions.enrich.user_agents import UNREAD, UserAgents
from pipeline.core.privacy.policy import Privacy
from pipeline.core.privacy.signals import Signal
from pipeline.runtime.addresses import address_of
from pipeline.runtime.headers import Headers

MAX_REMEMBERED = 8192
MAX_KEY_BYTES = 1024
_HEADERS = (
    b"user-agent accept-language sec-fetch-mode sec-fetch-site x-forwarded-proto host sec-gpc dnt"
).split()


class SenderFacts(msgspec.Struct, frozen=True):
    """See `context.request_context`, `bots.bot_reason` and `signals.signal_of`."""

    context: dict[str, str]
    bot: str | None
    signal: Signal | None


class Senders:
    """Reads and remembers senders, at most `MAX_REMEMBERED` of them; for one thread.

    Args:
        agents, countries, privacy: see there.
        marks_bots: whether requests of bots are marked.
    """

    def __init__(
        self, agents: UserAgents, countries: Countries, privacy: Privacy, marks_bots: bool
    ) -> None:
        self._agents = agents
        self._countries = countries
        self._privacy = privacy
        self._marks_bots = marks_bots
        self._known: dict[tuple[bytes | None, ...], SenderFacts] = {}

    def of(self, raw: Mapping[bytes, bytes], scope: Any) -> SenderFacts:
        """The sender by these headers (lower-case names) and the address in this ASGI scope."""
        key = tuple(map(raw.get, _HEADERS))
        sender = self._known.get(key)
        if sender is None:
            sender = self._read(key, Headers(raw))
        if not self._countries.looks:
            return sender
        country = self._countries.of(Headers(raw), address_of(scope))
        if country is None:
            return sender
        return SenderFacts(sender.context | {"country": country}, sender.bot, sender.signal)

    def _read(self, key: tuple[bytes | None, ...], headers: Headers) -> SenderFacts:
        agent = headers.get("user-agent")
        sender = SenderFacts(
            request_context(agent, headers.get("accept-language"), None, self._agents),
            bot_reason(agent, headers, self._agents) if self._marks_bots else None,
            self._privacy.signal(headers),
        )
        # An agent that there was no time to parse is parsed another time.
        is_parsed = sender.context.get("user_agent_family") != UNREAD
        if is_parsed and sum(map(len, filter(None, key))) <= MAX_KEY_BYTES:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = sender
        return sender
