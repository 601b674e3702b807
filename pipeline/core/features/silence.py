"""Silence of a visitor: its length, and the moment at which it will be of a length."""

from __future__ import annotations

from math import ceil

from pipeline.core.profile import UserProfile


def idle_s(profile: UserProfile, now_ms: int) -> float:
    """Seconds since the newest event; 0 without one."""
    if not profile.events_total:
        return 0.0
    return max(now_ms - profile.newest_ms, 0) / 1000


def idle_at_ms(profile: UserProfile, idle: float) -> int | None:
    """The first ms at which `idle_s` is `idle` if no event comes; None: never."""
    if not profile.events_total:
        return None
    return profile.newest_ms + ceil(idle * 1000)


def cart_idle_s(profile: UserProfile, now_ms: int) -> float:
    """Seconds since the newest addition that still lies in the cart; 0 when it is empty."""
    newest_ms = _cart_newest_ms(profile)
    if not newest_ms:
        return 0.0
    return max(now_ms - newest_ms, 0) / 1000


def cart_idle_at_ms(profile: UserProfile, idle: float) -> int | None:
    """The first ms at which `cart_idle_s` is `idle` if no event comes; None: never."""
    newest_ms = _cart_newest_ms(profile)
    if not newest_ms:
        return None
    return newest_ms + ceil(idle * 1000)


def _cart_newest_ms(profile: UserProfile) -> int:
    return max((entry.time_ms for entry in profile.cart.values() if entry.inside), default=0)
