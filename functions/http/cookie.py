"""An optional first-party cookie that carries the anonymous id, for sites that want one; no other
part needs it.

Set by the collector's answer it lives longer than what Safari leaves of a script's (7 days), if the
collector is served under the site's own domain. It is set only for visitors who agreed to
everything, and taken back from those who do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

from pipeline.core.events import MAX_ID_LENGTH
from pipeline.core.privacy.consent import Consent
from pipeline.runtime.environ import InvalidConfig, choice, whole_number

NAME = "freshet_id"
MAX_AGE_DAYS = 400
"""Browsers cut what is more (draft-ietf-httpbis-rfc6265bis, the Max-Age attribute)."""
MAX_COOKIE_HEADER_LENGTH = 8192

SameSite = Literal["Lax", "None"]
_SAME_SITES: dict[str, SameSite | None] = {"off": None, "lax": "Lax", "none": "None"}
_DOMAIN = re.compile(r"\.?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class CookieOptions:
    """Options of the cookie.

    Attributes:
        name: of letters, digits, `_` and `-`.
        same_site: `Lax` for a collector of the same site as its pages (`events.shop.example` and
            `shop.example`), `None` for one of another site: browsers that block third parties'
            cookies then send none.
        domain: the domain whose hosts all get it; None: only the collector's own.
        max_age_days: 1 to 400.
    """

    name: str = NAME
    same_site: SameSite = "Lax"
    domain: str | None = None
    max_age_days: int = MAX_AGE_DAYS

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> CookieOptions | None:
        """Of `FRESHET_COOKIE` (off, lax or none), `FRESHET_COOKIE_NAME`, `_DOMAIN`, `_DAYS`; None:
        no cookies.

        Raises:
            InvalidConfig: naming the variable, and what was expected of it.
        """
        same_site = choice(environ, "FRESHET_COOKIE", _SAME_SITES, default=None)
        if same_site is None:
            return None
        name = environ.get("FRESHET_COOKIE_NAME") or NAME
        domain = environ.get("FRESHET_COOKIE_DOMAIN") or None
        if not _NAME.fullmatch(name):
            raise InvalidConfig(
                f"FRESHET_COOKIE_NAME: expected 1 to 64 letters, digits, _ or -, got {name!r}"
            )
        if domain is not None and not _DOMAIN.fullmatch(domain):
            raise InvalidConfig(
                f"FRESHET_COOKIE_DOMAIN: expected a domain such as shop.example, got {domain!r}"
            )
        days = whole_number(environ, "FRESHET_COOKIE_DAYS", MAX_AGE_DAYS, 1, MAX_AGE_DAYS)
        return cls(name, same_site, domain, days)


def anonymous_id_from(cookie_header: str | None, name: str = NAME) -> str | None:
    """The anonymous id in a Cookie header, or None; of several the first, of the longest path (RFC
    6265, 5.4).

    A value that is no id, of 1 to 256 printable characters, is no value.
    """
    if not cookie_header or name not in cookie_header:
        return None
    for pair in cookie_header[:MAX_COOKIE_HEADER_LENGTH].split(";"):
        key, separator, value = pair.partition("=")
        if separator and key.strip() == name:
            return _decoded(value.strip().strip('"'))
    return None


def set_cookie(anonymous_id: str, options: CookieOptions, *, secure: bool) -> str:
    """The value of a Set-Cookie header.

    Args:
        anonymous_id: 1 to 256 printable characters; none of them can end the value.
        options: as configured.
        secure: of `is_secure`. Without, `SameSite=None` would be refused by browsers, so it is Lax.

    Raises:
        ValueError: for what is no id.
    """
    if _id(anonymous_id) is None:
        raise ValueError(f"anonymous_id: expected 1 to {MAX_ID_LENGTH} printable characters")
    value = quote(anonymous_id, safe="-._~!*'()")
    return _written(value, options.max_age_days * 86_400, options, secure)


def clear_cookie(options: CookieOptions, *, secure: bool) -> str:
    """The value of a Set-Cookie header that takes the cookie back."""
    return _written("", 0, options, secure)


def cookie_answer(
    anonymous_id: str | None,
    sent_id: str | None,
    consent: Consent,
    options: CookieOptions,
    *,
    secure: bool,
) -> str | None:
    """The Set-Cookie header of an answer, or None.

    A visitor who denies anything gets none, and what the browser sent is taken back; from one who
    agreed it is set anew with every request, so that it lasts from the latest visit on.

    Args:
        anonymous_id: the one that the request's events have, or that was made for them; None: no
            event has one.
        sent_id: of `anonymous_id_from`.
        consent: what all events of the request allow.
    """
    if consent.is_full and anonymous_id is not None:
        return set_cookie(anonymous_id, options, secure=secure)
    if not consent.is_full and sent_id is not None:
        return clear_cookie(options, secure=secure)
    return None


def is_secure(headers: Mapping[str, str]) -> bool:
    """True where the cookie is Secure: always, but for plain http to a loopback host.

    Args:
        headers: lower-case names; the front end says by X-Forwarded-Proto that it was https.
    """
    return (
        headers.get("x-forwarded-proto") == "https"
        or _LOOPBACK.fullmatch(headers.get("host", "")) is None
    )


def _written(value: str, max_age_s: int, options: CookieOptions, secure: bool) -> str:
    parts = [f"{options.name}={value}", "Path=/", f"Max-Age={max_age_s}", "HttpOnly"]
    if options.domain is not None and secure:  # no loopback host is of it
        parts.append(f"Domain={options.domain}")
    if secure:
        parts.append("Secure")
    same_site = options.same_site if secure else "Lax"
    return "; ".join([*parts, f"SameSite={same_site}"])


def _id(text: str) -> str | None:
    if 0 < len(text) <= MAX_ID_LENGTH and text.isprintable():
        return text
    return None


def _decoded(value: str) -> str | None:
    try:
        return _id(unquote(value, errors="strict"))
    except UnicodeDecodeError:
        return None
