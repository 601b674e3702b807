"""Sends the events of dead letters through the collector, then records it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from functions.dead_letters.collector import (
    CollectorClient,
    CollectorRefused,
    Origin,
)
from functions.dead_letters.examine import Examined
from functions.dead_letters.table import DeadLetterTable
from pipeline.core.packing import packed
from pipeline.core.timestamps import format_time

REPLAYED, SPLIT = "replayed", "split"
MAX_BATCH = (500, 2 * 1024 * 1024)
"""Dead letters that are sent before they are recorded, and the characters of their payloads."""


@dataclass
class ReplayCounts:
    """The outcome of a replay.

    Attributes:
        dead_letters, split: dead letters that were replayed, and those of them that were in part.
        events: stored by the collector.
        kept: dead letters that stay open.
        rejected: events that the collector did not take; each is a dead letter of its own now.
        refusals: why the collector refused whole requests, and how many dead letters stay for it.
    """

    dead_letters: int = 0
    events: int = 0
    split: int = 0
    kept: int = 0
    rejected: int = 0
    refusals: Counter[str] = field(default_factory=Counter)


def replay(
    found: Iterable[Examined],
    table: DeadLetterTable,
    collector: CollectorClient,
    now: Callable[[], datetime],
) -> ReplayCounts:
    """Send what passes, then record it.

    Broken off in between, the next replay sends at most `MAX_BATCH` again. Such a repetition, or
    one that is asked for, counts once: events keep their ids. What a split leaves behind becomes
    dead letters of their own before the whole is recorded.

    Raises:
        CollectorError: the collector cannot be reached, or failed.
    """
    tally = ReplayCounts()
    for batch in packed(found, _size, MAX_BATCH):
        for origin, dead_letters in _by_origin(batch).items():
            try:
                _replay_of(origin, dead_letters, table, collector, now(), tally)
            except CollectorRefused as error:
                tally.refusals[str(error)] += len(dead_letters)
        tally.kept += sum(1 for one in batch if not one.replayable)
    tally.kept += tally.refusals.total()
    return tally


def _size(one: Examined) -> tuple[int, int]:
    return 1, len(one.dead_letter.payload)


def _by_origin(batch: Iterable[Examined]) -> Mapping[Origin, list[Examined]]:
    """Those that have something to send, by site and sender."""
    found: defaultdict[Origin, list[Examined]] = defaultdict(list)
    for one in batch:
        if one.replayable:
            origin = one.dead_letter.origin()
            found[Origin(origin.get("site", ""), origin.get("sender", "browser"))].append(one)
    return found


def _replay_of(
    origin: Origin,
    dead_letters: Sequence[Examined],
    table: DeadLetterTable,
    collector: CollectorClient,
    now: datetime,
    tally: ReplayCounts,
) -> None:
    events = [event for one in dead_letters for event in one.replayable]
    owners = [one.dead_letter.dead_letter_id for one in dead_letters for _ in one.replayable]
    rejected = Counter(owners[place] for place in collector.send(events, origin, now))
    outcomes = [
        _outcome(one, rejected[one.dead_letter.dead_letter_id], now) for one in dead_letters
    ]
    table.insert(
        "dead_letters", [rest.row() for one in dead_letters for rest in one.remainders(now)]
    )
    table.insert("dead_letters_replayed", outcomes)
    tally.dead_letters += len(dead_letters)
    tally.events += len(events) - rejected.total()
    tally.rejected += rejected.total()
    tally.split += sum(1 for outcome in outcomes if outcome["outcome"] == SPLIT)


def _outcome(one: Examined, rejected: int, now: datetime) -> dict[str, Any]:
    """A row of `dead_letters_replayed`; `rejected` counts what the collector did not take."""
    refused = len(one.refused) + rejected
    return {
        "dead_letter_id": one.dead_letter.dead_letter_id,
        "replayed_at": format_time(now),
        "outcome": SPLIT if refused else REPLAYED,
        "events": len(one.replayable) - rejected,
        "refused": refused,
    }
