"""Admission of senders: a site's key, its origins, rates, history; and addresses faster than people
are.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_plus

from functions.access.sites import Site, Sites, UnknownKey, UnknownSite
from functions.http.exchange import Incoming, Refusal
from functions.protocols.contract import Reading
from functions.protocols.native.protocol import KEY_HEADER
from functions.protocols.values import basic_user
from functions.refusals import Refused
from pipeline.runtime.addresses import sender_of
from pipeline.runtime.limits import TokenBuckets, buckets_of

REPLAY_HEADER = b"x-freshet-replay"


def is_replay(headers: Mapping[bytes, bytes]) -> bool:
    """True for an operator's replay of dead letters, which names their site."""
    return REPLAY_HEADER in headers


class Admission:
    """Lets requests in or refuses them.

    Args:
        sites: with their keys, origins and rates.
        clock_s: a clock that never goes back, in seconds.
        backfill_key: the key of history that comes without a server's write key; None: none comes.
        address_requests_per_s, address_burst: of one address; None: no limit.
        bot_requests_per_s: of one address, above which it is no person's; None: no limit.
    """

    def __init__(
        self,
        sites: Sites,
        clock_s: Callable[[], float],
        *,
        backfill_key: str | None,
        address_requests_per_s: float | None,
        address_burst: float | None,
        bot_requests_per_s: float | None,
    ) -> None:
        self._sites = sites
        self._backfill_key = backfill_key
        self._clock_s = clock_s
        self._per_address = buckets_of(address_requests_per_s, address_burst)
        self._per_site: dict[str, TokenBuckets | None] = {}
        self._bot_rate = buckets_of(bot_requests_per_s, None)

    def check_address(self, scope: Any) -> None:
        """Before anything of the body is read.

        Raises:
            Refused: 429.
        """
        if self._per_address is not None:
            _check_rate(self._per_address.take(sender_of(scope), self._clock_s()), "address")

    def site_of(self, reading: Reading, headers: Mapping[bytes, bytes]) -> Site:
        """The site that the request's key belongs to, where its page may send and its rate is kept.

        A replay names its site in place of a key: the operator's backfill key stands for all sites.

        Args:
            headers: with lower-case names.

        Raises:
            Refused: 401, 403 or 429; 400 for a replay of a site that there is not.
        """
        if is_replay(headers):
            return self._replayed_site(headers)
        site = self._sender(reading.write_key, headers)
        if reading.history and not site.server:
            self._check_backfill_key(headers)
        return site

    def site_of_unread(
        self, incoming: Incoming, headers: Mapping[bytes, bytes]
    ) -> tuple[Site, list[str]]:
        """As `site_of`, of a request whose body cannot be read; and all keys of sites that it
        shows.

        Raises:
            Refused: 401 where it shows none; 403 or 429.
        """
        keys: list[str] = []
        if not self._sites.is_open:
            keys += filter(self._is_known, filter(None, presented_keys(incoming)))
        return self._sender(next(iter(keys), None), headers), keys

    def is_too_busy(self, scope: Any) -> bool:
        """True where an address sends more than a person does."""
        buckets = self._bot_rate
        return buckets is not None and buckets.take(sender_of(scope), self._clock_s()) > 0.0

    def _sender(self, key: str | None, headers: Mapping[bytes, bytes]) -> Site:
        try:
            site = self._sites.find(key)
        except UnknownKey:
            raise Refused.because(401, "write_key", "expected the write key of a site") from None
        origin = headers.get(b"origin")
        if site.origins and origin is not None and origin.decode("latin-1") not in site.origins:
            raise Refused.because(403, "origin", "expected a page of one of the site's origins")
        if site.name not in self._per_site:
            self._per_site[site.name] = buckets_of(site.requests_per_s, site.burst)
        buckets = self._per_site[site.name]
        if buckets is not None:
            _check_rate(buckets.take(key or "", self._clock_s()), "write_key")
        return site

    def _replayed_site(self, headers: Mapping[bytes, bytes]) -> Site:
        self._check_backfill_key(headers)
        name = headers[REPLAY_HEADER].decode("latin-1")
        try:
            return self._sites.named(name, server=headers.get(b"x-freshet-sender") == b"server")
        except UnknownSite:
            expected = "expected the name of a site in X-Freshet-Replay"
            raise Refused.because(400, "site", expected) from None

    def _is_known(self, key: str) -> bool:
        try:
            self._sites.find(key)
        except UnknownKey:
            return False
        return True

    def _check_backfill_key(self, headers: Mapping[bytes, bytes]) -> None:
        key, given = self._backfill_key, headers.get(b"x-freshet-backfill-key", b"")
        if key is None or not hmac.compare_digest(given, key.encode()):
            expected = "a server's write key, or the backfill key in X-Freshet-Backfill-Key"
            raise Refused.because(403, "backfill", f"expected {expected}")


def presented_keys(incoming: Incoming) -> list[str | None]:
    """All that may be a write key in a request whose body cannot be read."""
    pairs = incoming.query[:4096].split("&")[:64]
    return [
        incoming.headers.get(KEY_HEADER),
        basic_user(incoming.headers),
        *(unquote_plus(pair.partition("=")[2]) for pair in pairs),
    ]


def _check_rate(wait_s: float, sender: str) -> None:
    if wait_s > 0.0:
        wait = max(1, math.ceil(wait_s))
        refusal = Refusal(429, sender, "expected fewer requests", retry_after_s=wait)
        raise Refused(refusal, {"retry-after": str(wait)})
