"""Priors of items' rates, for items without data of their own, fitted alike by serving and by
training.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core.items import ItemRow, RatePriors, rate_priors


def fitted_priors(rows: Sequence[ItemRow]) -> RatePriors:
    """The priors of all items' rates, read at the time of their newest event.

    Not at the wall clock's: silence says nothing about rates, and a replayed past fits what it
    fitted then.

    Args:
        rows: every item, `n` of them.
    """
    return rate_priors(rows, max((row.stats.newest_ms for row in rows), default=0))
