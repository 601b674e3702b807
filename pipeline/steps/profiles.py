"""Profiles: each visitor's new events folded into one state, first by browser, then by account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import TimerSpec, on_timer
from apache_beam.utils.shared import Shared

from pipeline.core.decay import DAY_MS
from pipeline.core.events import Event
from pipeline.core.features.signals import Signals
from pipeline.core.fold import Fact, Folded, adopt, first_account, fold
from pipeline.core.profile import UserProfile
from pipeline.core.profile_keys import account_key, is_browser_key, visitor_id
from pipeline.core.rules import Anomaly, Rules, Trigger, due, next_check
from pipeline.core.trust import Judge, NewFacts
from pipeline.runtime.clock import now_ms
from pipeline.runtime.metrics import Counter
from pipeline.steps.decode import ADOPT, FACTS, MARK, AccountLinks
from pipeline.steps.keyed_state import KeyedState, StateOptions, until_drained
from pipeline.store import layout, versions

NEW, ACCOUNTS, CAMPAIGNS, ANOMALIES = "new", "accounts", "campaigns", "anomalies"

REFRESH_LINK_MS = DAY_MS
"""A browser's link to its account is written anew so often while it is used: Bigtable forgets by a
cell's time."""
MAX_AHEAD_MS = 5_000
"""The watermark may be so far ahead of a worker's clock."""

Given = tuple[str, Any]
"""Input of a fold: see `decode.FACTS` and its like."""


@dataclass(slots=True)
class FoldOutcome:
    """Changes and outputs of one element.

    Attributes:
        changed: whether the profile is to be written; else it is only kept for as long again where
            it is `in_use`.
        new: facts that were new, for items and sessions.
        duplicates: the number of facts that were not.
        forwarded: what goes on to accounts, by profile key.
        ask_at_ms: when a campaign comes due if nothing else happens; None: never.
        asked: whether campaigns were asked for at all, and so `ask_at_ms` holds.
        by_person: False where all that is new was a bot's: campaigns are for people.
    """

    changed: bool = True
    in_use: bool = True
    new: list[NewFacts] = field(default_factory=list)
    duplicates: int = 0
    forwarded: list[tuple[str, Given]] = field(default_factory=list)
    anomalies: list[Anomaly] = field(default_factory=list)
    campaigns: list[Trigger] = field(default_factory=list)
    ask_at_ms: int | None = None
    asked: bool = False
    by_person: bool = True


class ProfileFold:
    """One element into one profile, by the rules; no state of its own, no clock."""

    def __init__(self, rules: Rules) -> None:
        self._campaigns = rules.campaigns
        self._judge = Judge(rules)

    def add(self, key: str, profile: UserProfile, given: Given, now: int) -> FoldOutcome:
        """Fold what is given into the profile, in place.

        Args:
            key: the profile key; a browser's profile moves into the account that its events name
                first.
            now: in ms, for campaigns alone.
        """
        kind, value = given
        if profile.account:
            return _follow(profile, given)
        if kind == FACTS and is_browser_key(key) and (account := first_account(_events(value))):
            return _move(profile, account, value)
        if kind == MARK:
            outcome = _mark(profile, value)
        elif kind == ADOPT:
            folded = adopt(profile, versions.decode(UserProfile, value))
            outcome = self._judged(key, profile, folded)
        else:
            outcome = self._add_facts(key, profile, value)
        if outcome.changed and outcome.by_person:
            self.ask(key, profile, now, outcome)
        return outcome

    def ask(self, key: str, profile: UserProfile, now: int, outcome: FoldOutcome) -> None:
        """Add the campaigns that are due at `now`, and when the next comes due in silence."""
        if not self._campaigns or not profile.events_total or self._judge.is_marked(profile, now):
            return
        signals = Signals(profile, now)
        outcome.campaigns = due(self._campaigns, signals, profile.fired, now, visitor=key)
        profile.fired.update({trigger.rule: now for trigger in outcome.campaigns})
        outcome.ask_at_ms = next_check(self._campaigns, signals, signals.when, profile.fired, now)
        outcome.asked = True

    def _add_facts(self, key: str, profile: UserProfile, facts: list[Fact]) -> FoldOutcome:
        folded = fold(profile, facts)
        if not folded.new:
            return FoldOutcome(changed=False, in_use=False, duplicates=len(facts))
        outcome = self._judged(key, profile, folded)
        outcome.duplicates = len(facts) - len(folded.new)
        return outcome

    def _judged(self, key: str, profile: UserProfile, folded: Folded) -> FoldOutcome:
        found, people, bots = self._judge.judge(profile, folded, key)
        new = [facts for facts in (people, bots) if any((facts.facts, facts.pairs, facts.clicks))]
        by_person = bool(people.facts) or not folded.new
        return FoldOutcome(anomalies=found, new=new, by_person=by_person)


def _mark(profile: UserProfile, anomaly: Anomaly) -> FoldOutcome:
    """Remember what was found about the visitor's network address, once."""
    if profile.marks.get(anomaly.rule, 0) >= anomaly.until_ms:
        return FoldOutcome(changed=False, in_use=False)
    profile.marks[anomaly.rule] = anomaly.until_ms
    return FoldOutcome(anomalies=[anomaly])


def _move(profile: UserProfile, account: str, facts: list[Fact]) -> FoldOutcome:
    """Send all that is known of a browser on to the account, once; what remains is a link to it."""
    known: list[tuple[str, Given]] = []
    if profile.events_total or profile.marks:
        known.append((account, (ADOPT, profile.encode())))
    empty = UserProfile(newest_ms=max(profile.newest_ms, _newest_ms(facts)), account=account)
    for name in profile.__struct_fields__:
        setattr(profile, name, getattr(empty, name))
    return FoldOutcome(forwarded=[*known, *_by_account(account, facts)])


def _follow(link: UserProfile, given: Given) -> FoldOutcome:
    """Send what came for a browser on to the account that it was merged into, or that an event
    names.
    """
    kind, value = given
    if kind != FACTS:
        return FoldOutcome(changed=False, forwarded=[(link.account, given)])
    outcome = FoldOutcome(forwarded=_by_account(link.account, value))
    newest_ms = _newest_ms(value)
    outcome.changed = newest_ms >= link.newest_ms + REFRESH_LINK_MS
    if outcome.changed:
        link.newest_ms = newest_ms
    return outcome


def _by_account(account: str, facts: list[Fact]) -> list[tuple[str, Given]]:
    """The facts by the account that each names, else by this one."""
    found: dict[str, list[Fact]] = {}
    for fact in facts:
        user_id = fact[0].user_id
        found.setdefault(account_key(user_id) if user_id else account, []).append(fact)
    return [(key, (FACTS, of_account)) for key, of_account in found.items()]


def _newest_ms(facts: list[Fact]) -> int:
    return max(event.time_ms for event in _events(facts))


def _events(facts: list[Fact]) -> Iterator[Event]:
    return (event for event, _ in facts)


class FoldVisitors(KeyedState):
    """One fold of profiles: `ProfileFold` on state that is kept by profile key."""

    CAMPAIGN = TimerSpec("campaign", TimeDomain.WATERMARK)

    def __init__(self, state_options: StateOptions, rules: Rules, links: Shared) -> None:
        super().__init__(state_options, "fold")
        self._fold, self._shared_links = ProfileFold(rules), links
        self._new = Counter("fold", "new")
        self._duplicate = Counter("fold", "duplicate")
        self._merged = Counter("fold", "merged")
        self._distrusted = Counter("fold", "distrusted")
        self._campaigns = Counter("rules", "campaigns")
        self._anomalies = Counter("rules", "anomalies")

    def setup(self) -> None:
        self._links: AccountLinks = self._shared_links.acquire(AccountLinks)

    def process(
        self,
        element: tuple[str, Given],
        state: Any = beam.DoFn.StateParam(KeyedState.STATE),
        flush: Any = beam.DoFn.TimerParam(KeyedState.FLUSH),
        expiry: Any = beam.DoFn.TimerParam(KeyedState.EXPIRY),
        campaign: Any = beam.DoFn.TimerParam(CAMPAIGN),
    ) -> Iterator[Any]:
        key, given = element
        kept = self._load(layout.PROFILE, key, state)
        profile = self._decode(UserProfile, kept)
        if profile is None:
            return
        outcome = self._fold.add(key, profile, given, now_ms())
        self._merged.inc(int(given[0] == ADOPT and not profile.account))
        if profile.account and given[0] == FACTS:
            self._links.add(visitor_id(key), visitor_id(profile.account))
        yield from self._emit(key, outcome, campaign)
        if outcome.changed:
            yield from self._keep(kept, profile.encode(), profile.newest_ms, state, flush, expiry)
        elif outcome.in_use:
            self._hold(kept, state, expiry)

    @on_timer(CAMPAIGN)
    def look_again(
        self,
        key: Any = beam.DoFn.KeyParam,
        due_at: Any = beam.DoFn.TimestampParam,
        state: Any = beam.DoFn.StateParam(KeyedState.STATE),
        flush: Any = beam.DoFn.TimerParam(KeyedState.FLUSH),
        expiry: Any = beam.DoFn.TimerParam(KeyedState.EXPIRY),
        campaign: Any = beam.DoFn.TimerParam(CAMPAIGN),
    ) -> Iterator[Any]:
        now, due_ms = now_ms(), due_at.micros // 1000
        if due_ms > now + MAX_AHEAD_MS:
            # the job is drained, and the time has not come; a timer set anew would fire at once,
            # and again
            return
        # the state of a silent key may have been forgotten meanwhile
        kept = self._load(layout.PROFILE, key, state)
        profile = self._decode(UserProfile, kept)
        if profile is None:
            return
        outcome = FoldOutcome()
        self._fold.ask(key, profile, max(now, due_ms), outcome)
        yield from self._emit(key, outcome, campaign)
        if outcome.campaigns:
            yield from self._keep(kept, profile.encode(), profile.newest_ms, state, flush, expiry)

    def _emit(self, key: str, outcome: FoldOutcome, campaign: Any) -> Iterator[TaggedOutput]:
        self._duplicate.inc(outcome.duplicates)
        for new in outcome.new:
            self._new.inc(len(new.facts))
            self._distrusted.inc(0 if new.trusted else len(new.facts))
            yield TaggedOutput(NEW, (key, new))
        self._anomalies.inc(len(outcome.anomalies))
        self._campaigns.inc(len(outcome.campaigns))
        for tag, found in (
            (ACCOUNTS, outcome.forwarded),
            (ANOMALIES, outcome.anomalies),
            (CAMPAIGNS, outcome.campaigns),
        ):
            for value in found:
                yield TaggedOutput(tag, value)
        if outcome.ask_at_ms is not None:
            campaign.set(until_drained(outcome.ask_at_ms / 1000))
        elif outcome.asked:
            campaign.clear()


class Profiles(NamedTuple):
    """Outputs of `FoldProfiles`."""

    writes: PCollection
    new: PCollection
    campaigns: PCollection
    anomalies: PCollection


class FoldProfiles(beam.PTransform):
    """Fold each visitor's new events into the profile; takes `Decode`'s and `WatchAddresses`'
    outputs.

    Twice the same fold, keyed by profile key, global window: first browsers, then accounts. The
    first event that names both merges the browser's profile into the account, once; from then on
    all that this browser sends goes to the account, with or without a login, until it takes another
    anonymous id. A browser that several accounts share stays with the first.

    State: the encoded profile (bounded, see `UserProfile`), read back from Bigtable when a key is
    new to this job, forgotten after `ttl_s` of silence. What the collector took for a bot's
    (`metadata.bot`) is folded like the rest, in sessions of its own, and handed on as not to be
    trusted; it calls for no campaign. A duplicate changes nothing and goes no further, so what
    follows (items, sessions) counts each event once. Writes are coalesced, see `KeyedState`.
    Outputs: `writes` for Bigtable; `new`, `(profile key, NewFacts)`; `campaigns` and `anomalies` by
    the rules, the first also by a timer in silence. `links` is the handle of the process's
    `AccountLinks`, which `Decode` reads.
    """

    def __init__(
        self,
        state_options: StateOptions,
        rules: Rules | None = None,
        links: Shared | None = None,
    ) -> None:
        super().__init__()
        self._options, self._rules = state_options, rules or Rules()
        self._links = links or Shared()

    def expand(self, inputs: dict[str, PCollection]) -> Profiles:
        tags = (NEW, ACCOUNTS, CAMPAIGNS, ANOMALIES)
        fold = FoldVisitors(self._options, self._rules, self._links)
        browsers = inputs["browsers"] | "Browsers" >> beam.ParDo(fold).with_outputs(
            *tags, main="writes"
        )
        accounts = (
            (inputs["accounts"], browsers[ACCOUNTS])
            | "Route" >> beam.Flatten()
            | "Accounts" >> beam.ParDo(fold).with_outputs(*tags, main="writes")
        )

        def both(tag: str) -> PCollection:
            parts: Any = (browsers[tag], accounts[tag])
            merged: PCollection = parts | f"Both {tag}" >> beam.Flatten()
            return merged

        return Profiles(*(both(tag) for tag in ("writes", NEW, CAMPAIGNS, ANOMALIES)))
