"""Interests of a visitor: decayed weights of categories, brands, prices and directions, on two
half-lives.
"""

from __future__ import annotations

import math
from math import ldexp

import msgspec
import numpy as np

from pipeline.core.decay import DAY_MS, MINUTE_MS, Vector
from pipeline.core.embedding import DIM

LONG_HALF_LIFE_MS = 7 * DAY_MS
SHORT_HALF_LIFE_MS = 30 * MINUTE_MS
MAX_CATEGORIES = 20
MAX_BRANDS = 16

LONG, SHORT = 0, 1
_FORGOTTEN = -1_000  # half-lives beyond which nothing is left in double precision

_FADED = 2.0**-44  # of the largest: 22 h of the short half-life

# name -> (long-term sum, short-term sum unless it has faded)
Weights = dict[str, tuple[float, ...]]


class Prices(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Decayed moments of what was touched (half-life 7 d): weight, weighted sums of ln(price) and
    its square, deals.
    """

    weight: float = 0.0
    log: float = 0.0
    log_squared: float = 0.0
    deals: float = 0.0


class Taste(msgspec.Struct, array_like=True, gc=False):
    """Forward-decayed interest (see `decay.DecayedSums`); every sum is kept on 7 d and 30 min, with
    one landmark each.

    `long` and `short` count half-lives since the Unix epoch. `vectors` holds `(2, DIM)` float64:
    the decayed sums of the vectors of what was touched, the long-term and the session embedding. A
    short-term sum that has faded to nothing beside the largest is left out. Categories beyond the
    heaviest 20 and brands beyond the heaviest 16 are dropped when stored: up to there nothing
    depends on order; a dropped one starts again from zero.
    """

    long: int = 0
    short: int = 0
    categories: Weights = {}
    brands: Weights = {}
    prices: Prices = Prices()
    vectors: bytes = b""

    def add(
        self,
        category: str,
        brand: str,
        price: float,
        deal: bool,
        vector: Vector | None,
        weight: float,
        time_ms: int,
    ) -> None:
        """Add one touch of `weight` (in product views) at `time_ms`; empty texts and a price of 0
        are unknown.
        """
        long, short = time_ms // LONG_HALF_LIFE_MS, time_ms // SHORT_HALF_LIFE_MS
        if long > self.long or short > self.short:
            self._move(max(long, self.long), max(short, self.short))
        lasting = weight * 2.0 ** max(
            (time_ms - self.long * LONG_HALF_LIFE_MS) / LONG_HALF_LIFE_MS, _FORGOTTEN
        )
        passing = weight * 2.0 ** max(
            (time_ms - self.short * SHORT_HALF_LIFE_MS) / SHORT_HALF_LIFE_MS, _FORGOTTEN
        )
        if category:
            self.categories[category] = _plus(self.categories.get(category), lasting, passing)
        if brand:
            self.brands[brand] = _plus(self.brands.get(brand), lasting, passing)
        if price > 0:
            self.prices = _priced(self.prices, price, deal, lasting)
        if vector is not None:
            added = np.multiply.outer((lasting, passing), vector).ravel()
            self.vectors = (
                np.frombuffer(self.vectors) + added if self.vectors else added
            ).tobytes()

    def merge(self, other: Taste) -> None:
        """Add everything `other` holds."""
        self._move(max(self.long, other.long), max(self.short, other.short))
        moved = Taste(
            other.long, other.short, other.categories, other.brands, other.prices, other.vectors
        )
        moved._move(self.long, self.short)
        for into, weights in ((self.categories, moved.categories), (self.brands, moved.brands)):
            for name, sums in weights.items():
                into[name] = _plus(into.get(name), sums[LONG], _passing(sums))
        a, b = self.prices, moved.prices
        self.prices = Prices(
            a.weight + b.weight, a.log + b.log, a.log_squared + b.log_squared, a.deals + b.deals
        )
        if moved.vectors and self.vectors:
            self.vectors = (np.frombuffer(self.vectors) + np.frombuffer(moved.vectors)).tobytes()
        else:
            self.vectors = self.vectors or moved.vectors

    def category_shares(self, term: int) -> dict[str, float]:
        """Each category's share of the interest on `term` (LONG or SHORT), in [0, 1], the same
        whenever read.
        """
        return _shares(self.categories, term)

    def brand_shares(self, term: int) -> dict[str, float]:
        """Each brand's share of the interest on `term` (LONG or SHORT), in [0, 1]."""
        return _shares(self.brands, term)

    def log_price(self) -> float | None:
        """Decayed mean of ln(price), or None before the first price."""
        return self.prices.log / self.prices.weight if self.prices.weight > 0 else None

    def price_spread(self) -> float:
        """Decayed standard deviation of ln(price), 0 before the second price."""
        mean = self.log_price()
        if mean is None:
            return 0.0
        return float(max(self.prices.log_squared / self.prices.weight - mean * mean, 0.0) ** 0.5)

    def deal_share(self) -> float:
        """Share of the interest in priced items that went to reduced ones, in [0, 1]."""
        return self.prices.deals / self.prices.weight if self.prices.weight > 0 else 0.0

    def embedding(self, term: int) -> Vector | None:
        """The unit vector `(DIM,)` of the interest on `term` (LONG or SHORT), or None before the
        first touch.
        """
        if not self.vectors:
            return None
        vector = np.frombuffer(self.vectors)[term * DIM : (term + 1) * DIM]
        norm = float(np.sqrt(vector @ vector))
        return vector / norm if norm > 0 else None

    def settle(self) -> None:
        """Cut to the heaviest categories and brands (by long-term weight, ties by name)."""
        self.categories = _settled(self.categories, MAX_CATEGORIES)
        self.brands = _settled(self.brands, MAX_BRANDS)

    def _move(self, long: int, short: int) -> None:
        """Move the landmarks: multiplication by powers of two, which adds no rounding."""
        by_long, by_short = max(self.long - long, _FORGOTTEN), max(self.short - short, _FORGOTTEN)
        self.long, self.short = long, short
        if not (by_long or by_short):
            return
        self.categories = _moved(self.categories, by_long, by_short)
        self.brands = _moved(self.brands, by_long, by_short)
        if by_long and self.prices.weight:
            p = self.prices
            self.prices = Prices(
                *(ldexp(sum_, by_long) for sum_ in (p.weight, p.log, p.log_squared, p.deals))
            )
        if self.vectors:
            exponents = np.repeat((by_long, by_short), DIM)
            self.vectors = np.ldexp(np.frombuffer(self.vectors), exponents).tobytes()


def _plus(sums: tuple[float, ...] | None, lasting: float, passing: float) -> tuple[float, ...]:
    if sums is None:
        return lasting, passing
    return sums[LONG] + lasting, _passing(sums) + passing


def _passing(sums: tuple[float, ...]) -> float:
    return sums[SHORT] if len(sums) > 1 else 0.0


def _priced(prices: Prices, price: float, deal: bool, weight: float) -> Prices:
    log = math.log(price)
    return Prices(
        prices.weight + weight,
        prices.log + weight * log,
        prices.log_squared + weight * log * log,
        prices.deals + weight * deal,
    )


def _moved(weights: Weights, by_long: int, by_short: int) -> Weights:
    return {name: tuple(map(ldexp, sums, (by_long, by_short))) for name, sums in weights.items()}


def _shares(weights: Weights, term: int) -> dict[str, float]:
    sums = {name: entry[term] for name, entry in weights.items() if len(entry) > term}
    total = sum(sums.values())
    return {name: value / total for name, value in sums.items()} if total > 0 else {}


def _settled(weights: Weights, limit: int) -> Weights:
    if len(weights) > limit:
        weights = dict(
            sorted(weights.items(), key=lambda entry: (-entry[1][LONG], entry[0]))[:limit]
        )
    passing = [sums[SHORT] for sums in weights.values() if len(sums) > 1]
    if not passing:
        return weights
    least = max(passing) * _FADED
    if min(passing) > least:
        return weights
    return {name: sums if _passing(sums) > least else sums[:1] for name, sums in weights.items()}
