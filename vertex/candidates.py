"""Candidates: a few hundred items out of all, each with the source that found it first.

A source is a function from the visitor's `Situation` to rows of items, best first, and a line in
`SOURCES`, or in `KIND_SOURCES` where only some kinds of placement use it. Adding one takes just
that: the API serves with it, and training learns among what those of `SOURCES` find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Mask, Rows
from pipeline.core.decay import DAY_MS
from pipeline.core.features.moment import RECENT_SEEDS, Moment
from pipeline.core.item_columns import NO_ROW
from pipeline.core.profile import UserProfile
from pipeline.core.vectors import greatest

MAX_CANDIDATES = 200
MAX_CATEGORIES = 4
NEIGHBOURS = 100
# Context vectors nearer than this are no chance: three standard deviations of the cosine of two in
# 64 dimensions. With a lower bound, or more of them, they take places in which items of the
# visitor's categories do better.
CONTEXT_NEIGHBOURS, LEAST_CONTEXT_COSINE = 50, 0.4

# Texts nearer than this describe the same kind of thing; most of one shop's are at 0.1 to 0.3.
TEXT_NEIGHBOURS, LEAST_TEXT_COSINE = 50, 0.35

# Published at most so long ago.
FRESH_MS = 2 * DAY_MS

NO_ROWS: Rows = np.zeros(0, np.int32)
Allowed = Callable[[Rows], Mask]
"""Says of rows `(n,)` which may be shown."""


class Units(NamedTuple):
    """Items with a vector of some kind: rows `(n,)`, and unit vectors `(n, dim)`."""

    rows: Rows = NO_ROWS
    units: NDArray[np.float32] = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Situation:
    """Inputs of the sources; all of it in memory.

    Attributes:
        moment: the visitor, pending events folded in, and the items in memory.
        contexts: the items' context vectors, which need no training.
        texts: the text vectors of the items that are new.
        encoded: rows of those whose text vectors came since `texts` were put together.
        trending: what is trending overall, best first.
        trending_in: the same by category, for the visitor's categories.
        popular, shelves: items in stock, of all and by category, most viewed first.
        arrivals: items in stock, those that came last first.
    """

    moment: Moment
    contexts: Units = field(default_factory=Units)
    texts: Units = field(default_factory=Units)
    encoded: Rows = field(default_factory=lambda: NO_ROWS)
    trending: Rows = field(default_factory=lambda: NO_ROWS)
    trending_in: Mapping[str, Rows] = field(default_factory=dict)
    popular: Rows = field(default_factory=lambda: NO_ROWS)
    shelves: Mapping[str, Rows] = field(default_factory=dict)
    arrivals: Rows = field(default_factory=lambda: NO_ROWS)


class Gathered(NamedTuple):
    """Items that may be shown: rows `(n,)`, and of each the source that found it first."""

    rows: Rows
    sources: list[str]


def covisited(situation: Situation) -> Rows:
    """Items that others touched with the visitor's recent ones: link strength x 2^(-rank / 3),
    summed.
    """
    links = situation.moment.links
    others = links.is_to_another  # the item itself is of the source `recent`
    return _by_sum(links.rows[others], links.weighted[others])


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
    if company is None or len(situation.contexts.rows) == 0:
        return NO_ROWS
    cosines = situation.contexts.units @ company
    return _nearest(situation.contexts.rows, cosines, CONTEXT_NEIGHBOURS, LEAST_CONTEXT_COSINE)


def alike(situation: Situation) -> Rows:
    """Items whose texts are like those of the visitor's last items: new ones before their first
    visitor.
    """
    rows, units = situation.texts
    encoded, moment = situation.encoded, situation.moment
    if len(rows) + len(encoded) == 0 or moment.text_vector is None:
        return NO_ROWS
    cosines = units @ moment.text_vector if len(rows) else np.zeros(0, np.float32)
    of_encoded = moment.items.text.get(encoded) @ moment.text_vector
    return _nearest(
        np.concatenate([encoded, rows]),
        np.concatenate([of_encoded, cosines]),
        TEXT_NEIGHBOURS,
        LEAST_TEXT_COSINE,
    )


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
    rows: Rows = moment.recent_rows[moment.recent_rows != NO_ROW]
    return rows


def bought_with(situation: Situation) -> Rows:
    """Items bought in one session with the visitor's last ones and those in the cart: shares of the
    strongest x 2^(-rank / 3), summed.
    """
    moment = situation.moment
    last = [item_id for item_id, _ in moment.recent[:RECENT_SEEDS]]
    ids = dict.fromkeys([*moment.profile.in_cart(), *last])
    seeds = [seed for seed in map(moment.seeds.get, ids) if seed is not None]
    if not seeds:
        return NO_ROWS
    found = [seed.bought.known(moment.items) for seed in seeds]
    weighted = [shares * 2.0 ** (-rank / 3) for rank, (_, shares) in enumerate(found)]
    return _by_sum(np.concatenate([rows for rows, _ in found]), np.concatenate(weighted))


def bought_again(situation: Situation) -> Rows:
    """Items that the visitor bought, newest first: those that the profile remembers."""
    bought, items = situation.moment.profile.bought(), situation.moment.items
    is_bought = np.isin(items.hash.array[: items.capacity], list(bought))
    rows: Rows = np.flatnonzero(is_bought).astype(np.int32)
    times_ms = [bought[each] for each in items.hash[rows].tolist()]
    return rows[np.argsort(-np.array(times_ms, np.int64), kind="stable")]


def new_arrivals(situation: Situation) -> Rows:
    """Items that came last."""
    return situation.arrivals


def fresh(situation: Situation) -> Rows:
    """Items published lately: those of the visitor's categories in turn, and of all."""
    items, now_ms = situation.moment.items, situation.moment.now_ms
    rows = np.append(situation.encoded, situation.arrivals)
    published_ms = items.published_ms.get(rows)
    new = rows[published_ms > now_ms - FRESH_MS]  # not those whose time is unknown
    if len(new) == 0:
        return NO_ROWS
    names = top_categories(situation.moment.profile)
    return in_turn([*(new[items.category.is_one_of(new, [name])] for name in names), new])


# Source -> (its function, how many it may add in each round). Rounds go on until there are enough
# candidates, so a poor source leaves its place to the others, and none starves.
SOURCES: dict[str, tuple[Callable[[Situation], Rows], int]] = {
    "recent": (recent, 2),
    "covisit": (covisited, 4),
    "embedding": (similar, 2),
    "context": (in_context, 1),
    "category": (in_categories, 2),
    "trending": (trending, 1),
    "content": (alike, 1),
    "fresh": (fresh, 1),
}


# Sources that only some kinds of placement use.
KIND_SOURCES: dict[str, Callable[[Situation], Rows]] = {
    "bought": bought_with,
    "again": bought_again,
    "new": new_arrivals,
}


def source_names() -> tuple[str, ...]:
    """The names of all sources."""
    return (*SOURCES, *KIND_SOURCES)


def gather(
    situation: Situation,
    is_allowed: Allowed,
    limit: int = MAX_CANDIDATES,
    quotas: Mapping[str, int] | None = None,
) -> Gathered:
    """Up to `limit` items that `is_allowed` accepts, each once, in the order found.

    `quotas` names the sources, and how many each may add in each round, in place of `SOURCES`.
    """
    if quotas is None:
        quotas = {name: quota for name, (_, quota) in SOURCES.items()}
    found: dict[int, str] = {}
    by_source = [_source(name)(situation) for name in quotas]
    is_shown = is_allowed(np.concatenate([NO_ROWS, *by_source]))
    ends = np.cumsum([len(rows) for rows in by_source])
    masks = np.split(is_shown, ends[:-1])
    waiting = {
        name: iter(rows[mask].tolist())
        for name, rows, mask in zip(quotas, by_source, masks, strict=True)
    }
    while waiting and len(found) < limit:
        for name, rows_left in list(waiting.items()):
            if len(found) == limit:
                break
            full = min(len(found) + quotas[name], limit)
            for row in rows_left:
                if row not in found:
                    found[row] = name
                    if len(found) == full:
                        break
            else:
                del waiting[name]
    return Gathered(np.fromiter(found, np.int32, len(found)), list(found.values()))


def _source(name: str) -> Callable[[Situation], Rows]:
    if name in SOURCES:
        return SOURCES[name][0]
    return KIND_SOURCES[name]


def _by_sum(rows: Rows, weights: NDArray[np.float64]) -> Rows:
    """The rows, each once, in order of the sum of its weights, greatest first."""
    each, places = np.unique(rows, return_inverse=True)
    sums = np.bincount(places, weights, minlength=len(each))
    return each[np.argsort(-sums, kind="stable")]


def _nearest(rows: Rows, cosines: NDArray[np.float32], n: int, least: float) -> Rows:
    """The `n` of the rows with the greatest cosines, best first, of those that reach `least`."""
    nearest = greatest(cosines, n)
    return rows[nearest[cosines[nearest] >= least]]


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
