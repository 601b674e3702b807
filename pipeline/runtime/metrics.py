"""Counters and distributions of the pipeline: Beam's, and beside them this process' own, which any
runner keeps.

Dataflow shows Beam's as monitoring metrics. The DirectRunner loses most of them, so the same
figures are summed here and written as one JSON log line a minute.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter as Sums
from collections.abc import Callable
from math import frexp
from typing import Any

from apache_beam.metrics.metric import Metrics

logger = logging.getLogger("pipeline.metrics")

REPORT_EVERY_S = 60.0

_lock = threading.Lock()
_counts: Sums[str] = Sums()
_buckets: dict[str, Sums[int]] = {}


class Counter:
    """A count by step and name; picklable, as a DoFn's attributes must be."""

    def __init__(self, step: str, name: str) -> None:
        self._key = f"{step}/{name}"
        self._beam = Metrics.counter(step, name)

    def inc(self, count: int = 1) -> None:
        """Add `count`."""
        if count:
            self._beam.inc(count)
            with _lock:
                _counts[self._key] += count


class Distribution:
    """A distribution of values of at least 0, to a factor of two."""

    def __init__(self, step: str, name: str) -> None:
        self._key = f"{step}/{name}"
        self._beam = Metrics.distribution(step, name)

    def update(self, value: int) -> None:
        """Add one value."""
        self._beam.update(value)
        with _lock:
            _buckets.setdefault(self._key, Sums())[frexp(max(value, 0))[1]] += 1


def snapshot() -> dict[str, Any]:
    """Every count so far by `step/name`; of distributions, what half and 99 of 100 values stay
    below.
    """
    with _lock:
        found: dict[str, Any] = dict(sorted(_counts.items()))
        for key, buckets in sorted(_buckets.items()):
            found[f"{key}_p50_below"], found[f"{key}_p99_below"] = (
                _below(buckets, 0.5),
                _below(buckets, 0.99),
            )
    return found


def report() -> None:
    """Log one line, JSON as Cloud Logging reads it."""
    logger.info(json.dumps({"severity": "INFO", "message": "pipeline", "metrics": snapshot()}))


class Reporter:
    """Calls `log`, which logs a snapshot, every `every_s` seconds while a `with` block runs, and
    once when it ends.
    """

    def __init__(self, every_s: float = REPORT_EVERY_S, log: Callable[[], None] = report) -> None:
        self._every_s = every_s
        self._log = log
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(timeout=5.0)
        self._log()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            self._log()


def _below(buckets: Sums[int], share: float) -> int:
    """The power of two that `share` of the values stay below."""
    wanted, seen = share * buckets.total(), 0
    for exponent in sorted(buckets):
        seen += buckets[exponent]
        if seen >= wanted:
            return int(2**exponent)
    return 0
