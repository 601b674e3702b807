"""Profiles and items of a log, folded by hand: the monoids, and nothing of the training code."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core.events import Event
from pipeline.core.fold import fold, item_sums
from pipeline.core.items import ItemStats
from pipeline.core.profile import UserProfile
from pipeline.core.profile_keys import profile_key
from tests.vertex import planted

CATALOG = planted.catalog()


def fold_by_hand(
    each: Event, profiles: dict[str, UserProfile], stats: dict[str, ItemStats]
) -> None:
    """What the pipeline's fold makes of a message of one event: the monoids, and nothing of the
    training code.
    """
    key = profile_key(each)
    profile = profiles.get(key, UserProfile())
    folded = fold(profile, [(each, CATALOG.get(each.product_id or ""))])
    assert folded.new
    profiles[key] = UserProfile.decode(profile.encode())
    for name, partial in item_sums([folded]).items():
        found = stats.get(name, ItemStats())
        found.merge(partial)
        stats[name] = ItemStats.decode(found.encode())


def folded_by_hand(events: Sequence[Event]) -> tuple[dict[str, UserProfile], dict[str, ItemStats]]:
    """The profiles and items of all these events."""
    profiles: dict[str, UserProfile] = {}
    stats: dict[str, ItemStats] = {}
    for each in events:
        fold_by_hand(each, profiles, stats)
    return profiles, stats
