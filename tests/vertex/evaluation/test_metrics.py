"""Metrics, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vertex.evaluation.metrics import auc, calibration_error, log_loss, mean_ndcg


def test_auc_counts_pairs_and_halves_ties() -> None:
    labels, scores = np.array([1.0, 0, 1, 0]), np.array([0.9, 0.1, 0.5, 0.5])
    assert auc(labels, scores) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert np.isnan(auc(np.ones(3), np.ones(3)))


def test_log_loss_is_the_mean_surprise() -> None:
    assert log_loss(np.array([1.0, 0.0]), np.array([0.8, 0.4])) == pytest.approx(
        -(np.log(0.8) + np.log(0.6)) / 2
    )


def test_ndcg_is_one_for_clicks_on_top_and_chance_for_no_opinion() -> None:
    labels, slate_of = np.array([0.0, 1, 0]), np.array([4, 4, 4])
    assert mean_ndcg(labels, np.array([0.1, 0.9, 0.2]), slate_of) == pytest.approx(1.0)
    assert mean_ndcg(labels, np.array([0.9, 0.1, 0.2]), slate_of) == pytest.approx(1 / np.log2(4))
    chance = np.mean(1 / np.log2([2, 3, 4]))
    assert mean_ndcg(labels, np.zeros(3), slate_of) == pytest.approx(chance)


def test_ndcg_leaves_out_slates_without_clicks_or_choice() -> None:
    labels, scores = np.array([1.0, 0, 0, 1]), np.array([2.0, 1, 5, 1])
    assert mean_ndcg(labels, scores, np.array([0, 0, 1, 2])) == pytest.approx(1.0)
    assert np.isnan(mean_ndcg(np.zeros(2), np.zeros(2), np.array([0, 0])))


def test_calibration_error_is_zero_for_the_true_chance() -> None:
    labels = np.tile([1.0, 0, 0, 0], 100)
    assert calibration_error(labels, np.full(400, 0.25)) == pytest.approx(0.0, abs=0.02)
    assert calibration_error(labels, np.full(400, 0.75)) == pytest.approx(0.5, abs=0.02)
