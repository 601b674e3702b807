"""Who denied personalization is answered like everybody, and nothing is read, folded or told of
them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.events import accept_event, parse_event
from pipeline.core.privacy.consent import DENIED, StatedConsent
from pipeline.core.privacy.field_policy import FieldPolicy
from pipeline.core.privacy.policy import Privacy
from pipeline.core.privacy.signals import Signal
from pipeline.runtime.environ import InvalidConfig
from tests.vertex.api.fakes import Service, event, item, shop, visitor, wire
from tests.vertex.api.test_app import api
from tests.vertex.api.test_contract import parse
from vertex.api.config import Config, Weights
from vertex.api.contract import InvalidRequest, Request
from vertex.api.timing import StageTimer

Answer = dict[str, Any]
BOTH, NO_PERSONALIZATION = StatedConsent(True, True), StatedConsent(True, False)
KEY = b"k" * 16


async def ask(service: Service, signal: Signal | None = None, **question: Any) -> Answer:
    if not len(service.items):
        await service.items.load()
    service.reader.read.clear()
    return await service.recommender.answer(Request(**question), StageTimer(), signal)


def known_shop(**config: Any) -> Service:
    """A shop that knows u1, who looked at p40, by recency alone."""
    profiles = {"u#u1": visitor(event("view_product", "p40", 60), items=[item(40)])}
    return Service(shop(profiles=profiles), weights=Weights(0, 1, 0, 0), **config)


def is_everybodys(service: Service, answer: Answer) -> bool:
    assert answer["recommendations"][:3] == ["p0", "p1", "p2"]
    assert (answer["served_by"], answer["variant"], answer["profile"]["found"]) == (
        "trending",
        "popular",
        False,
    )
    assert answer["profile"]["pending"] == 0
    return "profile" not in service.reader.read


async def test_who_denies_personalization_gets_what_is_trending_and_no_profile_is_read() -> None:
    service = known_shop()
    pending = [wire("view_product", "p41", 1)]
    answer = await ask(service, user_id="u1", events=pending, consent=NO_PERSONALIZATION)

    assert is_everybodys(service, answer)
    assert (answer["events_withheld"], answer["events_ignored"]) == (1, 0)

    agreed = await ask(service, user_id="u1", events=pending, consent=BOTH)
    assert agreed["recommendations"][0] == "p41" and "profile" in service.reader.read
    assert (agreed["variant"], agreed["profile"]["found"], agreed["events_withheld"]) == (
        "personalized",
        True,
        0,
    )


async def test_denying_analytics_alone_changes_no_answer() -> None:
    answer = await ask(known_shop(), user_id="u1", consent=StatedConsent(False, True))
    assert answer["recommendations"][0] == "p40"


@pytest.mark.parametrize(
    ("signal", "consent", "personal"),
    [
        (None, None, True),
        (Signal.DNT, None, False),
        (Signal.DNT, BOTH, True),
        (Signal.GPC, None, False),
        (Signal.GPC, BOTH, False),
    ],
)
async def test_signals_count_as_they_do_at_the_collector(
    signal: Signal | None, consent: StatedConsent | None, personal: bool
) -> None:
    service = known_shop()
    answer = await ask(service, signal, user_id="u1", consent=consent)
    assert personal or is_everybodys(service, answer)
    assert (answer["recommendations"][0] == "p40") is personal


async def test_where_the_installation_asks_first_silence_is_no_agreement() -> None:
    service = known_shop(privacy=Privacy(default=DENIED))
    assert is_everybodys(service, await ask(service, user_id="u1"))
    assert (await ask(service, user_id="u1", consent=BOTH))["recommendations"][0] == "p40"


async def test_a_pending_event_has_its_own_consent_else_the_requests() -> None:
    denied = wire("view_product", "p41", 1, consent={"personalization": False})
    inside = wire(
        "view_product",
        "p42",
        1,
        metadata={"consent": {"analytics": True, "personalization": False}},
    )
    unread = wire("view_product", "p43", 1, consent="yes")

    answer = await ask(known_shop(), user_id="u1", events=[denied, inside, unread], consent=BOTH)

    assert answer["recommendations"][0] == "p40"
    assert (answer["events_withheld"], answer["events_ignored"], answer["profile"]["pending"]) == (
        2,
        1,
        0,
    )


async def test_a_browser_that_says_nothing_leaves_nothing_out() -> None:
    answer = await ask(known_shop(), anonymous_id="a1", events=[wire("view_product", "p41", 1)])
    assert (answer["recommendations"][0], answer["events_withheld"]) == ("p41", 0)


async def test_a_visitor_is_found_under_the_hash_that_the_collector_stored() -> None:
    policy = FieldPolicy([], ["user_id"], KEY)
    stored = wire("view_product", "p40", 60, user_id="u1")
    policy.apply(stored)
    known = parse_event(stored, ingest_time=event("x").timestamp)
    service = Service(
        shop(profiles={f"u#{known.user_id}": visitor(known, items=[item(40)])}),
        weights=Weights(0, 1, 0, 0),
        privacy=Privacy(fields=policy),
    )
    # the same event, still pending in the page
    again = wire("view_product", "p40", 60, user_id="u1")

    answer = await ask(service, user_id="u1", events=[again])

    assert answer["profile"]["found"] and answer["profile"]["pending"] == 0
    assert f"u#{known.user_id}" != "u#u1" and answer["recommendations"][0] == "p40"


async def test_an_event_without_an_id_has_the_one_that_the_collector_derives() -> None:
    policy = FieldPolicy(["pii"], ["user_id"], KEY)
    pending = {
        **wire("view_product", "p40", 60),
        "event_id": None,
        "user_id": "u1",
        "email": "a@b.example",
    }
    published = {**pending}
    policy.apply(published)
    known = accept_event(published, ingest_time=event("x").timestamp)
    service = Service(
        shop(profiles={f"u#{known.user_id}": visitor(known, items=[item(40)])}),
        privacy=Privacy(fields=policy),
    )

    answer = await ask(service, user_id="u1", events=[pending])

    assert answer["profile"]["found"] and (
        answer["profile"]["pending"],
        answer["events_ignored"],
    ) == (0, 0)


class TestContract:
    def test_a_consent_is_read_and_may_leave_a_part_open(self) -> None:
        assert (
            parse(consent={"analytics": True, "personalization": False}).consent
            == NO_PERSONALIZATION
        )
        assert parse(consent={"personalization": False, "more": 1}).consent == StatedConsent(
            None, False
        )
        assert parse(consent=None).consent is None

    @pytest.mark.parametrize(
        "consent",
        [
            "granted",
            True,
            [],
            {"personalization": "no"},
            {"analytics": 1},
            {"personalisation": False},
        ],
    )
    def test_one_that_nobody_can_read_is_refused(self, consent: Any) -> None:
        with pytest.raises(InvalidRequest, match="consent"):
            parse(consent=consent)


ENV = {"GOOGLE_CLOUD_PROJECT": "demo-project"}


class TestConfiguration:
    def test_privacy_is_configured_as_the_collectors(self) -> None:
        environ = {
            "FRESHET_DEFAULT_CONSENT": "denied",
            "FRESHET_SIGNALS": "ignore",
            "FRESHET_HASH_FIELDS": "user_id",
        }
        privacy = Config.from_env({**ENV, **environ, "FRESHET_FIELD_KEY": "k" * 16}).privacy
        assert (privacy.default, privacy.signals) == (DENIED, False)
        assert privacy.fields.apply_id("user_id", "u1") == FieldPolicy(
            [], ["user_id"], KEY
        ).apply_id("user_id", "u1")

    def test_a_word_that_means_nothing_is_refused_by_name(self) -> None:
        with pytest.raises(InvalidConfig, match="FRESHET_SIGNALS"):
            Config.from_env({**ENV, "FRESHET_SIGNALS": "yes"})


async def test_the_headers_of_a_browser_are_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGTABLE_EMULATOR_HOST", "127.0.0.1:1")
    async with api(tmp_path) as client, api(tmp_path, privacy=Privacy(signals=False)) as deaf:
        heard = await client.post(
            "/v1/recommendations", json={"user_id": "u"}, headers={"Sec-GPC": "1"}
        )
        silent = await client.post(
            "/v1/recommendations", json={"user_id": "u"}, headers={"Sec-GPC": "0"}
        )
        twice = [("Sec-GPC", "1"), ("Sec-GPC", "0")]
        heard_too = await client.post(
            "/v1/recommendations", json={"user_id": "u"}, headers=twice[::-1]
        )
        heard_also = await client.post("/v1/recommendations", json={"user_id": "u"}, headers=twice)
        ignored = await deaf.post(
            "/v1/recommendations", json={"user_id": "u"}, headers={"Sec-GPC": "1"}
        )
    assert [
        answer.json()["variant"] for answer in (heard, heard_too, heard_also, silent, ignored)
    ] == [
        "popular",
        "popular",
        "popular",
        "personalized",
        "personalized",
    ]
