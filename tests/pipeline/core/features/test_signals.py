"""Signals are the numeric features, and say when those that grow in silence get there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.decay import DAY_MS
from pipeline.core.features.signals import Signals
from pipeline.core.features.visitor import BY_NAME, NUMERIC
from pipeline.core.profile import UserProfile
from tests.pipeline.core.features.stories import said
from tests.pipeline.core.streams import START_MS, Fact, facts, laws, profile_of

DAY_S = 86_400


@laws
@given(facts(), st.integers(0, 40 * DAY_MS))
def test_signals_are_the_numeric_features_at_their_moment(stream: list[Fact], after: int) -> None:
    profile = profile_of(stream)
    now_ms = max(profile.newest_ms, START_MS) + after
    signals = Signals(profile, now_ms)
    assert dict(signals) == {name: float(BY_NAME[name].value(profile, now_ms)) for name in NUMERIC}
    assert len(signals) == len(NUMERIC) == len(list(signals))


def test_a_text_is_no_signal() -> None:
    with pytest.raises(KeyError, match="last_item"):
        Signals(UserProfile(), START_MS)["last_item"]
    with pytest.raises(KeyError, match="nonsense"):
        Signals(UserProfile(), START_MS)["nonsense"]


def asked(profile: UserProfile, name: str, value: float, until_ms: int) -> int | None:
    """The first ms at which the feature is at `value`, by asking: bisection, for it only grows."""
    low, high = profile.newest_ms, until_ms
    if Signals(profile, high)[name] < value:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if Signals(profile, middle)[name] >= value else (middle + 1, high)
    return low


VALUES = {
    "idle_s": st.floats(0, 90 * DAY_S),
    "cart_idle_s": st.floats(0, 90 * DAY_S),
    "churn_risk": st.floats(0, 0.99),
}


@pytest.mark.parametrize("name", VALUES)
@laws
@given(facts(max_size=25), st.data())
def test_the_time_at_which_a_growing_feature_gets_there_is_the_one_found_by_asking(
    name: str, stream: list[Fact], data: st.DataObject
) -> None:
    profile, value = profile_of(stream), data.draw(VALUES[name])
    said_ms = Signals(profile, START_MS).when(name, value)
    if not stream or (name == "cart_idle_s" and not profile.in_cart()):
        assert said_ms is None
        return
    assert said_ms is not None
    assert Signals(profile, said_ms)[name] >= value
    found_ms = asked(profile, name, value, profile.newest_ms + 3000 * DAY_MS)
    # A feature that is there already has been so since some time before the newest event.
    assert (
        found_ms == max(said_ms, profile.newest_ms)
        or found_ms == max(said_ms, profile.newest_ms) - 1
    )


@pytest.mark.parametrize(
    ("value", "expected_s"), [(1800, 1800), (0.0004, 0.001), (0.1, 0.1), (1800.1, 1800.1)]
)
def test_a_time_between_two_milliseconds_is_the_later(value: float, expected_s: float) -> None:
    signals = Signals(profile_of([(said("add_to_cart", 0, "a"), None)]), START_MS)
    assert (
        signals.when("idle_s", value)
        == signals.when("cart_idle_s", value)
        == START_MS + round(expected_s * 1000)
    )


def test_a_feature_that_does_not_grow_in_silence_never_gets_there() -> None:
    signals = Signals(profile_of([(said("scroll"), None)]), START_MS)
    assert all(signals.when(name, 1.0) is None for name in NUMERIC - {"idle_s"})
    assert signals.when("churn_risk", 1.0) is None and signals.when("nonsense", 0.0) is None
    assert Signals(UserProfile(), START_MS).when("idle_s", 1.0) is None
