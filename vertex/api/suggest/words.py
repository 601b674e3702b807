"""Words of texts as they are compared, and the words that one typing mistake makes of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.core.queries import plain_text

MAX_WORDS, MAX_WORD_LENGTH = 16, 32
"""Of a text so many words are found by, each by so many characters."""
TYPO_LENGTH = 4
"""A shorter word has no mistakes: too many others are as near to it."""

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """The first 16 words, without case and accents, in their order."""
    return [word[:MAX_WORD_LENGTH] for word in _WORD.findall(plain_text(text))[:MAX_WORDS]]


def variants(word: str, alphabet: str, last_place: int) -> Iterator[str]:
    """The words that are one mistake away: a letter left out, added, wrong, or two swapped.

    Args:
        alphabet: letters that may have been meant.
        last_place: the mistake is at this place of the word, or before it.
    """
    for place in range(min(last_place, len(word)) + 1):
        before, after = word[:place], word[place:]
        for letter in alphabet:
            yield before + letter + after
        if not after:
            return
        yield before + after[1:]
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
        for letter in alphabet:
            yield before + letter + after[1:]
