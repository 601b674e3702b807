"""Events a second of training's replay of a log, on one core, beside the same folds in one batch.

The logs are real sessions, where there are copies of the files: Serenade's and REES46's
(`../shared/data`). The replay ends with every item's links added, as if all items had been read.
`python -m tests.bench.training`.
"""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.core.events import Event
from pipeline.core.fold import Fact, fold, item_sums
from pipeline.core.profile import UserProfile
from pipeline.core.profile_keys import profile_key
from tests.bench.rows import Row, row
from tests.simulator.parity import from_file
from vertex.data.replay import World, in_order

DATA = Path(__file__).parents[2].parent / "shared/data"
TARGET_EVENTS_PER_S = 20_000.0


def run() -> list[Row]:
    """Measure; takes about half a minute, and nothing where there are no files."""
    logs: dict[Path, Callable[[Path], list[Event]]] = {
        DATA / "serenade_train.tsv": serenade,
        DATA / "rees46_2019-10-01.csv": rees46,
    }
    return [_measured(path.stem, read(path)) for path, read in logs.items() if path.is_file()]


def serenade(path: Path) -> list[Event]:
    """The events of a file in Serenade's columns: views, by visitors of one session each."""
    with path.open(encoding="utf-8", newline="") as file:
        return in_order(
            _view(line, number) for number, line in enumerate(csv.DictReader(file, delimiter="\t"))
        )


def rees46(path: Path) -> list[Event]:
    """The events of a file in REES46 columns."""
    return in_order(event for message in from_file(path) for event in message)


def replay_rate(events: Sequence[Event]) -> float:
    """Events a second through `World.add`, and every item read once."""
    world, began = World({}), time.process_time()
    for event in events:
        world.add(event)
    world.rows(world.item_ids())
    return len(events) / (time.process_time() - began)


def batch_rate(events: Sequence[Event]) -> float:
    """Events a second where each visitor's are folded at once, and all items summed at once."""
    visitors: defaultdict[str, list[Fact]] = defaultdict(list)
    for event in events:
        visitors[profile_key(event)].append((event, None))
    began = time.process_time()
    item_sums([fold(UserProfile(), facts) for facts in visitors.values()])
    return len(events) / (time.process_time() - began)


def _view(line: dict[str, str], number: int) -> Event:
    return Event(
        event_id=f"serenade-{number}",
        event="view_product",
        timestamp=datetime.fromtimestamp(float(line["Time"]), UTC),
        anonymous_id=line["SessionId"],
        session_id=line["SessionId"],
        product_id=line["ItemId"],
    )


def _measured(name: str, events: Sequence[Event]) -> Row:
    beside = "each visitor in one fold, items in one sum"
    head = f"training_replay_{name.split('_')[0]}"
    return row(
        head, replay_rate(events), "events/s", TARGET_EVENTS_PER_S, beside, batch_rate(events)
    )


if __name__ == "__main__":
    for found in run():
        print(found)
