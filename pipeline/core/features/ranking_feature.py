"""What a column of the ranking matrix is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from numpy.typing import ArrayLike

from pipeline.core.features.ranking_inputs import Candidates


class RankingFeature(NamedTuple):
    """One column of the matrix.

    `column` computes it for all candidates: `(n,)` numbers, or one for all of them. `prior` is its
    weight in the logistic model set by hand, used before there is data and whenever the trained
    model cannot answer.
    """

    name: str
    meaning: str
    formula: str
    unit: str
    range: str
    default: float
    column: Callable[[Candidates], ArrayLike]
    prior: float = 0.0
