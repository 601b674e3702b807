"""Candidates: a few hundred items out of all, each with the source that found it first.

A source is a function from the visitor's `Situation` to item ids, best first, and a line in
`SOURCES`. Adding one takes just that: the API serves with it, and training learns among what it
finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from typing import NamedTuple

import numpy as np

from pipeline.core.features.ranking_inputs import Vector, context_vector, links, session_vector
from pipeline.core.items import ItemStats
from pipeline.core.profile import UserProfile
from pipeline.core.vectors import VectorIndex

MAX_CANDIDATES = 200
MAX_CATEGORIES = 4
NEIGHBOURS = 100
# Context vectors nearer than this are no chance: three standard deviations of the cosine of two in
# 64 dimensions. With a lower bound, or more of them, they take places in which items of the
# visitor's categories do better.
CONTEXT_NEIGHBOURS, LEAST_CONTEXT_COSINE = 50, 0.4


@dataclass(frozen=True)
class Situation:
    """Inputs of the sources; all of it in memory.

    Attributes:
        profile: the visitor's state, pending events folded in.
        now_ms: the time of reading.
        seeds: stats of the visitor's recent items.
        vectors: item vectors.
        contexts: the items' context vectors, which need no training.
        trending: ids of what is trending overall, best first.
        trending_in: the same by category, for the visitor's categories.
        popular, shelves: ids of items in stock, of all and by category, most viewed first.
    """

    profile: UserProfile
    now_ms: int
    seeds: Mapping[str, ItemStats] = field(default_factory=dict)
    vectors: VectorIndex = field(default_factory=VectorIndex.empty)
    contexts: VectorIndex = field(default_factory=VectorIndex.empty)
    trending: Iterable[str] = ()
    trending_in: Mapping[str, Iterable[str]] = field(default_factory=dict)
    popular: Iterable[str] = ()
    shelves: Mapping[str, Iterable[str]] = field(default_factory=dict)


class Candidate(NamedTuple):
    """An item that may be shown, and the source that found it first."""

    item_id: str
    source: str


def covisited(situation: Situation) -> list[str]:
    """Items that others touched with the visitor's recent ones: link strength x 2^(-rank / 3),
    summed.
    """
    found: dict[str, float] = {}
    for link in links(situation.profile, situation.seeds, situation.now_ms):
        weight = link.weight
        for item_id, strength in link.strengths.items():
            found[item_id] = found.get(item_id, 0.0) + weight * strength
    return sorted(found, key=lambda item_id: (-found[item_id], item_id))


def similar(situation: Situation) -> list[str]:
    """Items whose vectors lie nearest to the visitor's session vector."""
    taste: Vector | None = session_vector(situation.profile, situation.vectors, situation.now_ms)
    if taste is None:
        return []
    return [item_id for item_id, _ in situation.vectors.nearest(taste, NEIGHBOURS)]


def in_context(situation: Situation) -> list[str]:
    """Items that are seen with what the visitor's last items are seen with, new ones from their
    first visitors on.
    """
    company = context_vector(situation.profile, situation.seeds, situation.now_ms)
    if company is None:
        return []
    nearest = situation.contexts.nearest(company.astype(np.float32), CONTEXT_NEIGHBOURS)
    return [item_id for item_id, cosine in nearest if cosine >= LEAST_CONTEXT_COSINE]


def in_categories(situation: Situation) -> Iterator[str]:
    """Items of the visitor's categories in turn: what is trending there, then what else is in
    stock.
    """
    names = top_categories(situation.profile)
    queues = [
        chain(situation.trending_in.get(name, ()), situation.shelves.get(name, ()))
        for name in names
    ]
    return (item_id for turn in zip_longest(*queues) for item_id in turn if item_id is not None)


def trending(situation: Situation) -> Iterator[str]:
    """Items trending overall, then those that were viewed most."""
    return chain(situation.trending, situation.popular)


def recent(situation: Situation) -> list[str]:
    """Items that the visitor touched last: shoppers do come back to an item."""
    return [item_id for item_id, _ in situation.profile.recent_items(situation.now_ms)]


# Source -> (its function, how many it may add in each round). Rounds go on until there are enough
# candidates, so a poor source leaves its place to the others, and none starves.
SOURCES: dict[str, tuple[Callable[[Situation], Iterable[str]], int]] = {
    "recent": (recent, 2),
    "covisit": (covisited, 4),
    "embedding": (similar, 2),
    "context": (in_context, 1),
    "category": (in_categories, 2),
    "trending": (trending, 1),
}


def gather(
    situation: Situation, is_allowed: Callable[[str], bool], limit: int = MAX_CANDIDATES
) -> list[Candidate]:
    """Up to `limit` candidates that `is_allowed` accepts, each once, in the order found."""
    found: dict[str, Candidate] = {}
    waiting = {name: iter(source(situation)) for name, (source, _) in SOURCES.items()}
    while waiting and len(found) < limit:
        for name, ids in list(waiting.items()):
            share = min(SOURCES[name][1], limit - len(found))
            for item_id in islice(
                (each for each in ids if each not in found and is_allowed(each)), share
            ):
                found[item_id] = Candidate(item_id, name)
                share -= 1
            if share:
                del waiting[name]
    return list(found.values())


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
