"""The command line: its options, and the filters and repairs that they ask for."""

from __future__ import annotations

import argparse
from datetime import datetime

from functions.dead_letters.repairs import Repairs
from functions.dead_letters.table import Filters
from pipeline.runtime.times import moment

_FILTERS = {
    "--since": "received since: RFC 3339, or a span such as 2h or 3d",
    "--source": "who rejected it: collector or pipeline",
    "--field": "the field that broke the contract",
    "--reason": "a part of the reason",
    "--id": "the dead letter's id, or how it begins",
}
_REPAIRS = {
    "--rename": ("OLD=NEW", "give a field its name"),
    "--set": ("FIELD=VALUE", "e.g. metadata.price=9.5"),
    "--drop": ("FIELD", "take a field out"),
    "--number": ("FIELD", "read its text as a number"),
}


class UsageError(ValueError):
    """Options that do not go together, or a file that is not as it should be."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """The parser of the four commands."""
    root = argparse.ArgumentParser(
        prog="python -m functions.dead_letters",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(dest="command", required=True)
    filters, repairs = _filter_options(), _repair_options()
    listing = commands.add_parser(
        "list", parents=[filters], help="what was rejected, by source, field and reason"
    )
    exporting = commands.add_parser(
        "export", parents=[filters], help="write dead letters to a file, to be edited"
    )
    exporting.add_argument("file", metavar="FILE", help="a new file of JSON lines")
    fixing = commands.add_parser(
        "fix", parents=[filters, repairs], help="repair dead letters by rule"
    )
    fixing.add_argument(
        "--dry-run", action="store_true", help="write nothing, only say what would change"
    )
    fixing.add_argument(
        "--to", metavar="FILE", help="write the repaired dead letters there, not back to FILE"
    )
    replaying = commands.add_parser(
        "replay", parents=[filters, repairs], help="send what passes the contract now"
    )
    replaying.add_argument(
        "--again", action="store_true", help="also what was replayed before; events count once"
    )
    replaying.add_argument("--collector", metavar="URL", help="the collector that they go through")
    for command in (listing, exporting):
        command.add_argument(
            "--all", action="store_true", help="also dead letters that were replayed"
        )
    for command in (fixing, replaying):
        command.add_argument(
            "file", metavar="FILE", nargs="?", help="dead letters of a file, not of the warehouse"
        )
    for command in (listing, fixing, replaying):
        command.add_argument(
            "--show", type=_count, default=0, metavar="N", help="print N dead letters whole"
        )
    return root


def _filter_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    for flag, text in _FILTERS.items():
        options.add_argument(flag, help=text)
    options.add_argument(
        "--limit", type=_count, help="so many dead letters, the oldest; of list: so many groups"
    )
    return options


def _repair_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    for flag, (metavar, text) in _REPAIRS.items():
        options.add_argument(flag, action="append", default=[], metavar=metavar, help=text)
    options.add_argument(
        "--shift", type=float, default=0.0, metavar="SECONDS", help="add to the timestamps"
    )
    options.add_argument(
        "--split", action="store_true", help="let a body's good events go without the bad ones"
    )
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"expected 1 to 1000000, got {text!r}")
    return int(text)


def filters_of(options: argparse.Namespace, now: datetime) -> Filters:
    """The dead letters that the options name."""
    since = moment("--since", options.since, now) if options.since else None
    return Filters(since, options.source, options.field, options.reason, options.id, options.limit)


def repairs_of(options: argparse.Namespace) -> Repairs:
    """The repairs that the options ask for."""
    return Repairs(
        rename=tuple(_pair("--rename", "old=new", text) for text in options.rename),
        assign=tuple(_pair("--set", "field=value", text) for text in options.set),
        drop=tuple(options.drop),
        number=tuple(options.number),
        shift_s=options.shift,
        split=options.split,
    )


def _pair(option: str, form: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"{option}: expected {form}, got {text!r}")
    return name, value
