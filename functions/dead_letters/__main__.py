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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace as changed
from datetime import UTC, datetime
from pathlib import Path

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

from functions.dead_letters.arguments import UsageError, filters_of, parser, repairs_of
from functions.dead_letters.collector import CollectorClient, CollectorError
from functions.dead_letters.replay import replay
from functions.dead_letters.report import Summary, line, report_replay, say, show
from functions.dead_letters.stored import (
    StoredDeadLetter,
    check_dead_letters,
    read_dead_letters,
    write_dead_letters,
)
from functions.dead_letters.table import EVERY, OPEN, DeadLetterTable, Filters, RowsNotInserted
from pipeline.core.timestamps import format_time
from pipeline.runtime.installation import Installation


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
        options, filters = self._options, filters_of(self._options, _now())
        view = EVERY if options.all else OPEN
        groups = self._table.groups(filters, view)
        total = groups[0].total if groups else 0
        say(f"{'dead letters' if options.all else 'open dead letters'}: {total:,}")
        for group in groups:
            reason = f"{line(group.source)}  {line(group.field)}: {line(group.reason)}"
            span = f"{format_time(group.first_at)} to {format_time(group.last_at)}"
            print(f"{group.dead_letters:>9,}  {reason}  ({span})")
        if options.show:
            for dead_letter in self._table.dead_letters(changed(filters, limit=options.show), view):
                show(dead_letter)
        return 0

    def export(self) -> int:
        """Write dead letters to a new file."""
        path = _new_file(self._options.file)
        view = EVERY if self._options.all else OPEN
        count = write_dead_letters(
            path, self._table.dead_letters(filters_of(self._options, _now()), view)
        )
        say(f"exported dead letters: {count:,}, to {path}, which only you may read")
        return 0

    def fix(self) -> int:
        """Repair dead letters and write them to a file, or with --dry-run only report."""
        options = self._options
        if not (options.dry_run or options.file or options.to):
            raise UsageError("fix: expected a FILE to repair, --to FILE to write to, or --dry-run")
        target = (
            _new_file(options.to) if options.to else Path(options.file) if options.file else None
        )
        summary = Summary(options.show, _now())
        repaired = (
            one.dead_letter for one in summary.of(self._dead_letters(OPEN), repairs_of(options))
        )
        if target is None or options.dry_run:
            target = None
            for _ in repaired:
                pass
        else:
            write_dead_letters(target, repaired)
        summary.report()
        where = "nothing was written" if target is None else f"written to {target}"
        say(f"repaired dead letters: {summary.changed:,}; {where}")
        return 0

    def replay(self) -> int:
        """Send what passes, and record it."""
        options = self._options
        local = bool(self._environ.get("PUBSUB_EMULATOR_HOST"))
        collector = CollectorClient.from_env(self._environ, options.collector, local=local)
        dead_letters = self._dead_letters(EVERY if options.again else OPEN)
        if options.file and not options.again:
            dead_letters = self._table.not_recorded(dead_letters)
        summary = Summary(options.show, _now())
        tally = replay(summary.of(dead_letters, repairs_of(options)), self._table, collector, _now)
        summary.report()
        report_replay(tally)
        before = self._in_file - summary.dead_letters
        if before > 0:
            say(f"dead letters replayed before: {before:,}; --again repeats them")
        return 1 if tally.refusals else 0

    def _dead_letters(self, view: str) -> Iterator[StoredDeadLetter]:
        """Those of the file, which must be good as a whole, or those that the filters name."""
        options, filters = self._options, filters_of(self._options, _now())
        if options.file is None:
            return self._table.dead_letters(filters, view)
        if filters != Filters():
            raise UsageError(f"{options.command}: expected a FILE or filters, got both")
        path = Path(options.file)
        if not path.is_file():
            raise UsageError(f"FILE: expected a file that exists, got {path}")
        self._in_file = check_dead_letters(path)
        return read_dead_letters(path)


def _new_file(name: str) -> Path:
    """Edits are work: no file is written over that is there already."""
    path = Path(name)
    if path.exists() or not path.parent.is_dir():
        raise UsageError(
            f"FILE: expected one that does not exist yet, in a folder that does, got {path}"
        )
    return path


def _now() -> datetime:
    return datetime.now(UTC)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command; exit code 1 when a service fails, 2 when it cannot be done as asked."""
    options = parser(__doc__).parse_args(list(argv) or ["list"])
    try:
        with DeadLetterTable(Installation.from_env(environ)) as table:
            return int(getattr(Command(options, environ, table), options.command)())
    except (GoogleAPIError, GoogleAuthError, RequestException, RowsNotInserted) as error:
        return _failed(1, f"BigQuery did not do it: {error}")
    except CollectorError as error:
        return _failed(1, str(error))
    except (ValueError, OSError) as error:
        return _failed(2, str(error))


def _failed(code: int, problem: str) -> int:
    print(f"dead-letters: {line(problem)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Google's clients warn of their own internals
    # A terminal may lack a payload's characters.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:], os.environ))
