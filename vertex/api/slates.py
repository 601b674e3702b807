"""Slates for the placements asked for: what might be shown, how good that is, what if a part is
missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from math import inf
from random import Random

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Rows
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.ranking_inputs import Matrix, RankingContext
from pipeline.core.item_columns import NO_ROW
from vertex.api.asks import Ask, Asker
from vertex.api.drafts import Draft, Drafts
from vertex.api.items import ItemCache
from vertex.api.placements import POPULAR, Placement, Placements
from vertex.api.policy import Exploration
from vertex.api.ranking import Prediction, Ranker, margins_of, parts_of_order, score_parts
from vertex.api.rerank import Ranked, Shown, arrange, arrange_groups, arrange_trending
from vertex.api.rules import Candidates, pinned
from vertex.api.situations import Situations
from vertex.api.timing import StageTimer
from vertex.api.variants import best_variants
from vertex.candidates import Situation
from vertex.models.registry import Model

# Of so many items at the beginning of a row, the click probabilities say where it stands on a page.
ROW_HEAD = 4


@dataclass(frozen=True)
class Slate:
    """The items shown, in order; what ranked them, and from how many candidates; why nothing better
    did, if so; the visitor's item that it is about, if it is about one.
    """

    shown: list[Shown]
    served_by: str
    model_version: str
    candidates: int
    fallback: str = ""
    about: str = ""


@dataclass(frozen=True)
class Ranking:
    """Candidates of all drafts together: rows `(m,)` ascending, features `(m, d)`, and the
    prediction.
    """

    rows: Rows
    matrix: Matrix
    prediction: Prediction

    def places(self, rows: Rows) -> NDArray[np.intp]:
        """The places of those rows `(n,)`."""
        return np.searchsorted(self.rows, rows)


class Slates:
    """Makes slates from what it is given; holds no state of its own but the random generator.

    Args:
        placements: by name, for fallbacks.
        items: what is known of items.
        situations: what the sources look at.
        ranker: click probabilities.
        model: the in-process model of the moment, for its version.
        rng: for exploration.
    """

    def __init__(
        self,
        placements: Placements,
        items: ItemCache,
        situations: Situations,
        ranker: Ranker,
        model: Callable[[], Model],
        rng: Random,
    ) -> None:
        self._placements = placements
        self._items = items
        self._situations = situations
        self._ranker = ranker
        self._model = model
        self._drafts = Drafts(placements, items, situations, rng)

    async def make(self, asks: Sequence[Ask], asker: Asker, watch: StageTimer) -> dict[int, Slate]:
        """A slate for each place in `asks`, those first that the visitor most likely clicks in; no
        item stands in two of them.
        """
        situation = await self._situations.of(asker.profile, asker)
        abouts = self._abouts(asks, asker)
        about_items = await asyncio.gather(*(self._situations.about(ids, asker) for ids in abouts))
        watch.lap("items")
        drafts = [
            self._drafts.make(ask, asker, ids, around or situation)
            for ask, ids, around in zip(asks, abouts, about_items, strict=True)
        ]
        drafts = self._drafts.explored(drafts, asks, asker)
        watch.lap("candidates")
        ranking = await self._rank(drafts, asks, asker, situation, watch)
        slates: dict[int, Slate] = {}
        taken: set[str] = set()
        for place in self._best_first(drafts, ranking):
            slate = await self._slate(asks[place], drafts[place], asker, ranking, taken)
            taken.update(shown.id for shown in slate.shown)
            slates[place] = slate
        return slates

    def _abouts(self, asks: Sequence[Ask], asker: Asker) -> list[tuple[str, ...]]:
        """The items that each placement is about, none for one that is about the visitor; rows
        about the visitor's last items are about one each.
        """
        recent = asker.profile.recent_items(asker.now_ms)
        last = iter([item_id for item_id, _ in recent if item_id in self._items.columns])
        cart = tuple(asker.profile.in_cart())
        found: list[tuple[str, ...]] = []
        for ask in asks:
            subject = ask.placement.kind.subject
            of_last = (next(last, ""),) if subject == "last" else ()
            found.append({"page": ask.seeds, "cart": cart, "last": of_last}.get(subject, ()))
        return [tuple(filter(None, ids)) for ids in found]

    async def _rank(
        self,
        drafts: Sequence[Draft | None],
        asks: Sequence[Ask],
        asker: Asker,
        situation: Situation,
        watch: StageTimer,
    ) -> Ranking | None:
        """Ask once about the candidates of all drafts; None where none of them goes by score and
        there is one slate alone.
        """
        made = [draft for draft in drafts if draft is not None]
        if len(asks) == 1:
            made = [draft for draft in made if draft.placement.kind.order == "score"]
        if not made:
            return None
        rows = np.unique(np.concatenate([draft.found.rows for draft in made]))
        context = RankingContext(
            placement=asks[0].placement.name,
            product_id=asks[0].product_id,
            priors=self._items.shelves.priors,
            request=asker.context,
        )
        matrix = feature_matrix(situation.moment, rows, context)
        watch.lap("features")
        deadline_s = min(asker.deadline.left_s, *(draft.placement.deadline_s for draft in made))
        prediction = await self._ranker.predict(matrix, deadline_s)
        watch.lap("ctr")
        return Ranking(rows, matrix, prediction)

    def _best_first(self, drafts: Sequence[Draft | None], ranking: Ranking | None) -> list[int]:
        """The places of the drafts, that with the likeliest clicks at its beginning first; those
        without candidates last.
        """
        worth = [self._worth(draft, ranking) for draft in drafts]
        return sorted(range(len(drafts)), key=lambda place: -worth[place])

    def _worth(self, draft: Draft | None, ranking: Ranking | None) -> float:
        if draft is None or ranking is None:
            return -1.0
        ctr = ranking.prediction.ctr[ranking.places(draft.found.rows)]
        if draft.placement.kind.order == "score":
            ctr = -np.sort(-ctr)
        return float(ctr[:ROW_HEAD].mean())

    async def _slate(
        self,
        ask: Ask,
        draft: Draft | None,
        asker: Asker,
        ranking: Ranking | None,
        taken: AbstractSet[str],
    ) -> Slate:
        if draft is not None:
            slate = self._arranged(ask, draft, asker, ranking, taken)
            if slate.shown:
                return slate
        why = asker.unread
        if not asker.is_anybody:
            why = "no candidates"
        if self._ends_popular(ask.placement):
            return await self._popular(ask, asker, taken, why)
        return Slate([], "sources", self._model().version, 0, why)

    def _ends_popular(self, placement: Placement) -> bool:
        """True where what is popular stands in for a placement, or for its fallback."""
        name = placement.fallback
        if name not in ("", POPULAR):
            name = self._placements.find(name).fallback
        return name == POPULAR

    def _arranged(
        self,
        ask: Ask,
        draft: Draft,
        asker: Asker,
        ranking: Ranking | None,
        taken: AbstractSet[str],
    ) -> Slate:
        kind = draft.placement.kind
        ranked = self._ranked(draft, asker, ranking, taken)
        if kind.group:
            shown = arrange_groups(ranked, draft.placement, ask.k)
        else:
            exploration = draft.exploration
            if exploration.drawn is not None and ranked.ids[-1:] != draft.ids[-1:]:
                exploration = Exploration()  # it has gone meanwhile
            shown = arrange(ranked, draft.placement, ask.k, exploration, ask.explain)
        about = draft.about[0] if kind.subject == "last" else ""
        if kind.order == "source" or ranking is None:
            version = self._model().version
            return Slate(shown, "sources", version, len(draft.ids), draft.fallback, about)
        prediction = ranking.prediction
        return Slate(
            shown,
            prediction.served_by,
            prediction.model_version,
            len(draft.ids),
            draft.fallback or prediction.fallback,
            about,
        )

    def _ranked(
        self,
        draft: Draft,
        asker: Asker,
        ranking: Ranking | None,
        taken: AbstractSet[str],
    ) -> Ranked:
        """The draft's candidates with their scores, without those that another slate shows or that
        have gone meanwhile.
        """
        placement, before = draft.placement, draft.found.rows
        matrix = None if ranking is None else ranking.matrix[ranking.places(before)]
        if placement.kind.order == "source" or ranking is None or matrix is None:
            parts = parts_of_order(len(before))
        else:
            ctr = ranking.prediction.ctr[ranking.places(before)]
            parts = score_parts(
                matrix, ctr, placement.weights, partial(margins_of, self._items.columns, before)
            )
        columns, rows = self._items.columns, before
        kept = np.array([each not in taken for each in draft.ids])
        if columns.version != draft.version:
            rows = np.array([columns.row(item_id) for item_id in draft.ids], np.int32)
            kept &= rows != NO_ROW
            kept[kept] = draft.allowed(rows[kept])
        if placement.variants == "one":
            scores = parts.terms.sum(axis=1)[kept]
            scores[np.isin(rows[kept], columns.rows(pinned(placement.rules, asker.now_ms)))] = inf
            kept[kept] = best_variants(columns.group.get(rows[kept]), scores)
        places = np.flatnonzero(kept)
        return Ranked(
            ids=[draft.ids[place] for place in places],
            sources=[draft.found.sources[place] for place in places],
            parts=parts._replace(terms=parts.terms[places]),
            candidates=Candidates(
                columns, rows[places], asker.profile, asker.now_ms, asker.scalars
            ),
            matrix=None if matrix is None else matrix[places],
        )

    async def _popular(self, ask: Ask, asker: Asker, taken: AbstractSet[str], why: str) -> Slate:
        """Items trending for all, the same for everybody, then those viewed most; from memory if
        need be.
        """
        scope = self._situations.scope_of_all()
        trending = (await self._situations.trends([scope], asker.deadline))[scope]
        allowed = self._drafts.allowed(ask, ask.placement, asker, taken)
        rows = np.append(self._items.rows(trending), self._items.shelves.popular)
        rows = rows[allowed(rows)]
        if len(rows) < ask.k and self._drafts.filters(ask, ask.placement, asker):
            # they leave little of what is popular
            rows = np.append(rows, self._drafts.most_popular(allowed, asker.now_ms))
        _, firsts = np.unique(rows, return_index=True)
        best = rows[np.sort(firsts)]
        if ask.placement.variants == "one":
            in_turn = -np.arange(len(best), dtype=np.float64)
            best = best[best_variants(self._items.columns.group.get(best), in_turn)]
        best = best[: ask.k]
        shown = arrange_trending(self._items.columns.ids(best), trending)
        return Slate(shown, "trending", self._model().version, len(shown), why)
