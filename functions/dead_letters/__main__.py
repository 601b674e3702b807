"""Dead letters: `python -m functions.dead_letters list|export|fix|replay`.

    list            what was rejected and not replayed yet, by source, field and reason
    export FILE     the dead letters as JSON lines, to be repaired with any editor
    fix [FILE]      repair by rule; --dry-run shows the changes, and what is still refused and why
    replay [FILE]   send what passes the contract now; what was replayed before stays away

A replay goes through the collector: that of the local stack, or --collector URL, with its
FRESHET_BACKFILL_KEY.

Dead letters are visitors' data: they are printed only for --show, and never logged.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace as changed
from datetime import UTC, datetime
from pathlib import Path

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

from functions.dead_letters.collector import Collector, CollectorError
from functions.dead_letters.examine import Examined, examine
from functions.dead_letters.repairs import Repairs
from functions.dead_letters.replay import Tally, replay
from functions.dead_letters.stored import (
    StoredDeadLetter,
    check_dead_letters,
    read_dead_letters,
    write_dead_letters,
)
from functions.dead_letters.table import EVERY, OPEN, DeadLetterTable, Filters, RowsRefused
from pipeline.core.timestamps import format_time
from pipeline.runtime.installation import Installation
from pipeline.runtime.times import moment

MAX_REASONS = 20


class UsageError(ValueError):
    """Options that do not go together, or a file that is not as it should be."""


class Command:
    """One run. Each public method is a command: it prints its outcome and returns the exit code."""

    def __init__(
        self, options: argparse.Namespace, environ: Mapping[str, str], table: DeadLetterTable
    ) -> None:
        self._options = options
        self._environ = environ
        self._table = table
        self._in_file = 0

    def list(self) -> int:
        """Print the groups, and with --show dead letters whole."""
        options, filters = self._options, _filters(self._options)
        view = EVERY if options.all else OPEN
        groups = self._table.groups(filters, view)
        total = groups[0].total if groups else 0
        _say(f"{'dead_letters' if options.all else 'open dead_letters'}: {total:,}")
        for group in groups:
            reason = f"{_line(group.source)}  {_line(group.field)}: {_line(group.reason)}"
            span = f"{format_time(group.first_at)} to {format_time(group.last_at)}"
            print(f"{group.dead_letters:>9,}  {reason}  ({span})")
        if options.show:
            for dead_letter in self._table.dead_letters(changed(filters, limit=options.show), view):
                _show(dead_letter)
        return 0

    def export(self) -> int:
        """Write dead letters to a new file."""
        path = _new_file(self._options.file)
        view = EVERY if self._options.all else OPEN
        count = write_dead_letters(path, self._table.dead_letters(_filters(self._options), view))
        _say(f"exported dead letters: {count:,}, to {path}, which only you may read")
        return 0

    def fix(self) -> int:
        """Repair dead letters and write them to a file, or with --dry-run only report."""
        options = self._options
        if not (options.dry_run or options.file or options.to):
            raise UsageError("fix: expected a FILE to repair, --to FILE to write to, or --dry-run")
        target = (
            _new_file(options.to) if options.to else Path(options.file) if options.file else None
        )
        summary = _Summary(options.show)
        repaired = (
            one.dead_letter for one in summary.of(self._dead_letters(OPEN), _repairs(options))
        )
        if target is None or options.dry_run:
            target = None
            for _ in repaired:
                pass
        else:
            write_dead_letters(target, repaired)
        summary.report()
        where = "nothing was written" if target is None else f"written to {target}"
        _say(f"repaired dead letters: {summary.changed:,}; {where}")
        return 0

    def replay(self) -> int:
        """Send what passes, and record it."""
        options = self._options
        local = bool(self._environ.get("PUBSUB_EMULATOR_HOST"))
        collector = Collector.from_env(self._environ, options.collector, local=local)
        dead_letters = self._dead_letters(EVERY if options.again else OPEN)
        if options.file and not options.again:
            dead_letters = self._table.not_recorded(dead_letters)
        summary = _Summary(options.show)
        tally = replay(summary.of(dead_letters, _repairs(options)), self._table, collector, _now)
        summary.report()
        _report_replay(tally)
        before = self._in_file - summary.dead_letters
        if before > 0:
            _say(f"dead letters replayed before: {before:,}; --again repeats them")
        return 1 if tally.refusals else 0

    def _dead_letters(self, view: str) -> Iterator[StoredDeadLetter]:
        """Those of the file, which must be good as a whole, or those that the filters name."""
        options, filters = self._options, _filters(self._options)
        if options.file is None:
            return self._table.dead_letters(filters, view)
        if filters != Filters():
            raise UsageError(f"{options.command}: expected a FILE or filters, got both")
        path = Path(options.file)
        if not path.is_file():
            raise UsageError(f"FILE: expected a file that exists, got {path}")
        self._in_file = check_dead_letters(path)
        return read_dead_letters(path)


class _Summary:
    """Counts what passes and what does not, and why; shows as many as --show asks for."""

    def __init__(self, show: int) -> None:
        self._show = show
        self.dead_letters = self._good = self.changed = 0
        self._reasons: Counter[str] = Counter()

    def of(self, dead_letters: Iterable[StoredDeadLetter], repairs: Repairs) -> Iterator[Examined]:
        """The dead letters as repaired, counted on their way."""
        for dead_letter in dead_letters:
            found = examine(dead_letter, repairs, _now())
            self.dead_letters += 1
            self._good += len(found.good)
            self.changed += found.changed
            self._reasons.update(f"{one.error.field}: {one.error.reason}" for one in found.refused)
            if self.dead_letters <= self._show:
                _show(dead_letter, found)
            yield found

    def report(self) -> None:
        """Print the counts, and the most frequent reasons."""
        refused = self._reasons.total()
        counts = f"events that pass: {self._good:,}, events that are refused: {refused:,}"
        _say(f"dead letters: {self.dead_letters:,}, {counts}")
        for reason, count in self._reasons.most_common(MAX_REASONS):
            print(f"{count:>9,}  {_line(reason)}")


def _report_replay(tally: Tally) -> None:
    _say(f"replayed dead letters: {tally.dead_letters:,}, events: {tally.events:,}")
    if tally.split:
        split = f"of these split: {tally.split:,}"
        _say(f"{split}; each event that was refused is a dead letter of its own")
    if tally.rejected:
        rejected = f"events that the collector rejected: {tally.rejected:,}"
        _say(f"{rejected}; each is a dead letter of its own")
    if tally.kept:
        _say(f"dead letters that stay: {tally.kept:,}")
    for reason, count in tally.refusals.most_common(MAX_REASONS):
        print(f"{count:>9,}  {_line(reason)}", file=sys.stderr)


def _filters(options: argparse.Namespace) -> Filters:
    since = moment("--since", options.since, _now()) if options.since else None
    return Filters(since, options.source, options.field, options.reason, options.id, options.limit)


def _repairs(options: argparse.Namespace) -> Repairs:
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


def _new_file(name: str) -> Path:
    """Edits are work: no file is written over that is there already."""
    path = Path(name)
    if path.exists() or not path.parent.is_dir():
        raise UsageError(
            f"FILE: expected one that does not exist yet, in a folder that does, got {path}"
        )
    return path


def _show(dead_letter: StoredDeadLetter, found: Examined | None = None) -> None:
    """Print a dead letter whole, and what became of it, on the operator's own terminal."""
    received = f"received {_line(dead_letter.received_at)} from {_line(dead_letter.source)}"
    print(f"--- {_line(dead_letter.dead_letter_id)} {received}")
    if origin := dead_letter.origin():
        print(f"    {', '.join(f'{name} {_line(value)}' for name, value in origin.items())}")
    print(f"    {_line(dead_letter.field)}: {_line(dead_letter.reason)}")
    encoding = "" if dead_letter.encoding == "utf-8" else f"{dead_letter.encoding}: "
    print(f"{encoding}{_printable(dead_letter.payload)}")
    if found is None:
        return
    if found.changed:
        print(f"    repaired:\n{_printable(found.dead_letter.payload)}")
    for one in found.refused:
        print(f"    refused: {_line(str(one.error))}")


def _printable(text: str) -> str:
    """The text without what a terminal would obey: a payload is anybody's."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def _line(text: str) -> str:
    return _printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _say(line: str) -> None:
    print(f"dead-letters: {line}", flush=True)


def _now() -> datetime:
    return datetime.now(UTC)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command; exit code 1 when a service fails, 2 when it cannot be done as asked."""
    options = _parser().parse_args(list(argv) or ["list"])
    try:
        with DeadLetterTable(Installation.from_env(environ)) as table:
            return int(getattr(Command(options, environ, table), options.command)())
    except (GoogleAPIError, GoogleAuthError, RequestException, RowsRefused) as error:
        return _failed(1, f"BigQuery did not do it: {error}")
    except CollectorError as error:
        return _failed(1, str(error))
    except (ValueError, OSError) as error:
        return _failed(2, str(error))


def _failed(code: int, problem: str) -> int:
    print(f"dead-letters: {_line(problem)}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m functions.dead_letters",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
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
    return parser


def _filter_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--since", help="received since: RFC 3339, or a span such as 2h or 3d")
    options.add_argument("--source", help="who rejected it: collector or pipeline")
    options.add_argument("--field", help="the field that broke the contract")
    options.add_argument("--reason", help="a part of the reason")
    options.add_argument("--id", help="the dead letter's id, or how it begins")
    options.add_argument(
        "--limit", type=_count, help="so many dead letters, the oldest; of list: so many groups"
    )
    return options


def _repair_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--rename", action="append", default=[], metavar="OLD=NEW", help="give a field its name"
    )
    options.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="e.g. metadata.price=9.5"
    )
    options.add_argument(
        "--drop", action="append", default=[], metavar="FIELD", help="take a field out"
    )
    options.add_argument(
        "--number", action="append", default=[], metavar="FIELD", help="read its text as a number"
    )
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


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Google's clients warn of their own internals
    # A terminal may lack a payload's characters.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:], os.environ))
