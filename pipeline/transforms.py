"""The steps of the pipeline, each a PTransform with what it promises; the work is done in the modules it names.

A Pub/Sub message is a batch and stays one: what is keyed by visitor is one element a message and visitor.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.utils.timestamp import Duration

from pipeline.core.rules import Rules
from pipeline.core.sessions import merged
from pipeline.decoding import BY_ADDRESS, BY_BROWSER, INVALID, LOG, DecodeMessages
from pipeline.folding import (
    ACCOUNTS,
    ANOMALIES,
    CAMPAIGNS,
    NEW,
    RANKS,
    FoldItemRows,
    FoldScopes,
    FoldVisitors,
    SumByItem,
)
from pipeline.keeping import Keeping
from pipeline.lease import Lease
from pipeline.store import Bigtable
from pipeline.visits import SpanSessions, SummarizeMessage
from pipeline.watching import WatchAddress
from pipeline.writing import WriteRows


class Decode(beam.PTransform):
    """Turn messages into facts by visitor.

    Outputs: main and `BY_BROWSER`, `(profile key, ("facts", [(event, item)]))`, one element a message and visitor, by
    account and by browser; `BY_ADDRESS`, the message's visitors and times by network address, where the message's
    attribute `address` names one; `LOG`, one list of rows a message for the events table; `INVALID`, dead letters for
    bodies that are no message of ours. An event whose visitor denied analytics is in `LOG` no more than one whose
    visitor denied personalization is in the others. Never raises on input. The catalog is read from Bigtable and
    cached in the process for five minutes (an unknown item for ten seconds), so what is known of an item may be that
    old.
    """

    def __init__(self, source: Bigtable) -> None:
        super().__init__()
        self._source = source

    def expand(self, messages: PCollection) -> Any:
        decode = beam.ParDo(DecodeMessages(self._source))
        return messages | decode.with_outputs(INVALID, LOG, BY_BROWSER, BY_ADDRESS, main="facts")


class Profiles(NamedTuple):
    """What `FoldProfiles` gives."""

    writes: PCollection
    new: PCollection
    campaigns: PCollection
    anomalies: PCollection


class FoldProfiles(beam.PTransform):
    """Fold each visitor's new events into the profile; takes `Decode`'s and `WatchAddresses`' outputs.

    Twice the same fold, keyed by profile key, global window: first browsers (`a#`), then accounts (`u#`). The first
    event that names both merges the browser's profile into the account, once; from then on whatever that browser sends
    goes to the account, with or without a login, until it takes another anonymous id. A browser that several accounts
    share stays with the first.

    State: the encoded profile (bounded, see `UserProfile`), read back from Bigtable when a key is new to this job,
    forgotten after `ttl_s` of silence. What the collector took for a bot's (`metadata.bot`) is folded like the rest, in
    sessions of its own, and handed on as not to be trusted; it calls for no campaign. A duplicate changes nothing and
    goes no further, so what follows (items, sessions) counts each event once. Writes are coalesced, see `KeptState`.
    Outputs: `writes` for Bigtable; `new`, `(profile key, NewFacts)`; `campaigns` and `anomalies` by the rules, the
    first also by a timer in silence.
    """

    def __init__(self, keeping: Keeping, rules: Rules | None = None) -> None:
        super().__init__()
        self._keeping, self._rules = keeping, rules or Rules()

    def expand(self, inputs: dict[str, PCollection]) -> Profiles:
        tags = (NEW, ACCOUNTS, CAMPAIGNS, ANOMALIES)
        fold = FoldVisitors(self._keeping, self._rules)
        browsers = inputs["browsers"] | "Browsers" >> beam.ParDo(fold).with_outputs(*tags, main="writes")
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


class WatchAddresses(beam.PTransform):
    """Find what no person's network address sends, and mark who is behind it.

    Keyed by address, global window; state is an `AddressCounts` (at most 1.5 kB), forgotten after half an hour of
    silence. Outputs: main and `BY_BROWSER`, marks for the profiles of accounts and browsers; `ANOMALIES`.
    """

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self._rules = rules

    def expand(self, counts: PCollection) -> Any:
        return counts | beam.ParDo(WatchAddress(self._rules)).with_outputs(BY_BROWSER, ANOMALIES, main="marks")


class FoldItems(beam.PTransform):
    """Fold new, trusted events into item stats and trending scopes; yield Bigtable writes.

    A bundle's events are first summed by row, so a hot item costs one element a bundle and worker, not one an event.
    Then two keyed folds, global window: items, and, with each item's whole popularity, the scopes it belongs to
    (`trending_shards` rows each, by item). State is the encoded monoid, warm-started, forgotten and written as in
    `FoldProfiles`. An item that the catalog does not hold gets a stub, which a later catalog load overwrites.

    These states hold no event ids: each new event counts once because `FoldProfiles` hands it on once, and the runner
    keeps what is between steps exactly once. Where it does not, they are only nearly exact: Dataflow's at-least-once
    mode may count an event twice; a job that is killed or cancelled, not drained, leaves out events whose profile was
    stored already, for a replay finds them duplicate. Profiles are exact in both cases, and a backfill mends items.
    """

    def __init__(self, keeping: Keeping, trending_shards: int = 1) -> None:
        super().__init__()
        self._keeping, self._shards = keeping, trending_shards

    def expand(self, new: PCollection) -> Any:
        partial = new | "SumByItem" >> beam.ParDo(SumByItem(self._shards)).with_outputs(RANKS, main="items")
        fold = beam.ParDo(FoldItemRows(self._keeping, self._shards))
        items = partial["items"] | "FoldItemRows" >> fold.with_outputs(RANKS, main="writes")
        scopes = (
            (partial[RANKS], items[RANKS])
            | "Scopes" >> beam.Flatten()
            | "FoldScopes" >> beam.ParDo(FoldScopes(self._keeping))
        )
        return (items["writes"], scopes) | "Both" >> beam.Flatten()


class SummarizeSessions(beam.PTransform):
    """Summarize each visit: `(profile key, SessionSummary)`, which `session_rows` makes a row of.

    Session windows of `gap_s` by event time, each message's events entering as one partial summary whose window spans
    them. Fires when the watermark passes the end and again for each late element within `lateness_s`, accumulating, so
    the newest row of a session is the whole of it. Beam drops, without counting, what comes when the watermark has
    passed its visit's end by more than `lateness_s`; the watermark is never ahead of the clock, so the counter
    `too_late`, events that are later than that by the clock, counts at least all that were dropped.

    A summary goes into the log: events whose visitor denied analytics are in none.
    """

    def __init__(self, gap_s: float = 1800.0, lateness_s: float = 3600.0) -> None:
        super().__init__()
        if gap_s <= 0 or lateness_s < 0:
            raise ValueError(f"gap_s and lateness_s: expected above 0 and at least 0, got {gap_s}, {lateness_s}")
        self._gap_s, self._lateness_s = gap_s, lateness_s

    def expand(self, new: PCollection) -> Any:
        return (
            new
            | "Partials" >> beam.ParDo(SummarizeMessage(self._gap_s, self._lateness_s))
            | "Windows"
            >> beam.WindowInto(
                SpanSessions(self._gap_s),
                trigger=AfterWatermark(late=AfterCount(1)),
                accumulation_mode=AccumulationMode.ACCUMULATING,
                allowed_lateness=Duration.of(self._lateness_s),
            )
            | "Merge" >> beam.CombinePerKey(merged)
        )


class WriteToBigtable(beam.PTransform):
    """Write `(kind, key, value, timestamp in ms)` to Bigtable, in one request a table and bundle.

    Idempotent: a cell's timestamp says which state is fuller, so a retried or delayed write does no harm.

    `after_commit` breaks the fusion with the fold before it, so that a state reaches Bigtable only when the runner has
    committed it. Without, a bundle that is tried again would warm-start a new key from its own first try's write, and
    take its events for duplicates. The DirectRunner does not try bundles again and is spared the shuffle.

    With a `lease`, a bundle fails while another job holds it.
    """

    def __init__(self, target: Bigtable, after_commit: bool = True, lease: Lease | None = None) -> None:
        super().__init__()
        self._write, self._after_commit = WriteRows(target, lease), after_commit

    def expand(self, writes: PCollection) -> Any:
        if self._after_commit:
            writes = writes | beam.Reshuffle()
        return writes | "Write" >> beam.ParDo(self._write)
