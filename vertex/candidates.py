"""Candidates: a few hundred items out of all, each with the source that found it first.

A source is a function from the visitor's `Situation` to rows of items, best first, and a line in
`SOURCES`. Adding one takes just that: the API serves with it, and training learns among what it
finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Mask, Rows
from pipeline.core.features.moment import Moment
from pipeline.core.profile import UserProfile
from pipeline.core.vectors import greatest

MAX_CANDIDATES = 200
MAX_CATEGORIES = 4
NEIGHBOURS = 100
# Context vectors nearer than this are no chance: three standard deviations of the cosine of two in
# 64 dimensions. With a lower bound, or more of them, they take places in which items of the
# visitor's categories do better.
CONTEXT_NEIGHBOURS, LEAST_CONTEXT_COSINE = 50, 0.4

NO_ROWS: Rows = np.zeros(0, np.int32)
Allowed = Callable[[Rows], Mask]
"""Says of rows `(n,)` which may be shown."""


class Contexts(NamedTuple):
    """Items by their context vectors: rows `(n,)`, and unit vectors `(n, CONTEXT_DIM)`."""

    rows: Rows = NO_ROWS
    units: NDArray[np.float32] = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Situation:
    """Inputs of the sources; all of it in memory.

    Attributes:
        moment: the visitor, pending events folded in, and the items in memory.
        contexts: the items' context vectors, which need no training.
        trending: what is trending overall, best first.
        trending_in: the same by category, for the visitor's categories.
        popular, shelves: items in stock, of all and by category, most viewed first.
    """

    moment: Moment
    contexts: Contexts = field(default_factory=Contexts)
    trending: Rows = field(default_factory=lambda: NO_ROWS)
    trending_in: Mapping[str, Rows] = field(default_factory=dict)
    popular: Rows = field(default_factory=lambda: NO_ROWS)
    shelves: Mapping[str, Rows] = field(default_factory=dict)


class Gathered(NamedTuple):
    """Items that may be shown: rows `(n,)`, and of each the source that found it first."""

    rows: Rows
    sources: list[str]


def covisited(situation: Situation) -> Rows:
    """Items that others touched with the visitor's recent ones: link strength x 2^(-rank / 3),
    summed.
    """
    found = situation.moment.links
    if not found:
        return NO_ROWS
    # each item's first link is the item itself, which is the source `recent`
    linked = np.concatenate([link.rows[1:] for link in found])
    strengths = np.concatenate([link.strengths[1:] * link.weight for link in found])
    rows, places = np.unique(linked, return_inverse=True)
    sums = np.bincount(places, strengths, minlength=len(rows))
    return rows[np.argsort(-sums, kind="stable")]


def similar(situation: Situation) -> Rows:
    """Items whose vectors lie nearest to the visitor's session vector."""
    taste = situation.moment.session_vector
    if taste is None:
        return NO_ROWS
    return situation.moment.items.nearest(taste, NEIGHBOURS)


def in_context(situation: Situation) -> Rows:
    """Items that are seen with what the visitor's last items are seen with, new ones from their
    first visitors on.
    """
    company = situation.moment.context_vector
    rows, units = situation.contexts
    if company is None or len(rows) == 0:
        return NO_ROWS
    cosines = units @ company
    nearest = greatest(cosines, CONTEXT_NEIGHBOURS)
    return rows[nearest[cosines[nearest] >= LEAST_CONTEXT_COSINE]]


def in_categories(situation: Situation) -> Rows:
    """Items of the visitor's categories in turn: what is trending there, then what else is in
    stock.
    """
    queues = [
        np.append(situation.trending_in.get(name, NO_ROWS), situation.shelves.get(name, NO_ROWS))
        for name in top_categories(situation.moment.profile)
    ]
    return in_turn(queues)


def trending(situation: Situation) -> Rows:
    """Items trending overall, then those that were viewed most."""
    return np.append(situation.trending, situation.popular)


def recent(situation: Situation) -> Rows:
    """Items that the visitor touched last: shoppers do come back to an item."""
    moment = situation.moment
    return moment.items.rows(item_id for item_id, _ in moment.recent)


# Source -> (its function, how many it may add in each round). Rounds go on until there are enough
# candidates, so a poor source leaves its place to the others, and none starves.
SOURCES: dict[str, tuple[Callable[[Situation], Rows], int]] = {
    "recent": (recent, 2),
    "covisit": (covisited, 4),
    "embedding": (similar, 2),
    "context": (in_context, 1),
    "category": (in_categories, 2),
    "trending": (trending, 1),
}


def gather(situation: Situation, is_allowed: Allowed, limit: int = MAX_CANDIDATES) -> Gathered:
    """Up to `limit` items that `is_allowed` accepts, each once, in the order found."""
    found: dict[int, str] = {}
    waiting = {}
    for name, (source, _) in SOURCES.items():
        rows = source(situation)
        waiting[name] = iter(rows[is_allowed(rows)].tolist())
    while waiting and len(found) < limit:
        for name, rows_left in list(waiting.items()):
            share = min(SOURCES[name][1], limit - len(found))
            for row in islice((each for each in rows_left if each not in found), share):
                found[row] = name
                share -= 1
            if share:
                del waiting[name]
    return Gathered(np.fromiter(found, np.int32, len(found)), list(found.values()))


def in_turn(queues: list[Rows]) -> Rows:
    """One row of each queue after the other, until all are empty."""
    if not queues:
        return NO_ROWS
    turns = np.concatenate([np.arange(len(queue)) for queue in queues])
    return np.concatenate(queues)[np.argsort(turns, kind="stable")]


def top_categories(profile: UserProfile, n: int = MAX_CATEGORIES) -> list[str]:
    """The visitor's strongest categories, best first (ties by name); the last clicked is among
    them.
    """
    interest = profile.category_interest()
    names = sorted(interest, key=lambda name: (-interest[name], name))[:n]
    last = profile.last_category
    if last and last not in names:
        names[n - 1 :] = [last]
    return names
