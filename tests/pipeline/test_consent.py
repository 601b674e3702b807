"""What a visitor denied happens nowhere, and what a bot did is its own: in the stream as in a
backfill of its log.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from google.cloud import bigquery

from pipeline.batch import backfill
from pipeline.batch.backfill import fold_messages
from pipeline.core.events import Event
from pipeline.core.fold import Fact, Folded, adopt, fold, item_sums
from pipeline.core.profile import UserProfile
from pipeline.core.rules import AnomalyRule, CampaignRule, Condition, Rules
from pipeline.core.trust import Judge, NewFacts
from pipeline.steps.bigquery import insert
from pipeline.steps.decode import BY_ADDRESS, BY_BROWSER, LOG, Decode, event_row
from pipeline.steps.items import FoldItems
from pipeline.steps.keyed_state import StateOptions
from pipeline.steps.sessions import SummarizeSessions, session_rows
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.layout import PROFILE
from tests.pipeline.core.streams import assert_same
from tests.pipeline.running import (
    START_MS,
    Clean,
    Visitor,
    collect,
    facts,
    features,
    message,
    outputs,
    run,
    script,
    stored_items,
    stored_profile,
)

BOTH = {"analytics": True, "personalization": True}
NO_ANALYTICS = {"analytics": False, "personalization": True}
NO_PERSONALIZATION = {"analytics": True, "personalization": False}
NEITHER = {"analytics": False, "personalization": False}


def agreed(consent: Any, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"consent": consent, **metadata}}


def bot(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"bot": "rate", **metadata}}


class TestDecode:
    @pytest.mark.parametrize(
        ("consent", "logged", "folded"),
        [
            (None, True, True),
            (BOTH, True, True),
            (NO_ANALYTICS, False, True),
            (NO_PERSONALIZATION, True, False),
            (NEITHER, False, False),
            # Written by nobody but who skipped the collector: what cannot be read is no agreement.
            ({}, False, False),
            ({"analytics": 1, "personalization": "true"}, False, False),
            ("granted", False, False),
        ],
    )
    def test_each_denial_keeps_the_event_out_of_its_own_place(
        self, source: Bigtable, visitor: Visitor, consent: Any, logged: bool, folded: bool
    ) -> None:
        of_account = visitor.did("scroll", at_s=1, **agreed(consent))
        of_browser = visitor.anonymously("scroll", at_s=2, **agreed(consent))

        def connect(pipeline: beam.Pipeline) -> None:
            decoded = (
                pipeline | script([message(of_account, of_browser, address="net")]) | Decode(source)
            )
            collect(decoded.facts, "accounts")
            for name in (BY_BROWSER, BY_ADDRESS, LOG):
                collect(decoded[name], name)

        counts = run(connect)
        ids = [of_account.event_id, of_browser.event_id] if logged else []
        assert [row.row["event_id"] for rows in outputs[LOG] for row in rows] == ids
        assert outputs["accounts"] == ([(visitor.key, facts(of_account))] if folded else [])
        assert outputs[BY_BROWSER] == ([(visitor.browser, facts(of_browser))] if folded else [])
        watched = [("net", [(visitor.key, START_MS + 1000), (visitor.browser, START_MS + 2000)])]
        assert outputs[BY_ADDRESS] == (watched if folded else [])
        assert counts["decode/accepted"] == 2
        assert (counts["decode/not_logged"], counts["decode/not_folded"]) == (
            0 if logged else 2,
            0 if folded else 2,
        )

    def test_of_one_message_each_event_has_its_own_consent(
        self, source: Bigtable, store: Store, visitor: Visitor
    ) -> None:
        events = [
            visitor.did("view_product", "a"),
            visitor.did("view_product", "b", 1, **agreed(NO_PERSONALIZATION)),
            visitor.did("view_product", "c", 2, **agreed(NO_ANALYTICS)),
        ]
        features(source, [message(*events)])
        assert stored_profile(store, visitor.key).recent.keys() == {
            visitor.product("a"),
            visitor.product("c"),
        }
        assert stored_items(store, map(visitor.product, "abc")).keys() == {
            visitor.product("a"),
            visitor.product("c"),
        }

    def test_of_one_message_an_address_is_told_only_of_who_agreed(
        self, source: Bigtable, visitor: Visitor
    ) -> None:
        events = [
            visitor.did("scroll", at_s=1),
            visitor.anonymously("scroll", at_s=2, **agreed(NO_PERSONALIZATION)),
        ]
        run(
            lambda p: collect(
                (p | script([message(*events, address="net")]) | Decode(source))[BY_ADDRESS],
                "found",
            )
        )
        assert outputs["found"] == [("net", [(visitor.key, START_MS + 1000)])]

    def test_a_login_that_is_denied_merges_nothing(
        self, source: Bigtable, store: Store, visitor: Visitor
    ) -> None:
        login = visitor.logged_in("identify", at_s=1, **agreed(NO_PERSONALIZATION))
        features(source, [message(visitor.anonymously("scroll")), message(login)])
        assert stored_profile(store, visitor.browser).account == ""
        assert store.read(PROFILE, visitor.key) is None


def test_a_visits_summary_is_a_log_and_has_nothing_of_who_denied_analytics(
    visitor: Visitor,
) -> None:
    seen, denied = (
        visitor.did("scroll", at_s=0),
        visitor.did("purchase", "p", 60, **agreed(NO_ANALYTICS)),
    )
    only_denied = Visitor(f"{visitor.tag}-other").did("scroll", **agreed(NO_ANALYTICS))
    new = [
        (visitor.key, NewFacts([(seen, None), (denied, None)], [], True)),
        ("u#other", NewFacts([(only_denied, None)], [], True)),
    ]
    run(lambda p: collect(p | script(new) | SummarizeSessions() | beam.Map(session_rows), "rows"))
    [[row]] = outputs["rows"]
    assert (row.row["visitor"], row.row["events"], row.row["purchases"]) == (visitor.key, 1, 0)


class TestBots:
    def test_what_a_bot_did_is_in_its_profile_and_visits_and_counts_for_no_item(
        self, source: Bigtable, store: Store, visitor: Visitor
    ) -> None:
        events = [
            visitor.did("view_product", "a", 0),
            visitor.did("view_product", "b", 1, **bot()),
            visitor.did("view_product", "c", 2),
        ]
        counts = features(source, [message(*events)])
        clean = Clean([events[0], events[2]])
        assert stored_profile(store, visitor.key).events_total == 3
        assert_same(stored_items(store, map(visitor.product, "abc")), clean.items)
        new = {
            tuple(e.event_id for e, _ in n.facts): (len(n.pairs), n.trusted)
            for _, n in outputs["new"]
        }
        assert new == {
            (events[0].event_id, events[2].event_id): (1, True),
            (events[1].event_id,): (0, False),
        }
        assert (counts["fold/new"], counts["fold/distrusted"]) == (3, 1)

    @pytest.mark.parametrize("seed", range(6))
    def test_in_whatever_order_they_come_items_get_what_people_did(
        self, visitor: Visitor, seed: int
    ) -> None:
        """One session, so that pairs would tell."""
        rng = random.Random(seed)
        names = ["view_product", "add_to_cart", "purchase"]
        events = [
            visitor.did(
                names[n % 3], f"p{n % 5}", n, **(bot() if rng.random() < 0.5 else {"metadata": {}})
            )
            for n in range(24)
        ]
        people = Clean([event for event in events if "bot" not in event.metadata])
        in_order, _ = fold_messages(
            _arriving([[event] for event in events]), Judge(Rules()), visitor.key
        )

        rng.shuffle(events)
        size = rng.randint(1, 5)
        messages = [events[at : at + size] for at in range(0, len(events), size)]
        profile, trusted = fold_messages(_arriving(messages), Judge(Rules()), visitor.key)

        items = {
            key: type(found).decode(found.encode()) for key, found in item_sums(trusted).items()
        }
        assert_same(items, people.items)
        profile.seen = in_order.seen = b""  # which came last is all that they differ in
        assert_same(profile.copy(), in_order.copy())

    def test_a_bots_login_links_nothing_of_its_visit(self, visitor: Visitor) -> None:
        browser, account = UserProfile(), UserProfile()
        fold(browser, [(visitor.anonymously("view_product", "a", **bot()), None)])
        fold(account, [(visitor.did("view_product", "b", **bot()), None)])
        assert adopt(account, browser) == Folded([], [])
        assert account.events_total == 2

    def test_its_session_has_the_clients_name_and_stands_beside_a_persons_of_that_name(
        self, visitor: Visitor
    ) -> None:
        profile = UserProfile()
        fold(profile, [(visitor.did("view_product", "a", session_id="s"), None)])
        fold(profile, [(visitor.did("view_product", "b", 1, session_id="s", **bot()), None)])
        assert len(profile.sessions) == 2
        assert profile.session()[0] == "s"

    def test_no_campaign_speaks_to_it(self, source: Bigtable, visitor: Visitor) -> None:
        looks = CampaignRule(
            "looks", (Condition("events_total", "at_least", 1),), 86_400_000, "onsite"
        )
        rules = Rules(campaigns=(looks,))
        features(source, [message(visitor.did("scroll", **bot()))], rules)
        assert outputs["campaigns"] == []
        features(source, [message(visitor.did("scroll", at_s=1))], rules)
        assert [trigger.visitor for trigger in outputs["campaigns"]] == [visitor.key]

    def test_the_rules_judge_it_all_the_same(self, source: Bigtable, visitor: Visitor) -> None:
        rate = AnomalyRule(
            "rate", (Condition("events_1m", "at_least", 2),), "high", True, 3_600_000
        )
        features(
            source,
            [message(*(visitor.did("scroll", at_s=n, **bot()) for n in range(3)))],
            Rules((), (rate,)),
        )
        assert [anomaly.rule for anomaly in outputs["anomalies"]] == ["rate"]

    def test_an_item_that_only_bots_saw_gets_no_row(
        self, source: Bigtable, visitor: Visitor
    ) -> None:
        new = (
            visitor.key,
            NewFacts([(visitor.did("view_product", "p", **bot()), None)], [], False),
        )
        run(lambda p: collect(p | script([new]) | FoldItems(StateOptions(source)), "writes"))
        assert outputs["writes"] == []


def test_a_backfill_of_the_log_knows_no_more_than_the_stream(
    source: Bigtable,
    store: Store,
    visitor: Visitor,
    dataset: str,
    bigquery_server: bigquery.Client,
    emulators: Mapping[str, str],
) -> None:
    events = [
        visitor.anonymously("view_product", "a", 0),
        visitor.anonymously("view_product", "b", 1, **bot()),
        visitor.logged_in("identify", None, 2, **agreed(NO_PERSONALIZATION)),
        visitor.anonymously("purchase", "c", 3, **agreed(NO_PERSONALIZATION)),
        visitor.anonymously("view_product", "d", 4, **agreed(BOTH)),
    ]
    events = [msgspec.structs.replace(event, ingest_time=event.timestamp) for event in events]
    rows = [event_row(event, None)._replace(insert_id=uuid.uuid4().hex) for event in events]
    insert(bigquery_server, f"{emulators['GOOGLE_CLOUD_PROJECT']}.{dataset}.events", rows, 10.0)
    arguments = [
        "--since=2025-01-01",
        "--until=2025-01-02",
        f"--instance={source.instance}",
        f"--dataset={dataset}",
    ]
    environ = {"GOOGLE_CLOUD_PROJECT": source.project, "BIGTABLE_EMULATOR_HOST": "set"}

    assert backfill.run(arguments, environ) == 0

    expected = UserProfile()
    fold(expected, [(event, None) for event in (events[0], events[1], events[4])])
    assert_same(stored_profile(store, visitor.browser), expected.copy())
    assert store.read(PROFILE, visitor.key) is None
    people = Clean([events[0], events[4]])
    assert_same(stored_items(store, map(visitor.product, "abcd")), people.items)


def _arriving(messages: list[list[Event]]) -> list[Fact]:
    """The facts of messages that arrived in this order."""
    arrived: list[Fact] = []
    for place, events in enumerate(messages):
        moment = events[0].timestamp.replace(
            year=2026, hour=0, minute=place // 60, second=place % 60
        )
        arrived += [(msgspec.structs.replace(event, ingest_time=moment), None) for event in events]
    return arrived
