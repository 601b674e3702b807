"""The gate between training and serving: a challenger replaces a champion only if it is as good."""

from __future__ import annotations

from vertex.evaluation.evaluate import Metrics


def may_replace(challenger: Metrics, champion: Metrics) -> bool:
    """True where the challenger ranks the same later slates at least as well, free of position."""
    return challenger["serving_auc"] >= champion["serving_auc"]
