"""Trust: which of a message's new facts count beyond the visitor's own profile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.core.catalog import Item, stub_item
from pipeline.core.features.signals import Signals
from pipeline.core.fold import Fact, Folded, Pair, of_people
from pipeline.core.privacy.bots import is_bot
from pipeline.core.profile import UserProfile
from pipeline.core.queries import SearchClick
from pipeline.core.rules import Anomaly, Rules, anomalies, is_marked


class NewFacts(NamedTuple):
    """Facts that were new to a profile, and the pairs and clicks after searches that came or went
    with them.

    `trusted` is False while the visitor is marked, and for what a bot did.
    """

    facts: list[Fact]
    pairs: list[Pair]
    trusted: bool
    clicks: tuple[SearchClick, ...] = ()


class Judged(NamedTuple):
    """Anomalies that a message brought to light, and its new facts by whether they are trusted."""

    anomalies: list[Anomaly]
    people: NewFacts
    bots: NewFacts


class Judge:
    """The anomaly rules about visitors, as stream and backfill ask them."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._of_visitors = rules.anomalies_of("visitor")

    def judge(self, profile: UserProfile, folded: Folded, key: str) -> Judged:
        """Find anomalies and mark the profile with them; a marked visitor's facts are not trusted.

        Args:
            profile: with the message folded in; `key` is its profile key.
        """
        at_ms = profile.newest_ms
        found: list[Anomaly] = []
        if folded.new and self._of_visitors:
            found = anomalies(
                self._of_visitors, Signals(profile, at_ms), profile.marks, at_ms, key=key
            )
        for anomaly in found:
            profile.marks[anomaly.rule] = anomaly.until_ms
        people = of_people(folded)
        bots = [fact for fact in folded.new if is_bot(fact[0])]
        trusted = not self.is_marked(profile, at_ms)
        return Judged(
            found,
            NewFacts(people.new, people.pairs, trusted, people.clicks),
            NewFacts(bots, [], trusted=False),
        )

    def is_marked(self, profile: UserProfile, time_ms: int) -> bool:
        """True where a mark of the rules holds at `time_ms`."""
        return bool(profile.marks) and is_marked(self._rules.anomalies, profile.marks, time_ms)


def stubs_of(facts: Iterable[Fact]) -> dict[str, Item]:
    """Stubs of products that the catalog does not hold, by id: the first event's word."""
    stubs: dict[str, Item] = {}
    for event, item in facts:
        if item is None and event.product_id is not None and event.product_id not in stubs:
            stubs[event.product_id] = stub_item(event)
    return stubs
