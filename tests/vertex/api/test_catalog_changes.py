"""The tail of catalog changes: each is handed on once, late notes too, and none is lost by a
failure.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipeline.store.catalog import Change
from vertex.api.breaker import Unavailable
from vertex.api.catalog_changes import BATCH, OVERLAP_MS, CatalogTail

START_MS = 1_750_000_000_000


class Notes:
    """Notes in memory, a clock that is set by hand, and what was handed on."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.notes: list[Change] = []
        self.given: list[list[str]] = []
        self.is_up = True
        self.refused: set[str] = set()
        self.tail = CatalogTail(self, self.take, lambda: self.now_ms)

    def write(self, *ids: str, ago_ms: int = 0) -> None:
        at_ms = self.now_ms - ago_ms
        self.notes.append(Change(f"0#{at_ms}#{len(self.notes)}", at_ms, list(ids)))

    async def changes(self, since_ms: int) -> list[Change]:
        if not self.is_up:
            raise Unavailable("bigtable: taken down by the test")
        found = [note for note in self.notes if note.at_ms >= since_ms]
        return sorted(found, key=lambda note: note.at_ms)

    async def take(self, ids: Sequence[str]) -> None:
        if self.refused & set(ids):
            raise Unavailable("bigtable: taken down by the test")
        self.given.append(list(ids))

    async def poll(self, after_ms: int = 250) -> list[list[str]]:
        """What the next poll hands on."""
        self.now_ms += after_ms
        self.given.clear()
        await self.tail.poll()
        return list(self.given)


async def test_a_change_is_handed_on_once() -> None:
    notes = Notes()
    notes.write("a", "b")
    assert await notes.poll() == [["a", "b"]]
    assert await notes.poll() == []
    notes.write("a")
    assert await notes.poll() == [["a"]]


async def test_changes_are_handed_on_in_their_order_and_an_item_once_a_batch() -> None:
    notes = Notes()
    notes.write("c", ago_ms=5)
    notes.write("b", "c", ago_ms=9)
    notes.write("a", ago_ms=7)
    assert await notes.poll() == [["b", "c", "a"]]


async def test_a_note_that_comes_late_or_of_a_clock_that_is_behind_is_handed_on() -> None:
    notes = Notes()
    notes.write("a")
    await notes.poll()
    notes.write("late", ago_ms=OVERLAP_MS - 1_000)
    assert await notes.poll() == [["late"]]


async def test_a_note_of_a_clock_that_is_ahead_is_handed_on_once() -> None:
    notes = Notes()
    notes.write("ahead", ago_ms=-60_000)
    given = [await notes.poll(1_000) for _ in range(90)]
    assert given == [[["ahead"]], *[[]] * 89]


async def test_what_was_there_long_before_the_start_is_not_handed_on() -> None:
    notes = Notes()
    notes.write("old", ago_ms=OVERLAP_MS + 1)
    assert await notes.poll() == []


async def test_what_changed_since_a_snapshot_is_handed_on_at_the_start() -> None:
    notes = Notes()
    notes.write("before", ago_ms=7_200_000)
    notes.write("since", ago_ms=3_000_000)
    await notes.tail.catch_up(START_MS - 3_600_000)
    assert notes.given == [["since"]]
    assert await notes.poll() == []


async def test_a_start_that_cannot_look_back_follows_from_then_on() -> None:
    notes = Notes()
    notes.write("since", ago_ms=3_000_000)
    notes.is_up = False
    with pytest.raises(Unavailable):
        await notes.tail.catch_up(START_MS - 3_600_000)
    notes.is_up = True
    notes.write("now")
    assert await notes.poll() == [["now"]]


async def test_a_change_whose_reading_failed_is_handed_on_again() -> None:
    notes = Notes()
    notes.write("a")
    notes.refused = {"a"}
    with pytest.raises(Unavailable):
        await notes.poll()
    notes.refused = set()
    assert await notes.poll() == [["a"]]


async def test_no_change_is_lost_while_bigtable_is_down() -> None:
    notes = Notes()
    await notes.poll()
    notes.is_up = False
    notes.write("a")
    for _ in range(100):
        with pytest.raises(Unavailable):
            await notes.poll(1_000)
    notes.is_up = True
    assert await notes.poll() == [["a"]]


async def test_many_changes_are_handed_on_in_batches() -> None:
    notes = Notes()
    ids = [f"p{number}" for number in range(2 * BATCH + 1)]
    notes.write(*ids)
    given = await notes.poll()
    assert list(map(len, given)) == [BATCH, BATCH, 1]
    assert [item_id for batch in given for item_id in batch] == ids


async def test_batches_that_were_read_before_a_failure_are_not_read_again() -> None:
    notes = Notes()
    for number in range(3):
        notes.write(*[f"p{number}-{place}" for place in range(BATCH)], ago_ms=3 - number)
    notes.refused = {"p1-7"}
    with pytest.raises(Unavailable):
        await notes.poll()
    assert [batch[0] for batch in notes.given] == ["p0-0"]
    notes.refused = set()
    assert [batch[0] for batch in await notes.poll()] == ["p1-0", "p2-0"]
