"""What a vendor's client sent and the collector rejected, mended and replayed: once in Pub/Sub.

The collector here hashes the ids of visitors, which in a vendor's letter stand under names that it does not know.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.cloud import bigquery

from functions.field_policy import FieldPolicy
from pipeline.core.deadletter import DeadLetter
from pipeline.core.events import Event, decode_message
from pipeline.dead_letters import main
from tests.functions.pubsub import Topics
from tests.stack import Stack
from tests.stack.bootstrap import bigquery_client
from tests.stack.ports import free_ports

FIELD_KEY = "a key for the tests of dead letters"
HASHED = FieldPolicy(hash=["anonymous_id"], key=FIELD_KEY.encode())
KEY, STRICT_KEY, BROWSER_KEY = "server-key-1", "strict-key-1", "browser-key-1"
SITES = {
    "shop": {"write_keys": {"server": [KEY], "browser": [BROWSER_KEY]}},
    "strict": {"write_keys": {"server": [STRICT_KEY]}, "plan": {"events": {"Lamp": False}}},
}
NOW_MS = int(time.time() * 1000)
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
ORDER = {"order_id": "o1", "products": [{"product_id": "p1"}, {"product_id": "p2"}]}


@dataclass
class Desk:
    """A client of the collector, the warehouse that its dead letters are put into, and what was published.

    `source` is this test's alone.
    """

    env: Mapping[str, str]
    http: httpx.Client
    client: bigquery.Client
    topics: Topics
    source: str

    def reject(self, method: str, target: str, content: Any = None, count: int = 1) -> None:
        """Send what the collector rejects, and put its dead letters into the warehouse as the pipeline does."""
        body = content if isinstance(content, bytes) else None if content is None else json.dumps(content).encode()
        self.http.request(method, target, content=body)
        for message in self.topics.dead_letters(count):
            attributes = message.attributes | {"source": self.source}
            letter = DeadLetter.received(message.data, attributes, datetime.now(UTC))
            table = f"{self.env['FRESHET_DATASET']}.dead_letters"
            assert not self.client.insert_rows_json(table, [letter.row()], row_ids=[None])

    def run(self, *arguments: str, **env: str) -> int:
        """A command on this test's letters, with a server's key."""
        named = len(arguments) > 1 and not arguments[1].startswith("-") and arguments[0] != "export"
        filters = [] if named else ["--source", self.source]
        return main([*arguments, *filters], {**self.env, "FRESHET_WRITE_KEY": KEY, **env})

    def open(self) -> list[dict[str, Any]]:
        return self._rows("select * from `{dataset}.dead_letters_open` where source = '{source}'")

    def records(self) -> list[tuple[str, int, int]]:
        """(outcome, events, refused) of this test's replays."""
        rows = self._rows(
            """select outcome, events, refused from `{dataset}.dead_letters_replayed` where letter_id in
            (select letter_id from `{dataset}.dead_letters_unique` where source = '{source}') order by events"""
        )
        return [(row["outcome"], row["events"], row["refused"]) for row in rows]

    def split(self) -> list[str]:
        """The payloads of this test's letters that went in part."""
        rows = self._rows(
            """select payload from `{dataset}.dead_letters_unique` join `{dataset}.dead_letters_replayed`
            using (letter_id) where source = '{source}' and outcome = 'split'"""
        )
        return [row["payload"] for row in rows]

    def published(self, messages: int = 1) -> list[Event]:
        return [event for message in self.topics.events(messages) for event in decode_message(message.data)]

    def _rows(self, query: str) -> list[dict[str, Any]]:
        filled = query.format(dataset=self.env["FRESHET_DATASET"], source=self.source)
        return [dict(row) for row in self.client.query_and_wait(filled)]


@pytest.fixture(scope="module")
def place() -> Iterator[Stack]:
    env = {
        "FRESHET_HASH_FIELDS": "anonymous_id",
        "FRESHET_FIELD_KEY": FIELD_KEY,
        "FRESHET_UNREADABLE": "keep",
        "FRESHET_SITES": json.dumps(SITES),
    }
    with Stack(f"test-letters-{os.getpid()}", free_ports(), ("pubsub", "bigquery", "collector"), env) as stack:
        yield stack
        stack.check()
    shutil.rmtree(stack.folder)


@pytest.fixture
def desk(place: Stack, tag: str) -> Iterator[Desk]:
    client = bigquery_client(place.env)
    url = place.env["FRESHET_COLLECTOR_URL"]
    with Topics(place.env) as topics, httpx.Client(base_url=url, trust_env=False, timeout=10.0) as http:
        yield Desk(place.env, http, client, topics, tag)
    client.close()


def segment(**fields: Any) -> dict[str, Any]:
    """A batch of one message, whose sender says not who the visitor is."""
    message = {"type": "track", "event": "Lamp", "messageId": "m1", "timestamp": NOW.isoformat(), **fields}
    return {"writeKey": KEY, "batch": [message]}


# ---- each protocol -------------------------------------------------------------------------------------------------

SNOWPLOW = {
    "schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
    "data": [{"e": "pv", "eid": "e1", "aid": KEY, "dtm": str(NOW_MS), "url": "https://shop.example/", "duid": ""}],
}
MIXPANEL = {
    "event": "Product Viewed",
    "properties": {"token": KEY, "distinct_id": "$device:d1", "time": "noon", "$insert_id": "i1", "product_id": "p1"},
}
AMPLITUDE = {"device_id": "d1", "time": NOW_MS, "insert_id": "i1", "event_properties": {"product_id": "p1"}}
MEASURED = {"client_id": "1.2", "timestamp_micros": NOW_MS * 1000}
BAD_ITEM = {"name": "view_item", "params": {"items": [{"price": 9.5}]}}
TAG = f"/g/collect?v=2&tid={KEY}&cid=1.2&_p=7"
CASES: dict[str, tuple[tuple[Any, ...], tuple[str, ...], tuple[str, str | None, str]]] = {
    "segment": (
        ("POST", "/v1/batch", segment(event="Product Viewed", properties={"product_id": "p1"})),
        ("--set", "anonymousId=d1"),
        ("view_product", "p1", "d1"),
    ),
    "segment, one message": (
        ("POST", "/v1/track", {"writeKey": KEY, "anonymousId": "d1", "messageId": "m2", "evnt": "Lamp"}),
        ("--rename", "evnt=event"),
        ("Lamp", None, "d1"),
    ),
    "ga4, a back end": (
        ("POST", f"/mp/collect?api_secret={KEY}", MEASURED | {"events": [BAD_ITEM]}),
        ("--set", "events.0.params.items.0.item_id=p1"),
        ("view_product", "p1", "1.2"),
    ),
    "ga4, a tag": (
        ("GET", f"{TAG}&en=view_item&pr1=pr9.5"),
        ("--set", "pr1=idp1~pr9.5"),
        ("view_product", "p1", "1.2"),
    ),
    "ga4, a line of a tag": (
        ("POST", TAG, b"en=view_item&pr1=pr9.5"),
        ("--set", "pr1=idp1~pr9.5"),
        ("view_product", "p1", "1.2"),
    ),
    "snowplow": (
        ("POST", "/com.snowplowanalytics.snowplow/tp2", SNOWPLOW),
        ("--set", "duid=d1"),
        ("page_view", None, "d1"),
    ),
    "snowplow, a query": (
        ("GET", f"/i?e=se&se_ca=shop&aid={KEY}&duid=d1&eid=e1"),
        ("--set", "se_ac=lamp"),
        ("lamp", None, "d1"),
    ),
    "mixpanel": (
        ("POST", "/track", [MIXPANEL]),
        ("--set", f"properties.time={NOW_MS}"),
        ("view_product", "p1", "d1"),
    ),
    "amplitude": (
        ("POST", "/2/httpapi", {"api_key": KEY, "events": [AMPLITUDE]}),
        ("--set", "event_type=Product Viewed"),
        ("view_product", "p1", "d1"),
    ),
    "pixel": (
        ("GET", f"/v1/pixel.gif?key={KEY}&event=view_product&pid=p1&anonymous_id=d1"),
        ("--rename", "pid=product_id"),
        ("view_product", "p1", "d1"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rejected_event_is_mended_and_arrives_once_with_what_the_collector_does_to_ids(desk: Desk, case: str) -> None:
    request, repairs, (name, product_id, visitor) = CASES[case]
    desk.reject(*request)
    assert desk.published(0) == []
    assert desk.run("replay") == 0
    assert desk.published(0) == []
    assert desk.run("replay", *repairs) == 0
    [event] = desk.published(1)
    assert (event.event, event.product_id, event.user_id) == (name, product_id, None)
    assert event.anonymous_id == HASHED.apply_id("anonymous_id", visitor)
    assert (desk.records(), desk.open()) == ([("replayed", 1, 0)], [])
    assert desk.run("replay", *repairs) == 0
    assert desk.published(0) == []
    assert desk.run("replay", "--again", *repairs) == 0
    assert [again.event_id for again in desk.published(1)] == [event.event_id]


# ---- what a letter may hold ------------------------------------------------------------------------------------


def test_an_order_of_which_the_visitor_was_missing_is_all_of_its_purchases(desk: Desk) -> None:
    desk.reject("POST", "/v1/batch", segment(event="Order Completed", properties=ORDER))
    assert desk.run("replay", "--set", "userId=anna") == 0
    assert [(e.event_id, e.product_id, e.user_id) for e in desk.published(1)] == [
        ("m1:0", "p1", "anna"),
        ("m1:1", "p2", "anna"),
    ]
    assert desk.records() == [("replayed", 2, 0)]


def test_letters_of_several_protocols_and_our_own_go_together(desk: Desk) -> None:
    desk.reject("POST", "/v1/batch", segment(userId="anna", timestamp=(NOW - timedelta(days=3)).isoformat()))
    desk.reject("POST", "/2/httpapi", {"api_key": KEY, "events": [AMPLITUDE | {"event_type": "Lamp", "time": 1.7e12}]})
    ours = {"event_id": "e1", "event": "click", "user_id": "anna", "timestamp": (NOW - timedelta(days=3)).isoformat()}
    desk.reject("POST", f"/v1/events?key={KEY}", {"events": [ours]})
    assert desk.run("replay") == 0
    events = desk.published(2)
    assert sorted(event.event_id for event in events) == ["e1", "i1", "m1"]
    assert desk.records() == [("replayed", 1, 0)] * 3


def test_an_operators_server_key_does_not_make_a_browsers_letter_a_servers(desk: Desk) -> None:
    desk.reject("POST", "/v1/batch", segment(messageId="m1"))
    desk.reject("POST", "/v1/batch", segment(messageId="m2") | {"writeKey": BROWSER_KEY})
    assert desk.run("replay", "--set", "userId=anna") == 0
    messages = desk.topics.events(2)
    senders = {e.event_id: m.attributes["sender"] for m in messages for e in decode_message(m.data)}
    assert senders == {"m1": "server", "m2": "browser"}


def test_a_clock_that_ran_ahead_is_shifted_in_a_file_and_replayed(desk: Desk, tmp_path: Path) -> None:
    desk.reject("POST", "/v1/batch", segment(userId="anna", timestamp=(NOW + timedelta(days=2)).isoformat()))
    file = tmp_path / "letters.jsonl"
    assert desk.run("fix", "--shift", "-172800", "--to", str(file)) == 0
    assert desk.run("replay", str(file)) == 0
    [event] = desk.published(1)
    assert (event.event_id, event.timestamp) == ("m1", NOW)


def test_a_body_that_could_not_be_read_is_edited_and_split(desk: Desk, tmp_path: Path) -> None:
    [good] = segment(userId="anna")["batch"]
    [bad] = segment(messageId="m2")["batch"]
    body = json.dumps({"batch": [good, bad]})
    desk.reject("POST", f"/v1/batch?writeKey={KEY}", body[:-1].encode())
    file = tmp_path / "letters.jsonl"
    assert desk.run("export", str(file)) == 0
    [line] = file.read_text().splitlines()
    file.write_text(json.dumps(json.loads(line) | {"payload": body}))
    assert desk.run("replay", str(file)) == 0
    assert desk.published(0) == []
    assert desk.run("replay", str(file), "--split") == 0
    assert [event.event_id for event in desk.published(1)] == ["m1"]
    assert desk.records() == [("split", 1, 1)]
    [left] = desk.open()
    assert (left["field"], json.loads(left["payload"])) == ("user_id", bad)
    assert desk.run("replay", "--set", "userId=bert") == 0
    assert [(event.event_id, event.user_id) for event in desk.published(1)] == [("m2", "bert")]
    assert desk.open() == []


# ---- what stays --------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_what_would_become_of_a_vendors_letter(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.reject("POST", "/v1/batch", segment())
    assert desk.run("fix", "--dry-run", "--show", "1", "--set", "userId=anna") == 0
    said = capsys.readouterr().out
    assert "letters: 1, events that pass: 1, events that are refused: 0" in said
    assert '"userId":"anna"' in said
    assert desk.run("fix", "--dry-run") == 0
    assert "1  user_id: expected user_id or anonymous_id" in capsys.readouterr().out
    assert desk.published(0) == [] and len(desk.open()) == 1


def test_without_a_collector_letters_of_vendors_stay_and_ours_go(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.reject("POST", "/v1/batch", segment(userId="anna", timestamp=(NOW - timedelta(days=3)).isoformat()))
    ours = {"event_id": "e1", "event": "click", "user_id": "anna", "timestamp": (NOW - timedelta(days=3)).isoformat()}
    desk.reject("POST", f"/v1/events?key={KEY}", {"events": [ours]})
    assert desk.run("replay", FRESHET_COLLECTOR_URL="") == 0
    said = capsys.readouterr().out
    assert "letters of vendors that pass but stay: 1; give the --collector" in said and "replayed letters: 1" in said
    assert [event.event_id for event in desk.published(1)] == ["e1"]
    assert desk.run("replay", "--collector", desk.env["FRESHET_COLLECTOR_URL"], FRESHET_COLLECTOR_URL="") == 0
    assert [event.event_id for event in desk.published(1)] == ["m1"]


@pytest.mark.parametrize(
    ("env", "told"),
    [
        (
            {"FRESHET_WRITE_KEY": "no-such-key"},
            "the collector answered 401: write_key: expected the write key of a site",
        ),
        ({"FRESHET_WRITE_KEY": BROWSER_KEY, "FRESHET_BACKFILL_KEY": ""}, "the collector answered 403: backfill: "),
        ({"FRESHET_COLLECTOR_URL": "http://127.0.0.1:9"}, "the collector at http://127.0.0.1:9 does not answer"),
    ],
)
def test_where_the_collector_takes_nothing_nothing_is_recorded(
    desk: Desk, capsys: pytest.CaptureFixture[str], env: dict[str, str], told: str
) -> None:
    desk.reject("POST", "/v1/batch", segment())
    assert desk.run("replay", "--set", "userId=anna", **env) == 1
    assert told in capsys.readouterr().err
    assert (desk.records(), len(desk.open()), desk.published(0)) == ([], 1, [])


def test_a_browsers_key_goes_with_the_backfill_key(desk: Desk) -> None:
    desk.reject("POST", "/v1/batch", segment())
    assert desk.run("replay", "--set", "userId=anna", FRESHET_WRITE_KEY=BROWSER_KEY) == 0
    assert [event.user_id for event in desk.published(1)] == ["anna"]


def test_an_address_that_is_none_is_told(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.run("replay", "--collector", "collect.shop.example") == 2
    assert "--collector: expected an address such as https://" in capsys.readouterr().err


def test_what_the_sites_plan_refuses_is_a_letter_of_its_own(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.reject("POST", "/v1/batch", segment(messageId="m3"))
    desk.reject("POST", "/v1/batch", segment(messageId="m4", event="Shade"))
    assert desk.run("replay", "--set", "userId=anna", FRESHET_WRITE_KEY=STRICT_KEY) == 0
    assert "events that the collector rejected: 1" in capsys.readouterr().out
    assert [event.event_id for event in desk.published(1)] == ["m4"]
    assert (sorted(desk.records()), desk.open()) == ([("replayed", 1, 0), ("split", 0, 1)], [])
    assert [json.loads(payload)["messageId"] for payload in desk.split()] == ["m3"]
    [letter] = desk.topics.dead_letters(1)
    assert (letter.attributes["protocol"], json.loads(letter.data)["event_id"]) == ("native", "m3")
