"""Click-through of two arms and the lift between them, with intervals that respect the shopper as
the unit.

Shoppers are assigned to arms, not impressions, and one shopper's impressions resemble each other,
so the usual binomial interval is too narrow. Click-through is a ratio of two means over shoppers, R
= mean(Y) / mean(X) with Y clicks and X viewable impressions of one shopper, and by the delta method
(Deng, Knoblich, Lu, "Applying the Delta Method in Metric Analytics", KDD 2018, section 3)

    var(R) = (var(Y) - 2 R cov(X, Y) + R^2 var(X)) / (n mean(X)^2).

The lift R1 / R0 - 1 is taken on the log scale, where it is nearer to normal and cannot fall below
-1:

    log(R1 / R0) +- z sqrt(var(R1) / R1^2 + var(R0) / R0^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Ratio:
    """Click-through of one arm: `value` in [0, 1], its variance, and what it was made of."""

    value: float
    variance: float
    shoppers: int
    clicks: int
    impressions: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the click-through."""
        half = Z95 * math.sqrt(self.variance)
        return (max(0.0, self.value - half), self.value + half)


@dataclass(frozen=True, slots=True)
class Lift:
    """Relative difference of two click-throughs, 0.5 for half as much again, with its 95%
    interval."""

    value: float
    low: float
    high: float


def click_through(clicks: Sequence[int], impressions: Sequence[int]) -> Ratio:
    """Clicks per impression over shoppers; element i of both arguments is shopper i's total in this
    arm.

    Raises:
        ValueError: when the lengths differ, or there are no impressions.
    """
    if len(clicks) != len(impressions):
        raise ValueError(f"impressions: expected {len(clicks)} shoppers, got {len(impressions)}")
    y, x = np.asarray(clicks, dtype=float), np.asarray(impressions, dtype=float)
    if x.sum() <= 0:
        raise ValueError(f"impressions: expected at least one, got {x.sum():.0f}")
    ratio = float(y.sum() / x.sum())
    return Ratio(ratio, _variance(y, x, ratio), len(y), int(y.sum()), int(x.sum()))


def _variance(y: npt.NDArray[np.float64], x: npt.NDArray[np.float64], ratio: float) -> float:
    """Delta-method variance of mean(y) / mean(x); infinite below two shoppers."""
    if len(y) < 2:
        return math.inf
    covariance = np.cov(y, x)  # (2, 2)
    spread = covariance[0, 0] - 2 * ratio * covariance[0, 1] + ratio**2 * covariance[1, 1]
    return float(max(spread, 0.0) / (len(y) * x.mean() ** 2))


def lift(treatment: Ratio, control: Ratio) -> Lift | None:
    """treatment / control - 1 with its 95% interval; None where an arm has no click, so no ratio is
    known.
    """
    if treatment.value <= 0 or control.value <= 0:
        return None
    log_ratio = math.log(treatment.value / control.value)
    half = Z95 * math.sqrt(
        treatment.variance / treatment.value**2 + control.variance / control.value**2
    )
    return Lift(math.expm1(log_ratio), math.expm1(log_ratio - half), _expm1(log_ratio + half))


def _expm1(exponent: float) -> float:
    return math.expm1(exponent) if exponent < 700 else math.inf


def percentiles(
    values_ms: Sequence[float], *, points: Sequence[int] = (50, 95, 99)
) -> dict[str, float | None]:
    """`{"p50": ..., ...}` in the unit of the values, to 0.1; None for each where there are no
    values.
    """
    if not values_ms:
        return {f"p{point}": None for point in points}
    found = np.percentile(np.asarray(values_ms, dtype=float), list(points))
    return {f"p{point}": round(float(value), 1) for point, value in zip(points, found, strict=True)}
