"""Scores of candidates for one visitor: click probability and three plain parts, added with
weights.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Rows
from pipeline.core.features.ranking import COLUMN, FEATURE_NAMES
from pipeline.core.features.ranking_inputs import Matrix
from pipeline.core.item_columns import ItemColumns
from vertex.api.breaker import Breaker, Unavailable
from vertex.api.config import Weights
from vertex.api.endpoint import Endpoint
from vertex.models.registry import Model

log = logging.getLogger(__name__)

MARGIN = "margin"
"""The attribute that says what a sale earns."""
_NO_MARGIN = np.zeros(1)
PARTS = ("ctr", "recency", "category", "interest")
AT_ONCE = 8
PROBE_S = 1.0
PROBE_IDLE_S = 10.0


@dataclass(frozen=True)
class Prediction:
    """Click probabilities `(n,)`, who computed them ("vertex" or "local"), and with which model.

    `fallback` says why Vertex did not, where it was to.
    """

    ctr: NDArray[np.float32]
    served_by: str
    model_version: str
    fallback: str = ""


class Parts(NamedTuple):
    """The weighted terms of scores: their names, and `(n, p)` numbers; a row's sum is its score."""

    names: Sequence[str]
    terms: NDArray[np.float64]


def score_parts(
    matrix: Matrix,
    ctr: NDArray[np.float32],
    weights: Weights,
    margins: Callable[[], NDArray[np.float64]] = lambda: _NO_MARGIN,
) -> Parts:
    """`w1 ctr + w2 recency + w3 category_match + w4 interest`, and further objectives where they
    have a weight.

    Interest is the visitor's interest in the item's category, half with the 7 d half-life and half
    with the 30 min one; all terms are in [0, 1] before weighting.

    Args:
        matrix, ctr: features `(n, d)` and click probabilities `(n,)`.
        weights: of the terms.
        margins: gives what a sale earns `(n,)`, where that has a weight.
    """
    long, short = matrix[:, COLUMN["category_interest"]], matrix[:, COLUMN["category_interest_30m"]]
    terms = {
        "ctr": ctr,
        "recency": matrix[:, COLUMN["recency"]],
        "category": matrix[:, COLUMN["category_match"]],
        "interest": 0.5 * (long + short),
    }
    if weights.conversion:
        terms["conversion"] = matrix[:, COLUMN["item_conversion"]]
    if weights.revenue:
        prices = np.expm1(matrix[:, COLUMN["log_price"]])
        terms["revenue"] = _share(prices * matrix[:, COLUMN["item_conversion"]])
    if weights.margin:
        terms["margin"] = _share(margins() * matrix[:, COLUMN["item_conversion"]])
    if weights.watch_time:
        terms["watch_time"] = _share(np.expm1(matrix[:, COLUMN["watch_time"]]))
    scales = [getattr(weights, name) for name in terms]
    weighted = np.column_stack(list(terms.values())).astype(np.float64) * scales
    return Parts(list(terms), np.round(weighted, 6))


def parts_of_order(n: int) -> Parts:
    """The parts of `n` items that stand in an order of their own: 1 down to 1 / n."""
    return Parts(["order"], np.round(np.arange(n, 0, -1)[:, None] / max(n, 1), 6))


def margins_of(items: ItemColumns, rows: Rows) -> NDArray[np.float64]:
    """What a sale of each item earns `(n,)`: the number attribute `margin`, 0 where it is unknown
    or a loss.
    """
    if items.attributes.types.get(MARGIN) != "number":
        return np.zeros(len(rows))
    return np.maximum(np.nan_to_num(items.attributes.values(MARGIN).get(rows), nan=0.0), 0.0)


def _share(gains: NDArray[Any]) -> NDArray[Any]:
    """Gains of at least 0 `(n,)` as shares of the best."""
    best = gains.max(initial=0.0)
    return gains / best if best > 0 else gains


class Ranker:
    """Asks Vertex within a deadline, and the model in this process when that fails.

    Args:
        endpoint: None ranks in process always.
        model: gives the in-process model of the moment.
        deadline_s: what an answer from Vertex may take.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint | None,
        model: Callable[[], Model],
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._deadline_s = deadline_s
        self._breaker = Breaker("vertex")
        self._busy = 0
        self._clock = clock
        self._asked_at = float("-inf")

    @property
    def is_up(self) -> bool:
        """True where Vertex answers, as far as known."""
        return self._endpoint is not None and not self._breaker.is_open

    async def predict(self, matrix: Matrix, deadline_s: float | None = None) -> Prediction:
        """Click probabilities for the features `(n, d)`; never fails. `deadline_s` in place of the
        ranker's own; with none left the process ranks at once.
        """
        if deadline_s is not None and deadline_s <= 0.0:
            return self.predict_here(matrix, "deadline: passed")
        if self._endpoint is not None and len(matrix):
            try:
                self._breaker.check()
                return await self._ask(matrix, deadline_s or self._deadline_s)
            except Unavailable as error:
                return self.predict_here(matrix, str(error))
        return self.predict_here(matrix)

    def predict_here(self, matrix: Matrix, fallback: str = "") -> Prediction:
        """The same in this process."""
        model = self._model()
        return Prediction(model.score(matrix, FEATURE_NAMES), "local", model.version, fallback)

    async def watch(self) -> None:
        """Ask Vertex in the background while it counts as down or no request comes; runs until
        cancelled.
        """
        if self._endpoint is None:
            return
        one = np.zeros((1, len(FEATURE_NAMES)), np.float32)
        while True:
            if self._breaker.is_open or self._clock() - self._asked_at > PROBE_IDLE_S:
                try:
                    await self._ask(one, PROBE_S)
                except Unavailable as error:
                    log.info("%s", error)
            await asyncio.sleep(PROBE_S)

    async def aclose(self) -> None:
        """Close the connections to Vertex."""
        if self._endpoint is not None:
            await self._endpoint.aclose()

    async def _ask(self, matrix: Matrix, deadline_s: float) -> Prediction:
        if self._busy >= AT_ONCE:
            raise Unavailable(f"vertex: {AT_ONCE} requests are waiting already")
        assert self._endpoint is not None
        self._asked_at = self._clock()
        self._busy += 1
        # A task of its own: Google's client may go on although it is cancelled.
        asked = asyncio.create_task(self._endpoint.predict(matrix))
        asked.add_done_callback(self._done)
        try:
            done, _ = await asyncio.wait([asked], timeout=deadline_s)
        finally:
            asked.cancel()
        if not done:
            # Less time than its own says nothing of the part: any request may ask for that.
            if deadline_s >= self._deadline_s:
                self._breaker.failed()
            raise Unavailable("vertex: no answer in time")
        try:
            ctr, version = asked.result()
        except Unavailable:
            self._breaker.failed()
            raise
        except Exception as error:  # any error of a client library means the same: no answer
            self._breaker.failed()
            raise Unavailable(f"vertex: {type(error).__name__}") from error
        self._breaker.succeeded()
        return Prediction(ctr, "vertex", version)

    def _done(self, asked: asyncio.Task[tuple[NDArray[np.float32], str]]) -> None:
        self._busy -= 1
        if not asked.cancelled():
            asked.exception()  # nobody may be waiting for it any more
