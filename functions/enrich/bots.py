"""Bots, by name or by a header that every browser sends and this one did not.

They are marked, and never refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.enrich.user_agents import UserAgents

KNOWN_CRAWLER = "user_agent"
NO_USER_AGENT = "no_user_agent"
NO_BROWSER_SIGNALS = "no_browser_signals"
_LOOPBACK = ("localhost", "127.", "[::1]")


def bot_reason(
    user_agent: str | None, headers: Mapping[str, str], agents: UserAgents
) -> str | None:
    """The reason why a request is a bot's, or None.

    Not to be asked about a back end's requests (a server's write key): those lack all that a
    browser sends.

    Args:
        user_agent: the header's text.
        headers: of the request, lower-case names.
        agents: the parser of user agents.

    Returns:
        `user_agent`: known by name (the package crawler-user-agents, without libraries, see
            `user_agents`).
        `no_user_agent`: names no agent, as no browser and no app does.
        `no_browser_signals`: claims to be a browser and lacks a header that this browser always
            sends: Accept-Language; Chrome since 80 and Firefox since 90 also Sec-Fetch-Mode and
            Sec-Fetch-Site, to https and to loopback addresses only (W3C Fetch Metadata, section 2:
            "potentially trustworthy" URLs). One of the two suffices here.
    """
    if not user_agent:
        return NO_USER_AGENT
    agent = agents.of(user_agent)
    if agent.crawler:
        return KNOWN_CRAWLER
    if agent.browser and not headers.get("accept-language"):
        return NO_BROWSER_SIGNALS
    if agent.fetch_metadata and _lacks_fetch_metadata(headers) and is_trustworthy(headers):
        return NO_BROWSER_SIGNALS
    return None


def event_bot_reason(
    reason: str | None, metadata: Mapping[str, Any], agents: UserAgents
) -> str | None:
    """The same of one event, which may name its visitor's own user agent; before `context.merge`
    drops that.

    Args:
        reason: the request's, of `bot_reason`. That the sender named no agent says nothing about
            such a visitor.
        metadata: the event's.
        agents: as above.
    """
    given = metadata.get("user_agent")
    if not isinstance(given, str) or not given:
        return reason
    if agents.of(given).crawler:
        return KNOWN_CRAWLER
    if reason == NO_USER_AGENT:
        return None
    return reason


def is_trustworthy(headers: Mapping[str, str]) -> bool:
    """True where the browser surely took the collector's address for one that gets `Sec-Fetch-*`.

    The front end says by X-Forwarded-Proto that it was https; a request to a loopback host shows it
    by Host. Where neither is so, it is not known.
    """
    if headers.get("x-forwarded-proto") == "https":
        return True
    return headers.get("host", "").startswith(_LOOPBACK)


def _lacks_fetch_metadata(headers: Mapping[str, str]) -> bool:
    return not headers.get("sec-fetch-mode") and not headers.get("sec-fetch-site")
