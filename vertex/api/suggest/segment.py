"""Texts that are found by the beginnings of their words: one part of an index, made once."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Generator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vertex.api.suggest.words import TYPO_LENGTH, variants, words_of

SLICE = 100
"""Entries that are worked on without a pause: about a millisecond."""
MAX_ALPHABET = 64
MAX_NEAR = 32
"""Words with a mistake that are tried in place of one typed."""

Rows = NDArray[np.int32]
Slices = Generator[None, None, None]
"""Work in slices: each step of it takes about a millisecond."""

_LAST = "\U0010ffff"


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A text to be found: `key` is its own, `also` holds more words that it is found by.

    `rank`, in [0, 1], says how much it is wanted.
    """

    key: str
    text: str
    also: str = ""
    rank: float = 0.0


class Segment:
    """Entries by the beginnings of their words.

    Words are sorted, so those that begin alike are a range, and so are their entries: one array of
    rows, and where each word's begin. About 120 bytes an entry of six words, beside its key.

    Attributes:
        keys: by row, sorted.
        ranks: `(n,)` float32, in [0, 1]; below 0: the entry is gone.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        entries = sorted(entries, key=lambda entry: entry.key)
        self.keys = [entry.key for entry in entries]
        self.ranks: NDArray[np.float32] = np.array([e.rank for e in entries], np.float32)
        self._entries: Sequence[Entry] = entries
        self._texts = self._also = b""
        self._text_ends = self._also_ends = array("I")
        self._words: list[str] = []
        self._starts: NDArray[np.int64] = np.zeros(1, np.int64)
        self._found: Rows = np.zeros(0, np.int32)
        self._alphabet = ""
        self._gone = 0

    def __len__(self) -> int:
        return len(self.keys) - self._gone

    @property
    def gone(self) -> int:
        """Entries that are held and no longer found."""
        return self._gone

    def build(self) -> Slices:
        """Make it ready to be searched, in slices; before that nothing is found."""
        rows_of: dict[str, list[int]] = {}
        texts, also = bytearray(), bytearray()
        text_ends, also_ends = array("I"), array("I")
        for row, entry in enumerate(self._entries):
            texts += entry.text.encode("utf-8", "surrogatepass")
            also += entry.also.encode("utf-8", "surrogatepass")
            text_ends.append(len(texts))
            also_ends.append(len(also))
            for word in {*words_of(entry.text), *words_of(entry.also)}:
                rows_of.setdefault(word, []).append(row)
            if row % SLICE == SLICE - 1:
                yield
        words = yield from _sorted(rows_of)
        found, starts = array("i"), array("q", [0])
        for place, word in enumerate(words):
            found.extend(rows_of[word])
            starts.append(len(found))
            if place % (10 * SLICE) == 0:
                yield
        self._texts, self._also = bytes(texts), bytes(also)
        self._text_ends, self._also_ends = text_ends, also_ends
        self._words, self._alphabet = words, _alphabet(words)
        self._starts, self._found = np.array(starts), np.array(found, np.int32)
        self._entries = ()

    def row(self, key: str) -> int:
        """The entry's row; -1 for one that is not held, or gone."""
        row = bisect_left(self.keys, key)
        is_held = row < len(self.keys) and self.keys[row] == key and self.ranks[row] >= 0
        return row if is_held else -1

    def remove(self, key: str) -> None:
        """Find the entry no longer."""
        row = self.row(key)
        if row >= 0:
            self.ranks[row] = -1.0
            self._gone += 1

    def text(self, row: int) -> str:
        """The entry's text."""
        return _part(self._texts, self._text_ends, row)

    def entries(self) -> list[Entry]:
        """All that is still found."""
        return [
            Entry(
                self.keys[row],
                self.text(row),
                _part(self._also, self._also_ends, row),
                float(self.ranks[row]),
            )
            for row in np.flatnonzero(self.ranks >= 0).tolist()
        ]

    def find(self, words: Sequence[str], limit: int, typos: bool) -> Rows:
        """Rows of the `limit` entries of the highest rank that have words which begin as these.

        Args:
            words: of `words_of`; none: every entry.
            typos: also where one mistake was made in each of the words.
        """
        if not words:
            return self._best(np.arange(len(self.keys), dtype=np.int32), limit)
        found = [self._with(word, typos) for word in words]
        found.sort(key=len)
        rows = found[0]
        for others in found[1:]:
            has: NDArray[np.bool_] = np.zeros(len(self.keys), np.bool_)
            has[others] = True
            rows = rows[has[rows]]
        return self._best(rows, limit)

    def _best(self, rows: Rows, limit: int) -> Rows:
        """An entry stands once for each of its words that fit."""
        room = 4 * limit
        if len(rows) > room:
            rows = rows[np.argpartition(-self.ranks[rows], room)[:room]]
        rows = np.unique(rows)
        rows = rows[self.ranks[rows] >= 0]
        return rows[np.argsort(-self.ranks[rows], kind="stable")[:limit]]

    def _with(self, word: str, typos: bool) -> Rows:
        ranges = [self._range(word)]
        if typos and len(word) >= TYPO_LENGTH:
            ranges += self._near(word)
        parts = [self._found[self._starts[low] : self._starts[high]] for low, high in ranges]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _range(self, beginning: str) -> tuple[int, int]:
        low = bisect_left(self._words, beginning)
        return low, bisect_left(self._words, beginning + _LAST, low)

    def _near(self, word: str) -> list[tuple[int, int]]:
        """Ranges of words that begin as this one with one mistake, and not as this one.

        A mistake lies within the longest beginning that some word has, or right after it.
        """
        known = 0
        while known < len(word) and self._begins(word[: known + 1]):
            known += 1
        found: dict[int, int] = {}
        for variant in variants(word, self._alphabet, known):
            if variant != word and self._begins(variant):
                low, high = self._range(variant)
                found[low] = max(high, found.get(low, 0))
                if len(found) == MAX_NEAR:
                    break
        return list(found.items())

    def _begins(self, beginning: str) -> bool:
        place = bisect_left(self._words, beginning)
        return place < len(self._words) and self._words[place].startswith(beginning)


def _sorted(words: dict[str, list[int]]) -> Generator[None, None, list[str]]:
    """The words in order, in slices of those that begin with the same two letters."""
    groups: dict[str, list[str]] = {}
    for place, word in enumerate(words):
        groups.setdefault(word[:2], []).append(word)
        if place % (20 * SLICE) == 0:
            yield
    ordered: list[str] = []
    for beginning in sorted(groups):
        ordered += sorted(groups[beginning])
        yield
    return ordered


def _alphabet(words: Sequence[str]) -> str:
    """The letters that most words have, up to 64 of them."""
    counts: dict[str, int] = {}
    for word in words[:: max(1, len(words) // 2_000)]:
        for letter in word:
            counts[letter] = counts.get(letter, 0) + 1
    return "".join(sorted(counts, key=lambda letter: (-counts[letter], letter))[:MAX_ALPHABET])


def _part(texts: bytes, ends: array[int], row: int) -> str:
    start = ends[row - 1] if row else 0
    return texts[start : ends[row]].decode("utf-8", "surrogatepass")
