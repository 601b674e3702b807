"""Rates of requests: of a back end by its key, of anybody else by address."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.runtime.addresses import sender_of
from pipeline.runtime.limits import TokenBuckets, buckets_of
from vertex.api.config import Config

KEY_HEADER = b"x-freshet-key"


class Wait(NamedTuple):
    """A sender that asks too much: `field` names what it is known by, `seconds` until its next
    request's turn.
    """

    field: str
    seconds: int


class Rates:
    """Counts requests by sender, for one process.

    Args:
        config: keys, rates, bursts.
        clock_s: a clock that never goes back, in seconds.
    """

    def __init__(self, config: Config, clock_s: Callable[[], float]) -> None:
        self._keys = [key.encode() for key in config.api_keys]
        self._per_key = buckets_of(config.key_requests_per_s, config.key_burst)
        self._per_address = buckets_of(config.address_requests_per_s, config.address_burst)
        self._clock_s = clock_s

    def check(self, scope: Any) -> Wait | None:
        """Count a request; None where it is within the rate.

        Args:
            scope: ASGI's, of a request.
        """
        key = known_key(self._keys, dict(scope["headers"]))
        if key is not None:
            return self._take("key", self._per_key, key)
        return self._take("address", self._per_address, sender_of(scope))

    def _take(self, field: str, buckets: TokenBuckets | None, sender: str) -> Wait | None:
        if buckets is None:
            return None
        wait_s = buckets.take(sender, self._clock_s())
        if wait_s <= 0.0:
            return None
        return Wait(field, math.ceil(wait_s))


def known_key(keys: Sequence[bytes], headers: Mapping[bytes, bytes]) -> str | None:
    """The key of a back end that the headers hold; None where they hold none of `keys`."""
    given = headers.get(KEY_HEADER)
    if given is None:
        return None
    # Each is compared, whichever fits: the time says nothing.
    found = [key.decode() for key in keys if hmac.compare_digest(key, given)]
    return next(iter(found), None)
