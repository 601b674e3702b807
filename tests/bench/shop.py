"""A seeded shop for measurements of the API: items with co-visits, visitors with profiles, a
trained-size model.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime

import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.events import Event
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.moment import Moment
from pipeline.core.features.ranking import FEATURE_NAMES
from pipeline.core.features.ranking_inputs import RankingContext
from pipeline.core.fold import fold, item_sums
from pipeline.core.item_columns import ItemColumns, Seed
from pipeline.core.items import ItemRow, ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.vectors import VectorIndex
from pipeline.store.blocking import Store
from pipeline.store.layout import (
    GLOBAL_SCOPE,
    PROFILE,
    STATS,
    TRENDING,
    category_scope,
    cell,
    item_write,
    trending_key,
)
from vertex.data.examples import Dataset
from vertex.models.boosted_trees import BoostedTrees
from vertex.training.prior import PRIOR
from vertex.training.publish import model_files, publish

CATEGORIES = [f"department{i % 6}.category{i}" for i in range(40)]
REGIONS = ("nl", "be", "de")
ATTRIBUTES = {"list_price": "number", "adult": "boolean", "sponsored": "boolean"}
VECTOR_DIM, TREES = 64, 200
EVENTS = ("view_product", "view_product", "view_product", "click", "add_to_cart", "purchase")


class Shop:
    """Sessions of visitors who stay within a few categories, folded as the pipeline folds them.

    Args:
        items, visitors, sessions: how many; sessions have 8 events each.
        now_ms: when the last of them ends; they began up to two hours before.
        seed: of all chance.
    """

    def __init__(
        self, items: int, visitors: int, sessions: int, now_ms: int, seed: int = 1
    ) -> None:
        self._random = random.Random(seed)
        self.now_ms = now_ms
        self.items = [_item(index, self._random) for index in range(items)]
        self.stats = {item.item_id: ItemStats() for item in self.items}
        self.profiles = {f"visitor{index}": UserProfile() for index in range(visitors)}
        self.trending: dict[str, Trending] = {}
        self._shelf: dict[str, list[Item]] = {}
        for item in self.items:
            self._shelf.setdefault(item.category, []).append(item)
        for session in range(sessions):
            self._visit(session)

    def rows(self) -> list[ItemRow]:
        """All items with their stats."""
        return [ItemRow(item, self.stats[item.item_id]) for item in self.items]

    def write(self, store: Store) -> None:
        """Put everything into Bigtable."""
        store.write(item_write(item, self.now_ms) for item in self.items)
        store.write(
            cell(STATS, key, stats.encode(), self.now_ms) for key, stats in self.stats.items()
        )
        store.write(
            cell(PROFILE, f"u#{key}", profile.encode(), self.now_ms)
            for key, profile in self.profiles.items()
        )
        store.write(
            cell(TRENDING, trending_key(scope, 0), state.encode(), self.now_ms)
            for scope, state in self.trending.items()
        )

    def write_model(self, directory: str) -> None:
        """A model as training makes them: trees over this shop's features, and item vectors."""
        ranker = BoostedTrees(PRIOR, TREES).fit(self._examples(), None, seed=1)
        manifest = {"version": "bench", "kind": ranker.kind, "feature_names": list(FEATURE_NAMES)}
        publish(directory, "bench", model_files(manifest, ranker, self._vectors()))

    def _vectors(self) -> VectorIndex:
        """Around a centre for each category, `(n, VECTOR_DIM)`."""
        chance = np.random.default_rng(1)
        centres = {name: chance.normal(size=VECTOR_DIM) for name in CATEGORIES}
        rows = np.stack(
            [centres[item.category] + 0.7 * chance.normal(size=VECTOR_DIM) for item in self.items]
        )
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return VectorIndex([item.item_id for item in self.items], rows.astype(np.float32))

    def _examples(self) -> Dataset:
        """Clicks by chance, likelier where the features are larger."""
        items = ItemColumns.of(self.rows())
        seeds = {item_id: Seed(stats) for item_id, stats in self.stats.items()}
        every = items.all_rows().tolist()
        blocks = [
            feature_matrix(
                Moment(profile, items, self.now_ms, seeds),
                np.array(self._random.sample(every, 50), np.int32),
                RankingContext(),
            )
            for profile in list(self.profiles.values())[:100]
        ]
        matrix = np.concatenate(blocks)
        scores = matrix.sum(axis=1) + np.random.default_rng(2).normal(size=len(matrix))
        clicks = (scores > np.quantile(scores, 0.9)).astype(np.int8)
        slates = np.arange(len(blocks))
        return Dataset("bench", matrix, clicks, np.repeat(slates, 50), slates)

    def _visit(self, session: int) -> None:
        visitor = self._random.choice(list(self.profiles))
        profile = self.profiles[visitor]
        began_ms = self.now_ms - self._random.randrange(60_000, 7_200_000)
        shelves = [self._shelf[name] for name in self._random.sample(sorted(self._shelf), 2)]
        for step in range(8):
            item = _popular_first(self._random, self._random.choice(shelves))
            event = Event(
                event_id=f"{session}-{step}",
                event=self._random.choice(EVENTS),
                timestamp=datetime.fromtimestamp((began_ms + step * 5_000) / 1000, UTC),
                user_id=visitor,
                session_id=f"s{session}",
                product_id=item.item_id,
            )
            self._fold(profile, event, item)

    def _fold(self, profile: UserProfile, event: Event, item: Item) -> None:
        for item_id, partial in item_sums([fold(profile, [(event, item)])]).items():
            self.stats[item_id].merge(partial)
        popularity = self.stats[item.item_id].log2_popularity()
        for scope in (GLOBAL_SCOPE, category_scope(item.category)):
            self.trending.setdefault(scope, Trending()).rank(item.item_id, popularity or 0.0)


def _item(index: int, rng: random.Random) -> Item:
    category = CATEGORIES[index % len(CATEGORIES)]
    price = round(rng.lognormvariate(3.5, 1.0), 2)
    return Item(
        f"p{index}",
        title=f"Product {index}",
        category=category,
        brand=f"brand{index % 50}",
        price=price,
        regions=[*REGIONS[index % 3 :]],
        attributes={
            "list_price": price if index % 4 else round(1.2 * price, 2),
            "adult": index % 20 == 0,
            "sponsored": index % 10 == 0,
        },
    )


def _popular_first(rng: random.Random, shelf: list[Item]) -> Item:
    return shelf[min(int(rng.expovariate(0.15)), len(shelf) - 1)]
