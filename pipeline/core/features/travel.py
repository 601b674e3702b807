"""Travel: the speed between the places of a visitor's sessions, for rules against fraud."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt

from pipeline.core.profile import UserProfile
from pipeline.core.session_totals import Place

EARTH_RADIUS_KM = 6371.0


def travel_kmh(profile: UserProfile) -> float:
    """The speed of travel between the places of the two newest sessions, in km/h; 0 when either is
    unknown.
    """
    places = sorted(
        session.place for session in profile.sessions.values() if session.place is not None
    )
    if len(places) < 2:
        return 0.0
    hours = max(places[-1][0] - places[-2][0], 1000) / 3_600_000
    return _distance_km(places[-2], places[-1]) / hours


def _distance_km(one: Place, two: Place) -> float:
    """The great-circle distance (haversine)."""
    (_, lat1, lon1), (_, lat2, lon2) = one, two
    a = sin(radians(lat2 - lat1) / 2) ** 2
    a += cos(radians(lat1)) * cos(radians(lat2)) * sin(radians(lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(sqrt(min(a, 1.0)))
