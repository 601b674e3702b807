"""Items in memory: fresh where visitors are, bounded, and as last known when Bigtable is silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import pytest

from pipeline.core.attribute_columns import MAX_COLUMNS
from pipeline.core.catalog import Item
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import VIEW, ItemRow
from pipeline.runtime.clock import now_ms
from pipeline.store.item_snapshot import FORMAT, SnapshotHeader
from tests.vertex.api.fakes import NOW_MS, Clock, FakeReader, item, row
from vertex.api.breaker import Unavailable
from vertex.api.items import (
    MAX_MISSING,
    MAX_WANTED,
    REFRESH_BATCH,
    REFRESH_S,
    RESCAN_GROWING_S,
    RESCAN_SHARE,
    ItemCache,
)


def popular(cache: ItemCache) -> list[str]:
    return cache.columns.ids(cache.shelves.popular)


def views(cache: ItemCache, item_id: str) -> float:
    """The item's decayed views, as in memory."""
    return float(cache.columns.counts.get(cache.columns.rows([item_id]), VIEW, NOW_MS)[0])


class TestItemCache:
    def setup_method(self) -> None:
        self.clock = Clock()
        self.reader = FakeReader([row(item(index)) for index in range(10)])
        self.cache = ItemCache(self.reader, 10, self.clock)

    async def test_the_start_loads_every_item(self) -> None:
        await self.cache.load()

        assert len(self.cache) == 10
        assert self.cache.item("p3") == self.reader.rows["p3"].item

    async def test_a_row_is_waited_for_when_missing_or_too_old_and_not_before(self) -> None:
        await self.cache.ensure(["p1"], 1.0, 5.0)
        self.clock.now += 5.0
        await self.cache.ensure(["p1"], 1.0, 5.0)
        assert self.reader.read == ["p1"]

        self.clock.now += 0.1
        await self.cache.ensure(["p1"], 1.0, 5.0)
        assert self.reader.read == ["p1", "p1"]

    async def test_a_stale_row_is_refreshed_in_the_background(self) -> None:
        await self.cache.ensure(["p1"], 1.0, 5.0)
        self.clock.now += 2.0
        await self.cache.ensure(["p1"], 1.0, 5.0)
        self.reader.rows["p1"] = row(item(1), views=3)

        await self.cache.refresh()

        assert self.cache.last_read("p1") == self.reader.rows["p1"]
        assert views(self.cache, "p1") == pytest.approx(3, rel=0.01)

    async def test_a_row_that_was_under_way_does_not_hide_a_change_that_was_read_since(
        self,
    ) -> None:
        await self.cache.load()
        before, read = dict(self.reader.rows), self.reader.items

        async def old_rows(ids: Sequence[str], background: bool = False) -> dict[str, ItemRow]:
            self.reader.items = read  # type: ignore[method-assign]
            await self.read_changes()
            return {item_id: before[item_id] for item_id in ids}

        self.reader.items = old_rows  # type: ignore[method-assign]
        await self.cache.ensure(["p1", "p2"], 0.0, 0.0)
        self.assert_changed()
        assert self.cache.last_read("p1") == self.reader.rows["p1"]

    async def test_a_scan_does_not_bring_back_what_was_changed_since_it_began(self) -> None:
        await self.cache.load()
        before = dict(self.reader.rows)

        async def old_scan(take: Callable[[ItemRow], bool], with_stubs: bool) -> int:
            await self.read_changes()
            for old in before.values():
                take(old)
            return 0

        self.reader.scan = old_scan  # type: ignore[method-assign]
        await self.cache.load()
        self.assert_changed()

    async def read_changes(self) -> None:
        """Some time later p1 is sold out and p2 deleted, and both are read again."""
        self.clock.now += 1.0
        del self.reader.rows["p2"]
        self.reader.rows["p1"] = row(item(1, in_stock=False))
        later = FakeReader(self.reader.rows.values())
        self.cache._reader, reader = later, self.cache._reader
        await self.cache.reread(["p1", "p2"])
        self.cache._reader = reader

    def assert_changed(self) -> None:
        sold_out = self.cache.item("p1")
        assert sold_out is not None and not sold_out.in_stock
        assert self.cache.item("p2") is None

    async def test_an_item_that_does_not_exist_is_asked_for_once(self) -> None:
        await self.cache.ensure(["none"], 1.0, 5.0)
        await self.cache.ensure(["none"], 1.0, 5.0)

        assert "none" not in self.cache.columns
        assert self.reader.read == ["none"]

    async def test_memory_is_bounded_and_the_longest_unread_go_first(self) -> None:
        cache = ItemCache(self.reader, 3, self.clock)
        for name in ("p0", "p1", "p2", "p0", "p3"):
            self.clock.now += 10.0
            await cache.ensure([name], 1.0, 5.0)

        assert [n for n in range(4) if f"p{n}" in cache.columns] == [0, 2, 3]

    async def test_a_missing_row_is_read_also_right_after_the_machine_has_started(self) -> None:
        self.clock.now = 0.5

        await self.cache.ensure(["p1"], 1.0, 5.0)

        assert "p1" in self.cache.columns

    async def test_a_scan_of_more_than_fits_keeps_memory_bounded_and_refreshes_what_is_known(
        self,
    ) -> None:
        cache = ItemCache(self.reader, 3, self.clock)
        await cache.load()
        await cache.ensure(["p9"], 1.0, 5.0)  # visitors are there, so it takes the place of another
        self.reader.rows["p9"] = row(item(9), views=3)

        await cache.load()

        assert len(cache) == 3
        assert views(cache, "p9") == pytest.approx(3, rel=0.01)

    async def test_asking_for_items_that_do_not_exist_displaces_none_that_do(self) -> None:
        await self.cache.load()

        for index in range(MAX_MISSING + 20):
            await self.cache.ensure([f"none{index}"], 1.0, 5.0)
        await self.cache.load()

        assert len(self.cache) == 10
        assert popular(self.cache) == [f"p{index}" for index in range(10)]

    async def test_an_item_that_was_deleted_is_forgotten_and_one_that_came_is_found(self) -> None:
        await self.cache.load()
        gone = self.reader.rows.pop("p1")
        await self.cache.ensure(["p1"], 0.0, -1.0)
        assert "p1" not in self.cache.columns

        self.reader.rows["p1"] = gone
        await self.cache.load()

        assert self.cache.item("p1") == gone.item

    async def test_an_item_that_a_whole_scan_does_not_find_any_more_is_forgotten(self) -> None:
        await self.cache.load()
        del self.reader.rows["p1"]
        self.clock.now += 1.0

        await self.cache.load()

        assert popular(self.cache) == [f"p{index}" for index in range(10) if index != 1]

    async def test_a_scan_that_left_out_rows_forgets_no_item(self) -> None:
        class HalfReadable(FakeReader):
            async def scan(self, take: Callable[[ItemRow], bool], with_stubs: bool) -> int:
                return await super().scan(take, with_stubs) + 1

        reader = HalfReadable(self.reader.rows.values())
        cache = ItemCache(reader, 10, self.clock)
        await cache.load()
        del reader.rows["p1"]
        self.clock.now += 1.0

        await cache.load()

        assert "p1" in cache.columns

    async def test_from_a_snapshot_all_is_there_before_bigtable_is_asked(self) -> None:
        self.reader.is_up = False

        await self.start_from_snapshot(self.reader.rows.values(), items=12)

        assert popular(self.cache) == [f"p{index}" for index in range(10)]
        assert self.cache.categories == {row.item.category for row in self.reader.rows.values()}
        assert self.cache.describe()["catalog"] == 12
        assert self.cache.describe()["full"] == ["catalog"]

    async def test_items_of_a_snapshot_are_as_old_as_it_is(self) -> None:
        await self.start_from_snapshot(self.reader.rows.values(), ago_s=100.0)

        self.cache.want(["p1"], max_age_s=120.0)
        await self.cache.refresh()
        assert self.reader.read == []
        self.cache.want(["p1"], max_age_s=80.0)
        await self.cache.refresh()
        assert self.reader.read == ["p1"]

    async def test_what_was_written_since_the_snapshot_is_read_before_all_is(self) -> None:
        class EndlessReader(FakeReader):
            async def scan(inner, take: Callable[[ItemRow], bool], with_stubs: bool) -> int:
                await asyncio.sleep(3600)
                return 0

        self.reader = EndlessReader(self.reader.rows.values())
        self.cache = ItemCache(self.reader, 20, self.clock)
        await self.start_from_snapshot(self.reader.rows.values())
        self.reader.rows["p1"] = row(item(1), views=3)
        self.reader.rows["new"] = row(Item("new", category="toys"))
        self.reader.changed = ["p1", "new"]
        self.reader.is_up = False

        refreshing = asyncio.create_task(self.cache.keep_fresh())
        await asyncio.sleep(2.5 * REFRESH_S)
        self.reader.is_up = True
        self.clock.now += 100.0
        await asyncio.sleep(1.0 + 2.5 * REFRESH_S)  # after a failure it waits for a second
        refreshing.cancel()

        assert views(self.cache, "p1") == pytest.approx(3, rel=0.01)
        assert "new" in popular(self.cache)
        assert self.reader.read == [f"written since {self.began_ms}"]

    async def start_from_snapshot(
        self, rows: Iterable[ItemRow], items: int = 10, ago_s: float = 0.0
    ) -> None:
        self.began_ms = now_ms() - round(ago_s * 1000)
        header = SnapshotHeader(FORMAT, self.began_ms, items)
        await self.cache.start_from(ItemColumns.of(rows), header)

    async def test_a_scan_that_takes_long_or_fails_is_not_begun_again_at_once(self) -> None:
        class SlowReader(FakeReader):
            async def scan(inner, take: Callable[[ItemRow], bool], with_stubs: bool) -> int:
                self.clock.now += 30.0
                return await super().scan(take, with_stubs)

        slow = SlowReader([row(item(1))])
        slow.is_up = False
        cache = ItemCache(slow, 10, self.clock)
        refreshing = asyncio.create_task(cache.keep_fresh())
        await asyncio.sleep(2.5 * REFRESH_S)
        began = self.clock.now
        slow.is_up = True
        self.clock.now += RESCAN_SHARE * 30.0 - 1.0
        await asyncio.sleep(1.0 + 2.5 * REFRESH_S)  # after a failure it waits for a second
        assert (len(cache), self.clock.now) == (0, began + RESCAN_SHARE * 30.0 - 1.0)

        self.clock.now += 1.0
        await asyncio.sleep(2.5 * REFRESH_S)
        refreshing.cancel()

        assert len(cache) == 1

    async def test_a_scan_that_takes_long_holds_up_no_row_that_is_wanted(self) -> None:
        class EndlessReader(FakeReader):
            async def scan(inner, take: Callable[[ItemRow], bool], with_stubs: bool) -> int:
                await asyncio.sleep(3600)
                return 0

        cache = ItemCache(EndlessReader([row(item(1))]), 10, self.clock)
        refreshing = asyncio.create_task(cache.keep_fresh())
        await asyncio.sleep(2.5 * REFRESH_S)
        cache.want(["p1"], 1.0)
        await asyncio.sleep(2.5 * REFRESH_S)
        refreshing.cancel()

        assert "p1" in cache.columns

    async def test_a_catalog_that_is_loaded_after_the_start_shows_within_seconds(self) -> None:
        rows, self.reader.rows = self.reader.rows, {}
        await self.cache.load()
        refreshing = asyncio.create_task(self.cache.keep_fresh())
        await asyncio.sleep(2.5 * REFRESH_S)
        self.reader.rows = rows

        self.clock.now += RESCAN_GROWING_S
        await asyncio.sleep(2.5 * REFRESH_S)
        refreshing.cancel()

        assert len(self.cache) == 10

    async def test_without_bigtable_rows_stay_as_they_were(self) -> None:
        await self.cache.load()
        self.reader.is_up = False
        self.clock.now += 100.0

        with pytest.raises(Unavailable):
            await self.cache.ensure(["p1"], 1.0, 5.0)

        assert "p1" in self.cache.columns


def stub(index: int, views: int = 1) -> ItemRow:
    return row(item(index, stub=True), views)


class TestStubs:
    def setup_method(self) -> None:
        self.clock = Clock()
        self.reader = FakeReader(
            [stub(index) for index in range(30)] + [row(item(index)) for index in range(30, 34)]
        )
        self.cache = ItemCache(self.reader, 4, self.clock)

    async def test_the_catalog_is_in_memory_whatever_stubs_come_first_in_the_table(self) -> None:
        await self.cache.load()

        assert [name for name in self.reader.rows if name in self.cache.columns] == [
            "p30",
            "p31",
            "p32",
            "p33",
        ]
        assert popular(self.cache) == ["p30", "p31", "p32", "p33"]
        assert self.cache.describe() == {
            "items": 4,
            "stubs": 0,
            "catalog": 4,
            "full": [],
            "mistyped": {},
        }

    async def test_stubs_that_are_asked_for_displace_no_item_of_the_catalog(self) -> None:
        await self.cache.load()

        await self.cache.ensure([f"p{index}" for index in range(30)], 1.0, 5.0)
        self.cache.reshelve()

        assert popular(self.cache) == ["p30", "p31", "p32", "p33"]
        assert self.cache.describe()["stubs"] == 4

    async def test_without_a_catalog_the_most_wanted_stubs_are_kept_and_shown(self) -> None:
        self.reader.rows = {
            each.item.item_id: each
            for each in [stub(0), stub(1), *(stub(n, 2) for n in (7, 8, 9, 5))]
        }

        await self.cache.load()

        assert set(popular(self.cache)) == {"p5", "p7", "p8", "p9"}
        assert len(self.cache) == 4

    async def test_stubs_are_no_shop_until_the_table_is_known_to_hold_no_catalog(self) -> None:
        self.reader.is_up = False
        with pytest.raises(Unavailable):
            await self.cache.load()
        self.reader.is_up = True
        await self.cache.ensure(["p1"], 1.0, 5.0)
        self.cache.reshelve()

        assert self.cache.has_catalog
        assert popular(self.cache) == []

    async def test_stubs_are_no_shop_where_nothing_of_the_catalog_can_be_read(self) -> None:
        class NewerCatalog(FakeReader):
            async def scan(self, take: Callable[[ItemRow], bool], with_stubs: bool) -> int:
                return await super().scan(take, with_stubs) + 3

        cache = ItemCache(NewerCatalog([stub(1)]), 4, self.clock)
        await cache.load()

        assert cache.has_catalog
        assert popular(cache) == []

    async def test_a_stub_that_is_read_anew_beside_the_scan_stops_it_not(self) -> None:
        class BusyReader(FakeReader):
            async def scan(self, take: Callable[[ItemRow], bool], with_stubs: bool) -> int:
                for index in range(4 if with_stubs else 0):
                    take(stub(index, views=1 + index))
                await cache.ensure(["p0"], 0.0, -1.0)  # gone meanwhile
                return await super().scan(take, with_stubs)

        cache = ItemCache(
            BusyReader([stub(index, views=9) for index in range(10, 14)]), 4, self.clock
        )
        await cache.load()

        assert set(popular(cache)) == {"p10", "p11", "p12", "p13"}

    async def test_stubs_leave_the_shelves_when_a_catalog_comes_even_one_that_is_sold_out(
        self,
    ) -> None:
        rows, self.reader.rows = self.reader.rows, {"p1": stub(1)}
        await self.cache.load()
        assert popular(self.cache) == ["p1"]

        self.reader.rows = {**rows, "p30": row(item(30, in_stock=False))}
        await self.cache.load()

        assert self.cache.has_catalog
        assert popular(self.cache) == ["p31", "p32", "p33"]

    async def test_a_bound_that_is_reached_is_an_error_in_the_log_and_is_described(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache = ItemCache(self.reader, 3, self.clock)

        await cache.load()
        assert cache.describe() == {
            "items": 3,
            "stubs": 0,
            "catalog": 4,
            "full": ["catalog"],
            "mistyped": {},
        }
        assert "the catalog holds 4 items and 3 fit into memory" in caplog.text
        assert {record.levelname for record in caplog.records} == {"ERROR"}

        self.reader.rows = {f"p{index}": stub(index) for index in range(5)}
        alone = ItemCache(self.reader, 3, self.clock)
        await alone.load()
        assert alone.describe() == {
            "items": 3,
            "stubs": 3,
            "catalog": 0,
            "full": ["stubs"],
            "mistyped": {},
        }
        assert "3 items that no catalog holds fill their place" in caplog.text

    async def test_the_categories_are_the_catalogs_also_of_items_that_do_not_fit(self) -> None:
        cache = ItemCache(self.reader, 1, self.clock)
        self.reader.rows["other"] = row(Item("other", category="said", stub=True))

        await cache.load()
        await cache.ensure(["other"], 1.0, 5.0)

        assert cache.categories == {"c0", "c1", "c2", "c3"}


class TestWanted:
    def setup_method(self) -> None:
        self.clock = Clock()
        self.reader = FakeReader([row(item(index)) for index in range(10)])
        self.cache = ItemCache(self.reader, 10, self.clock)

    async def test_what_is_in_memory_is_refreshed_however_many_unknown_items_are_wanted(
        self,
    ) -> None:
        await self.cache.load()
        self.clock.now += 20.0
        self.cache.want((f"none{index}" for index in range(10 * MAX_WANTED)), 15.0)
        self.cache.want(["p3"], 15.0)

        await self.cache.refresh()

        assert "p3" in self.reader.read
        assert (
            len([name for name in self.reader.read if name.startswith("none")]) == REFRESH_BATCH - 1
        )

    async def test_unknown_items_are_read_however_many_known_ones_are_wanted(self) -> None:
        reader = FakeReader([row(item(index)) for index in range(99)])
        cache = ItemCache(reader, 99, self.clock)
        await cache.load()
        self.clock.now += 20.0
        cache.want((f"p{index}" for index in range(99)), 15.0)
        cache.want(["new"], 15.0)

        await cache.refresh()

        assert "new" in reader.read

    async def test_memory_is_flat_under_visitors_who_name_ever_new_items(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vertex.api.items.MAX_SEEDS", 300)
        sizes = []
        for minute in range(10):
            for second in range(0, 60, 3):
                self.clock.now += 3.0
                names = [f"{minute}-{second}-{index}" for index in range(200)]
                self.reader.rows |= {
                    name: row(Item(name, category=name, stub=True), views=1) for name in names[:20]
                }
                await self.cache.ensure(names[:30], 1.0, 5.0)
                self.cache.want(names[30:], 60.0)
                await self.cache.refresh()
            self.cache.tidy()
            held = [value for value in vars(self.cache).values() if isinstance(value, dict | set)]
            sizes.append(sum(map(len, held)))

        assert sizes[1:] == sizes[1:2] * 9
        assert self.cache.columns.capacity <= 20
        assert len(self.cache.columns.category.dictionary) < 2_000
        assert sizes[-1] < 300 + 2 * 10 + 2 * MAX_MISSING + 2 * MAX_WANTED


async def test_attributes_without_a_place_or_of_another_type_are_reported() -> None:
    many = {f"a{number}": 1.0 for number in range(MAX_COLUMNS)}
    rows = [row(item(0, attributes=many)), row(item(1, attributes={"a0": "x", "one_more": True}))]
    cache = ItemCache(FakeReader(rows), 1_000)
    await cache.load()
    described = cache.describe()
    assert (described["full"], described["mistyped"]) == (["attributes"], {"a0": 1})
