"""Output of a command: counts and reasons, and dead letters whole where they are asked for."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from functions.dead_letters.examine import Examined, examine
from functions.dead_letters.repairs import Repairs
from functions.dead_letters.replay import ReplayCounts
from functions.dead_letters.stored import StoredDeadLetter

MAX_REASONS = 20


class Summary:
    """Counts what passes and what does not, and why; shows as many as --show asks for."""

    def __init__(self, show: int, now: datetime) -> None:
        self._show, self._now = show, now
        self.dead_letters = self._good = self.changed = 0
        self._reasons: Counter[str] = Counter()

    def of(self, dead_letters: Iterable[StoredDeadLetter], repairs: Repairs) -> Iterator[Examined]:
        """The dead letters as repaired, counted on their way."""
        for dead_letter in dead_letters:
            found = examine(dead_letter, repairs, self._now)
            self.dead_letters += 1
            self._good += len(found.good)
            self.changed += found.changed
            self._reasons.update(f"{one.error.field}: {one.error.reason}" for one in found.refused)
            if self.dead_letters <= self._show:
                show(dead_letter, found)
            yield found

    def report(self) -> None:
        """Print the counts, and the most frequent reasons."""
        refused = self._reasons.total()
        counts = f"events that pass: {self._good:,}, events that are refused: {refused:,}"
        say(f"dead letters: {self.dead_letters:,}, {counts}")
        for reason, count in self._reasons.most_common(MAX_REASONS):
            print(f"{count:>9,}  {line(reason)}")


def report_replay(tally: ReplayCounts) -> None:
    """Print what was sent and what stays; why the collector refused goes to stderr."""
    say(f"replayed dead letters: {tally.dead_letters:,}, events: {tally.events:,}")
    if tally.split:
        split = f"of these split: {tally.split:,}"
        say(f"{split}; each event that was refused is a dead letter of its own")
    if tally.rejected:
        rejected = f"events that the collector rejected: {tally.rejected:,}"
        say(f"{rejected}; each is a dead letter of its own")
    if tally.kept:
        say(f"dead letters that stay: {tally.kept:,}")
    for reason, count in tally.refusals.most_common(MAX_REASONS):
        print(f"{count:>9,}  {line(reason)}", file=sys.stderr)


def show(dead_letter: StoredDeadLetter, found: Examined | None = None) -> None:
    """Print a dead letter whole, and what became of it, on the operator's own terminal."""
    received = f"received {line(dead_letter.received_at)} from {line(dead_letter.source)}"
    print(f"--- {line(dead_letter.dead_letter_id)} {received}")
    if origin := dead_letter.origin():
        print(f"    {', '.join(f'{name} {line(value)}' for name, value in origin.items())}")
    print(f"    {line(dead_letter.field)}: {line(dead_letter.reason)}")
    encoding = "" if dead_letter.encoding == "utf-8" else f"{dead_letter.encoding}: "
    print(f"{encoding}{printable(dead_letter.payload)}")
    if found is None:
        return
    if found.changed:
        print(f"    repaired:\n{printable(found.dead_letter.payload)}")
    for one in found.refused:
        print(f"    refused: {line(str(one.error))}")


def printable(text: str) -> str:
    """The text without what a terminal would obey: a payload is anybody's."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def line(text: str) -> str:
    """The text on one line, without what a terminal would obey."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def say(line: str) -> None:
    """Print a line of the command's own."""
    print(f"dead-letters: {line}", flush=True)
