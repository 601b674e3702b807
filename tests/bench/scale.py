"""How large an installation has to be, and what it costs a month: `python -m tests.bench.scale`.

Prints the tables of docs/scale.md as Markdown, from costs measured in this very run
(`tests.bench.costs`), assumptions and list prices (`tests.bench.sizing`); with `--docs` it writes
them into the document instead. Nothing of it was measured on Google Cloud.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from math import floor, log10
from pathlib import Path

from pipeline.runtime.generated_parts import with_part
from tests.bench.costs import Costs, measure
from tests.bench.sizing import (
    PRICES,
    SCALES,
    SECONDS_A_MONTH,
    Assumptions,
    Key,
    Size,
    catch_up,
    dollars,
    duplicate_share,
    hot_keys,
    size,
)
from tests.simulator.report import machine_line

DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"


def parts(costs: Costs, given: Assumptions, machine: str) -> dict[str, str]:
    """The generated parts of the document, by the name of their markers."""
    sizes = [size(events_s, costs, given) for events_s in SCALES]
    return {
        "measured": f"Measured on {machine}.\n\n{_measured(costs)}",
        "bundles": _bundles(costs),
        "assumed": _assumed(given),
        "sizes": _sizes(sizes),
        "dollars": _dollars(sizes, given),
        "sensitivity": _sensitivity(costs, given),
        "hot keys": _hot_keys(costs, given),
        "rewind": _rewind(costs, given),
        "prices": _prices(),
    }


def documented(text: str, found: dict[str, str]) -> str:
    """`text` with each part between its two markers. Raises ValueError when it lacks one."""
    for name, part in found.items():
        text = with_part(text, *markers(name), part)
    return text


def markers(name: str) -> tuple[str, str]:
    """The lines before and after a generated part."""
    return (
        f"<!-- {name}: begin, written by `python -m tests.bench.scale --docs` -->",
        f"<!-- {name}: end -->",
    )


def _measured(costs: Costs) -> str:
    said = {
        "decode_us": "decoding one event and looking its item up in the process's cache, us",
        "row_us": "one event's row for the log, us",
        "profile_us": "one message into a grown profile: read, fold, anomalies, campaigns, write, "
        "us",
        "address_us": "one message into its address's counts, us",
        "session_us": "one message into its visit's summary, us",
        "item_us": "one partial into an item with 200 neighbours: read, merge, rank, write, us",
        "scope_us": "one partial into a scope with 300 items: read, merge, write, us",
        "query_us": "one partial into a query: read, merge, rank, write, us",
        "top_us": "one partial into a row of 500 top queries: read, merge, write, us",
        "element_us": "what FnApiRunner adds to a keyed element (shuffle, state, timer), us",
        "event_bytes": "an event in Pub/Sub, bytes",
        "fact_bytes": "an event between two steps, bytes",
        "row_bytes": "an event's row in BigQuery, as JSON, bytes",
        "profile_bytes": "a grown profile, bytes",
        "item_bytes": "an item with 200 neighbours, bytes",
        "item_partial_bytes": "a partial of an item, bytes",
        "scope_bytes": "a shard of a scope with 300 items, bytes",
        "query_bytes": "a query, bytes",
        "top_bytes": "a row of 500 top queries, bytes",
    }
    return _table(
        ("one core", "measured"),
        ((text, _number(getattr(costs, name))) for name, text in said.items()),
    )


def _prices() -> str:
    rows = [
        (name, f"{p.dollars:.6f}".rstrip("0").rstrip("."), p.unit, p.page)
        for name, p in PRICES.items()
    ]
    return _table(("price", "$", "a", "page"), rows)


def _bundles(costs: Costs) -> str:
    head = (
        "messages summed at once",
        "summing, us a message",
        "item rows a message",
        "scope rows a message",
        "query rows a message",
    )
    rows = (
        (f"{b.messages}", *map(_number, (b.sum_us, b.item_rows, b.scope_rows, b.query_rows)))
        for b in costs.bundles
    )
    return _table(head, rows)


def _assumed(given: Assumptions) -> str:
    """The assumptions with the comments that they have in this file."""
    said = _comments(inspect.getsource(Assumptions).splitlines())
    rows = [(f"`{f.name}`", _plain(getattr(given, f.name)), said[f.name]) for f in fields(given)]
    return _table(("assumption", "value", "meaning"), rows)


def _comments(lines: list[str]) -> dict[str, str]:
    """The comment of each field: beside it, or in the lines above it."""
    said: dict[str, str] = {}
    above: list[str] = []
    for line in map(str.strip, lines):
        if line.startswith("# "):
            above.append(line.removeprefix("# "))
            continue
        code, _, beside = line.partition("  # ")
        said[code.partition(":")[0]] = beside or " ".join(above)
        above = []
    return said


def _plain(value: float) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _sizes(sizes: Sequence[Size]) -> str:
    def line(text: str, name: str) -> tuple[str, ...]:
        return (text, *(_number(getattr(found, name)) for found in sizes))

    rows = [
        line("vCPUs", "vcpus"),
        line("workers (n2-standard-2)", "workers"),
        line("memory of the workers, GiB", "memory_gib"),
        line("visitors a day", "visitors_day"),
        line("state in Dataflow, GiB", "state_gib"),
        line("processes of the API", "api_processes"),
        line("Bigtable writes, rows/s", "writes_s"),
        line("Bigtable reads, rows/s", "reads_s"),
        line("Bigtable storage, GiB", "storage_gib"),
        line("Bigtable nodes", "nodes"),
        line("Pub/Sub in and out, TiB a month", "pubsub_tib"),
        line("Streaming Engine, TiB a month", "streamed_tib"),
        line("BigQuery inserts, GiB a month", "logged_gib"),
        line("BigQuery stored, GiB", "stored_gib"),
    ]
    return _table(("at the peak", *map(scale_name, (found.events_s for found in sizes))), rows)


def _dollars(sizes: Sequence[Size], given: Assumptions) -> str:
    columns = [dollars(found, given) for found in sizes]
    rows = [(part, *(f"{column[part]:,.0f}" for column in columns)) for part in columns[0]]
    total = [sum(column.values()) for column in columns]
    month = [found.events_s * given.mean_load() * SECONDS_A_MONTH / 1e6 for found in sizes]
    rows.append(("**together**", *(f"**{found:,.0f}**" for found in total)))
    rows.append(
        (
            "a million events",
            *(f"{cost / events:,.2f}" for cost, events in zip(total, month, strict=True)),
        )
    )
    return _table(("$ a month", *map(scale_name, (found.events_s for found in sizes))), rows)


def _sensitivity(costs: Costs, given: Assumptions) -> str:
    """vCPUs and dollars at 100,000 events a second, one assumption changed at a time."""
    changes = [("as assumed", given)]
    changes += [
        (f"`bundle_messages` {b.messages}", replace(given, bundle_messages=b.messages))
        for b in costs.bundles
    ]
    changes += [
        (f"`harness_factor` {factor:g}", replace(given, harness_factor=factor))
        for factor in (1.0, 4.0)
    ]
    rows = []
    for name, changed in changes:
        found = size(100_000, costs, changed)
        rows.append((name, _number(found.vcpus), f"{sum(dollars(found, changed).values()):,.0f}"))
    return _table((f"at {scale_name(100_000)}", "vCPUs", "$ a month"), rows)


def _hot_keys(costs: Costs, given: Assumptions) -> str:
    head = ("key", "one fold, us", "folds/s that one key bears", "reached at")
    return _table(
        head,
        (
            (k.name, _number(k.fold_us), _number(k.folds_s), _reached(k))
            for k in hot_keys(costs, given)
        ),
    )


def _reached(key: Key) -> str:
    events = f"{_number(key.saturates_events_s)} events/s"
    return f"{events} of that visitor" if key.name == "one visitor" else f"{events} in all"


def _rewind(costs: Costs, given: Assumptions) -> str:
    share = duplicate_share(costs, given)
    rows = [
        (
            "an hour whose events are known already",
            f"{share:.0%}",
            f"{catch_up(1, share, given):.1f} h",
        ),
        ("an hour whose events are new", "100%", f"{catch_up(1, 1.0, given):.1f} h"),
    ]
    return _table(
        ("read again at the peak", "cost of a message, of a new one's", "caught up after"), rows
    )


def scale_name(events_s: float) -> str:
    """The scale as the document names it, e.g. "10k events/s"."""
    return f"{events_s / 1e6:g}M events/s" if events_s >= 1e6 else f"{events_s / 1e3:g}k events/s"


def _number(value: float) -> str:
    """At least two digits that count, and no more than a reader can use."""
    if isinstance(value, int) or value == 0 or value >= 100:
        return f"{value:,.0f}"
    return f"{value:,.{max(0, 1 - floor(log10(value)))}f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(argv: Sequence[str]) -> int:
    """Print the tables, or write them with --docs; exit code 2 for any other argument."""
    if list(argv) not in ([], ["--docs"]):
        print(f"scale: expected nothing or --docs, got {' '.join(argv)}", file=sys.stderr)
        return 2
    found = parts(measure(), Assumptions(), machine_line())
    if argv:
        DOCUMENT.write_text(documented(DOCUMENT.read_text("utf-8"), found), "utf-8")
        print(f"written into {DOCUMENT.relative_to(Path.cwd())}")
    else:
        print("\n\n".join(f"## {name}\n\n{part}" for name, part in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
