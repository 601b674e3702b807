"""Replays a REES46 log through the whole loop, and evaluates it on the way: test, then learn.

    python -m tests.simulator.replay FILE.csv [--questions 1500] [--speed 400] [--backlog 200]

Each row becomes one event, at its true time (the collector takes the past under the backfill key).
Before an item view that is not the first of its session, for an even sample of such views over the
whole file, the API is asked for 20 items as of that moment, with the session's last events as the
browser would pass them; a hit is the viewed item among the 20. Two baselines answer the same
questions from exactly the events sent before: the items viewed most so far, and the items most
often seen in one session with the session's last item. Two more tell where hits come from:
`category`, the items of the last item's category, those viewed most first, is what the catalog
alone gives (it names only items that the file will show, which helps whoever uses it); `recent`,
the session's own last items, is returning to an item rather than finding a new one, and so are
there figures for new items alone. The catalog is loaded beforehand, as a shop's would be: ids,
categories, brands and prices, sorted by id, so nothing of popularity is known before its time.

Order. Rows go out in file order, one message at a time, each confirmed by the collector before the
next; a question is asked when every earlier row is confirmed, and no later row is sent before its
answer. What the API knows lags behind by what the pipeline has yet to fold, so that is bounded: at
most `--backlog` events may be unfolded (the last event of each message is looked for in its
visitor's profile before more are sent), and no more than `--speed` events a second are sent. A
visitor's own last events reach the answer through the question.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.simulator import catalog
from tests.simulator.browser import WireEvent
from tests.simulator.client import Client, Tally, Unanswered, wait_for_items
from tests.simulator.evaluation import METHODS, K, Past, Score, eligible, sample
from tests.simulator.report import (
    REPORTS,
    Progress,
    StepFailed,
    machine,
    run_module,
    table,
    write_report,
)
from tests.simulator.statistics import percentiles
from tests.simulator.warehouse import (
    Held,
    LogCount,
    Warehouse,
    wait_until_folded,
    wait_until_stored,
)
from tests.stack import APPS, EMULATORS, Stack, StackError, running_stack
from tests.stack.prerequisites import Missing

MESSAGE_EVENTS = 20
STALLED_S = 60.0
POLL_S = 0.05
EVENT_NAMES = {
    "view": "view_product",
    "cart": "add_to_cart",
    "remove_from_cart": "remove_from_cart",
    "purchase": "purchase",
}


class Stalled(RuntimeError):
    """The pipeline has not folded what was sent long ago."""


def wire_event(row: Mapping[str, str], number: int) -> WireEvent:
    """The `number`-th row as an event; its id comes from the number, so equal rows stay different
    events.
    """
    date, clock, _ = row["event_time"].split(" ")
    event: WireEvent = {
        "event_id": f"rees46-{number:09d}",
        "event": EVENT_NAMES.get(row["event_type"], row["event_type"]),
        "timestamp": f"{date}T{clock}.000Z",
        "user_id": row["user_id"],
        "product_id": row["product_id"],
        "metadata": {
            "category": row["category_code"] or f"cat.{row['category_id']}",
            "brand": row["brand"] or "",
            "price": float(row["price"] or 0),
        },
    }
    if row["user_session"]:
        event["session_id"] = row["user_session"]
    return event


class Backlog:
    """Keeps what was sent but not yet folded within a bound, by looking for it in the visitors'
    profiles.
    """

    def __init__(self, client: Client, limit: int, stalled_s: float = STALLED_S) -> None:
        self._client = client
        self._limit = limit
        self._stalled_s = stalled_s
        self._sent: deque[tuple[WireEvent, int]] = deque()
        self._unfolded = 0

    def sent(self, message: Sequence[WireEvent]) -> None:
        """Note a confirmed message."""
        self._sent.append((message[-1], len(message)))
        self._unfolded += len(message)

    async def below_limit(self) -> None:
        """Return once at most the limit is unfolded.

        Raises `Stalled` after `stalled_s` without progress.
        """
        while self._unfolded > self._limit:
            event, size = self._sent.popleft()
            await self._folded(event)
            self._unfolded -= size

    async def _folded(self, event: WireEvent) -> None:
        deadline = time.monotonic() + self._stalled_s
        while not await self._in_profile(event):
            if time.monotonic() > deadline:
                raise Stalled(
                    f"event {event['event_id']}: expected in its profile within "
                    f"{self._stalled_s:.0f} s"
                )
            await asyncio.sleep(POLL_S)

    async def _in_profile(self, event: WireEvent) -> bool:
        found = await self._client.profile({"user_id": event["user_id"]}, event)
        return bool(found.get("contains_event"))


class Replay:
    """One pass over the events, asking before the chosen ones."""

    def __init__(
        self, client: Client, past: Past, *, speed: float, backlog: int, say: Callable[[str], None]
    ) -> None:
        if speed <= 0 or backlog < MESSAGE_EVENTS:
            raise ValueError(
                f"speed, backlog: expected above 0, at least {MESSAGE_EVENTS}; got {speed}, "
                f"{backlog}"
            )
        self.all = Score()
        self.novel = Score()
        self._client = client
        self._say = say
        self._speed = speed
        self._backlog = Backlog(client, backlog)
        self._past = past
        self._message: list[WireEvent] = []
        self._sent = 0
        self._began = self._said = 0.0

    async def run(self, events: Sequence[WireEvent], questions: set[int]) -> None:
        """Send every event in order; ask before those whose index is among `questions`."""
        self._began = self._said = time.monotonic()
        for index, event in enumerate(events):
            if index in questions:
                await self._flush()
                await self._question(event)
            self._message.append(event)
            self._past.add(event)
            if len(self._message) == MESSAGE_EVENTS:
                await self._flush()
        await self._flush()

    async def _flush(self) -> None:
        if not self._message:
            return
        message, self._message = self._message, []
        await self._client.send(message, backfill=True)
        self._sent += len(message)
        self._backlog.sent(message)
        await self._backlog.below_limit()
        self._tell()
        ahead_s = self._began + self._sent / self._speed - time.monotonic()
        await asyncio.sleep(max(0.0, ahead_s))

    def _tell(self) -> None:
        if time.monotonic() - self._said >= 10:
            self._said = time.monotonic()
            rate = self.all.hit_rate()
            self._say(
                f"{self._sent:,} events sent, {self.all.questions:,} questions; hit rate@20 "
                + ", ".join(f"{method} {rate[method]:.3f}" for method in METHODS)
            )

    async def _question(self, event: WireEvent) -> None:
        session, target = event["session_id"], event["product_id"]
        answer = await self._client.recommend(
            {
                "user_id": event["user_id"],
                "session_id": session,
                "placement": "home",
                "k": K,
                "events": list(self._past.events[session]),
                "as_of": event["timestamp"],
            }
        )
        answers = {
            "freshet": answer.recommendations,
            "popular": self._past.popular(),
            "covisit": self._past.covisit(session),
            "category": self._past.category(session),
            "recent": self._past.recent(session),
        }
        self.all.add(target, answers)
        if target not in self._past.sessions[session]:
            self.novel.add(target, answers)


def build_report(
    replay: Replay, tally: Tally, log: LogCount, held: Held, seconds: float
) -> dict[str, Any]:
    """The machine-readable report; `seconds` from the first message until the log held them all."""
    return {
        "events_sent": tally.sent,
        "events_accepted": tally.accepted,
        "events_in_log": log.distinct,
        "duplicates_in_log": log.duplicates,
        "rejected": tally.rejected,
        "questions": replay.all.questions,
        "hit_rate_20": replay.all.hit_rate(),
        "mrr_20": replay.all.mrr(),
        "novel": {
            "questions": replay.novel.questions,
            "hit_rate_20": replay.novel.hit_rate(),
            "mrr_20": replay.novel.mrr(),
        },
        "events_per_s": round(log.distinct / max(seconds, 1e-9), 1),
        "seconds": round(seconds, 1),
        "bigtable_rows": {"profiles": held.profiles, "items": held.items},
        "events_in_profiles": held.events_in_profiles,
        "events_in_items": held.events_in_items,
        "served_by": tally.served_by,
        "api_ms": percentiles(tally.api_ms, points=(50, 99)),
        "retries": tally.retries,
        "machine": machine(),
    }


def faults(report: Mapping[str, Any]) -> list[str]:
    """What keeps the replay from being exact: events lost, doubled, refused or unconfirmed."""
    found = []
    if report["events_accepted"] != report["events_sent"]:
        found.append(
            f"{report['events_sent'] - report['events_accepted']} events were not accepted"
        )
    if report["events_in_log"] != report["events_accepted"]:
        found.append(
            f"{report['events_accepted'] - report['events_in_log']} accepted events are not in the "
            "log"
        )
    if report["duplicates_in_log"]:
        found.append(f"{report['duplicates_in_log']} rows of the log double another")
    for kind in ("profiles", "items"):
        if (counted := report[f"events_in_{kind}"]) != report["events_accepted"]:
            found.append(
                f"the {kind} counted {counted} events, {report['events_accepted']} were accepted"
            )
    return found


def show(report: Mapping[str, Any]) -> str:
    """The report for people."""
    novel = report["novel"]
    rows = [["", "hit rate@20", "MRR@20", "new items: hit rate@20", "MRR@20"]]
    for method in METHODS:
        figures = [report[key][method] for key in ("hit_rate_20", "mrr_20")]
        figures += [novel[key][method] for key in ("hit_rate_20", "mrr_20")]
        rows.append([method, *(f"{figure:.4f}" for figure in figures)])
    counts = report["bigtable_rows"]
    lines = [
        f"events      {report['events_sent']:,} sent, {report['rejected']:,} rejected, "
        f"{report['events_in_log']:,} in the log, {report['duplicates_in_log']:,} doubled; "
        f"{report['events_per_s']:,.0f} a second",
        f"bigtable    {counts['profiles']:,} profiles that counted "
        f"{report['events_in_profiles']:,} events, "
        f"{counts['items']:,} items that counted {report['events_in_items']:,}",
        f"questions   {report['questions']:,}, of them {novel['questions']:,} for items new to the "
        "session; "
        f"answered by {report['served_by']}",
        "",
        table(rows),
    ]
    return "\n".join(lines)


async def replay_file(path: Path, stack: Stack, options: argparse.Namespace, say: Progress) -> int:
    """Replay `path` into a stack of which only the emulators are up, and empty; the exit code."""
    env = stack.env
    rows = catalog.read_rees46(path)
    events = [wire_event(row, number) for number, row in enumerate(rows)]
    questions = sample(eligible(events), options.questions)
    products = catalog.from_rees46(rows)
    past = Past({product.id: product.category for product in products})
    catalog.write(products, Path(env["FRESHET_CATALOG"]))
    say(f"loading the {len(products):,} products of the file")
    await run_module("pipeline.ops.catalog", env["FRESHET_CATALOG"], env=env)
    await asyncio.to_thread(stack.start_parts, [part for part in APPS if part != "store"])
    client = Client(
        env["FRESHET_COLLECTOR_URL"],
        env["FRESHET_API_URL"],
        backfill_key=env["FRESHET_BACKFILL_KEY"],
    )
    warehouse = Warehouse(env)
    async with client:
        await wait_for_items(client, len(products))
        say(
            f"sending {len(events):,} events in order, with {len(questions):,} questions on the way"
        )
        began = time.monotonic()
        replay = Replay(client, past, speed=options.speed, backlog=options.backlog, say=say)
        broke_off = await _run(replay, events, questions)
        say("waiting until the log holds every accepted event")
        log = await wait_until_stored(warehouse, len(client.tally.accepted_ids), say=say)
    seconds = time.monotonic() - began
    held = await wait_until_folded(warehouse, len(client.tally.accepted_ids))
    report = build_report(replay, client.tally, log, held, seconds)
    warehouse.close()
    return conclude(report, broke_off, say)


async def _run(replay: Replay, events: Sequence[WireEvent], questions: set[int]) -> list[str]:
    try:
        await replay.run(events, questions)
    except (Stalled, Unanswered) as error:
        return [f"the replay broke off: {error}"]
    return []


def conclude(
    report: Mapping[str, Any],
    broke_off: Sequence[str],
    say: Callable[[str], None],
    folder: Path = REPORTS,
) -> int:
    """Write and print the report; 0 when every event is in exactly once, else 1 with what is
    wrong."""
    path = write_report("replay", report, folder)
    wrong = [*broke_off, *faults(report)]
    say(f"done; the report is {path}\n\n{show(report)}\n")
    for fault in wrong:
        say(f"FAULT: {fault}")
    return 1 if wrong else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.replay", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", type=Path, help="a REES46 CSV, rows in time order")
    parser.add_argument("--questions", type=int, default=1_500, help="how many views to ask about")
    parser.add_argument("--speed", type=float, default=400.0, help="most events a second")
    parser.add_argument(
        "--backlog", type=int, default=200, help="most events sent but not yet folded"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Replay a file into a stack of its own, on free ports and with empty stores; the exit code."""
    options = _options(arguments)
    if not options.file.is_file():
        print(f"replay: expected a file, got {options.file}", file=sys.stderr)
        return 2
    say = Progress()
    warnings.filterwarnings("ignore", message="Connecting to Bigtable emulator")
    try:
        with running_stack("replay", parts=EMULATORS, say=say) as stack:
            os.environ.update(stack.env)  # Bigtable's client learns of its emulator in no other way
            return asyncio.run(replay_file(options.file, stack, options, say))
    except (StackError, StepFailed, TimeoutError, Missing) as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
