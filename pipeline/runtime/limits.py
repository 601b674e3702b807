"""Rate limits of keys and addresses: token buckets, bounded in number, with the clock as an
argument.
"""

from __future__ import annotations

from collections import OrderedDict

MAX_BUCKETS = 100_000


class TokenBuckets:
    """A bucket a sender: `burst` tokens at most, refilled with `rate_per_s`, one taken for each
    request.

    Of more than `max_buckets` senders the one that was silent for longest is forgotten, and so
    starts full again: an attacker with that many addresses is not to be stopped by counting them.
    The limits hold for one process; with n instances a sender gets up to n times as much.

    Args:
        rate_per_s: tokens a second, above 0.
        burst: tokens that a silent sender has, at least 1.
    """

    def __init__(self, rate_per_s: float, burst: float, max_buckets: int = MAX_BUCKETS) -> None:
        if rate_per_s <= 0 or burst < 1:
            raise ValueError(
                f"expected a rate above 0 and a burst of at least 1, got {rate_per_s} and {burst}"
            )
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._max_buckets = max_buckets
        # sender -> (tokens, when)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, sender: str, now_s: float) -> float:
        """Seconds to wait: 0.0 when a token was there and is taken now.

        `now_s` is any clock that never goes back.
        """
        tokens, then_s = self._buckets.get(sender, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - then_s) * self._rate_per_s)
        wait_s = 0.0
        if tokens >= 1.0:
            tokens -= 1.0
        else:
            wait_s = (1.0 - tokens) / self._rate_per_s
        self._buckets[sender] = (tokens, now_s)
        self._buckets.move_to_end(sender)
        if len(self._buckets) > self._max_buckets:
            self._buckets.popitem(last=False)
        return wait_s

    def __len__(self) -> int:
        return len(self._buckets)


def buckets_of(rate_per_s: float | None, burst: float | None) -> TokenBuckets | None:
    """Buckets of a configured rate, by default with a burst of twice the rate; None without a
    rate."""
    return (
        None if rate_per_s is None else TokenBuckets(rate_per_s, burst or max(2 * rate_per_s, 1.0))
    )
