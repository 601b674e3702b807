"""Suggestions for what is typed: matches of both indexes, in order, for all or for one visitor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from pipeline.core.profile import UserProfile
from pipeline.core.queries import normal_query, plain_text
from vertex.api.suggest.index import Match, WordIndex
from vertex.api.suggest.phrases import Kind, kind_and_id
from vertex.api.suggest.words import words_of

CANDIDATES = 40
"""Of either index."""
OF_KIND: Mapping[str, float] = {"query": 1.0, "category": 0.9, "brand": 0.8, "product": 0.75}
TYPO, INSIDE = 0.45, 0.85
"""A match with a mistake, and one that does not begin as what is typed, beside one that does."""
OWN_QUERY = 1.5
INTEREST = 0.5
"""Added to a category and its products for all of a visitor's interest in it."""


class Suggestion(msgspec.Struct, frozen=True, omit_defaults=True):
    """One suggestion; `id` is that of the product, the category's path, or the brand."""

    text: str
    kind: Kind
    id: str | None = None
    score: float = 0.0


class Person(NamedTuple):
    """The visitor who types: the last queries, newest first, and interest by category."""

    queries: Sequence[str] = ()
    interest: Mapping[str, float] = {}


NOBODY = Person()

CategoryOf = Callable[[str], str | None]
"""The category of a product; None for one that may not be shown."""


def person_of(profile: UserProfile) -> Person:
    """Read the visitor who types from a profile."""
    queries = [query for typed, _ in profile.recent_queries() if (query := normal_query(typed))]
    return Person(list(dict.fromkeys(queries)), profile.category_interest())


class Suggester:
    """Suggestions from an index of phrases and one of titles; no clock, no I/O."""

    def __init__(self, phrases: WordIndex, titles: WordIndex, category_of: CategoryOf) -> None:
        self._phrases, self._titles, self._category_of = phrases, titles, category_of

    def suggest(self, typed: str, n: int, person: Person = NOBODY) -> list[Suggestion]:
        """The best `n` suggestions, best first.

        Where nothing is typed these are phrases: the visitor's own queries, then what is popular.
        """
        words, beginning = words_of(typed), plain_text(" ".join(typed.split()))
        found = self._own(beginning, person) + self._of_phrases(words, beginning, person)
        if words:
            found += self._of_titles(words, beginning, person)
        found.sort(key=lambda one: (-one.score, one.text, one.id or ""))
        return _different(found)[:n]

    def _own(self, beginning: str, person: Person) -> list[Suggestion]:
        """The visitor's own queries that begin as what is typed."""
        own = [query for query in person.queries if plain_text(query).startswith(beginning)]
        return [
            Suggestion(query, "query", score=round(OWN_QUERY - 0.01 * place, 4))
            for place, query in enumerate(own)
        ]

    def _of_phrases(self, words: Sequence[str], beginning: str, person: Person) -> list[Suggestion]:
        found = []
        for match in self._phrases.find(words, CANDIDATES):
            kind, name = kind_and_id(match.key)
            score = _score(match, kind, beginning)
            if kind == "category":
                score *= 1.0 + INTEREST * person.interest.get(name, 0.0)
            found.append(_suggestion(match, kind, name, score))
        return found

    def _of_titles(self, words: Sequence[str], beginning: str, person: Person) -> list[Suggestion]:
        found = []
        for match in self._titles.find(words, CANDIDATES):
            category = self._category_of(match.key)
            if category is not None:
                score = _score(match, "product", beginning)
                score *= 1.0 + INTEREST * person.interest.get(category, 0.0)
                found.append(_suggestion(match, "product", match.key, score))
        return found


def _score(match: Match, kind: str, beginning: str) -> float:
    """Half for what it is, half for how much it is wanted, less where it fits less."""
    fits = 1.0
    if match.typo:
        fits = TYPO
    elif not plain_text(match.text).startswith(beginning):
        fits = INSIDE
    return fits * OF_KIND[kind] * (0.5 + 0.5 * match.rank)


def _suggestion(match: Match, kind: str, name: str, score: float) -> Suggestion:
    shown_id = None if kind == "query" else name
    return Suggestion(match.text, kind, shown_id, round(score, 4))  # type: ignore[arg-type]


def _different(found: Sequence[Suggestion]) -> list[Suggestion]:
    """Each text of a kind once, the best of them; the spelling of its best."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for one in found:
        key = (one.kind, plain_text(one.text))
        if key not in seen:
            seen.add(key)
            kept.append(one)
    return kept
