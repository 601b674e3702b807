"""Context that the collector adds to events: agent, language and country of the request, campaign
of the page.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any
from urllib.parse import unquote_plus

from functions.enrich.referrers import kind_of, site_of
from functions.enrich.user_agents import UNREAD, Agent, UserAgents
from pipeline.core.context import MAX_ACCEPT_LANGUAGE_LENGTH, preferred_language
from pipeline.core.events import MAX_TEXT_LENGTH

MAX_URL_LENGTH = 8192
MAX_CAMPAIGN_FIELDS = 32
MAX_HOST_LENGTH = 253
CLICK_IDS = "gclid gbraid wbraid dclid fbclid msclkid ttclid twclid li_fat_id".split()
PAGE_VIEW = "page_view"
_NAMES_OF_CAMPAIGN = ("utm_source", "utm_medium", "click_id_kind")

_CAMPAIGN = re.compile(
    rf"[?&](?:(utm_(?:source|medium|campaign|term|content))|({'|'.join(CLICK_IDS)}))"
    rf"=([^&#]{{1,{MAX_URL_LENGTH}}})"
)
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://([^/?#\\]{1,512})")


def request_context(
    user_agent: str | None, accept_language: str | None, country: str | None, agents: UserAgents
) -> dict[str, str]:
    """Facts about a request's sender, under the names of event metadata; unknown ones are left out.

    Args:
        user_agent, accept_language: the headers' texts, any.
        country: of `Countries`.
        agents: the parser of user agents.

    Returns:
        `user_agent_family`, `os_family`, `device_class`, `language`, `country`.
    """
    context: dict[str, str] = {}
    if user_agent:
        context |= _agent_facts(agents.of(user_agent))
    if accept_language:
        language = preferred_language(accept_language[:MAX_ACCEPT_LANGUAGE_LENGTH])
        if language:
            context["language"] = language
    if country:
        context["country"] = country
    return context


def merge(context: dict[str, str], metadata: dict[str, Any], agents: UserAgents) -> None:
    """Add a request's context to an event's metadata, in place; the event's own values stay.

    An event may name its visitor's `user_agent`, as SDKs of back ends and apps do. Agent, system
    and device are then taken from it, and it is dropped: whole, it is a fingerprint. Where that is
    another agent than the request's, the request came from a back end, and its language and country
    are left out as well: they are the back end's.
    """
    given = metadata.pop("user_agent", None)
    if isinstance(given, str) and given:
        context = _of_visitor(context, _agent_facts(agents.of(given)))
    for name, value in context.items():
        if metadata.get(name) is None:
            metadata[name] = value


def enrich_event(metadata: dict[str, Any], event: str = PAGE_VIEW) -> None:
    """Add campaign and kind of referrer by an event's `url` and `referrer`, in place; the event's
    own values stay. It never raises.

    `utm_source`, `utm_medium`, `utm_campaign`, `utm_term` and `utm_content`, each the first that is
    not empty, of at most 256 characters; `click_id_kind`, the name of the first advertiser's click
    id (`CLICK_IDS`) and never its value; `referrer_kind`: `internal` (the same site, see
    `site_of`), `search`, `social`, `email`, `ai` or `other` by the referrer's host. A page view at
    an address without a referrer is `campaign` where its address names one, and `direct` else;
    other events rarely carry the referrer, so that its absence says nothing.

    Args:
        metadata: of one event.
        event: its name.
    """
    url, referrer = metadata.get("url"), metadata.get("referrer")
    url = url[:MAX_URL_LENGTH] if isinstance(url, str) else ""
    start = url.find("?")
    if start >= 0:
        _add_campaign(metadata, url[start:])
    if metadata.get("referrer_kind") is not None:
        return
    if isinstance(referrer, str) and referrer and referrer != "$direct":  # which is Mixpanel's word
        metadata["referrer_kind"] = _referrer_kind(referrer, url)
    elif url and event == PAGE_VIEW:
        is_campaign = any(map(metadata.get, _NAMES_OF_CAMPAIGN))
        metadata["referrer_kind"] = "campaign" if is_campaign else "direct"


def _agent_facts(agent: Agent) -> dict[str, str]:
    return {
        "user_agent_family": agent.family,
        "os_family": agent.os_family,
        "device_class": agent.device_class,
    }


def _of_visitor(context: dict[str, str], agent: dict[str, str]) -> dict[str, str]:
    same = agent["user_agent_family"] != UNREAD and agent.items() <= context.items()
    return context if same else agent


def _add_campaign(metadata: dict[str, Any], query: str) -> None:
    for found in islice(_CAMPAIGN.finditer(query), MAX_CAMPAIGN_FIELDS):
        parameter, click_id, value = found.groups()
        name = parameter or "click_id_kind"
        if metadata.get(name) is None:
            text = click_id or _decoded(value)
            if text:
                metadata[name] = text


def _decoded(value: str) -> str:
    """At most 256 printable characters of a query's value; one character is at most 12 of them
    (`%F0%9F%98%80`).
    """
    text = value[: 12 * MAX_TEXT_LENGTH]
    if "%" in text or "+" in text:
        text = unquote_plus(text)
    if not text.isprintable():
        text = "".join(filter(str.isprintable, text))
    return text.strip()[:MAX_TEXT_LENGTH]


def _referrer_kind(referrer: str, url: str) -> str:
    host = host_of(referrer)
    if not host:
        return "other"
    own = host_of(url)
    if host == own or (own and site_of(host) == site_of(own)):
        return "internal"
    return kind_of(host)


def host_of(url: str) -> str:
    """The lower-case host of an absolute address, or the empty text; of an Android app, its
    package.
    """
    found = _AUTHORITY.match(url)
    if found is None:
        return ""
    host = _without_port(found[1].rpartition("@")[2]).lower().rstrip(".")
    if len(host) > MAX_HOST_LENGTH:
        return ""
    return host


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]
