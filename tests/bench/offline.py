"""The prior's weights judged on a real log, in this process: asked before it learns, as `make
replay` asks.

`python -m tests.bench.offline FILE [name=weight …]` replays a REES46 file through the code that
serves, without emulators, and prints hit rate@20 and MRR@20 of the shipped prior and of one with
the given weights changed, for both halves of the questions: choose on the first half, believe the
second. New items are those that the session had not seen, cold ones those with fewer than 5 events.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.columns import Rows
from pipeline.core.events import Event, parse_event
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.ranking import FEATURE_NAMES, PRIOR_BIAS, PRIOR_WEIGHTS
from pipeline.core.features.ranking_inputs import Matrix, RankingContext
from pipeline.core.items import Trending
from pipeline.core.vectors import VectorIndex
from tests.simulator import catalog
from tests.simulator.evaluation import K, eligible, sample
from tests.simulator.replay import wire_event
from tests.simulator.report import table
from vertex.api.config import Weights
from vertex.api.ranking import score_parts
from vertex.api.shelves import Shelves, build_shelves
from vertex.candidates import Situation, gather, top_categories
from vertex.data.replay import World
from vertex.models.logistic import Logistic
from vertex.text_model import load_text_encoder

QUESTIONS = 3_000
COLD_EVENTS = 5
# What serving reads anew after some seconds is read anew after so many events: a shop has about two
# a second here.
RESHELVE_EVENTS, TRENDING_EVENTS = 200, 20


@dataclass(frozen=True)
class Question:
    """What could be shown when a visitor viewed an item: features `(n, d)`, and the viewed one's
    row, if any.

    `is_new`: the session had not seen the item; `is_cold`: it had fewer than `COLD_EVENTS`.
    """

    matrix: Matrix
    viewed: int | None
    is_new: bool
    is_cold: bool = False


@dataclass
class Shop:
    """What serving would hold in memory: the world, and shelves and trending items that are a
    little old.
    """

    world: World
    items: Sequence[str]
    shelves: Shelves = field(default_factory=Shelves)
    trending: dict[str, Trending] = field(default_factory=dict)
    top: dict[str, Rows] = field(default_factory=dict)
    added: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def add(self, event: Event) -> None:
        """Fold one event."""
        self.world.add(event)
        item_id = event.product_id or ""
        self.seen[item_id] += 1
        popularity = self.world.log2_popularity(item_id)
        for scope in ("", self.world.item(item_id).category):
            if popularity is not None:
                self.trending.setdefault(scope, Trending()).rank(item_id, popularity)
        self.added += 1
        if self.added % TRENDING_EVENTS == 0:
            self.top.clear()
        if self.added % RESHELVE_EVENTS == 1:
            self.world.rows(self.items)  # brings them all up to date
            self.shelves = build_shelves(self.world.columns, False, event.time_ms)

    def question(self, event: Event, is_new: bool) -> Question:
        """What the event's visitor could be shown just before it."""
        now_ms = event.time_ms
        moment = self.world.moment(event, VectorIndex.empty(), now_ms)
        profile = moment.profile
        situation = Situation(
            moment,
            contexts=self.shelves.contexts,
            texts=self.shelves.texts,
            trending=self._top("", now_ms),
            trending_in={name: self._top(name, now_ms) for name in top_categories(profile)},
            popular=self.shelves.popular,
            shelves=self.shelves.by_category,
        )
        in_cart = self.world.columns.rows(profile.cart)
        found = gather(situation, lambda rows: ~np.isin(rows, in_cart))
        ids = self.world.columns.ids(found.rows)
        context = RankingContext(priors=self.shelves.priors)
        viewed = ids.index(event.product_id) if event.product_id in ids else None
        return Question(
            feature_matrix(moment, self.world.rows(ids), context),
            viewed,
            is_new,
            self.seen[event.product_id or ""] < COLD_EVENTS,
        )

    def _top(self, scope: str, now_ms: int) -> Rows:
        if scope not in self.top:
            best = self.trending.get(scope, Trending()).top(now_ms, 300)
            self.top[scope] = self.world.columns.rows(item_id for item_id, _ in best)
        return self.top[scope]


def questions(path: Path, wanted: int) -> list[Question]:
    """`wanted` questions of a REES46 file, evenly spread, in order of time, as the shop stood
    before each.
    """
    rows = catalog.read_rees46(path)
    wire = [wire_event(row, number) for number, row in enumerate(rows)]
    products = catalog.from_rees46(rows)
    items = {
        item.id: Item(item.id, item.title, item.category, item.brand, item.price)
        for item in products
    }
    shop = Shop(World(items, encoder=load_text_encoder()), list(items))
    asked, seen, found = sample(eligible(wire), wanted), dict[str, set[str]](), []
    now = datetime.now(UTC)
    for index, raw in enumerate(wire):
        event = parse_event(raw, ingest_time=now, backfill=True)
        session = seen.setdefault(event.session_id or "", set())
        if index in asked:
            found.append(shop.question(event, event.product_id not in session))
        shop.add(event)
        session.add(event.product_id or "")
    return found


def ranks(asked: Sequence[Question], weights: Mapping[str, float]) -> list[int]:
    """The place at which each question's item is shown by a prior of these weights, 0 the best; `K`
    beyond.
    """
    prior = Logistic(FEATURE_NAMES, weights, PRIOR_BIAS)
    return [_rank(question, prior) for question in asked]


def _rank(question: Question, prior: Logistic) -> int:
    if question.viewed is None:
        return K
    ctr = prior.score(question.matrix)
    scores = score_parts(question.matrix, ctr, Weights()).terms.sum(axis=1)
    order = np.argsort(-scores, kind="stable")[:K]
    places = np.flatnonzero(order == question.viewed)
    return int(places[0]) if len(places) else K


def figures(found: Sequence[int]) -> tuple[float, float]:
    """(hit rate, mean reciprocal rank) at 20 of some ranks."""
    hits = [rank for rank in found if rank < K]
    return len(hits) / max(len(found), 1), sum(1 / (rank + 1) for rank in hits) / max(len(found), 1)


def report(asked: Sequence[Question], changed: Mapping[str, float]) -> str:
    """The table of figures, the shipped weights beside the changed ones."""
    middle = len(asked) // 2
    priors = {"shipped": PRIOR_WEIGHTS} | (
        {"changed": {**PRIOR_WEIGHTS, **changed}} if changed else {}
    )
    lines = [["questions", "weights", "HR@20", "MRR@20", "new: HR", "MRR", "cold: HR", "MRR"]]
    for half, part in (("first half", asked[:middle]), ("second half", asked[middle:])):
        for name, weights in priors.items():
            found = ranks(part, weights)
            new = [rank for rank, question in zip(found, part, strict=True) if question.is_new]
            cold = [rank for rank, question in zip(found, part, strict=True) if question.is_cold]
            pairs = (*figures(found), *figures(new), *figures(cold))
            lines.append([half, name, *(f"{figure:.4f}" for figure in pairs)])
    return table(lines)


def _weight(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if name not in FEATURE_NAMES:
        raise argparse.ArgumentTypeError(
            f"expected a feature's name and a weight, as recency=1.0, got {text!r}"
        )
    return name, float(value)


def main(arguments: Sequence[str]) -> int:
    """Print the figures; exit code 2 when there is no such file."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.offline", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", type=Path, help="a REES46 CSV, rows in time order")
    parser.add_argument(
        "weights", type=_weight, nargs="*", help="name=weight, in place of the prior's"
    )
    parser.add_argument(
        "--questions", type=int, default=QUESTIONS, help="how many views to ask about"
    )
    options = parser.parse_args(arguments)
    if not options.file.is_file():
        print(f"offline: expected a file, got {options.file}", file=sys.stderr)
        return 2
    print(report(questions(options.file, options.questions), dict(options.weights)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
