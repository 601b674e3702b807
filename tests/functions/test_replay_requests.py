"""An operator's replay of dead letters over the whole collector, without a network."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from starlette.requests import Request

from functions.access.sites import Sites
from functions.collector import Collector
from functions.config import Config
from pipeline.core.events import decode_message
from pipeline.core.privacy.consent import DENIED
from pipeline.core.privacy.policy import Privacy

NOW = datetime(2025, 1, 1, 12, 0, 0, tzinfo=UTC)
KEY = "the operator's"
SITES = {
    "shop": {
        "write_keys": {"browser": ["browser-key-1"], "server": ["server-key-1"]},
        "origins": ["https://shop.example"],
        "requests_per_s": 0.1,
        "burst": 1,
        "replay_window_s": 60,
    },
    "strict": {"write_keys": {"browser": ["browser-key-2"]}, "plan": {"events": {"click": False}}},
}
OLD = {"event_id": "e1", "event": "click", "user_id": "u1", "timestamp": "2019-10-01T00:00:00Z"}


class Kept:
    """A publisher that keeps what it is given, by topic."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.dead_letters: list[Any] = []

    async def publish(self, topic: str, messages: Any, within_s: float | None = None) -> None:
        kept = self.dead_letters if topic.endswith("dead-letters") else self.events
        kept += messages


class Asked:
    """One collector, asked several times."""

    def __init__(self, sites: Any = SITES, **config: Any) -> None:
        self.kept = Kept()
        named = Sites.parse(json.dumps(sites) if sites else "")
        settings: dict[str, Any] = {"backfill_key": KEY} | config
        self._collector = Collector(
            Config("demo-project", "events", "dead-letters", sites=named, **settings),
            self.kept,
            lambda: NOW,
            lambda: 0.0,
            random.Random(7).getrandbits,
        )

    async def ask(self, *events: Any, **headers: str) -> tuple[int, Any]:
        """The status and body of an answer to history."""
        body = json.dumps({"backfill": True, "events": events or [OLD]}).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/events",
            "query_string": b"",
            "headers": raw,
        }
        answer = await self._collector(Request(scope, receive))
        return answer.status_code, msgspec.json.decode(answer.body)


def replay(site: str = "shop", key: str = KEY, **headers: str) -> dict[str, str]:
    return {"x_freshet_replay": site, "x_freshet_backfill_key": key} | headers


@pytest.mark.parametrize(
    ("sender", "stored"),
    [
        ({}, "browser"),
        ({"x_freshet_sender": "server"}, "server"),
        ({"x_freshet_sender": "x"}, "browser"),
    ],
)
async def test_a_replay_is_stored_for_the_site_and_sender_that_it_names(
    sender: dict[str, str], stored: str
) -> None:
    asked = Asked()
    assert (await asked.ask(**replay(**sender)))[0] == 202
    [message] = asked.kept.events
    assert (message.attributes["site"], message.attributes["sender"]) == ("shop", stored)
    assert message.attributes["backfill"] == "1"


@pytest.mark.parametrize(
    "headers",
    [
        replay(key="guess"),
        replay(key=""),
        {"x_freshet_replay": "shop"},
        {"x_freshet_replay": "shop", "x_freshet_key": "server-key-1"},
    ],
)
async def test_a_replay_needs_the_backfill_key_whatever_else_it_has(
    headers: dict[str, str],
) -> None:
    asked = Asked()
    status, problem = await asked.ask(**headers)
    assert (status, problem["errors"][0]["field"]) == (403, "backfill")
    assert (asked.kept.events, asked.kept.dead_letters) == ([], [])


async def test_a_collector_without_a_backfill_key_takes_no_replay() -> None:
    assert (await Asked(backfill_key=None).ask(**replay(key="")))[0] == 403


@pytest.mark.parametrize("name", ["", "gone", "Shop"])
async def test_a_replay_for_a_site_that_there_is_not_is_refused(name: str) -> None:
    asked = Asked()
    status, problem = await asked.ask(**replay(name))
    assert (status, problem["errors"][0]["field"]) == (400, "site")
    assert (asked.kept.events, asked.kept.dead_letters) == ([], [])


async def test_an_open_collector_has_one_site_for_all_replays() -> None:
    asked = Asked(sites=None)
    assert (await asked.ask(**replay("shop", x_freshet_sender="server")))[0] == 202
    [message] = asked.kept.events
    assert (message.attributes["site"], message.attributes["sender"]) == ("default", "browser")


async def test_the_rate_and_the_origins_of_a_site_are_not_for_its_replays() -> None:
    asked = Asked()
    for _ in range(5):
        assert (await asked.ask(**replay(origin="https://other.example")))[0] == 202


async def test_the_plan_of_a_site_holds_for_its_replays_and_what_it_refuses_keeps_the_site() -> (
    None
):
    asked = Asked()
    status, answer = await asked.ask(**replay("strict", x_freshet_sender="server"))
    assert (status, answer["rejected"]) == (202, 1)
    [dead_letter] = asked.kept.dead_letters
    assert (dead_letter.attributes["site"], dead_letter.attributes["sender"]) == (
        "strict",
        "server",
    )


async def test_a_replay_was_agreed_to_where_its_events_deny_nothing_whatever_the_default_is() -> (
    None
):
    asked = Asked(privacy=Privacy(default=DENIED))
    says_no = OLD | {"event_id": "e2", "consent": {"analytics": False, "personalization": False}}
    _, answer = await asked.ask(OLD, says_no, **replay())
    assert (answer["accepted"], answer["withheld"]) == (2, 1)
    [message] = asked.kept.events
    [event] = decode_message(message.data)
    assert (event.event_id, event.metadata) == ("e1", {})
    _, answer = await asked.ask(OLD, x_freshet_key="server-key-1")
    assert answer["withheld"] == 1
