"""The fold of visitors: no disorder bends it, no duplicate passes it, no restart is noticed."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.testing.test_stream import TestStream as Script

from pipeline.core.profile import UserProfile
from pipeline.runtime.clock import now_ms
from pipeline.steps.keyed_state import StateOptions
from pipeline.steps.profiles import FoldProfiles, Profiles
from pipeline.store import layout
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.layout import item_write
from tests.pipeline.core.streams import assert_same
from tests.pipeline.running import (
    LONG_S,
    RUNNERS,
    START_MS,
    Clean,
    Visitor,
    browsed,
    browsing,
    collect,
    disordered,
    facts,
    features,
    message,
    outputs,
    run,
    stored_items,
    stored_profile,
    stored_scopes,
)


def assert_stored(store: Store, key: str, clean: Clean) -> None:
    """The visitor's profile, and all that nobody else has a part in, are stored as the clean stream
    has them.
    """
    assert_same(stored_profile(store, key), clean.profile)
    assert_same(stored_items(store, clean.items), clean.items)
    shared = (layout.GLOBAL_SCOPE, layout.STUB_SCOPE)
    scopes = {row: scope for row, scope in clean.scopes.items() if not row.startswith(shared)}
    assert_same(stored_scopes(store, scopes), scopes)


def test_what_is_stored_of_a_disordered_stream_is_that_of_the_clean_one(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    clean, catalog = browsing(visitor), browsed(visitor)
    store.write([item_write(item, now_ms()) for item in catalog.values()])
    features(source, disordered(clean, 1))
    expected = Clean(clean, catalog=catalog)
    assert len(expected.scopes) == 3  # two categories and all
    assert_stored(store, visitor.key, expected)


def test_a_duplicate_goes_no_further_whether_in_the_same_message_or_another(
    source: Bigtable, visitor: Visitor
) -> None:
    one, two = visitor.did("view_product", "a"), visitor.did("view_product", "b", 1)
    counts = features(source, [message(one, one), message(one, two), message(two)])
    assert [(key, [event.event_id for event, _ in new.facts]) for key, new in outputs["new"]] == [
        (visitor.key, [one.event_id]),
        (visitor.key, [two.event_id]),
    ]
    assert (counts["fold/new"], counts["fold/duplicate"]) == (2, 3)


def test_a_new_pipeline_continues_exactly_where_the_last_one_stored(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    clean, catalog = browsing(visitor), browsed(visitor)
    store.write([item_write(item, now_ms()) for item in catalog.values()])
    features(source, disordered(clean[:17], 2))
    counts = features(source, disordered(clean[10:], 3))
    assert_stored(store, visitor.key, Clean(clean, catalog=catalog))
    assert sum(len(new.facts) for _, new in outputs["new"]) == 13
    assert counts["fold/warm_started"] == 1
    assert counts["items/warm_started"] == 6
    assert counts["scopes/warm_started"] == 3  # two categories and all


def test_a_late_event_still_folds_and_its_state_lies_above_the_earlier_one(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    on_time, late = visitor.did("scroll", at_s=3600), visitor.did("scroll", at_s=0)
    features(source, [message(on_time)])
    before = store.read(layout.PROFILE, visitor.key)
    features(source, [message(late)])
    after = store.read(layout.PROFILE, visitor.key)
    assert before is not None and after is not None
    assert before[1] == START_MS + 3_600_000 and after[1] == before[1] + 1
    # A delayed write of the earlier state, which a retry may bring, hides nothing.
    store.write([layout.cell(layout.PROFILE, visitor.key, *before)])
    assert store.read(layout.PROFILE, visitor.key) == after
    assert stored_profile(store, visitor.key).events_total == 2


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(("silence_s", "totals"), [(LONG_S, [2, 2]), (1, [2, 3])])
def test_the_state_of_a_silent_visitor_is_forgotten_and_read_back_from_bigtable(
    source: Bigtable,
    store: Store,
    visitor: Visitor,
    silence_s: float,
    totals: list[int],
    runner: type,
) -> None:
    # Nothing is written here, so whoever reads Bigtable again finds the one event that it held
    # before.
    before, first, second = (visitor.did("scroll", at_s=at_s) for at_s in range(3))
    store.write(
        [layout.cell(layout.PROFILE, visitor.key, Clean([before]).profile.encode(), START_MS)]
    )
    stream = Script().add_elements([(visitor.key, facts(first))]).advance_watermark_to(silence_s)
    stream = stream.add_elements([(visitor.key, facts(second))])
    run(
        lambda p: collect(profiles(p, stream, StateOptions(source, ttl_s=60)).writes, "writes"),
        runner,
    )
    assert [
        UserProfile.decode(value).events_total for _, _, value, _ in outputs["writes"]
    ] == totals


def profiles(pipeline: beam.Pipeline, stream: Script, state_options: StateOptions) -> Profiles:
    accounts = pipeline | stream.advance_watermark_to_infinity()
    browsers = pipeline | "None" >> beam.Create([], reshuffle=False)
    found: Profiles = {"browsers": browsers, "accounts": accounts} | FoldProfiles(state_options)
    return found
