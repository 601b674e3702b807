"""Churn: the chance that a visitor never comes back, from their rhythm and their silence.

With exponential gaps of mean m days and a chance p of leaving after a visit, the posterior after t
silent days is p / (p + (1 - p) exp(-t / m)): the "buy till you die" models' idea (Schmittlein,
Morrison, Colombo, "Counting your customers", Management Science 1987; Fader, Hardie, Lee, Marketing
Science 2005) without their fitting.
"""

from __future__ import annotations

from math import ceil, exp, log

from pipeline.core.decay import DAY_MS
from pipeline.core.profile import UserProfile

CHURN_PRIOR = 0.05
"""The chance that a visit is the last."""
USUAL_GAP_DAYS = 7.0
"""The rhythm of a visitor who came once."""


def visit_gap_days(profile: UserProfile) -> float:
    """Mean days between active days, shrunk to 7 days by one gap of that length."""
    gaps = max(profile.days.count - 1, 0)
    return (profile.days.span + USUAL_GAP_DAYS) / (gaps + 1)


def churn_risk(profile: UserProfile, now_ms: int) -> float:
    """The chance that the visitor is gone for good, in [0, 1): grows with silence, the faster the
    denser the rhythm.
    """
    if not profile.events_total:
        return 0.0
    silence = max(now_ms - profile.newest_ms, 0) / DAY_MS
    stays = (1 - CHURN_PRIOR) * exp(-silence / visit_gap_days(profile))
    return CHURN_PRIOR / (CHURN_PRIOR + stays)


def churn_at_ms(profile: UserProfile, risk: float) -> int | None:
    """The first ms at which `churn_risk` is `risk` if no event comes; None: never."""
    if not profile.events_total or risk >= 1:
        return None
    return profile.newest_ms + ceil(_days_until(risk, profile) * DAY_MS)


def _days_until(risk: float, profile: UserProfile) -> float:
    """The silence after which `churn_risk` reaches `risk` (below 1): its inverse."""
    if risk <= CHURN_PRIOR:
        return 0.0
    odds = risk * (1 - CHURN_PRIOR) / (CHURN_PRIOR * (1 - risk))
    return visit_gap_days(profile) * log(odds)
