"""The arithmetic of docs/scale.md, on round numbers, and that the document is the generator's."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest

from tests.bench import scale
from tests.bench.costs import Bundle, Costs
from tests.bench.scale import DOCUMENT, documented, markers, parts, scale_name
from tests.bench.sizing import (
    PRICES,
    SCALES,
    Assumptions,
    bundled,
    catch_up,
    coalesced,
    dollars,
    duplicate_share,
    hot_keys,
    per_message,
    size,
    zipf,
)

ROUND = Costs(
    decode_us=5,
    row_us=5,
    profile_us=100,
    session_us=50,
    address_us=50,
    item_us=20,
    scope_us=10,
    query_us=10,
    top_us=50,
    element_us=100,
    event_bytes=500,
    fact_bytes=500,
    row_bytes=1_000,
    profile_bytes=4_000,
    item_bytes=5_000,
    item_partial_bytes=200,
    scope_bytes=5_000,
    query_bytes=100,
    top_bytes=20_000,
    bundles=(Bundle(1, 200, 20, 40, 2), Bundle(10, 200, 10, 20, 1), Bundle(100, 200, 5, 4, 0.5)),
)
PLAIN = Assumptions(
    harness_factor=1.0, utilisation=0.5, forwarded_share=0.0, public_share=0.5, changes_a_day=0.0
)


def test_a_message_costs_its_folds_and_what_the_runner_adds_to_each_of_its_elements() -> None:
    found = per_message(ROUND, PLAIN)
    of_searches = 1 * 10 + 0.5 * 50
    assert found.own_us == 20 * (5 + 5) + 100 + 50 + 50 + 200 + 10 * 20 + 20 * 10 + of_searches
    assert found.elements == 1 + 2 + 10 + 20 + 1 + 0.5
    assert found.us == found.own_us + found.elements * 100


def test_vcpus_are_messages_a_second_times_their_cost_over_how_full_workers_run() -> None:
    assert size(20_000, ROUND, PLAIN).vcpus == pytest.approx(
        1_000 * per_message(ROUND, PLAIN).us / 1e6 / 0.5
    )


@pytest.mark.parametrize(
    "name",
    ["vcpus", "visitors_day", "reads_s", "pubsub_tib", "streamed_tib", "logged_gib", "stored_gib"],
)
def test_twice_the_load_is_twice_of_what_follows_the_load(name: str) -> None:
    once, twice = size(10_000, ROUND, PLAIN), size(20_000, ROUND, PLAIN)
    assert getattr(twice, name) == pytest.approx(2 * getattr(once, name))


def test_twice_the_load_is_less_than_twice_the_writes_of_items_written_once_an_interval() -> None:
    once, twice = size(10_000, ROUND, PLAIN), size(20_000, ROUND, PLAIN)
    assert once.writes_s < twice.writes_s < 2 * once.writes_s


def test_a_row_is_written_at_every_change_when_seldom_and_once_an_interval_when_often() -> None:
    assert coalesced([0.001], 0.2) == pytest.approx(0.001, rel=1e-3)
    assert coalesced([1e6], 0.2) == pytest.approx(5, rel=1e-3)
    assert coalesced([3.0, 4.0], 0) == 7


def test_every_process_of_the_api_reads_what_changes_in_the_catalog() -> None:
    changing = replace(PLAIN, changes_a_day=2.0, items=86_400, answers_a_process=10.0)
    still = replace(changing, changes_a_day=0.0)
    sizes = [size(10_000, ROUND, given) for given in (changing, still)]
    assert sizes[0].api_processes == 10_000 * 0.05 / 10
    assert sizes[0].reads_s - sizes[1].reads_s == pytest.approx(sizes[0].api_processes * 2)
    assert sizes[0].writes_s - sizes[1].writes_s == pytest.approx(2 * 2)  # items, and their notes


def test_zipf_gives_all_of_it_away_and_the_first_twice_what_the_second_gets() -> None:
    rates = zipf(100, 1_000)
    assert sum(rates) == pytest.approx(100) and rates[0] == pytest.approx(2 * rates[1])


def test_an_installation_without_load_has_a_worker_and_a_node() -> None:
    idle = size(0.001, ROUND, PLAIN)
    assert (idle.workers, idle.nodes) == (1, 1)


def test_nodes_follow_the_storage_where_that_asks_for_more_than_the_load() -> None:
    much = replace(PLAIN, visitors_kept=1e6)
    found = size(1_000, ROUND, much)
    assert found.nodes == -(-found.storage_gib // much.node_storage_gib)


def test_dollars_are_volumes_times_list_prices() -> None:
    found = size(100_000, ROUND, PLAIN)
    bill = dollars(found, PLAIN)
    pubsub = found.pubsub_tib * PRICES["Pub/Sub throughput"].dollars
    assert bill["Pub/Sub"] == pytest.approx(
        pubsub + found.retained_gib * PRICES["Pub/Sub retention"].dollars
    )
    assert bill["Streaming Engine"] == pytest.approx(
        found.streamed_tib * 1024 * PRICES["Streaming Engine"].dollars
    )


def test_a_load_at_its_peak_all_day_costs_more_than_one_with_nights() -> None:
    always = replace(PLAIN, peak_share=1.0)
    assert always.mean_load() == 1.0 and PLAIN.mean_load() == pytest.approx(0.5)
    bills = [sum(dollars(size(100_000, ROUND, given), given).values()) for given in (PLAIN, always)]
    assert bills[0] < bills[1]


def test_larger_bundles_leave_a_hot_item_fewer_elements() -> None:
    assert bundled(1.0, 10) == 0.1
    assert bundled(0.01, 1) == pytest.approx(0.01)
    assert bundled(0.5, 100) < bundled(0.5, 10)


def test_ten_times_the_shards_bear_ten_times_the_load() -> None:
    one, eight, hundred = (
        key.saturates_events_s for key in hot_keys(ROUND, PLAIN) if "trending scope" in key.name
    )
    assert eight == pytest.approx(8 * one) and hundred == pytest.approx(100 * one)


def test_one_visitor_bears_as_many_messages_as_their_cost_lets_follow_one_another() -> None:
    visitor = hot_keys(ROUND, PLAIN)[-1]
    assert (
        visitor.folds_s == 1e6 / (100 + 100) and visitor.saturates_events_s == 20 * visitor.folds_s
    )


def test_what_is_known_already_is_caught_up_with_sooner() -> None:
    share = duplicate_share(ROUND, PLAIN)
    assert 0 < share < 1
    assert catch_up(1, 1.0, PLAIN) == 1.0 and catch_up(1, share, PLAIN) == pytest.approx(share)


def test_the_document_has_a_table_for_each_part_and_names_the_scales_of_the_code() -> None:
    text = DOCUMENT.read_text("utf-8")
    documented(text, parts(ROUND, PLAIN, "a machine"))  # raises where a marker is missing
    assert "1k, 10k, 100k and 1M events a second" in text
    names = [scale_name(events_s) for events_s in SCALES]
    assert names == ["1k events/s", "10k events/s", "100k events/s", "1M events/s"]
    for name in ("sizes", "dollars"):
        begin, end = markers(name)
        head = text.partition(begin)[2].partition(end)[0].strip().splitlines()[0]
        assert [cell.strip() for cell in head.strip("|").split("|")][1:] == names


def test_the_document_s_assumptions_are_those_of_the_code() -> None:
    begin, end = markers("assumed")
    table = DOCUMENT.read_text("utf-8").partition(begin)[2].partition(end)[0].strip()
    assert table == parts(ROUND, Assumptions(), "a machine")["assumed"]
    assert {field.name for field in fields(Assumptions)} == set(
        re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    )


def test_the_document_s_prices_are_those_of_the_code() -> None:
    begin, end = markers("prices")
    table = DOCUMENT.read_text("utf-8").partition(begin)[2].partition(end)[0].strip()
    assert table == parts(ROUND, PLAIN, "a machine")["prices"]


def test_a_document_without_a_marker_is_refused_with_the_line_that_is_missing() -> None:
    with pytest.raises(ValueError, match="text: expected the lines <!-- sizes: begin"):
        documented("nothing", {"sizes": "| |"})


def test_an_argument_that_is_none_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert scale.main(["--doc"]) == 2
    assert "expected nothing or --docs, got --doc" in capsys.readouterr().err
