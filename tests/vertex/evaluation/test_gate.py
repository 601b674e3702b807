"""The gate between training and serving."""

from __future__ import annotations

import pytest

from vertex.evaluation.gate import may_replace


@pytest.mark.parametrize(
    ("auc", "may"), [(0.71, True), (0.7, True), (0.69, False), (float("nan"), False)]
)
def test_a_challenger_replaces_a_champion_only_where_it_ranks_at_least_as_well(
    auc: float, may: bool
) -> None:
    challenger, champion = {"auc": 0.1, "serving_auc": auc}, {"auc": 0.9, "serving_auc": 0.7}
    assert may_replace(challenger, champion) is may
