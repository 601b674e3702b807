"""Conversion: the chance that a visitor buys, by a logistic model set by hand.

Like the ranker's prior it needs no training; it fades as the session grows cold.
"""

from __future__ import annotations

from math import exp, log1p

from pipeline.core.features.silence import idle_s
from pipeline.core.profile import UserProfile

CONVERSION_BIAS = -3.9
CONVERSION_HALF_LIFE_S = 1800.0


def conversion_likelihood(profile: UserProfile, now_ms: int) -> float:
    """The chance that the present session ends with a purchase, in [0, 1]; moves with every event.

    logistic(-3.9 + 1.1 [cart not empty] + 0.9 ln(1 + carts) + 0.3 ln(1 + views) + 0.25 ln(1 +
    revisits) + 0.2 ln(1 + dwell min) + 2 conversion rate) x 2^(-idle / 30 min); counts are of the
    session.
    """
    if not profile.events_total:
        return 0.0
    session = profile.session()[1]
    score = (
        CONVERSION_BIAS
        + 1.1 * bool(profile.in_cart())
        + 0.9 * log1p(session.count("add_to_cart"))
        + 0.3 * log1p(session.count("view_product"))
        + 0.25 * log1p(product_revisits(profile))
        + 0.2 * log1p(session.dwell.elapsed_ms / 60_000)
        + 2.0 * conversion_rate(profile)
    )
    warmth: float = 2.0 ** (-idle_s(profile, now_ms) / CONVERSION_HALF_LIFE_S)
    return warmth / (1.0 + exp(-score))


def conversion_rate(profile: UserProfile) -> float:
    """Share of active days with a purchase, smoothed; in (0, 1)."""
    return (profile.purchase_days.count + 0.5) / (profile.days.count + 10.0)


def product_revisits(profile: UserProfile) -> int:
    """Views and plays of items touched before in the newest session.

    A click leads to a view, so views and plays alone count.
    """
    session = profile.session()[1]
    touches = session.count("view_product") + session.count("media_play")
    return max(touches - len(session.items), 0)
