"""What training logs is what serving ranks with, column by column, for every kind of visitor."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from pipeline.core.catalog import Item
from pipeline.core.context import context_of
from pipeline.core.events import Event
from pipeline.core.features.context_columns import CLOCK_FEATURES, CONTEXT_FEATURES
from pipeline.core.features.ranking import COLUMN, FEATURE_NAMES
from pipeline.core.features.ranking_inputs import Matrix
from pipeline.core.fold import adopt, fold
from pipeline.core.items import CTR_PRIOR, ItemRow, ItemStats
from pipeline.core.profile import UserProfile
from pipeline.core.text_vectors import encode_waiting
from pipeline.core.vectors import VectorIndex
from pipeline.store.layout import GLOBAL_SCOPE
from tests.vertex.api.fakes import FakeReader, Service, trending_of
from tests.vertex.text_encoder import WordEncoder
from vertex.api.config import Weights
from vertex.api.contract import Request
from vertex.api.ranking import Prediction, Ranker
from vertex.api.timing import StageTimer
from vertex.data.examples import VectorsFrom, examples
from vertex.data.replay import in_order
from vertex.data.slates import LoggedSlate
from vertex.models.registry import prior_model

START = datetime(2025, 3, 1, tzinfo=UTC)
CATALOG = {
    f"p{n}": Item(
        f"p{n}",
        f"Product {n}",
        f"d{n % 2}.c{n % 6}",
        f"b{n % 5}",
        float(5 + n),
        in_stock=True,
        published_ms=None if n % 3 else int(START.timestamp() * 1000) - n * 3_600_000,
    )
    for n in range(80)
}
NAMES = (
    *["view_product"] * 6,
    "click",
    "impression",
    "impression",
    "add_to_cart",
    "purchase",
    "dwell",
    "search",
)
# Of what a visitor without events lacks; the rest tells of the items alone.
PERSONAL = frozenset(
    "recency seen covisit_last covisit_recent category_match category_interest "
    "category_interest_30m brand_interest"
    " brand_interest_30m price_gap shown_before similarity bought_together taste_similarity "
    "session_similarity"
    " context_similarity text_similarity events_24h session_events is_known "
    "conversion_likelihood churn_risk session_dwell".split()
)
# Serving never shows these: what lies in the cart is hidden, the page's own item too, and it knows
# no position.
NEVER_SERVED = frozenset({"position", "is_current", "in_cart"})
# What not every question is asked in: see `CIRCUMSTANCES`.
OF_CONTEXT = frozenset(feature.name for feature in CONTEXT_FEATURES) - CLOCK_FEATURES
CIRCUMSTANCES: dict[str, dict[str, Any]] = {
    "known": {
        "device_class": "mobile",
        "country": "NL",
        "language": "nl",
        "referrer_kind": "search",
        "traits": {f"t{number}": number for number in range(8)},
    },
    "anonymous": {"device_class": "desktop", "referrer_kind": "social", "language": "pt-BR"},
    "merged, by both ids": {"referrer_kind": "email", "traits": {"tier": "gold"}},
}
# What not every visitor of the log has done lately.
NOT_ALWAYS = frozenset({"bought_together", "events_5m", "shown_before", "session_dwell"})


class InOrder(Ranker):
    """Gives each row of the matrix its number in thousands as chance of a click, so that a score
    names its row.
    """

    def __init__(self) -> None:
        super().__init__(None, prior_model, 1.0)
        self.matrix: Matrix = np.zeros((0, len(FEATURE_NAMES)), np.float32)

    async def predict(self, matrix: Matrix, deadline_s: float | None = None) -> Prediction:
        self.matrix = matrix
        chances = np.array([number / 1000 for number in range(len(matrix))], np.float32)
        return Prediction(chances, "vertex", "in order")


def stream(events: int = 2_500, seed: int = 5) -> list[Event]:
    """A day of 30 browsers and accounts; every third logs in sometimes, on a browser that others
    share.
    """
    rng, found = random.Random(seed), []
    for number in range(events):
        visitor = rng.randrange(30)
        ids: dict[str, Any] = (
            {"anonymous_id": f"a{visitor}"} if visitor % 3 else {"user_id": f"u{visitor}"}
        )
        if visitor % 3 == 1 and rng.random() < 0.3:
            ids["user_id"] = f"u{visitor if rng.random() < 0.8 else visitor + 100}"
        item = CATALOG[f"p{(visitor * 7 + int(rng.expovariate(0.15))) % 80}"]
        metadata = {"request_id": f"r{number % 50}", "dwell_ms": rng.randrange(60_000)}
        found.append(
            Event(
                event_id=f"e{number}",
                event=rng.choice(NAMES),
                timestamp=START + timedelta(seconds=30 * number),
                session_id=f"s{visitor}-{number // 300}",
                product_id=item.item_id,
                metadata=metadata,
                **ids,
            )
        )
    return in_order(found)


LOG = stream()


class Stored:
    """What the pipeline has put into Bigtable after some events; written down anew, without
    training's code.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.profiles: dict[str, UserProfile] = {}
        self.stats = {item_id: ItemStats() for item_id in CATALOG}
        for event in events:
            self._add(event)

    def reader(self) -> FakeReader:
        """Bigtable, every state written and read once."""
        rows = [
            ItemRow(item, ItemStats.decode(self.stats[item_id].encode()))
            for item_id, item in CATALOG.items()
        ]
        reader = FakeReader(
            rows, {key: UserProfile.decode(found.encode()) for key, found in self.profiles.items()}
        )
        reader.scopes[GLOBAL_SCOPE] = trending_of(*CATALOG)
        return reader

    def _add(self, event: Event) -> None:
        key, pairs = f"u#{event.user_id}", []
        if event.anonymous_id is not None:
            browser = self.profiles.setdefault(f"a#{event.anonymous_id}", UserProfile())
            if not browser.account and event.user_id is not None:
                pairs = adopt(self.profiles.setdefault(key, UserProfile()), browser).pairs
                self.profiles[f"a#{event.anonymous_id}"] = UserProfile(account=key)
            elif event.user_id is None:
                key = browser.account or f"a#{event.anonymous_id}"
        profile = self.profiles.setdefault(key, UserProfile())
        new, more, _ = fold(profile, [(event, CATALOG[event.product_id or ""])])
        assert len(new) == 1
        self.stats[event.product_id or ""].add(event, CATALOG[event.product_id or ""].category)
        for pair in (*pairs, *more):
            self.stats[pair.item].link(pair.other, pair.kind, pair.weight, pair.time_ms)
            self.stats[pair.other].link(pair.item, pair.kind, pair.weight, pair.time_ms)


def asking(kind: str, events: int) -> tuple[Event, list[Event]]:
    """A question a minute after the first `events` of the log, of someone who is of that kind by
    then; and those.
    """
    past = LOG[:events]
    merged = {
        event.anonymous_id: event.user_id
        for event in reversed(past)
        if event.user_id and event.anonymous_id
    }
    anonymous = [
        event.anonymous_id
        for event in past
        if event.anonymous_id and event.anonymous_id not in merged
    ]
    browser = next(iter(merged))
    ids: dict[str, Any] = {
        "known": {"user_id": "u3"},
        "anonymous": {"anonymous_id": anonymous[-1]},
        "merged, by its browser alone": {"anonymous_id": browser},
        "merged, by both ids": {"anonymous_id": browser, "user_id": merged[browser]},
        "of another account on a merged browser": {"anonymous_id": browser, "user_id": "u6"},
        "an account on a browser that is not merged yet": {
            "anonymous_id": anonymous[-1],
            "user_id": "u3",
        },
        "unknown": {"anonymous_id": "nobody"},
    }[kind]
    time = past[-1].timestamp + timedelta(minutes=1)
    metadata = CIRCUMSTANCES.get(kind, {})
    question = Event(
        event_id="question", event="impression", timestamp=time, metadata=metadata, **ids
    )
    return question, past


def vectors() -> VectorIndex:
    rows = np.random.default_rng(3).normal(size=(60, 8))  # some items have none
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return VectorIndex([f"p{n}" for n in range(60)], rows.astype(np.float32))


async def served(question: Event, past: Sequence[Event]) -> tuple[tuple[str, ...], Matrix]:
    """The candidates and the matrix that the API ranks."""
    ranker = InOrder()
    model = replace(prior_model(), vectors=vectors())
    service = Service(Stored(past).reader(), ranker, model, weights=Weights(1, 0, 0, 0))
    await service.items.load()
    encode_waiting(service.items.columns.text, WordEncoder())
    request = Request(
        user_id=question.user_id,
        anonymous_id=question.anonymous_id,
        as_of=question.timestamp,
        context=context_of(question),
        k=100,
    )
    answer = await service.recommender.answer(request, StageTimer())
    by_row = {round(1000 * shown.score): shown.id for shown in answer["ranked_feed"]}
    assert len(by_row) == len(ranker.matrix) > 60
    return tuple(by_row[number] for number in range(len(by_row))), ranker.matrix


def logged(question: Event, past: Sequence[Event], items: tuple[str, ...]) -> Matrix:
    """The matrix that training logs for the same question."""
    slate = LoggedSlate(question.time_ms, question, items, None, frozenset())
    data = examples(
        [*past, question],
        [slate],
        CATALOG,
        [VectorsFrom(0, vectors())],
        encoder=WordEncoder(),
    )
    return data.matrix


KINDS = (
    "known",
    "anonymous",
    "merged, by its browser alone",
    "merged, by both ids",
    "of another account on a merged browser",
    "an account on a browser that is not merged yet",
    "unknown",
)


@pytest.mark.parametrize("events", [300, 2_500])
@pytest.mark.parametrize("kind", KINDS)
async def test_each_column_that_training_logs_is_what_serving_ranks_with(
    kind: str, events: int
) -> None:
    question, past = asking(kind, events)

    items, ranked = await served(question, past)

    learnt = logged(question, past, items)
    for name, column in COLUMN.items():
        np.testing.assert_allclose(
            learnt[:, column], ranked[:, column], rtol=1e-5, atol=1e-6, err_msg=name
        )
    silent = {name for name, column in COLUMN.items() if not ranked[:, column].any()}
    silent -= OF_CONTEXT
    assert silent >= PERSONAL if kind == "unknown" else silent <= NEVER_SERVED | NOT_ALWAYS


async def test_together_the_questions_move_every_column_that_is_served() -> None:
    asked = [(kind, events) for kind in KINDS for events in (300, 2_500)]
    matrices = [(await served(*asking(*each)))[1] for each in asked]

    still = {
        name for name, column in COLUMN.items() if np.ptp(np.concatenate(matrices)[:, column]) == 0
    }

    assert still <= NEVER_SERVED


async def test_the_priors_are_those_of_the_shop() -> None:
    question, past = asking("unknown", 2_500)
    _, ranked = await served(question, past)

    assert len(np.unique(ranked[:, COLUMN["item_ctr"]])) > 30
    assert abs(float(ranked[:, COLUMN["item_ctr"]].mean()) - CTR_PRIOR[0] / CTR_PRIOR[1]) > 0.1


async def test_a_merged_browser_left_out_of_the_log_would_be_missed() -> None:
    question, past = asking("merged, by its browser alone", 2_500)
    alone = [event for event in past if event.anonymous_id != question.anonymous_id]
    items, ranked = await served(question, past)

    without = logged(question, alone, items)

    assert not np.allclose(
        without[:, COLUMN["taste_similarity"]], ranked[:, COLUMN["taste_similarity"]]
    )
