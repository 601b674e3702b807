"""Stored states by version: one golden file each holds bytes that were stored, and what they said
when they were.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from pipeline.core.catalog import Item, encode_item
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.queries import QueryStats, TopQueries
from pipeline.store import layout
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.layout import cell
from pipeline.store.versions import UnknownVersion, decode, knows_version
from tests.pipeline.core.streams import START_MS, event
from tests.pipeline.golden.write import FOLDER, query_readings, readings
from tests.pipeline.running import Visitor, features, message, stored_items, stored_profile

VERSIONS = (1,)
FORMS: dict[str, Any] = {
    "profile": UserProfile,
    "stats": ItemStats,
    "trending": Trending,
    "item": Item,
}
QUERY_FORMS: dict[str, Any] = {"query": QueryStats, "top_queries": TopQueries}
ALL_FORMS = [*FORMS.values(), *QUERY_FORMS.values()]
KINDS = {
    layout.PROFILE: UserProfile().encode(),
    layout.STATS: ItemStats().encode(),
    layout.TRENDING: Trending().encode(),
    layout.QUERY: QueryStats().encode(),
    layout.TOP_QUERIES: TopQueries().encode(),
    layout.ITEM: encode_item(Item("p")),
    layout.STUB: encode_item(Item("p", stub=True)),
}
DAY_MS = 86_400_000


def golden(version: int) -> dict[str, Any]:
    """A version's file, its states decoded."""
    return opened(f"version_{version}.json", FORMS)


def opened(name: str, forms: Mapping[str, Any]) -> dict[str, Any]:
    """A golden file, its states of these forms decoded."""
    found: dict[str, Any] = json.loads((FOLDER / name).read_text("utf-8"))
    return found | {
        name: decode(form, base64.b64decode(found[name])) for name, form in forms.items()
    }


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


@pytest.mark.parametrize("version", VERSIONS)
def test_the_states_of_a_version_say_what_they_said(version: int) -> None:
    file = golden(version)
    said = readings(file["profile"], file["stats"], file["trending"], file["now_ms"])
    said["item_says"] = msgspec.structs.asdict(file["item"])
    for name, value in json.loads(json.dumps(said)).items():
        assert_says(value, file[name], name)


@pytest.mark.parametrize("version", VERSIONS)
def test_queries_of_a_version_say_what_they_said(version: int) -> None:
    file = opened(f"queries_version_{version}.json", QUERY_FORMS)
    said = query_readings(file["query"], file["top_queries"], file["now_ms"])
    for name, value in json.loads(json.dumps(said)).items():
        assert_says(value, file[name], name)
    for name, form in QUERY_FORMS.items():
        assert decode(form, file[name].encode()) == file[name]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_file_holds_something_to_say(version: int) -> None:
    file = golden(version)
    silent = {name for name, value in file["features"].items() if not value}
    assert not {name for name in silent if not name.endswith(("_1m", "_5m"))}
    assert all(
        file[name]
        for name in ("shown", "neighbours", "bought_with", "context", "trending_says", "category")
    )
    assert file["profile"].marks and file["profile"].fired and file["item"].price


@pytest.mark.parametrize("version", VERSIONS)
def test_a_duplicate_of_an_event_that_a_stored_profile_has_folded_is_recognised(
    version: int,
) -> None:
    file = golden(version)
    profile: UserProfile = file["profile"]
    assert all(profile.contains(*identity) for identity in file["events"])
    assert profile.events_total == len(file["events"])
    event_id, name, product_id = file["events"][-1]
    assert not profile.add(event(name, event_id=event_id, product_id=product_id))
    assert profile.add(event(name, event_id="another", product_id=product_id))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["profile", "stats", "trending"])
def test_what_is_read_and_written_again_says_the_same(version: int, name: str) -> None:
    state = golden(version)[name]
    assert decode(FORMS[name], state.encode()) == state


@pytest.mark.parametrize("version", VERSIONS)
def test_stored_states_go_on_as_if_they_were_new(version: int) -> None:
    file = golden(version)
    profile, now_ms = file["profile"], file["now_ms"]
    before = profile.total("view_product")
    later = event(at_s=4 * 3600, product_id="p3", metadata={"category": "new"})
    assert profile.add(later) and profile.copy().last_item == "p3"
    assert profile.total("view_product") == before + 1
    assert profile.count("view_product", "5m", later.time_ms) == 1
    views = file["stats"].views(now_ms + DAY_MS)
    file["stats"].add(event(at_s=(now_ms - START_MS) / 1000, product_id="p"))
    assert file["stats"].views(now_ms + DAY_MS) == pytest.approx(views + 2 ** (-1 / 7), rel=1e-6)


@pytest.mark.parametrize("form", ALL_FORMS)
@pytest.mark.parametrize(
    ("data", "found"), [(b"", "no byte"), (b"\x63", "99"), (b"\x63\x90", "99")]
)
def test_an_unknown_version_is_named_with_those_that_are_known(
    form: Any, data: bytes, found: str
) -> None:
    expected = f"^version of a stored {form.__name__}: expected 1, got {found}$"
    with pytest.raises(UnknownVersion, match=expected):
        decode(form, data)


@pytest.mark.parametrize("form", ALL_FORMS)
@pytest.mark.parametrize("data", [b"\x01", b"\x01\xc0", b"\x01\xc1", b"\x01no state"])
def test_damaged_bytes_of_a_known_version_are_refused(form: Any, data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as refused:
        decode(form, data)
    assert not isinstance(refused.value, UnknownVersion)


NEWER = b"\x63what a newer release writes"
DAMAGED = b"\x01\xc1"


@pytest.mark.parametrize("value", [NEWER, DAMAGED])
def test_a_fold_leaves_a_row_that_it_cannot_read_as_it_is_and_folds_the_others(
    alone: Bigtable, tag: str, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store, (known, other) = alone.store(), (Visitor(f"{tag}{name}") for name in "ab")
    hidden, product, scope = known.product("hidden"), known.product("seen"), "stubs#all#00"
    kept = {
        layout.PROFILE: other.key,
        layout.STATS: hidden,
        layout.STUB: hidden,
        layout.TRENDING: scope,
    }
    store.write(cell(kind, key, value, 7) for kind, key in kept.items())
    views = [known.did("view_product", "hidden"), known.did("view_product", "seen", 1)]

    counts = features(
        alone,
        [message(*views), message(other.did("scroll")), message(other.logged_in("scroll", at_s=1))],
    )

    assert {kind: store.read(kind, key) for kind, key in kept.items()} == dict.fromkeys(
        kept, (value, 7)
    )
    assert stored_profile(store, known.key).events_total == 2
    assert stored_items(store, [product])[product].counts.totals == {0: 1}
    assert (counts["fold/unreadable"], counts["items/unreadable"]) == (2, 1)
    assert counts["scopes/unreadable"] > 0
    if value == NEWER:
        reason = "version of a stored UserProfile: expected 1, got 99"
        assert f"a row of kind profile is left as it is: {reason}" in caplog.messages
    store.close()


def test_a_catalog_row_of_a_newer_release_is_as_if_the_catalog_did_not_hold_the_item(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    store.write([cell(layout.ITEM, visitor.product("p"), NEWER, 7)])
    counts = features(source, [message(visitor.did("view_product", "p"))])
    assert counts["decode/unknown_item"] == 1
    assert store.read(layout.ITEM, visitor.product("p")) == (NEWER, 7)
    assert stored_profile(store, visitor.key).events_total == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_today_is_of_a_known_version_and_what_a_newer_release_wrote_is_not(
    kind: str,
) -> None:
    assert knows_version(kind, KINDS[kind]) and knows_version(kind, b"\x01damaged")
    assert not knows_version(kind, b"\x63" + KINDS[kind][1:]) and not knows_version(kind, b"")
