"""The speed of travel between two sessions."""

from __future__ import annotations

from math import radians

import pytest

from pipeline.core.features.visitor import BY_NAME
from tests.pipeline.core.features.stories import BERLIN, MUNICH, in_session
from tests.pipeline.core.streams import START_MS, profile_of


def test_the_distance_on_the_earth_is_the_great_circle() -> None:
    quarter = [
        in_session("s1", 0, latitude=0, longitude=0),
        in_session("s2", 3600, latitude=0, longitude=90),
    ]
    travelled = BY_NAME["travel_kmh"].value(profile_of([(one, None) for one in quarter]), START_MS)
    assert travelled == pytest.approx(6371 * radians(90))


def test_two_places_in_the_same_moment_are_travelled_in_a_second_at_least() -> None:
    profile = profile_of(
        [(in_session("s1", 0, **BERLIN), None), (in_session("s2", 0, **MUNICH), None)]
    )
    assert BY_NAME["travel_kmh"].value(profile, START_MS) == pytest.approx(504.3 * 3600, rel=1e-3)
