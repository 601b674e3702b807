"""`make bench`: every benchmark in turn, a table for people and build/reports/bench.json for machines.

`python -m tests.bench pipeline api` runs some of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from tests.bench import api, collector, freshness, pipeline
from tests.simulator.report import REPORTS, machine_line, table

BENCHES: dict[str, Callable[[], list[dict[str, object]]]] = {
    "collector": collector.run,
    "api": api.run,
    "pipeline": pipeline.run,  # type: ignore[dict-item]
    "freshness": freshness.run,  # type: ignore[dict-item]
}


def main(names: list[str]) -> int:
    """Run the named benchmarks (all when none is named); exit code 2 for a name that is none."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"bench: expected some of {', '.join(BENCHES)}, got {', '.join(unknown)}", file=sys.stderr)
        return 2
    rows: list[dict[str, object]] = []
    for name in names or BENCHES:
        print(f"bench: {name}", flush=True)
        rows += BENCHES[name]()
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / "bench.json"
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    cells = [
        [str(row["name"]), *(_cell(row[key]) for key in ("value", "unit", "target", "floor", "floor_value"))]
        for row in rows
    ]
    print(f"\nmachine: {machine_line()}\n")
    print(table([["figure", "value", "unit", "target", "beside", "its value"], *cells]))
    print(f"\nwritten to {path}")
    return 0


def _cell(value: object) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, (int, float)) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
