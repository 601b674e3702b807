"""Dead letters, listed, mended and replayed: `python -m pipeline.dead_letters list|export|fix|replay`.

    list            what was rejected and not replayed yet, by source, field and reason
    export FILE     the letters as JSON lines, to be mended with any editor
    fix [FILE]      mend by rule; --dry-run shows what would change, and what would still be refused and why
    replay [FILE]   send what passes the contract now; what was replayed before stays away

Events of ours are published. Those of vendors' protocols go through the collector: that of the local stack, or
--collector URL with what lets history in there, FRESHET_WRITE_KEY (a server's key) or FRESHET_BACKFILL_KEY.

Letters are visitors' data: they are printed only for --show, and never logged.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

from pipeline.collecting import Collector, CollectorError
from pipeline.core.deadletter import NATIVE, Examined, Repairs, StoredLetter, examine
from pipeline.core.events import format_time
from pipeline.installation import Installation
from pipeline.letterbox import EVERY, OPEN, Filters, LetterBox, check_letters, read_letters, write_letters
from pipeline.rewind import moment
from pipeline.steps.bigquery import RowsRefused

MAX_REASONS = 20


class UsageError(ValueError):
    """Options that do not go together, or a file that is not as it should be."""


def list_letters(options: argparse.Namespace, box: LetterBox) -> None:
    """Print the groups, and with --show letters whole."""
    view = EVERY if options.all else OPEN
    groups = box.groups(_filters(options), view)
    total = groups[0].total if groups else 0
    _say(f"{'letters' if options.all else 'open letters'}: {total:,}")
    for group in groups:
        span = f"{format_time(group.first_at)} to {format_time(group.last_at)}"
        print(f"{group.letters:>9,}  {_line(group.source)}  {_line(group.field)}: {_line(group.reason)}  ({span})")
    if options.show:
        for letter in box.letters(replace(_filters(options), limit=options.show), view):
            _show(letter)


def export_letters(options: argparse.Namespace, box: LetterBox) -> None:
    """Write the letters to a new file."""
    path = _new_file(options.file)
    letters = _counted(box.letters(_filters(options), EVERY if options.all else OPEN))
    write_letters(path, letters)
    _say(f"exported letters: {letters.count:,}, to {path}, which only you may read")


def fix_letters(options: argparse.Namespace, box: LetterBox) -> None:
    """Mend the letters of the file or of the warehouse; write them to a file, or with --dry-run only report."""
    if not (options.dry_run or options.file or options.to):
        raise UsageError("fix: expected a FILE to mend, --to FILE to write to, or --dry-run")
    source = Path(options.file) if options.file else None
    target = _new_file(options.to) if options.to else source
    summary = _Summary(options.show)
    mended = (found.letter for found in summary.of(_examined(options, _letters(options, box, OPEN))))
    if target is None or options.dry_run:
        for _ in mended:
            pass
    else:
        write_letters(target, mended)
    summary.report()
    where = "nothing was written" if target is None or options.dry_run else f"written to {target}"
    _say(f"mended events: {summary.changed:,}; {where}")


def replay_letters(options: argparse.Namespace, box: LetterBox) -> None:
    """Send what passes, and record it."""
    letters = _counted(_letters(options, box, EVERY if options.again else OPEN))
    fresh = _counted(box.not_recorded(letters) if options.file and not options.again else letters)
    summary = _Summary(options.show)
    tally = box.replay(summary.of(_examined(options, fresh)), _now, options.through)
    summary.report()
    _say(f"replayed letters: {tally.letters:,}, events: {tally.events:,}, messages: {tally.messages:,}")
    if tally.split:
        _say(f"of these split: {tally.split:,}, and every event that was refused is a letter of its own now")
    if tally.rejected:
        _say(f"events that the collector rejected: {tally.rejected:,}, each of which is a letter of its own now")
    if tally.unsent:
        _say(f"letters of vendors that pass but stay: {tally.unsent:,}; give the --collector to send them through")
    if tally.kept:
        _say(f"letters that stay: {tally.kept:,}")
    if letters.count > fresh.count:
        _say(f"letters replayed before: {letters.count - fresh.count:,}; --again repeats them")


class _Summary:
    """Counts what passes and what does not, and why; shows the first letters that asked for it."""

    def __init__(self, show: int) -> None:
        self._show = show
        self._letters = self._good = self.changed = 0
        self._reasons: Counter[str] = Counter()

    def of(self, letters: Iterable[tuple[StoredLetter, Examined]]) -> Iterator[Examined]:
        """The letters as mended, counted on their way."""
        for before, found in letters:
            self._letters += 1
            self._good += len(found.good)
            self.changed += found.changed
            self._reasons.update(f"{error.field}: {error.reason}" for error, _ in found.refused)
            if self._letters <= self._show:
                _show(before, found)
            yield found

    def report(self) -> None:
        """The counts, and the most frequent reasons."""
        refused = self._reasons.total()
        _say(f"letters: {self._letters:,}, events that pass: {self._good:,}, events that are refused: {refused:,}")
        for reason, count in self._reasons.most_common(MAX_REASONS):
            print(f"{count:>9,}  {_line(reason)}")


class _counted(Iterator[StoredLetter]):
    """An iterator that knows how many letters it has handed out."""

    def __init__(self, letters: Iterable[StoredLetter]) -> None:
        self._letters, self.count = iter(letters), 0

    def __next__(self) -> StoredLetter:
        letter = next(self._letters)
        self.count += 1
        return letter


def _letters(options: argparse.Namespace, box: LetterBox, view: str) -> Iterator[StoredLetter]:
    """Those of the file, which must be good as a whole, or those of the warehouse that the filters let through."""
    filters = _filters(options)
    if options.file is None:
        return box.letters(filters, view)
    if filters != Filters():
        raise UsageError(f"{options.command}: expected a FILE or filters, got both")
    path = Path(options.file)
    if not path.is_file():
        raise UsageError(f"FILE: expected a file that exists, got {path}")
    check_letters(path)
    return read_letters(path)


def _examined(options: argparse.Namespace, letters: Iterable[StoredLetter]) -> Iterator[tuple[StoredLetter, Examined]]:
    repairs = _repairs(options)
    return ((letter, _examiner(letter)(letter, repairs, _now())) for letter in letters)


def _examiner(letter: StoredLetter) -> Callable[[StoredLetter, Repairs, datetime], Examined]:
    """Only who has letters of vendors needs the collector's packages to be installed."""
    if letter.protocol() == NATIVE:
        return examine
    from functions.vendor_letters import examine_vendors

    return examine_vendors


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
        raise UsageError(f"FILE: expected one that does not exist yet, in a folder that does, got {path}")
    return path


def _show(letter: StoredLetter, found: Examined | None = None) -> None:
    """Print a letter whole, and what became of it, on the operator's own terminal."""
    print(f"--- {_line(letter.letter_id)} received {_line(letter.received_at)} from {_line(letter.source)}")
    if origin := letter.origin():
        print(f"    {', '.join(f'{name} {_line(value)}' for name, value in origin.items())}")
    print(f"    {_line(letter.field)}: {_line(letter.reason)}")
    print(f"{'' if letter.encoding == 'utf-8' else letter.encoding + ': '}{_printable(letter.payload)}")
    if found is not None and found.changed:
        print(f"    mended:\n{_printable(found.letter.payload)}")
    for error, _ in found.refused if found is not None else ():
        print(f"    refused: {_line(str(error))}")


def _printable(text: str) -> str:
    """The text without what a terminal would obey: a payload is anybody's."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def _line(text: str) -> str:
    return _printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _say(line: str) -> None:
    print(f"dead-letters: {line}", flush=True)


def _now() -> datetime:
    return datetime.now(UTC)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command; exit code 1 when Google's services or the collector fail, 2 when it cannot be done as asked."""
    options = _parser().parse_args(list(argv) or ["list"])
    try:
        installation = Installation.from_env(environ)
        options.through = Collector.from_env(environ, options.collector, local=bool(installation.pubsub_emulator))
        with LetterBox(installation) as box:
            options.run(options, box)
    except (ValueError, OSError) as error:
        if isinstance(error, RequestException):  # an OSError, but not one of a file
            return _failed(error)
        print(f"dead-letters: {error}", file=sys.stderr)
        return 2
    except (GoogleAPIError, GoogleAuthError, RowsRefused) as error:
        return _failed(error)
    except CollectorError as error:
        print(f"dead-letters: {_line(str(error))}", file=sys.stderr)
        return 1
    return 0


def _failed(error: Exception) -> int:
    print(f"dead-letters: BigQuery or Pub/Sub did not do it: {error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.dead_letters",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    filters, repairs = _filter_options(), _repair_options()
    listing = commands.add_parser("list", parents=[filters], help="what was rejected, by source, field and reason")
    listing.set_defaults(run=list_letters)
    exporting = commands.add_parser("export", parents=[filters], help="write letters to a file, to be edited")
    exporting.add_argument("file", metavar="FILE", help="a new file of JSON lines")
    exporting.set_defaults(run=export_letters)
    fixing = commands.add_parser("fix", parents=[filters, repairs], help="mend letters by rule")
    fixing.add_argument("--dry-run", action="store_true", help="write nothing, only say what would change")
    fixing.add_argument("--to", metavar="FILE", help="write the mended letters there, not back to FILE")
    fixing.set_defaults(run=fix_letters)
    replaying = commands.add_parser("replay", parents=[filters, repairs], help="send what passes the contract now")
    replaying.add_argument("--again", action="store_true", help="also what was replayed before; events count once")
    replaying.add_argument("--collector", metavar="URL", help="what letters of vendors go through")
    replaying.set_defaults(run=replay_letters)
    parser.set_defaults(collector=None)
    for command in (listing, exporting):
        command.add_argument("--all", action="store_true", help="also letters that were replayed")
    for command in (fixing, replaying):
        command.add_argument("file", metavar="FILE", nargs="?", help="letters of a file, not of the warehouse")
    for command in (listing, fixing, replaying):
        command.add_argument("--show", type=_count, default=0, metavar="N", help="print N letters whole")
    return parser


def _filter_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--since", help="received since: RFC 3339, or a span such as 2h or 3d")
    options.add_argument("--source", help="who rejected it: collector or pipeline")
    options.add_argument("--field", help="the field that broke the contract")
    options.add_argument("--reason", help="a part of the reason")
    options.add_argument("--id", help="the letter's id, or how it begins")
    options.add_argument("--limit", type=_count, help="so many letters, the oldest; of list: so many groups")
    return options


def _repair_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--rename", action="append", default=[], metavar="OLD=NEW", help="give a field its name")
    options.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="e.g. metadata.price=9.5")
    options.add_argument("--drop", action="append", default=[], metavar="FIELD", help="take a field out")
    options.add_argument("--number", action="append", default=[], metavar="FIELD", help="read its text as a number")
    options.add_argument("--shift", type=float, default=0.0, metavar="SECONDS", help="add to the timestamp")
    options.add_argument("--split", action="store_true", help="let a body's good events go without the bad ones")
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"expected 1 to 1000000, got {text!r}")
    return int(text)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Google's clients warn of their own internals
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a terminal may lack a payload's letters
    sys.exit(main(sys.argv[1:], os.environ))
