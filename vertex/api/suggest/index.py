"""An index of texts that changes: a few segments of growing size, as search engines have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from vertex.api.suggest.segment import SLICE, Entry, Segment, Slices

GROWTH = 4
"""A segment is at least so many times as large as the next."""


class Match(msgspec.Struct, frozen=True, gc=False):
    """An entry that was found; `typo`: only with a mistake in what was typed."""

    key: str
    text: str
    rank: float
    typo: bool = False


class Changes(msgspec.Struct):
    """Changes of what is to be found: entries that are new or say something else, keys that are
    gone, ranks by key that moved.
    """

    entries: list[Entry] = []
    gone: list[str] = []
    ranks: list[tuple[str, float]] = []


class WordIndex:
    """Entries by the beginnings of their words; what is put in is found when its segment is built.

    A change costs the building of a small segment; segments of like size are merged, so that there
    are about log4(n) of them and an entry is built anew as often (O'Neil and others, "The
    log-structured merge-tree", 1996).
    """

    def __init__(self) -> None:
        self._segments: list[Segment] = []  # the largest first

    def __len__(self) -> int:
        return sum(map(len, self._segments))

    @property
    def segments(self) -> int:
        """Number of its parts."""
        return len(self._segments)

    def apply(self, changes: Changes) -> Slices:
        """Take the changes in, in slices; one at a time."""
        self.remove(changes.gone)
        for place, (key, rank) in enumerate(changes.ranks):
            self.rank(key, rank)
            if place % SLICE == 0:
                yield
        yield from self.put(changes.entries)

    def put(self, entries: Sequence[Entry]) -> Slices:
        """Add entries, each in place of the one of its key, in slices."""
        if not entries:
            return
        segment = Segment(list({entry.key: entry for entry in entries}.values()))
        yield from segment.build()
        self.remove(entry.key for entry in entries)
        self._segments.append(segment)
        yield from self._merge()

    def remove(self, keys: Iterable[str]) -> None:
        """Find the entries of these keys no longer."""
        for key in keys:
            for segment in self._segments:
                segment.remove(key)

    def rank(self, key: str, rank: float) -> bool:
        """Set the rank of an entry; False for an unknown one."""
        for segment in self._segments:
            row = segment.row(key)
            if row >= 0:
                segment.ranks[row] = rank
                return True
        return False

    def find(self, words: Sequence[str], limit: int) -> list[Match]:
        """The `limit` entries of the highest rank that have words which begin as these, best first.

        Where there are fewer, those follow in which a word was mistyped.
        """
        found = self._find(words, limit, typos=False)
        if len(found) < limit and words:
            known = {match.key for match in found}
            near = self._find(words, limit, typos=True)
            found += [match for match in near if match.key not in known]
        return found[:limit]

    def _find(self, words: Sequence[str], limit: int, typos: bool) -> list[Match]:
        found = [
            Match(segment.keys[row], segment.text(row), float(segment.ranks[row]), typos)
            for segment in self._segments
            for row in segment.find(words, limit, typos).tolist()
        ]
        found.sort(key=lambda match: (-match.rank, match.text, match.key))
        return found[:limit]

    def _merge(self) -> Slices:
        """Make one of the smallest segments where they are of like size, or half empty."""
        while (start := self._first_to_merge()) is not None:
            old = self._segments[start:]
            merged = Segment([entry for segment in old for entry in segment.entries()])
            yield from merged.build()
            self._segments[start:] = [merged] if len(merged) else []

    def _first_to_merge(self) -> int | None:
        for place, segment in enumerate(self._segments):
            smaller = sum(map(len, self._segments[place + 1 :]))
            is_like_the_rest = 0 < len(segment) < GROWTH * smaller
            if is_like_the_rest or segment.gone > max(len(segment), 16):
                return place
        return None
