"""What a browser says of itself by the headers of its request, as the collector reads them."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

from msgspec.structs import replace

from pipeline.core.context import (
    MAX_ACCEPT_LANGUAGE_LENGTH,
    country_code,
    device_class,
    preferred_language,
)
from pipeline.runtime.headers import Headers
from vertex.api.contract import VisitorRequest

MAX_USER_AGENT_LENGTH = 512

R = TypeVar("R", bound=VisitorRequest)


def in_browsers_context(request: R, headers: Headers, country_header: str | None) -> R:
    """The request with device, language and country of its browser where it does not give them.

    A back end's request stays as it is: the headers are the back end's. A browser is known by
    `Origin`, which it sends with every POST.

    Args:
        country_header: the load balancer's header with the visitor's country; None: not looked at.
    """
    if headers.get("origin") is None:
        return request
    context = request.context
    country = country_code(headers.get(country_header)) if country_header else None
    language = preferred_language(headers.get("accept-language", "")[:MAX_ACCEPT_LANGUAGE_LENGTH])
    return replace(
        request,
        context=replace(
            context,
            country=context.country or country or "",
            device=context.device or _device(headers.get("user-agent", "")[:MAX_USER_AGENT_LENGTH]),
            language=context.language or language or "",
        ),
    )


@lru_cache(maxsize=4096)
def _device(user_agent: str) -> str:
    return device_class(user_agent) if user_agent else ""
