"""Token buckets: what a sender may do, and that they are bounded."""

from __future__ import annotations

import pytest

from pipeline.runtime.limits import TokenBuckets


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    buckets = TokenBuckets(rate_per_s=2.0, burst=3.0)
    assert [buckets.take("a", 10.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.take("a", 10.4) == pytest.approx(0.1)
    assert buckets.take("a", 10.5) == 0.0


def test_one_sender_does_not_pay_for_another() -> None:
    buckets = TokenBuckets(1.0, 1.0)
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.0) == 1.0


def test_a_long_silence_earns_no_more_than_the_burst() -> None:
    buckets = TokenBuckets(1.0, 2.0)
    buckets.take("a", 0.0)
    assert [buckets.take("a", 1e6) for _ in range(3)] == [0.0, 0.0, 1.0]


def test_of_too_many_senders_the_longest_silent_one_is_forgotten() -> None:
    buckets = TokenBuckets(1.0, 1.0, max_buckets=2)
    for sender in ("a", "b", "a", "c"):
        buckets.take(sender, 0.0)
    assert len(buckets) == 2
    assert buckets.take("a", 0.0) > 0.0
    assert buckets.take("b", 0.0) == 0.0


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.5)])
def test_a_bucket_that_lets_nothing_through_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="expected a rate above 0"):
        TokenBuckets(rate, burst)
