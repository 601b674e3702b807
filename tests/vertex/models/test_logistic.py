"""The logistic model, and the prior fitted to clicks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.core.events import Event
from tests.vertex import planted
from vertex.data.examples import examples
from vertex.data.slates import logged_slates
from vertex.training.prior import PRIOR

CATALOG = planted.catalog()


def test_where_clicks_are_chance_the_prior_stays_with_honest_chances(log: list[Event]) -> None:
    slates = [replace(slate, clicked=frozenset()) for slate in logged_slates(log)]
    data = examples(log, slates, CATALOG)
    labels = (np.random.default_rng(5).random(len(data.labels)) < 0.1).astype(np.int8)
    fitted = PRIOR.fit(replace(data, labels=labels))
    assert fitted.score(data.matrix).mean() == pytest.approx(labels.mean(), rel=0.01)


def test_the_fitted_prior_ranks_as_the_prior_does(log: list[Event]) -> None:
    data = examples(log, logged_slates(log), CATALOG)
    order = np.argsort(PRIOR.score(data.matrix), kind="stable")
    assert (np.diff(PRIOR.fit(data).score(data.matrix)[order]) >= -1e-6).all()
