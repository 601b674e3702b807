"""Item vectors that need no training: random indexing, so that a new item has one with its first
visitor.

Every name gets a fixed random direction; what is seen with it is summed. Two things that are seen
with the same things end up in similar directions, for a random projection keeps angles (Johnson and
Lindenstrauss, 1984; with signs: Achlioptas, "Database-friendly random projections", 2003; for
co-occurrence: Kanerva, Kristoferson, Holst, "Random indexing of text samples", 2000). The sums are
linear, so they are order-free, and the space never changes, so that stored vectors never have to be
thrown away.
"""

from __future__ import annotations

from functools import cache, lru_cache
from hashlib import blake2b
from math import sqrt

import numpy as np

from pipeline.core.catalog import department
from pipeline.core.decay import Vector

DIM = 16  # of what a profile holds
CONTEXT_DIM = 64  # of what an item holds: there is room
# What an item's own vector is made of: items of one category and brand are alike before anybody has
# seen them.
_OWN, _CATEGORY, _DEPARTMENT, _BRAND = 1.0, 1.0, 0.5, 0.5


@lru_cache(maxsize=100_000)
def signature(kind: str, name: str, dim: int = DIM) -> Vector:
    """The fixed random direction of a name, `(dim,)` float64: signs over sqrt(dim), so of length 1.

    Do not write into it: the array is shared.
    """
    digest = blake2b(
        f"{kind}:{name}".encode("utf-8", "surrogatepass"), digest_size=dim // 8
    ).digest()
    return np.frombuffer(b"".join(map(_signs(dim).__getitem__, digest)))


@lru_cache(maxsize=100_000)
def item_vector(item_id: str, category: str, brand: str) -> Vector:
    """The content vector of an item, `(DIM,)` float64: itself, its category, department and
    brand."""
    vector: Vector = _OWN * signature("item", item_id) + _kind(category, brand)
    vector.flags.writeable = False
    return vector


@lru_cache(maxsize=10_000)
def _kind(category: str, brand: str) -> Vector:
    """The part of the content vector that items of one category and brand share, `(DIM,)`."""
    vector = np.zeros(DIM)
    if category:
        vector += _CATEGORY * signature("category", category)
        vector += _DEPARTMENT * signature("department", department(category))
    if brand:
        vector += _BRAND * signature("brand", brand)
    return vector


@cache
def _signs(dim: int) -> list[bytes]:
    """For every byte, the signs of its bits over sqrt(dim): 8 little-endian float64 each.

    Joining them takes half the time of an index into an array.
    """
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1)
    return [row.tobytes() for row in (bits * 2.0 - 1.0) / sqrt(dim)]
