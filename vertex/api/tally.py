"""Counts of answers by how they came about: one log line a minute, for a line for each would be too
many.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

log = logging.getLogger(__name__)

REPORT_S = 60.0
# Reasons come from messages: should they ever hold something that varies, the rest is one.
MAX_REASONS = 20
OTHER = "other"


class Tally:
    """Answers by what served them, and the reasons of those that something better should have
    served.
    """

    def __init__(self) -> None:
        self._served_by: Counter[str] = Counter()
        self._fallbacks: Counter[str] = Counter()

    def count(self, served_by: str, reason: str = "") -> None:
        """One answer; `reason` is empty for one that is as it should be."""
        self._served_by[served_by] += 1
        if reason:
            known = reason in self._fallbacks or len(self._fallbacks) < MAX_REASONS
            self._fallbacks[reason if known else OTHER] += 1

    def report(self) -> None:
        """Log the counts since the last report, if there was any answer."""
        if not self._served_by:
            return
        level = logging.WARNING if self._fallbacks else logging.INFO
        counts = {"served_by": dict(self._served_by), "fallbacks": dict(self._fallbacks)}
        log.log(level, "answers", extra={**counts, "answers": self._served_by.total()})
        self._served_by.clear()
        self._fallbacks.clear()

    async def keep_reporting(self, every_s: float = REPORT_S) -> None:
        """Report every `every_s` seconds, and once more when cancelled."""
        try:
            while True:
                await asyncio.sleep(every_s)
                self.report()
        finally:
            self.report()
