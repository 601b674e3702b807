"""`POST /v1/rank`: a list that the caller brings, a search result or an editor's pick, in the order
of one visitor.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Rows
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.moment import RECENT_SEEDS, Moment
from pipeline.core.features.ranking_inputs import RankingContext
from pipeline.core.item_columns import NO_ROW
from pipeline.core.privacy.signals import Signal
from pipeline.core.profile import UserProfile
from vertex.api.breaker import Unavailable
from vertex.api.contract import RankRequest, moment_ms
from vertex.api.deadline import Deadline
from vertex.api.items import ITEM_SOFT_S, SEED_HARD_S, SEED_SOFT_S, ItemCache
from vertex.api.placements import Placement
from vertex.api.ranking import Ranker, margins_of, score_parts
from vertex.api.tally import Tally
from vertex.api.timing import StageTimer
from vertex.api.trials import TriedPlacements
from vertex.api.visitor import Visitor, Visitors
from vertex.models.registry import Model

log = logging.getLogger(__name__)

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Brought:
    """The caller's list: `n` ids, each once, and the caller's part of their scores `(n,)`."""

    ids: list[str]
    caller: Numbers

    def only(self, is_kept: NDArray[np.bool_]) -> Brought:
        """Those of the mask `(n,)`."""
        kept = [self.ids[place] for place in np.flatnonzero(is_kept)]
        return Brought(kept, self.caller[is_kept])


@dataclass(frozen=True)
class Scored:
    """The weighted terms of scores `(n, p)` and their `p` names; what computed them, and why
    nothing better did, if so.
    """

    names: Sequence[str]
    terms: Numbers
    served_by: str
    model_version: str
    fallback: str = ""


class ListRanker:
    """Orders lists; holds no state of its own.

    Args:
        placements: the weights of each page, and the experiments on them.
        visitors: finds who asks.
        items: what is known of items.
        ranker: click probabilities.
        model: the in-process model of the moment, for its vectors.
        now: wall clock, ms since the Unix epoch.
        tally: counts what served the answers.
    """

    def __init__(
        self,
        placements: TriedPlacements,
        visitors: Visitors,
        items: ItemCache,
        ranker: Ranker,
        model: Callable[[], Model],
        now: Callable[[], int],
        tally: Tally,
    ) -> None:
        self._placements = placements
        self._visitors = visitors
        self._items = items
        self._ranker = ranker
        self._model = model
        self._now = now
        self._tally = tally

    async def answer(
        self, request: RankRequest, watch: StageTimer, signal: Signal | None = None
    ) -> dict[str, Any]:
        """The response body: every id of the list once. Never fails for want of Bigtable or Vertex.

        Items that can be sold now come first, by score, then the others, by score, then unknown
        ones as the caller has them; equal scores keep the caller's order. `signal` is what the
        browser says for its visitor.
        """
        deadline = Deadline.to_begin(request.deadline_ms, watch)
        now_ms = moment_ms(request.as_of, self._now)
        request_id = uuid.uuid4().hex
        visitor = await self._visitors.who_asks(request, now_ms, request_id, signal, deadline)
        watch.lap("profile")
        request, assigned = self._placements.tried(request, visitor, [request.placement])
        placement = self._placements.find(request.placement, assigned)
        brought = brought_by(request)
        await self._fetch(brought.ids, visitor, deadline)
        watch.lap("items")
        known = brought.only(self._rows(brought.ids) != NO_ROW)
        scored = await self._scored(request, placement, visitor, known, deadline, watch)
        self._tally.count(scored.served_by, scored.fallback)
        return {
            "request_id": request_id,
            **self._ordered(request, brought, known, scored, visitor.now_ms),
            "served_by": scored.served_by,
            "variant": "popular" if visitor.is_nobody else request.variant,
            "model_version": scored.model_version,
            "events_ignored": visitor.ignored,
            "events_withheld": visitor.withheld,
            **self._placements.described(assigned),
            "took_ms": round(watch.total_ms, 2),
        }

    async def _fetch(self, ids: Sequence[str], visitor: Visitor, deadline: Deadline) -> None:
        """Read what memory lacks: items of the list, and what the visitor's last ones lead to."""
        seeds = _recent(visitor.profile, visitor.now_ms)
        reads = [
            deadline.within(self._items.find(ids)),
            deadline.within(self._items.ensure(seeds, SEED_SOFT_S, SEED_HARD_S)),
        ]
        for error in await asyncio.gather(*reads, return_exceptions=True):
            if isinstance(error, Unavailable):
                log.debug("items stay as they are: %s", error)
            elif error is not None:
                raise error

    async def _scored(
        self,
        request: RankRequest,
        placement: Placement,
        visitor: Visitor,
        known: Brought,
        deadline: Deadline,
        watch: StageTimer,
    ) -> Scored:
        """The scores for the visitor; by popularity where the answer is that for everybody."""
        version = self._model().version
        if not known.ids:
            return Scored(("caller",), known.caller[:, None], "caller", version)
        rows = self._rows(known.ids)
        self._items.want_rows(rows, ITEM_SOFT_S)
        if visitor.is_nobody or visitor.unread or request.variant == "popular":
            terms = np.column_stack([self._popularity(rows, visitor.now_ms), known.caller])
            return Scored(("popularity", "caller"), terms, "trending", version, visitor.unread)
        self._items.columns.use_vectors(self._model().vectors)
        seeds = self._items.seeds(_recent(visitor.profile, visitor.now_ms))
        moment = Moment(visitor.profile, self._items.columns, visitor.now_ms, seeds)
        context = RankingContext(
            placement=request.placement,
            product_id=request.product_id,
            priors=self._items.shelves.priors,
            request=request.context,
        )
        matrix = feature_matrix(moment, rows, context)
        watch.lap("features")
        deadline_s = min(placement.deadline_s, deadline.left_s)
        prediction = await self._ranker.predict(matrix, deadline_s)
        watch.lap("ctr")
        parts = score_parts(
            matrix,
            prediction.ctr,
            placement.weights,
            partial(margins_of, self._items.columns, rows),
        )
        return Scored(
            (*parts.names, "caller"),
            np.column_stack([parts.terms, known.caller]),
            prediction.served_by,
            prediction.model_version,
            prediction.fallback,
        )

    def _popularity(self, rows: Rows, now_ms: int) -> Numbers:
        """`(n,)`: the decayed views, as shares of the greatest."""
        views = self._items.columns.popularity.get(rows, 0, now_ms)
        return np.asarray(np.round(views / (views.max(initial=0.0) or 1.0), 6))

    def _ordered(
        self, request: RankRequest, brought: Brought, known: Brought, scored: Scored, now_ms: int
    ) -> dict[str, Any]:
        """The list in its order, and which of it cannot be sold now or is unknown.

        Items may have changed or gone while the ranker was asked.
        """
        rows = self._rows(known.ids)
        is_there = rows != NO_ROW
        is_in_stock = is_there.copy()
        is_in_stock[is_there] = self._items.columns.is_sellable(rows[is_there], now_ms)
        scores = scored.terms.sum(axis=1)
        order = np.lexsort((-scores, ~is_in_stock))
        order = order[is_there[order]]
        ranked = [known.ids[place] for place in order]
        found = set(ranked)
        unknown = [item_id for item_id in brought.ids if item_id not in found]
        answer = {
            "ranked": ranked + unknown,
            "out_of_stock": [known.ids[place] for place in order[~is_in_stock[order]]],
            "unknown": unknown,
        }
        if request.explain:
            answer["explained"] = [
                {
                    "id": known.ids[place],
                    "score": round(float(scores[place]), 6),
                    "parts": dict(zip(scored.names, scored.terms[place].tolist(), strict=True)),
                }
                for place in order
            ]
        return answer

    def _rows(self, ids: Sequence[str]) -> Rows:
        """`(n,)`: the rows of the items, `NO_ROW` for those not in memory."""
        return np.array([self._items.columns.row(item_id) for item_id in ids], np.int32)


def brought_by(request: RankRequest) -> Brought:
    """The list with each id where it is given first, and the caller's part of each score.

    It is `keep` times the caller's score, scaled to [0, 1] within the list, or, without scores, the
    place: from 1 for the first of `n` down to 1 / n.
    """
    places: dict[str, int] = {}
    for place, item_id in enumerate(request.items):
        places.setdefault(item_id, place)
    firsts = np.fromiter(places.values(), np.intp, len(places))
    if request.scores is None:
        prior = 1.0 - firsts / len(request.items)
    else:
        prior = _scaled(np.array(request.scores)[firsts])
    return Brought(list(places), np.round(request.keep * prior, 6))


def _scaled(scores: Numbers) -> Numbers:
    """The scores with the least at 0 and the greatest at 1; all alike are 0."""
    halves = scores / 2.0  # the difference of two floats may be more than a float
    spread = halves.max() - halves.min()
    if spread == 0.0:
        return np.zeros(len(scores))
    return np.asarray((halves - halves.min()) / spread)


def _recent(profile: UserProfile, now_ms: int) -> list[str]:
    return [item_id for item_id, _ in profile.recent_items(now_ms, RECENT_SEEDS)]
