"""Sites of an installation, their write keys, and what each asks of its events."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any

import msgspec

from functions.contract.plan import Plan
from pipeline.core.events import MAX_ID_LENGTH
from pipeline.runtime.environ import InvalidConfig

OPEN_SITE = "default"
MIN_KEY_LENGTH = 8

Key = Annotated[str, msgspec.Meta(min_length=MIN_KEY_LENGTH, max_length=MAX_ID_LENGTH)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Rate = Annotated[float, msgspec.Meta(gt=0)]


class WriteKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A site's keys: `browser` ones are public in its pages, `server` ones are its back ends'
    secrets.
    """

    browser: list[Key] = []
    server: list[Key] = []


class SiteOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One site, as `FRESHET_SITES` has it.

    Attributes:
        write_keys: who may send in its name.
        origins: pages that may send with a browser key; none listed: any page.
        requests_per_s, burst: what one key may send to one instance; None: no limit.
        replay_window_s: a request whose `sent_at` is further from its arrival is rejected; None:
            clocks are repaired however wrong they are.
        plan: the path of a stricter tracking plan, or the plan itself.
    """

    write_keys: WriteKeys
    origins: list[str] = []
    requests_per_s: Rate | None = None
    burst: Annotated[float, msgspec.Meta(ge=1)] | None = None
    replay_window_s: Rate | None = None
    plan: str | dict[str, Any] | None = None


class Site(msgspec.Struct, frozen=True):
    """A request's sender, as the collector knows it.

    `server` says that it is a back end, and no visitor's browser.
    """

    name: str
    server: bool = False
    origins: frozenset[str] = frozenset()
    requests_per_s: float | None = None
    burst: float | None = None
    replay_window_s: float | None = None
    plan: Plan | None = None

    def sender(self, headers: Mapping[bytes, bytes]) -> str:
        """The sender of a request's events: `server`, or `browser` for events that need no secret.

        A back end that passes on browsers' events sends the header `X-Freshet-Sender: browser`.
        """
        passed_on = headers.get(b"x-freshet-sender") == b"browser"
        if self.server and not passed_on:
            return "server"
        return "browser"


class UnknownKey(Exception):
    """The key is missing, or no site's."""


class UnknownSite(Exception):
    """No site has the name."""


class Sites:
    """Every site by its keys.

    Without any, the collector is open: any key or none is the site `default`.
    """

    def __init__(self, options: Mapping[str, SiteOptions]) -> None:
        self._open = None if options else Site(OPEN_SITE)
        # Keys are looked up by a digest under a secret of this process: the time that a look-up
        # takes discloses nothing of them.
        self._secret = secrets.token_bytes(32)
        self._sites: dict[bytes, tuple[bytes, Site]] = {}
        self._by_name: dict[tuple[str, bool], Site] = {}
        self.origins: frozenset[str] = frozenset()
        for name, site in options.items():
            self._add(name, site)

    @staticmethod
    def parse(text: str) -> Sites:
        """The sites of `FRESHET_SITES`, a JSON object of site name to `SiteOptions`; no text is an
        open collector.

        Raises:
            InvalidConfig: naming the place, and what was expected there; without a value, for they
                are secrets.
        """
        if not text:
            return Sites({})
        given = _decoded(text, dict[Name, msgspec.Raw], "FRESHET_SITES")
        if not given:  # `{}` must not open the collector
            expected = "expected at least one site, or nothing at all for an open collector"
            raise InvalidConfig(f"FRESHET_SITES: {expected}")
        options = {
            name: _decoded(raw, SiteOptions, f"FRESHET_SITES: {name}")
            for name, raw in given.items()
        }
        return Sites(options)

    def find(self, key: str | None) -> Site:
        """The site of a key.

        Raises:
            UnknownKey: the key is missing, or no site's.
        """
        if self._open is not None:
            return self._open
        given = (key or "").encode("utf-8", "surrogatepass")
        known, site = self._sites.get(self._digest(given), (b"", None))
        if site is None or not hmac.compare_digest(known, given):
            raise UnknownKey
        return site

    def named(self, name: str, *, server: bool) -> Site:
        """The site of a name, as it is for its back ends' events (`server`) or for its pages'.

        Raises:
            UnknownSite: no site has the name.
        """
        site = self._open or self._by_name.get((name, server))
        if site is None:
            raise UnknownSite
        return site

    @property
    def is_open(self) -> bool:
        """True where anybody may send."""
        return self._open is not None

    def _add(self, name: str, options: SiteOptions) -> None:
        keys = options.write_keys
        if not keys.browser and not keys.server:
            raise InvalidConfig(f"FRESHET_SITES: {name}: expected at least one write key")
        where = f"FRESHET_SITES: {name}: origins"
        browser = Site(
            name=name,
            origins=frozenset(checked_origin(where, origin) for origin in options.origins),
            requests_per_s=options.requests_per_s,
            burst=options.burst,
            replay_window_s=options.replay_window_s,
            plan=_plan(name, options.plan),
        )
        server = msgspec.structs.replace(browser, server=True, origins=frozenset())
        self.origins |= browser.origins
        self._add_keys(browser, keys.browser)
        self._add_keys(server, keys.server)

    def _add_keys(self, site: Site, keys: Sequence[str]) -> None:
        self._by_name[site.name, site.server] = site
        for key in keys:
            digest = self._digest(key.encode())
            if digest in self._sites:
                raise InvalidConfig(f"FRESHET_SITES: {site.name}: a write key of it stands twice")
            self._sites[digest] = (key.encode(), site)

    def _digest(self, key: bytes) -> bytes:
        return blake2b(key, key=self._secret, digest_size=16).digest()


def checked_origin(where: str, text: str) -> str:
    """`scheme://host[:port]` as browsers write it.

    Raises:
        InvalidConfig: naming `where`.
    """
    origin = text.strip().rstrip("/").lower()
    if not _ORIGIN.fullmatch(origin):
        expected = "scheme://host or scheme://host:port, without * in it"
        raise InvalidConfig(f"{where}: expected {expected}, got {text!r}")
    return origin


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^\s/?#*:\[\]]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")


def _plan(name: str, plan: str | dict[str, Any] | None) -> Plan | None:
    try:
        return None if plan is None else Plan.load(plan)
    except InvalidConfig as error:
        raise InvalidConfig(f"FRESHET_SITES: {name}: {error}") from None


def _decoded(text: str | bytes | msgspec.Raw, kind: Any, where: str) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{where}: {error}") from None
