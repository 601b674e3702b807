"""`make bench`: every benchmark in turn, a table for people and build/reports/bench.json for
machines.

`python -m tests.bench pipeline api` runs some of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from tests.bench import (
    api,
    attack,
    backfill,
    catalog,
    collector,
    engines,
    features,
    filters,
    freshness,
    items,
    nearest,
    pipeline,
    profiles,
    rank,
    sdk,
    steps,
    suggest,
    training,
)
from tests.bench.rows import Row
from tests.simulator.report import REPORTS, machine_line, table

BENCHES: dict[str, Callable[[], list[Row]]] = {
    "collector": collector.run,
    "attack": attack.run,
    "steps": steps.run,
    "sdk": sdk.run,
    "api": api.run,
    "rank": rank.run,
    "filters": filters.run,
    "suggest": suggest.run,
    "nearest": nearest.run,
    "items": items.run,
    "profiles": profiles.run,
    "pipeline": pipeline.run,
    "backfill": backfill.run,
    "training": training.run,
    "freshness": freshness.run,
    "catalog": catalog.run,
    "engines": engines.run,
    "features": features.run,
}


def main(names: list[str]) -> int:
    """Run the named benchmarks (all when none is named); exit code 2 for a name that is none."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(
            f"bench: expected some of {', '.join(BENCHES)}, got {', '.join(unknown)}",
            file=sys.stderr,
        )
        return 2
    rows: list[Row] = []
    for name in names or BENCHES:
        print(f"bench: {name}", flush=True)
        rows += BENCHES[name]()
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / "bench.json"
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    cells = [
        [value if isinstance(value, str) else _figure(value) for value in row.values()]  # type: ignore[arg-type]
        for row in rows
    ]
    print(f"\nmachine: {machine_line()}\n")
    print(table([["figure", "value", "unit", "target", "beside", "its value"], *cells]))
    print(f"\nwritten to {path}")
    return 0


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
