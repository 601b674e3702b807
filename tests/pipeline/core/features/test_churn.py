"""The risk of churn grows with silence, by the visitor's own rhythm."""

from __future__ import annotations

from random import Random

import pytest

from pipeline.core.decay import DAY_MS
from pipeline.core.features.churn import churn_risk
from tests.pipeline.core.features.stories import said
from tests.pipeline.core.streams import profile_of

DAY_S = 86_400


@pytest.mark.parametrize("seed", range(3))
def test_churn_risk_rises_with_silence_and_faster_for_those_who_came_often(seed: int) -> None:
    random = Random(seed)
    daily = profile_of([(said("scroll", day * DAY_S + random.random()), None) for day in range(30)])
    monthly = profile_of([(said("scroll", day * DAY_S), None) for day in (0, 29)])
    days = [churn_risk(daily, daily.newest_ms + n * DAY_MS) for n in range(30)]
    assert days == sorted(days) and days[0] == pytest.approx(0.05) and days[-1] > 0.99
    assert churn_risk(monthly, daily.newest_ms + 20 * DAY_MS) < 0.2 < 0.9 < days[20]
