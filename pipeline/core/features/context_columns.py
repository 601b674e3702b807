"""Columns of the ranking matrix that say in which circumstances somebody asks: the same number for
every candidate, for models that split by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from zlib import crc32

from pipeline.core.context import Context, Trait
from pipeline.core.decay import DAY_MS
from pipeline.core.expressions.scalars import trait_text
from pipeline.core.features.ranking_feature import RankingFeature
from pipeline.core.features.ranking_inputs import Candidates

TRAIT_COLUMNS = 4
# The Unix epoch was a Thursday.
_EPOCH_WEEKDAY = 3
_HASHES = 1 << 32


def _is(field: str, *values: str) -> Callable[[Candidates], float]:
    return lambda c: float(getattr(c.context.request, field) in values)


def place_of(text: str) -> float:
    """A text's place in (0, 1] by its hash; 0 for the empty one."""
    return (crc32(text.lower().encode("utf-8", "surrogatepass")) + 1) / _HASHES if text else 0.0


def hour_angle(now_ms: int) -> float:
    """The time of the day in UTC as an angle."""
    return 2 * math.pi * (now_ms % DAY_MS) / DAY_MS


def weekday_angle(now_ms: int) -> float:
    """The time of the week in UTC as an angle, from Monday."""
    days = now_ms / DAY_MS + _EPOCH_WEEKDAY
    return 2 * math.pi * (days % 7) / 7


def trait_sums(context: Context) -> list[float]:
    """The traits in `TRAIT_COLUMNS` numbers, each added to one of them with a sign of its own.

    A text and a boolean count 1 under name and value, a number sign(v) ln(1 + |v|) under its name
    (feature hashing: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning",
    2009).
    """
    sums = [0.0] * TRAIT_COLUMNS
    for name, value in context.traits.items():
        key, size = _hashed(name, value)
        sign = 1.0 if key & 1 else -1.0
        sums[(key >> 1) % TRAIT_COLUMNS] += sign * size
    return sums


def _hashed(name: str, value: Trait) -> tuple[int, float]:
    if isinstance(value, str | bool):
        key, size = trait_text(name, value), 1.0
    else:
        key, size = name, math.copysign(math.log1p(abs(value)), value)
    return crc32(key.encode("utf-8", "surrogatepass")), size


def _trait(at: int) -> Callable[[Candidates], float]:
    return lambda c: trait_sums(c.context.request)[at]


CLOCK_FEATURES = frozenset({"hour_sin", "hour_cos", "weekday_sin", "weekday_cos"})
"""What the moment alone says: there is always one, so their default says nothing."""


def _flag(name: str, meaning: str, column: Callable[[Candidates], float]) -> RankingFeature:
    return RankingFeature(
        name=name,
        meaning=meaning,
        formula="1 or 0",
        unit="",
        range="{0, 1}",
        default=0,
        column=column,
    )


def _number(
    name: str, meaning: str, formula: str, range: str, column: Callable[[Candidates], float]
) -> RankingFeature:
    return RankingFeature(
        name=name,
        meaning=meaning,
        formula=formula,
        unit="",
        range=range,
        default=0,
        column=column,
    )


CONTEXT_FEATURES: tuple[RankingFeature, ...] = (
    _flag("device_mobile", "asked from a phone", _is("device", "mobile")),
    _flag("device_desktop", "asked from a computer", _is("device", "desktop")),
    _flag("from_search", "a search engine led here", _is("referrer_kind", "search")),
    _flag("from_social", "a social network led here", _is("referrer_kind", "social")),
    _flag(
        "from_campaign", "a mail or a campaign led here", _is("referrer_kind", "email", "campaign")
    ),
    _number(
        "country",
        "the visitor's country, for trees",
        "place of its hash (CRC-32), 0: unknown",
        "[0, 1]",
        lambda c: place_of(c.context.request.country),
    ),
    _number(
        "language",
        "the visitor's language without its region, for trees",
        "place of its hash (CRC-32), 0: unknown",
        "[0, 1]",
        lambda c: place_of(c.context.request.language.partition("-")[0]),
    ),
    _number(
        "hour_sin",
        "time of the day, UTC",
        "sin(2 π × h / 24)",
        "[-1, 1]",
        lambda c: math.sin(hour_angle(c.now_ms)),
    ),
    _number(
        "hour_cos",
        "time of the day, UTC",
        "cos(2 π × h / 24)",
        "[-1, 1]",
        lambda c: math.cos(hour_angle(c.now_ms)),
    ),
    _number(
        "weekday_sin",
        "time of the week, UTC",
        "sin(2 π × d / 7), d days since Monday",
        "[-1, 1]",
        lambda c: math.sin(weekday_angle(c.now_ms)),
    ),
    _number(
        "weekday_cos",
        "time of the week, UTC",
        "cos(2 π × d / 7), d days since Monday",
        "[-1, 1]",
        lambda c: math.cos(weekday_angle(c.now_ms)),
    ),
    *(
        _number(
            f"traits_{at + 1}",
            "traits of the visitor that the request or the event gives",
            "feature hashing: sum of ± 1, for a number ± ln(1 + size)",
            "(-∞, ∞)",
            _trait(at),
        )
        for at in range(TRAIT_COLUMNS)
    ),
)
