"""What past releases stored is read as they read it: golden files hold their bytes and what they said of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from pipeline.core.decay import DAY_MS
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import MAX_CART_ITEMS, UserProfile
from pipeline.core.taste import LONG, SHORT
from tests.pipeline.core.golden.write import FOLDER, readings
from tests.pipeline.core.streams import START_MS, event

RELEASES = ("0.1.0", "0.2.0")
STATES: dict[str, Any] = {"profile": UserProfile, "stats": ItemStats, "trending": Trending}


def golden(release: str) -> dict[str, Any]:
    """A release's file, its states decoded by today's code."""
    found: dict[str, Any] = json.loads((FOLDER / f"release_{release.replace('.', '_')}.json").read_text("utf-8"))
    return found | {name: state.decode(base64.b64decode(found[name])) for name, state in STATES.items()}


def assert_says(said: Any, expected: Any, path: str = "") -> None:
    """`said` says what `expected` does, floats within 1e-9; an object may say more."""
    if isinstance(expected, Mapping):
        assert expected.keys() <= said.keys(), f"{path}: {expected.keys() - said.keys()} is missing"
        for key, value in expected.items():
            assert_says(said[key], value, f"{path}.{key}")
    elif isinstance(expected, list):
        assert len(said) == len(expected), path
        for place, (one, two) in enumerate(zip(said, expected, strict=True)):
            assert_says(one, two, f"{path}[{place}]")
    elif isinstance(expected, float):
        assert said == pytest.approx(expected, rel=1e-9, abs=1e-12), path
    else:
        assert said == expected, path


def test_the_profile_of_0_1_0_says_what_it_said() -> None:
    file = golden("0.1.0")
    profile: UserProfile = file["profile"]
    # Of carts it kept more items.
    cart = [item_id for item_id in file["profile_says"]["cart"] if item_id in profile.cart]
    assert_says(profile.describe(file["now_ms"]), {**file["profile_says"], "cart": cart})
    assert len(profile.cart) == MAX_CART_ITEMS
    assert_says(profile.category_interest(), file["interest"])
    assert_says(profile.taste.brand_shares(LONG), file["brands"])
    assert profile.taste.log_price() == pytest.approx(file["log_price"], rel=1e-9)


def test_the_item_and_the_scope_of_0_1_0_say_what_they_said() -> None:
    file = golden("0.1.0")
    stats, now_ms = file["stats"], file["now_ms"]
    assert_says(stats.describe(now_ms), file["stats_says"])
    assert stats.views(now_ms) == pytest.approx(file["views"], rel=1e-9)
    assert_says(stats.neighbours(now_ms), file["neighbours"])
    assert_says([list(entry) for entry in file["trending"].top(now_ms, 20)], file["trending_says"])


def test_what_0_1_0_did_not_keep_starts_empty() -> None:
    profile: UserProfile = golden("0.1.0")["profile"]
    assert profile.taste.embedding(LONG) is None and profile.taste.brand_shares(SHORT) == {}
    assert (profile.first_touch, profile.impressions, profile.purchases) == (None, b"", b"")
    assert profile.recent_queries() == [] and profile.session()[1].items == set()
    assert profile.days.count >= 1


def test_the_states_of_0_2_0_say_what_they_said() -> None:
    file = golden("0.2.0")
    said = readings(file["profile"], file["stats"], file["trending"], file["now_ms"])
    for name, value in json.loads(json.dumps(said)).items():
        assert_says(value, file[name], name)


def test_the_states_of_0_2_0_hold_something_to_say() -> None:
    file = golden("0.2.0")
    silent = {name for name, value in file["features"].items() if not value}
    assert not {name for name in silent if not name.endswith(("_1m", "_5m"))}
    assert all(file[name] for name in ("shown", "neighbours", "bought_with", "context", "trending_says", "category"))
    assert file["profile"].marks and file["profile"].fired


@pytest.mark.parametrize("release", RELEASES)
def test_a_duplicate_of_an_event_that_a_past_release_folded_is_recognised(release: str) -> None:
    file = golden(release)
    profile: UserProfile = file["profile"]
    assert not any(profile.add(event(event_id=f"g{n}")) for n in range(file["events"]))
    assert profile.events_total == file["events"] and profile.add(event(event_id="another"))


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", STATES)
def test_what_is_written_again_has_the_new_form_and_says_the_same(release: str, name: str) -> None:
    state = golden(release)[name]
    written = state.encode()
    assert written[0] == 2 and STATES[name].decode(written) == state


@pytest.mark.parametrize("release", RELEASES)
def test_a_past_releases_states_go_on_as_if_they_were_new(release: str) -> None:
    file = golden(release)
    profile, now_ms = file["profile"], file["now_ms"]
    before = profile.total("view_product")
    later = event(at_s=4 * 3600, product_id="p3", metadata={"category": "new"})
    assert profile.add(later) and profile.copy().last_item == "p3"
    assert profile.total("view_product") == before + 1
    assert profile.count("view_product", "5m", later.time_ms) == 1
    views = file["stats"].views(now_ms + DAY_MS)
    file["stats"].add(event(at_s=(now_ms - START_MS) / 1000, product_id="p"))
    assert file["stats"].views(now_ms + DAY_MS) == pytest.approx(views + 2 ** (-1 / 7), rel=1e-6)


@pytest.mark.parametrize("state", STATES.values())
@pytest.mark.parametrize("data", [b"\x02", b"\x02\xc0", b"\x99", b"\xc0", b"no state"])
def test_other_bytes_are_refused(state: Any, data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        state.decode(data)
