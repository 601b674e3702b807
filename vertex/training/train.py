"""One training run: log and catalog in, the files of a model folder out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.events import Event, format_time
from pipeline.core.features.ranking import FEATURE_NAMES
from vertex.data.examples import (
    IMPRESSIONS,
    MAX_SLATES,
    Dataset,
    Slate,
    VectorsFrom,
    examples,
    in_order,
    logged_slates,
    viewed_slates,
)
from vertex.data.progress import Say, told
from vertex.evaluation.evaluate import evaluate
from vertex.models import boosted_trees as ctr
from vertex.models import item2vec
from vertex.models.publish import Files, model_files

# Shares of the log, in order of time, after which vectors are learnt anew for the slates that
# follow. What comes before the first only warms up: there, no item has a history and no visitor a
# past.
VECTORS_AFTER = (0.2, 0.4, 0.6, 0.8)
# Shares of the slates, in order of time: to learn from, to stop by, the rest to be judged on.
LEARN, STOP = 0.7, 0.15
PARTS = ("learning", "stopping", "evaluation")
MIN_CLICKED = {"learning": 60, "stopping": 10, "evaluation": 10}

Metrics = dict[str, dict[str, float]]


class NotEnoughData(ValueError):
    """The log is too small to learn from; the message says what is missing."""


@dataclass(frozen=True)
class Trained:
    """A trained model: its manifest, and its files as `publish` wants them."""

    manifest: dict[str, Any]
    files: Files


def train(
    events: Sequence[Event], catalog: Mapping[str, Item], *, now: datetime, seed: int, say: Say
) -> Trained:
    """Learn vectors and a ranker, judge the ranker beside the prior, and choose the better of the
    two.

    Raises:
        NotEnoughData: when there are too few slates with a click to learn from and to judge by.
    """
    log = in_order(events)
    say(f"log: {len(log):,} events; catalog: {len(catalog):,} items")
    data = replayed(log, catalog, seed, say)
    say(f"examples: {_counted(data)}")
    ranker, metrics = learn(data, seed, say)
    vectors = item2vec.fit(log, seed)
    say(f"vectors: {len(vectors):,} items from the whole log")
    manifest = {
        "version": f"{now.astimezone(UTC):%Y%m%dT%H%M%S%f}"[:-3] + "Z",
        "kind": ranker.kind,
        "created": format_time(now),
        "feature_names": list(FEATURE_NAMES),
        "metrics": _as_json(metrics),
        "data": {
            **_described(log, data),
            "items": len(catalog),
            "vectors": len(vectors),
            "trees": ranker.rounds,
            "seed": seed,
        },
    }
    return Trained(manifest, model_files(manifest, ranker, vectors))


def replayed(
    log: Sequence[Event], catalog: Mapping[str, Item], seed: int, say: Say = lambda line: None
) -> Dataset:
    """The examples of an ordered log, all but those of its warm-up."""
    vectors = _vectors_over_time(log, seed, say)
    warm = [slate for slate in _slates(log) if vectors and slate.time_ms >= vectors[0].time_ms]
    return examples(log, warm[-MAX_SLATES:], catalog, vectors, seed, say)


def learn(data: Dataset, seed: int, say: Say) -> tuple[ctr.ClickModel, Metrics]:
    """The ranker to serve, learnt from everything, and the metrics that chose it on the latest
    slates.
    """
    learning, stopping, evaluation = split(data)
    model = ctr.fit(learning, stopping, seed)
    metrics = {
        "model": evaluate(model.predict, evaluation),
        "prior": evaluate(ctr.PRIOR.predict, evaluation),
    }
    if model.rounds and metrics["model"]["serving_auc"] >= metrics["prior"]["serving_auc"]:
        say(
            f"ranker: {model.rounds} trees on top of the prior rank the latest slates better than "
            "it alone"
        )
        return ctr.refit(data, model.rounds, seed), metrics
    say(
        "ranker: on the latest slates no trees rank better than the prior, which stays, its "
        "chances fitted"
    )
    return ctr.fitted_prior(data), metrics


def split(data: Dataset) -> tuple[Dataset, Dataset, Dataset]:
    """The slates to learn from, those to stop by, and those to judge on: each later than those
    before.

    Slates of one moment stay together.

    Raises:
        NotEnoughData: naming the part that has too few slates with a click.
    """
    n = len(data.times_ms)
    first, second = _boundary(data, int(n * LEARN)), _boundary(data, int(n * (LEARN + STOP)))
    parts = data.between(0, first), data.between(first, second), data.between(second, n)
    for part, name in zip(parts, PARTS, strict=True):
        if part.clicked_slates < MIN_CLICKED[name]:
            what = "slates with a click" if data.source == IMPRESSIONS else "views after another"
            raise NotEnoughData(
                f"{name}: expected at least {MIN_CLICKED[name]} {what}, got {part.clicked_slates} "
                f"(of {n} in all)"
            )
    return parts


def _slates(log: Sequence[Event]) -> list[Slate]:
    """Logged slates where enough were clicked; else views, the only other sign of what visitors
    wanted.
    """
    shown = logged_slates(log)
    clicked = sum(1 for slate in shown if slate.clicked.intersection(slate.items))
    return shown if clicked >= sum(MIN_CLICKED.values()) else viewed_slates(log)


def _vectors_over_time(log: Sequence[Event], seed: int, say: Say) -> list[VectorsFrom]:
    """Vectors learnt from ever longer beginnings of the log, for the slates that follow each."""
    found = []
    shares = VECTORS_AFTER if log else ()
    for share in told(shares, len(shares), "learning vectors of the log's beginnings", say):
        time_ms = log[int(len(log) * share)].time_ms
        before = bisect_left(log, time_ms, key=lambda event: event.time_ms)
        found.append(VectorsFrom(time_ms, item2vec.fit(log[:before], seed)))
    return found


def _boundary(data: Dataset, slate: int) -> int:
    """The first slate of the same moment as `slate`."""
    if slate >= len(data.times_ms):
        return len(data.times_ms)
    return int(np.searchsorted(data.times_ms, data.times_ms[slate]))


def _counted(data: Dataset) -> str:
    clicks = int(data.labels.sum())
    return (
        f"{len(data.labels):,} items in {len(data.times_ms):,} slates from {data.source}, "
        f"{clicks:,} clicked"
    )


def _described(log: Sequence[Event], data: Dataset) -> dict[str, Any]:
    return {
        "source": data.source,
        "events": len(log),
        "first_event": format_time(log[0].timestamp),
        "last_event": format_time(log[-1].timestamp),
        "slates": {name: len(part.times_ms) for name, part in zip(PARTS, split(data), strict=True)},
        "rows": len(data.labels),
        "clicks": int(data.labels.sum()),
    }


def _as_json(metrics: Metrics) -> dict[str, dict[str, float | None]]:
    """JSON knows no NaN: a metric that cannot be computed is null."""
    return {
        name: {
            metric: round(value, 6) if np.isfinite(value) else None
            for metric, value in values.items()
        }
        for name, values in metrics.items()
    }
