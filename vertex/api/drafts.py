"""Candidates of the placements asked for, before they are ranked: what may be shown there."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from pipeline.core.columns import Mask, Rows
from pipeline.core.profile import UserProfile
from pipeline.core.vectors import greatest
from vertex.api.asks import Ask, Asker
from vertex.api.cursor import Hashes
from vertex.api.filters import bound
from vertex.api.items import ITEM_SOFT_S, ItemCache
from vertex.api.placements import POPULAR, Placement, Placements
from vertex.api.policy import EXPLORE_SLOT, Exploration, explore
from vertex.api.rules import pinned
from vertex.api.situations import Situations
from vertex.api.variants import of_other_products
from vertex.candidates import (
    MAX_CANDIDATES,
    Allowed,
    Gathered,
    Situation,
    gather,
    top_categories,
)

_NO_EXPLORATION = Exploration()


@dataclass(frozen=True)
class Draft:
    """Candidates of a slate before they are ranked.

    Attributes:
        placement: by which they were found: that asked for, or its fallback.
        about: the items that the sources start from in place of the visitor's.
        allowed: which items may be shown.
        found: the candidates; the drawn one is the last.
        ids, version: theirs, and of the columns: while the ranker is asked, rows may become those
            of other items.
        exploration: what chance does.
        fallback: why it is not the placement asked for.
    """

    placement: Placement
    about: tuple[str, ...]
    allowed: Allowed
    found: Gathered
    ids: list[str]
    version: int
    exploration: Exploration = _NO_EXPLORATION
    fallback: str = ""


class Drafts:
    """Makes drafts.

    Args:
        placements: by name, for fallbacks.
        items: what is known of items.
        situations: says whether stubs are shown.
        rng: for exploration.
    """

    def __init__(
        self, placements: Placements, items: ItemCache, situations: Situations, rng: Random
    ) -> None:
        self._placements = placements
        self._items = items
        self._situations = situations
        self._random = rng

    def make(
        self, ask: Ask, asker: Asker, about: tuple[str, ...], situation: Situation
    ) -> Draft | None:
        """The candidates for a placement, or for its fallback; None where there are none."""
        draft = self._candidates(ask, ask.placement, asker, about, situation)
        name = ask.placement.fallback
        if draft is not None or name in ("", POPULAR):
            return draft
        fallback = self._placements.find(name)
        return self._candidates(ask, fallback, asker, about, situation, "no candidates")

    def _candidates(
        self,
        ask: Ask,
        placement: Placement,
        asker: Asker,
        about: tuple[str, ...],
        situation: Situation,
        why: str = "",
    ) -> Draft | None:
        kind = placement.kind
        if asker.is_anybody and kind.is_personal:
            return None
        if kind.subject != "visitor" and not about:
            return None
        allowed = self.allowed(ask, placement, asker)
        found = gather(situation, allowed, MAX_CANDIDATES, placement.sources)
        if len(found.rows) < ask.k and "trending" in placement.sources:
            found = self._widened(found, allowed, asker.now_ms)
        found = self._with_pins(found, placement, allowed, asker.now_ms)
        if not len(found.rows):
            return None
        self._items.want_rows(found.rows, ITEM_SOFT_S)
        columns = self._items.columns
        ids = columns.ids(found.rows)
        return Draft(placement, about, allowed, found, ids, columns.version, fallback=why)

    def _widened(self, found: Gathered, allowed: Allowed, now_ms: int) -> Gathered:
        """The candidates, and the most popular of all items that are allowed: a filter may leave
        the sources little.
        """
        popular = self.most_popular(allowed, now_ms)
        return _with(found, popular[~np.isin(popular, found.rows)].tolist(), "popular")

    def most_popular(self, allowed: Allowed, now_ms: int) -> Rows:
        """The most popular of all items that are allowed, best first; looks at every item."""
        items = self._items.columns
        every = items.all_rows()
        every = every[allowed(every)]
        return every[greatest(items.popularity.get(every, 0, now_ms), MAX_CANDIDATES)]

    def _with_pins(
        self, found: Gathered, placement: Placement, allowed: Allowed, now_ms: int
    ) -> Gathered:
        """The candidates with the pinned items that may be shown."""
        ids = pinned(placement.rules, now_ms)
        if not ids:
            return found
        rows = self._items.rows(ids)
        rows = rows[allowed(rows) & ~np.isin(rows, found.rows)]
        return _with(found, rows.tolist(), "pin")

    def allowed(
        self,
        ask: Ask,
        placement: Placement,
        asker: Asker,
        taken: AbstractSet[str] = frozenset(),
    ) -> Allowed:
        """Mask the items that may be shown at this place; those taken stand elsewhere."""
        # What is in the cart is decided on, and what left it was bought or put back: neither asks
        # to be shown.
        hidden = {*ask.exclude, *ask.seeds, *taken}
        hashes = ask.shown
        if "cart" in placement.hide:
            hidden.update(asker.profile.cart)
        if "seen" in placement.hide:
            hidden.update(asker.profile.recent)
        if "bought" in placement.hide:
            hashes = np.append(hashes, np.array(list(asker.profile.bought()), np.uint32))
        filters = self.filters(ask, placement, asker)
        if placement.variants == "one":
            columns = self._items.columns
            filters = [*filters, *of_other_products(columns, columns.rows(ask.seeds))]
        return self._sellable(hidden, hashes, filters, asker.now_ms)

    def filters(self, ask: Ask, placement: Placement, asker: Asker) -> list[Allowed]:
        """The filters that hold for an answer by this placement: its own, that of the placement
        asked for, for which it may stand in, and that of the request.
        """
        expressions = {ask.placement.filter, placement.filter}
        filters = [
            bound(expression, self._items.columns, asker.scalars)
            for expression in expressions
            if expression is not None
        ]
        return filters if ask.accepted is None else [*filters, ask.accepted]

    def _sellable(
        self, hidden: AbstractSet[str], hashes: Hashes, filters: Sequence[Allowed], now_ms: int
    ) -> Allowed:
        """Mask the items not hidden, sellable at `now_ms`, in the catalog if there is one, and
        accepted by all filters.
        """
        columns, stubs = self._items.columns, self._situations.shows_stubs
        hidden_rows = columns.rows(hidden)

        def is_shown(rows: Rows) -> Mask:
            mask = columns.is_sellable(rows, now_ms)
            if not stubs:
                mask &= ~columns.stub.get(rows)
            if len(hidden_rows):
                mask &= ~np.isin(rows, hidden_rows)
            if len(hashes):
                mask &= ~np.isin(columns.hash[rows], hashes)
            return mask

        if not filters:
            return is_shown

        def is_accepted(rows: Rows) -> Mask:
            """The filters first: of all items they leave few."""
            mask = np.ones(len(rows), np.bool_)
            for accepted in filters:
                mask &= accepted(rows)
            mask[mask] = is_shown(rows[mask])
            return mask

        return is_accepted

    def explored(
        self, drafts: Sequence[Draft | None], asks: Sequence[Ask], asker: Asker
    ) -> list[Draft | None]:
        """The drafts with chance's choice: of the allowed items that are no candidates of any, so
        that what chance shows at one place changes no other.
        """
        taken = [draft.found.rows for draft in drafts if draft is not None]
        explored: list[Draft | None] = []
        for draft, ask in zip(drafts, asks, strict=True):
            made = draft
            if draft is not None and min(ask.k, len(draft.ids)) > EXPLORE_SLOT:
                made = self._explore(draft, asker.profile, np.concatenate(taken))
                taken.append(made.found.rows)
            explored.append(made)
        return explored

    def _explore(self, draft: Draft, profile: UserProfile, taken: Rows) -> Draft:
        others: list[Allowed] = []
        if draft.placement.variants == "one":
            others = of_other_products(self._items.columns, draft.found.rows)

        def is_eligible(rows: Rows) -> Mask:
            mask = draft.allowed(rows) & ~np.isin(rows, taken)
            for accepted in others:
                mask &= accepted(rows)
            return mask

        rate = draft.placement.explore
        if rate <= 0.0:
            return draft
        categories = top_categories(profile)
        exploration = explore(self._items.shelves, categories, is_eligible, rate, self._random)
        if exploration.drawn is None:
            return replace(draft, exploration=exploration)
        found = _with(draft.found, [exploration.drawn], "explore")
        ids = self._items.columns.ids(found.rows)
        return replace(draft, found=found, ids=ids, exploration=exploration)


def _with(found: Gathered, rows: Sequence[int], source: str) -> Gathered:
    """The candidates with these rows of one more source, in place of the last where they are
    many.
    """
    kept = max(MAX_CANDIDATES - len(rows), 0)
    joined = np.append(found.rows[:kept], np.array(rows, np.int32))
    return Gathered(joined.astype(np.int32), [*found.sources[:kept], *[source] * len(rows)])
