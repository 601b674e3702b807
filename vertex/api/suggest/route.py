"""`/v1/search/suggest`: whose profile may be read, and the answer."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from pipeline.core.privacy.consent import resolve_consent
from pipeline.core.privacy.policy import Privacy
from pipeline.core.privacy.signals import Signal
from vertex.api.breaker import Unavailable
from vertex.api.contract import SuggestRequest, profile_keys
from vertex.api.suggest.answer import NOBODY, Person, Suggestion, person_of
from vertex.api.suggest.refresh import Suggestions
from vertex.api.timing import StageTimer
from vertex.api.visitor import Visitors

MAX_ANSWERS = 2_000
"""Answers to all that are kept until the next refresh."""
CACHED_FOR_ALL = "public, max-age=5"
CACHED_FOR_NOBODY = "private, no-store"
"""For answers of one visitor."""

_json = msgspec.json.Encoder()


class Answer(msgspec.Struct, frozen=True):
    """The answer's body."""

    suggestions: list[Suggestion]
    took_ms: float


class SuggestRoute:
    """Answers from memory; reads one profile where the visitor is named and agreed.

    Args:
        visitors: finds who types.
        privacy: consent by default; the key that proves user ids.
        shows_profiles: `Config.profile_view`.
    """

    def __init__(
        self,
        suggestions: Suggestions,
        visitors: Visitors,
        privacy: Privacy,
        shows_profiles: bool,
    ) -> None:
        self._suggestions, self._visitors = suggestions, visitors
        self._privacy, self._shows_profiles = privacy, shows_profiles
        self._answers: dict[tuple[str, int], list[Suggestion]] = {}  # of that version
        self._version = -1

    async def answer(self, asked: SuggestRequest, signal: Signal | None) -> Response:
        """The response; without Bigtable that of everybody."""
        watch = StageTimer()
        keys = self._keys(asked, signal)
        person = await self._person(keys) if keys else NOBODY
        watch.lap("profile")
        is_personal = person is not NOBODY
        found = self._suggest(asked, person) if is_personal else self._for_all(asked)
        watch.lap("suggest")
        body = _json.encode(Answer(found, round(watch.total_ms, 2)))
        is_named = asked.user_id is not None or asked.anonymous_id is not None
        cached = CACHED_FOR_NOBODY if is_named else CACHED_FOR_ALL
        headers = {"cache-control": cached, "server-timing": watch.header()}
        return Response(body, media_type="application/json", headers=headers)

    def _for_all(self, asked: SuggestRequest) -> list[Suggestion]:
        if self._version != self._suggestions.version:
            self._version = self._suggestions.version
            self._answers = {}
        key = (asked.q, asked.n)
        found = self._answers.get(key)
        if found is None:
            found = self._suggest(asked, NOBODY)
            if len(self._answers) < MAX_ANSWERS:
                self._answers[key] = found
        return found

    def _suggest(self, asked: SuggestRequest, person: Person) -> list[Suggestion]:
        return self._suggestions.suggester.suggest(asked.q, asked.n, person)

    def _keys(self, asked: SuggestRequest, signal: Signal | None) -> list[str]:
        """Keys of the profiles that may be read: none where the visitor denied personalization.

        Suggestions show what a visitor typed: an account's are for one who proves to be its user,
        where there is a key to prove it by, or for all where profiles are open.
        """
        consent = resolve_consent({}, asked.consent, signal, self._privacy.default)
        if not consent.personalization:
            return []
        is_proven = self._privacy.user_key is not None or self._shows_profiles
        fields = self._privacy.fields
        return profile_keys(
            fields.apply_id("user_id", asked.user_id) if is_proven else None,
            fields.apply_id("anonymous_id", asked.anonymous_id),
        )

    async def _person(self, keys: list[str]) -> Person:
        try:
            profile = await self._visitors.stored(keys)
        except Unavailable:
            return NOBODY
        return person_of(profile) if profile is not None else NOBODY
