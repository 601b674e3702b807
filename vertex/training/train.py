"""One training run: log and catalog in, the files of a model folder out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.events import Event
from pipeline.core.text_vectors import TextEncoder
from pipeline.core.timestamps import format_time
from vertex.data.examples import MAX_SLATES, Dataset, VectorsFrom, examples
from vertex.data.progress import Say, told
from vertex.data.replay import in_order
from vertex.data.sequences import session_items
from vertex.data.slates import LoggedSlate, logged_slates, viewed_slates
from vertex.data.splits import MIN_CLICKED, Split, split
from vertex.evaluation.evaluate import Metrics, evaluate
from vertex.evaluation.gate import may_replace
from vertex.models import item2vec
from vertex.models.boosted_trees import BoostedTrees
from vertex.models.click_model import ClickModel, Files
from vertex.training.prior import PRIOR
from vertex.training.publish import model_files

# Shares of the log, in order of time, after which vectors are learnt anew for the slates that
# follow. What comes before the first only warms up: there, no item has a history and no visitor a
# past.
VECTORS_AFTER = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Trained:
    """A trained model: its manifest, and its files as `publish` wants them."""

    manifest: dict[str, Any]
    files: Files


@dataclass(frozen=True)
class Learnt:
    """The ranker to serve, learnt from everything, its number of trees, and the metrics of model
    and prior that chose it on the latest slates.
    """

    ranker: ClickModel
    trees: int
    metrics: dict[str, Metrics]


def train(
    events: Sequence[Event],
    catalog: Mapping[str, Item],
    *,
    now: datetime,
    seed: int,
    say: Say,
    encoder: TextEncoder | None = None,
) -> Trained:
    """Learn vectors and a ranker, judge the ranker beside the prior, and choose the better of the
    two. `encoder` is that of the items' texts, the same as in serving.

    Raises:
        NotEnoughData: when there are too few slates with a click to learn from and to judge by.
    """
    log = in_order(events)
    say(f"log: {len(log):,} events; catalog: {len(catalog):,} items")
    data = replayed(log, catalog, seed, say, encoder)
    say(f"examples: {_counted(data)}")
    parts = split(data)
    learnt = learn(data, parts, seed, say)
    vectors = item2vec.fit(session_items(log), seed)
    say(f"vectors: {len(vectors):,} items from the whole log")
    sources = {
        **_described(log, data, parts),
        "items": len(catalog),
        "vectors": len(vectors),
        "trees": learnt.trees,
        "seed": seed,
        "text_model": encoder.name if encoder is not None else None,
    }
    manifest = _manifest(learnt, sources, now)
    return Trained(manifest, model_files(manifest, learnt.ranker, vectors))


def replayed(
    log: Sequence[Event],
    catalog: Mapping[str, Item],
    seed: int,
    say: Say = lambda line: None,
    encoder: TextEncoder | None = None,
) -> Dataset:
    """The examples of an ordered log, all but those of its warm-up."""
    vectors = _vectors_over_time(log, seed, say)
    warm = [slate for slate in _slates(log) if vectors and slate.time_ms >= vectors[0].time_ms]
    return examples(log, warm[-MAX_SLATES:], catalog, vectors, seed, say, encoder)


def learn(data: Dataset, parts: Split, seed: int, say: Say) -> Learnt:
    """Fit trees on top of the prior, and keep them where they pass the gate; else the prior, fitted
    to the clicks, stays.
    """
    model = BoostedTrees(PRIOR).fit(parts.learning, parts.stopping, seed)
    metrics = {
        "model": evaluate(model.score, parts.evaluation),
        "prior": evaluate(PRIOR.score, parts.evaluation),
    }
    if model.rounds and may_replace(metrics["model"], metrics["prior"]):
        say(
            f"ranker: {model.rounds} trees on top of the prior rank the latest slates better than "
            "it alone"
        )
        of_all = BoostedTrees(PRIOR, model.rounds).fit(data, None, seed)
        return Learnt(of_all, of_all.rounds, metrics)
    say(
        "ranker: on the latest slates no trees rank better than the prior, which stays, its "
        "chances fitted"
    )
    return Learnt(PRIOR.fit(data), 0, metrics)


def _slates(log: Sequence[Event]) -> list[LoggedSlate]:
    """Logged slates where enough were clicked; else views, the only other sign of what visitors
    wanted.
    """
    shown = logged_slates(log)
    clicked = sum(1 for slate in shown if slate.clicked.intersection(slate.items))
    if clicked < sum(MIN_CLICKED.values()):
        return viewed_slates(log)
    return shown


def _vectors_over_time(log: Sequence[Event], seed: int, say: Say) -> list[VectorsFrom]:
    """Vectors learnt from ever longer beginnings of the log, for the slates that follow each."""
    found = []
    shares = VECTORS_AFTER if log else ()
    for share in told(shares, len(shares), "learning vectors of the log's beginnings", say):
        time_ms = log[int(len(log) * share)].time_ms
        before = bisect_left(log, time_ms, key=lambda event: event.time_ms)
        found.append(VectorsFrom(time_ms, item2vec.fit(session_items(log[:before]), seed)))
    return found


def _manifest(learnt: Learnt, sources: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "version": f"{now.astimezone(UTC):%Y%m%dT%H%M%S%f}"[:-3] + "Z",
        "kind": learnt.ranker.kind,
        "created": format_time(now),
        "feature_names": list(learnt.ranker.feature_names),
        "metrics": _as_json(learnt.metrics),
        "data": sources,
    }


def _counted(data: Dataset) -> str:
    clicks = int(data.labels.sum())
    return (
        f"{len(data.labels):,} items in {len(data.times_ms):,} slates from {data.source}, "
        f"{clicks:,} clicked"
    )


def _described(log: Sequence[Event], data: Dataset, parts: Split) -> dict[str, Any]:
    return {
        "source": data.source,
        "events": len(log),
        "first_event": format_time(log[0].timestamp),
        "last_event": format_time(log[-1].timestamp),
        "slates": {name: len(part.times_ms) for name, part in parts._asdict().items()},
        "rows": len(data.labels),
        "clicks": int(data.labels.sum()),
    }


def _as_json(metrics: Mapping[str, Metrics]) -> dict[str, dict[str, float | None]]:
    """JSON knows no NaN: a metric that cannot be computed is null."""
    return {
        name: {
            metric: round(value, 6) if np.isfinite(value) else None
            for metric, value in values.items()
        }
        for name, values in metrics.items()
    }
