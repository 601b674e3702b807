"""Serving reads what the pipeline wrote, on the real emulator."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from math import log2
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import GoogleAPICallError

from pipeline.core.catalog import Item, encode_item
from pipeline.core.decay import DAY_MS
from pipeline.core.items import TRENDING_HALF_LIFE_MS, ItemRow, ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.queries import TopQueries, TopQuery
from pipeline.runtime.clock import now_ms
from pipeline.store import layout
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.layout import cell, item_write, trending_key
from pipeline.store.serving import SCAN_S, AsyncStore
from pipeline.store.tables import ensure_tables
from tests.pipeline.core.streams import START_MS, event

FLOOD_ROWS, FLOOD_ROW_BYTES = 4_000, 10_000


@pytest.fixture
async def serving(source: Bigtable) -> AsyncIterator[AsyncStore]:
    """The reader that serving uses."""
    found = AsyncStore(*source)
    yield found
    await found.close()


def trending_of(**popularity: float) -> Trending:
    """Items by their popularity in views at `START_MS`."""
    trending = Trending()
    for item_id, views in popularity.items():
        trending.rank(item_id, START_MS / TRENDING_HALF_LIFE_MS + log2(views))
    return trending


async def test_serving_reads_the_profile_that_the_pipeline_wrote(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    profile = UserProfile()
    profile.add(event(product_id="p"))
    store.write([cell(layout.PROFILE, f"u#{tag}", profile.encode(), 1)])
    assert await serving.read_profile(f"u#{tag}") == profile.copy()
    assert await serving.read_profile(f"a#{tag}") is None


async def test_serving_reads_the_top_queries_of_all_shards_and_not_the_statistics_of_any(
    alone: Bigtable,
) -> None:
    serving, store = AsyncStore(*alone), alone.store()
    queries = [f"lamp {n}" for n in range(20)]
    rows: dict[str, TopQueries] = {}
    for n, query in enumerate(queries):
        row = rows.setdefault(layout.top_queries_row(query), TopQueries(START_MS))
        row.note(query, TopQuery(1, float(n)))
    assert len(rows) > 1
    store.write([cell(layout.TOP_QUERIES, key, top.encode(), 1) for key, top in rows.items()])
    store.write([cell(layout.QUERY, layout.query_row(queries[0]), b"unreadable", 1)])
    found = await serving.read_top_queries()
    await serving.close()
    assert {query: found.queries[query].log2_searches for query in queries} == {
        query: float(n) for n, query in enumerate(queries)
    }
    assert serving.unreadable == 0


async def test_serving_reads_items_with_what_is_there_of_them(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    stats = ItemStats()
    stats.add(event(product_id="p"))
    known, counted = f"{tag}-known", f"{tag}-counted"
    told, stub = f"{tag}-told", Item(f"{tag}-told", "Vase", stub=True)
    store.write(
        [
            item_write(Item(known, "Lamp"), now_ms()),
            cell(layout.STATS, counted, stats.encode(), 1),
        ]
    )
    store.write(
        [
            cell(layout.STATS, told, stats.encode(), 1),
            cell(layout.STUB, told, encode_item(stub), 1),
        ]
    )
    expected = {
        known: ItemRow(Item(known, "Lamp"), ItemStats()),
        counted: ItemRow(Item(counted, stub=True), stats),
        told: ItemRow(stub, stats),
    }
    assert await serving.read_items([*expected, f"{tag}-absent"]) == expected
    assert await scanned(serving, tag, with_stubs=True) == expected


async def scanned(serving: AsyncStore, tag: str, with_stubs: bool) -> dict[str, ItemRow]:
    """The rows of a scan whose ids begin with the tag."""
    found = {row.item.item_id: row async for row in serving.scan_items(with_stubs)}
    return {key: row for key, row in found.items() if key.startswith(tag)}


async def test_a_scan_of_the_catalog_reads_no_stub(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    stats = ItemStats()
    stats.add(event(product_id="p"))
    lamp, vase = f"{tag}-lamp", f"{tag}-vase"
    store.write(cell(layout.STATS, key, stats.encode(), 7) for key in (lamp, vase))
    store.write([item_write(Item(lamp, "Lamp"), now_ms())])
    store.write([cell(layout.STUB, vase, encode_item(Item(vase, "Vase", stub=True)), 7)])
    assert await scanned(serving, tag, with_stubs=False) == {
        lamp: ItemRow(Item(lamp, "Lamp"), stats)
    }
    everything = await scanned(serving, tag, with_stubs=True)
    assert {key: row.item.stub for key, row in everything.items()} == {lamp: False, vase: True}
    assert everything[vase].item.title == "Vase"


async def test_what_has_expired_is_not_read_and_the_catalog_never_does(
    source: Bigtable, store: Store, tag: str
) -> None:
    serving, stats = AsyncStore(*source, item_ttl_days=30), ItemStats()
    stats.add(event(product_id="p"))
    days = {"fresh": 29, "stale": 31, "lamp": 31}
    for name, age in days.items():
        at_ms = now_ms() - age * DAY_MS
        key, stub = f"{tag}-{name}", encode_item(Item(f"{tag}-{name}", stub=True))
        store.write(
            [
                cell(layout.STATS, key, stats.encode(), at_ms),
                cell(layout.STUB, key, stub, at_ms),
            ]
        )
        row = trending_key(layout.category_scope(f"{tag}{name}"), 0)
        store.write([cell(layout.TRENDING, row, trending_of(a=1.0).encode(), at_ms)])
    store.write([item_write(Item(f"{tag}-lamp"), now_ms() - 900 * DAY_MS)])
    store.write(
        [
            cell(
                layout.TRENDING,
                trending_key(layout.GLOBAL_SCOPE, 0),
                trending_of().encode(),
                now_ms(),
            )
        ]
    )
    expected = {
        f"{tag}-fresh": ItemRow(Item(f"{tag}-fresh", stub=True), stats),
        f"{tag}-lamp": ItemRow(Item(f"{tag}-lamp"), ItemStats()),
    }
    assert await serving.read_items([f"{tag}-{name}" for name in days]) == expected
    assert await scanned(serving, tag, with_stubs=True) == expected
    scopes = [
        await serving.read_trending(layout.category_scope(f"{tag}{name}"))
        for name in ("fresh", "stale")
    ]
    assert [len(scope.scores) for scope in scopes] == [1, 0]
    await serving.close()


async def test_what_cannot_be_decoded_is_counted_and_hides_nothing_else(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    good, broken, newer = f"{tag}-good", f"{tag}-broken", f"{tag}-newer"
    scope = layout.category_scope(tag)
    store.write(
        [
            item_write(Item(good, "Lamp"), 2),
            cell(layout.ITEM, broken, b"\x01\xc1", 2),
            cell(layout.ITEM, newer, b"\x63" + encode_item(Item(newer))[1:], 2),
            cell(layout.PROFILE, newer, b"\x63" + UserProfile().encode()[1:], 2),
            cell(layout.TRENDING, trending_key(scope, 0), trending_of(a=1.0).encode(), 1),
            cell(layout.TRENDING, trending_key(scope, 1), b"\xc1", 1),
            *(
                cell(
                    layout.TRENDING,
                    trending_key(layout.GLOBAL_SCOPE, n),
                    Trending().encode(),
                    1,
                )
                for n in (0, 1)
            ),
        ]
    )
    assert set(await serving.read_items([good, broken, newer])) == {good}
    assert serving.unreadable == 2
    assert set(await scanned(serving, tag, with_stubs=False)) == {good}
    scanned_too = serving.unreadable
    assert scanned_too >= 4
    assert [item_id for item_id, _ in (await serving.read_trending(scope)).top(START_MS, 9)] == [
        "a"
    ]
    assert await serving.read_profile(newer) is None
    assert serving.unreadable == scanned_too + 2
    assert serving.unreadable_reason == "version of a stored UserProfile: expected 1, got 99"


async def test_serving_merges_the_shards_of_a_scope_and_of_no_other(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    scope, deeper = layout.category_scope(tag), layout.category_scope(f"{tag}#01")
    writes: list[tuple[str, Any]] = [
        (trending_key(scope, 0), trending_of(b=1.0, c=0.5)),
        (trending_key(scope, 11), trending_of(a=2.0)),
        (trending_key(deeper, 0), trending_of(deeper=1.0)),
        (trending_key(layout.category_scope(f"{tag}0"), 0), trending_of(longer=1.0)),
        *((trending_key(layout.GLOBAL_SCOPE, shard), Trending()) for shard in (0, 11)),
    ]
    store.write([cell(layout.TRENDING, key, state.encode(), 1) for key, state in writes])
    top = (await serving.read_trending(scope)).top(START_MS, 10)
    assert [(item_id, round(score, 6)) for item_id, score in top] == [
        ("a", 2.0),
        ("b", 1.0),
        ("c", 0.5),
    ]
    assert [item_id for item_id, _ in (await serving.read_trending(deeper)).top(START_MS, 9)] == [
        "deeper"
    ]
    assert (await serving.read_trending(layout.category_scope(f"{tag}-none"))).top(
        START_MS, 9
    ) == []


async def test_what_no_catalog_holds_is_read_with_the_catalogs_scope_and_never_by_it(
    source: Bigtable, tag: str
) -> None:
    own = Bigtable(source.project, f"scopes-{tag}")
    ensure_tables(*own)
    serving = AsyncStore(*own)
    made_up, known = trending_of(made_up=9.0, p=1.0), trending_of(p=2.0)
    for scope, state in ((layout.STUB_SCOPE, made_up), (layout.GLOBAL_SCOPE, known)):
        own.store().write([cell(layout.TRENDING, trending_key(scope, 3), state.encode(), 1)])

    async def top(scope: str) -> list[str]:
        return [item_id for item_id, _ in (await serving.read_trending(scope)).top(START_MS, 9)]

    assert await top(layout.GLOBAL_SCOPE) == ["p"]
    assert await top(layout.STUB_SCOPE) == ["made_up", "p"]
    own.store().close()
    await serving.close()


async def test_the_whole_time_of_a_scan_is_that_of_its_first_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts_s = []

    async def no_rows(request: bytes, context: Any) -> AsyncIterator[bytes]:
        attempts_s.append(context.time_remaining())
        return
        yield b""

    methods = {"ReadRows": grpc.unary_stream_rpc_method_handler(no_rows)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("google.bigtable.v2.Bigtable", methods),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    monkeypatch.setenv("BIGTABLE_EMULATOR_HOST", f"127.0.0.1:{port}")
    serving = AsyncStore("demo-project", "empty")
    assert [row async for row in serving.scan_items(with_stubs=False)] == []
    await serving.close()
    await server.stop(None)
    assert attempts_s == [pytest.approx(SCAN_S, abs=10.0)]


async def test_categories_whose_names_begin_alike_cost_a_reader_nothing(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    scope = layout.category_scope(tag)
    store.write(
        [cell(layout.TRENDING, trending_key(layout.GLOBAL_SCOPE, 0), Trending().encode(), 1)]
    )
    store.write([cell(layout.TRENDING, trending_key(scope, 0), trending_of(a=1.0).encode(), 1)])
    flood = (trending_key(f"{scope}#{n}", 0) for n in range(FLOOD_ROWS))
    store.write(cell(layout.TRENDING, row, bytes(FLOOD_ROW_BYTES), 1) for row in flood)
    await serving.read_trending(layout.GLOBAL_SCOPE)
    began = time.monotonic()
    top = (await serving.read_trending(scope, timeout_s=5.0)).top(START_MS, 9)
    read_s, began = time.monotonic() - began, time.monotonic()
    store.count("trending")
    scan_s = time.monotonic() - began
    assert [item_id for item_id, _ in top] == ["a"]
    assert read_s < scan_s / 5


async def test_a_ping_is_answered_and_without_tables_refused(
    serving: AsyncStore, source: Bigtable, tag: str
) -> None:
    await serving.ping(5.0)
    elsewhere = AsyncStore(source.project, f"none-{tag}")
    with pytest.raises(GoogleAPICallError):
        await elsewhere.ping()
    await elsewhere.close()


async def test_a_scan_since_a_time_gives_whole_rows_of_what_was_written_then(
    alone: Bigtable,
) -> None:
    stats = ItemStats()
    stats.add(event(product_id="p"))
    old_ms, since_ms = START_MS, START_MS + 1_000
    alone.store().write(
        [
            item_write(Item("old"), old_ms),
            item_write(Item("written"), since_ms),
            item_write(Item("clicked"), old_ms),
            cell(layout.STATS, "clicked", stats.encode(), since_ms + 5),
            item_write(Item("priced"), since_ms + 5),
            cell(layout.STATS, "priced", stats.encode(), old_ms),
            cell(layout.STATS, "stub", stats.encode(), since_ms + 5),
        ]
    )
    serving = AsyncStore(*alone)
    try:
        rows = serving.scan_items(with_stubs=False, since_ms=since_ms)
        found = {row.item.item_id: row.stats.newest_ms async for row in rows}
    finally:
        await serving.close()

    newest_ms = stats.newest_ms
    assert found == {"written": 0, "clicked": newest_ms, "priced": newest_ms}
