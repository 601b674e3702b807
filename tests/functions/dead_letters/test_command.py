"""`make dead-letters` on the real BigQuery, collector and Pub/Sub: listed, repaired, replayed once.

The collector here has sites and hashes the ids of visitors, which in a vendor's dead letter stand
under the vendor's names.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from google.cloud import bigquery

from functions.dead_letters.__main__ import main
from pipeline.core.dead_letters import DeadLetter
from pipeline.core.events import Event, decode_message
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.field_policy import FieldPolicy
from tests.functions.pubsub import Topics
from tests.stack import Stack
from tests.stack.bootstrap import bigquery_client
from tests.stack.ports import free_ports

FIELD_KEY = "a key for the tests of dead letters"
HASHED = FieldPolicy(hash=["anonymous_id"], key=FIELD_KEY.encode())
KEY, STRICT_KEY, BROWSER_KEY = "server-key-1", "strict-key-1", "browser-key-1"
SITES = {
    "shop": {"write_keys": {"server": [KEY], "browser": [BROWSER_KEY]}},
    "news": {"write_keys": {"browser": ["news-key-1"]}, "origins": ["https://news.example"]},
    "strict": {"write_keys": {"server": [STRICT_KEY]}, "plan": {"events": {"Lamp": False}}},
}
NOW_MS = int(time.time() * 1000)
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
RECEIVED = NOW.replace(microsecond=123_000) - timedelta(hours=3)
OLD = "2025-01-01T12:00:00Z"
ORDER = {"order_id": "o1", "products": [{"product_id": "p1"}, {"product_id": "p2"}]}
BROWSERS = {"site": "shop", "sender": "browser"}


@dataclass
class Desk:
    """A client of the collector, the warehouse that dead letters are put into, and what was
    published.

    `source` is this test's alone.
    """

    env: Mapping[str, str]
    http: httpx.Client
    client: bigquery.Client
    topics: Topics
    source: str

    def put(
        self,
        *payloads: Any,
        field: str = "timestamp",
        reason: str = "expected something else",
        attributes: Mapping[str, str] = BROWSERS,
    ) -> None:
        """Dead letters as the pipeline writes them; a list is a body of events."""
        for number, payload in enumerate(payloads):
            payload = {"events": payload} if isinstance(payload, list) else payload
            data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            at = RECEIVED + timedelta(minutes=number)
            self.insert(
                DeadLetter.of(data, InvalidEvent(field, reason), self.source, at, attributes).row()
            )

    def reject(self, method: str, target: str, content: Any = None, count: int = 1) -> None:
        """Send what the collector rejects, and put its dead letters into the warehouse as the
        pipeline does.
        """
        body = (
            content
            if isinstance(content, bytes)
            else None
            if content is None
            else json.dumps(content).encode()
        )
        self.http.request(method, target, content=body)
        for message in self.topics.dead_letters(count):
            attributes = message.attributes | {"source": self.source}
            self.insert(DeadLetter.received(message.data, attributes, datetime.now(UTC)).row())

    def insert(self, row: dict[str, Any]) -> None:
        table = f"{self.env['FRESHET_DATASET']}.dead_letters"
        assert not self.client.insert_rows_json(table, [row], row_ids=[None])

    def run(self, *arguments: str, **env: str) -> int:
        """A command on this test's dead letters."""
        named = len(arguments) > 1 and not arguments[1].startswith("-") and arguments[0] != "export"
        filters = [] if named else ["--source", self.source]
        return main([*arguments, *filters], {**self.env, **env})

    def open(self) -> list[dict[str, Any]]:
        return self.rows("dead_letters_open")

    def rows(self, view: str) -> list[dict[str, Any]]:
        return self._query(
            f"select * from `{{dataset}}.{view}` where source = '{{source}}' order by payload"
        )

    def records(self) -> list[tuple[str, int, int]]:
        """(outcome, events, refused) of this test's replays."""
        rows = self._query(
            """select outcome, events, refused from `{dataset}.dead_letters_replayed`
            where dead_letter_id in
            (select dead_letter_id from `{dataset}.dead_letters_unique` where source = '{source}')
            order by outcome, events"""
        )
        return [(row["outcome"], row["events"], row["refused"]) for row in rows]

    def split(self) -> list[str]:
        """The payloads of this test's dead letters that went in part."""
        rows = self._query(
            """select payload from `{dataset}.dead_letters_unique`
            join `{dataset}.dead_letters_replayed` using (dead_letter_id)
            where source = '{source}' and outcome = 'split'"""
        )
        return [row["payload"] for row in rows]

    def published(self, messages: int = 1) -> list[Event]:
        return [
            event
            for message in self.topics.events(messages)
            for event in decode_message(message.data)
        ]

    def published_ids(self, messages: int = 1) -> list[str]:
        return sorted(event.event_id for event in self.published(messages))

    def _query(self, query: str) -> list[dict[str, Any]]:
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
    with Stack(
        f"test-dead-letters-{os.getpid()}", free_ports(), ("pubsub", "bigquery", "collector"), env
    ) as stack:
        yield stack
        stack.check()
    shutil.rmtree(stack.folder)


@pytest.fixture
def desk(place: Stack) -> Iterator[Desk]:
    client = bigquery_client(place.env)
    url = place.env["FRESHET_COLLECTOR_URL"]
    with (
        Topics(place.env) as topics,
        httpx.Client(base_url=url, trust_env=False, timeout=10.0) as http,
    ):
        yield Desk(place.env, http, client, topics, uuid4().hex[:8])
    client.close()


def event(event_id: str, **fields: Any) -> dict[str, Any]:
    return {"event_id": event_id, "event": "click", "anonymous_id": "a", "timestamp": OLD, **fields}


def test_open_dead_letters_are_listed_by_field_and_reason_and_doubles_count_once(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(event("secret-1"), event("secret-2"))
    desk.put(event("secret-1"))  # the same dead letter, delivered twice
    desk.put(b"\xff", field="body", reason="expected JSON")
    assert desk.run("list") == 0
    said = capsys.readouterr().out
    assert "dead-letters: open dead letters: 3\n" in said
    first, last = (RECEIVED + timedelta(minutes=minutes) for minutes in (0, 1))
    times = f"({first:%FT%T}.123Z to {last:%FT%T}.123Z)"
    assert f"2  {desk.source}  timestamp: expected something else  {times}" in said
    assert f"1  {desk.source}  body: expected JSON" in said
    assert "secret" not in said


def test_without_a_command_dead_letters_are_listed(
    place: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], place.env) == 0
    assert "open dead letters: " in capsys.readouterr().out


def test_filters_say_which_dead_letters(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.put(event("e1"), event("e2"))
    for filters, count in (
        (("--field", "timestamp"), 2),
        (("--field", "other"), 0),
        (("--reason", "something"), 2),
        (("--since", "4h"), 2),
        (("--since", (RECEIVED + timedelta(seconds=30)).isoformat()), 1),
        (("--id", "z"), 0),
    ):
        assert desk.run("list", *filters) == 0
        assert f"open dead letters: {count}\n" in capsys.readouterr().out


def test_a_dead_letter_is_shown_whole_on_request_without_what_a_terminal_would_obey(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(
        b'{"event": "\x1b[2J\xe2\x80\xaeclick"}', event("second"), field="metadata.\x1b]0;x\x07\n"
    )
    assert desk.run("list", "--show", "1") == 0
    said = capsys.readouterr().out
    assert '{"event": "\\x1b[2J\\u202eclick"}' in said and "second" not in said
    assert "metadata.\\x1b]0;x\\x07\\n: expected" in said
    assert not set(said) & {"\x1b", "\x07", "\u202e"}


def test_replayed_dead_letters_are_one_message_with_their_ids_and_a_second_replay_repeats_nothing(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(event("e1"), [event("e2"), event("e3")])
    assert desk.run("replay") == 0
    assert "replayed dead letters: 2, events: 3\n" in capsys.readouterr().out
    assert desk.published_ids() == ["e1", "e2", "e3"]
    assert desk.records() == [("replayed", 1, 0), ("replayed", 2, 0)]
    assert desk.open() == []
    assert desk.run("replay") == 0
    assert "replayed dead letters: 0" in capsys.readouterr().out
    assert desk.published(0) == []
    assert desk.run("replay", "--again") == 0
    assert desk.published_ids() == ["e1", "e2", "e3"]


def test_a_dead_letter_that_is_shown_tells_its_site_and_protocol(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    attributes = {"site": "shop", "protocol": "segment", "path": "/v1/track"}
    desk.put({}, attributes=attributes)
    assert desk.run("list", "--show", "1") == 0
    assert "site shop, protocol segment, path /v1/track" in capsys.readouterr().out


def test_more_than_500_events_are_several_messages(desk: Desk) -> None:
    events = [event(f"e{number}") for number in range(501)]
    desk.put(events[:300], events[300:])
    assert desk.run("replay") == 0
    messages = desk.topics.events(2)
    assert sorted(len(decode_message(message.data)) for message in messages) == [1, 500]
    assert desk.records() == [("replayed", 201, 0), ("replayed", 300, 0)]


def test_what_still_breaks_the_contract_stays_open_and_the_reason_is_told(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(event("e1"), event("e2", event=""), b"NaN")
    assert desk.run("replay") == 0
    said = capsys.readouterr().out
    assert "dead letters: 3, events that pass: 1, events that are refused: 2" in said
    assert "1  event: expected 1 to 256 printable characters" in said
    assert "replayed dead letters: 1" in said and "dead letters that stay: 2" in said
    assert desk.published_ids() == ["e1"]
    assert len(desk.open()) == 2


def test_a_repair_on_the_way_lets_the_rest_go(desk: Desk) -> None:
    desk.put(event("e1", metadata={"price": "9.5"}), event("e2", metadata={"price": "free"}))
    assert desk.run("replay", "--number", "metadata.price") == 0
    assert desk.published_ids() == ["e1"]
    assert desk.run("replay", "--set", "metadata.price=0") == 0
    assert desk.published_ids() == ["e2"]
    assert desk.open() == []


def test_of_a_split_body_the_good_events_go_and_each_bad_one_is_a_dead_letter_that_can_be_mended(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put([event("e1"), event("e2", event=5), event("e3")], field="body")
    assert desk.run("replay") == 0
    assert desk.published(0) == []
    assert desk.run("replay", "--split") == 0
    assert "of these split: 1" in capsys.readouterr().out
    assert desk.published_ids() == ["e1", "e3"]
    assert desk.records() == [("split", 2, 1)]
    (left,) = desk.open()
    assert (left["field"], left["reason"], json.loads(left["payload"])) == (
        "event",
        "expected a text",
        event("e2", event=5),
    )
    assert desk.run("replay", "--split", "--set", "event=search") == 0
    assert desk.published_ids() == ["e2"]
    assert desk.open() == []


def test_an_exported_file_is_edited_by_hand_and_replayed_once(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(event("e1", event="klick"), event("e2", timestamp="?"), b"\xff\x00")
    file = tmp_path / "dead-letters.jsonl"
    assert desk.run("export", str(file)) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = {
        line["encoding"] + line["payload"][:20]: line
        for line in map(json.loads, file.read_text().splitlines())
    }
    text, other, binary = (
        lines[name] for name in sorted(lines, key=lambda n: (n.startswith("base64"), "e2" in n))
    )
    assert {"dead_letter_id", "received_at", "source", "field", "reason", "attributes"} <= set(text)
    assert (binary["encoding"], binary["payload"]) == ("base64", "/wA=")
    edited = [
        {**text, "payload": event("e1")},
        {**other, "payload": json.dumps(event("e2"))},
        binary,
    ]
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(map(json.dumps, edited)).encode())
    assert desk.run("replay", str(file)) == 0
    assert desk.published_ids() == ["e1", "e2"]
    capsys.readouterr()
    assert desk.run("replay", str(file)) == 0
    assert "dead letters replayed before: 2; --again repeats them" in capsys.readouterr().out
    assert desk.published(0) == []
    assert [row["encoding"] for row in desk.open()] == ["base64"]


def test_a_dry_run_tells_what_would_change_and_changes_nothing(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    desk.put(event("secret", metadata={"price": "1"}), event("e2", metadata={"price": "free"}))
    assert desk.run("fix", "--number", "metadata.price", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "dead letters: 2, events that pass: 1, events that are refused: 1" in said
    assert "1  metadata.price: expected a finite number" in said
    assert "repaired dead letters: 1; nothing was written" in said and "secret" not in said
    assert desk.run("fix", "--number", "metadata.price", "--dry-run", "--show", "2") == 0
    said = capsys.readouterr().out
    assert '"price": "1"' in said and '"price":1' in said
    assert "refused: metadata.price: expected a finite number, got free" in said
    assert desk.published(0) == [] and desk.records() == [] and list(tmp_path.iterdir()) == []


def test_a_mended_file_can_be_mended_again_and_replayed(desk: Desk, tmp_path: Path) -> None:
    desk.put([event("e1"), event("e2", event=None, name="click")], event("e3", timestamp=5))
    file = tmp_path / "dead-letters.jsonl"
    assert desk.run("fix", "--rename", "name=event", "--to", str(file)) == 0
    assert desk.run("fix", str(file), "--set", f"timestamp={OLD}") == 0
    assert desk.run("replay", str(file)) == 0
    assert desk.published_ids() == ["e1", "e2", "e3"]
    assert desk.open() == []


def test_a_file_remembers_that_its_dead_letters_may_be_split(desk: Desk, tmp_path: Path) -> None:
    desk.put([event("e1"), event("e2", event=5)])
    file = tmp_path / "dead-letters.jsonl"
    assert desk.run("fix", "--split", "--to", str(file)) == 0
    assert desk.run("replay", str(file)) == 0
    assert desk.published_ids() == ["e1"]


def test_a_file_with_a_line_that_is_no_dead_letter_is_refused_before_anything_is_sent(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(event("e1"))
    file = tmp_path / "dead-letters.jsonl"
    assert desk.run("export", str(file)) == 0
    with file.open("a") as opened:
        opened.write("{\n")
    before = file.read_bytes()
    assert desk.run("replay", str(file)) == 2
    assert desk.run("fix", str(file), "--drop", "event") == 2
    assert "dead-letters.jsonl line 2: expected a dead letter" in capsys.readouterr().err
    assert file.read_bytes() == before and desk.published(0) == []


def test_no_file_is_written_over(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "edited.jsonl"
    file.write_text("an afternoon's work")
    assert desk.run("export", str(file)) == 2
    assert desk.run("fix", "--to", str(file)) == 2
    assert file.read_text() == "an afternoon's work"
    assert "FILE: expected one that does not exist yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fix", "--set", "event"), "fix: expected a FILE to repair"),
        (("fix", "--dry-run", "--set", "event"), "--set: expected field=value, got 'event'"),
        (
            ("fix", "--dry-run", "--set", "metadata.price=much"),
            "set: metadata.price: expected a number, got 'much'",
        ),
        (("replay", "--shift", "inf"), "shift: expected at most"),
        (("replay", "nothing.jsonl"), "FILE: expected a file that exists, got nothing.jsonl"),
        (
            ("replay", "nothing.jsonl", "--field", "x"),
            "replay: expected a FILE or filters, got both",
        ),
        (("list", "--since", "yesterday"), "--since: expected an RFC 3339 time"),
    ],
)
def test_what_cannot_be_done_as_asked_is_told(
    place: Stack, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert main(arguments, place.env) == 2
    assert f"dead-letters: {message}" in capsys.readouterr().err


def test_a_warehouse_that_is_not_there_is_no_traceback(
    place: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list"], {**place.env, "FRESHET_DATASET": "none"}) == 1
    assert "BigQuery did not do it" in capsys.readouterr().err
    assert main(["list"], {}) == 2


def test_dead_letters_of_the_same_time_and_place_differ_by_their_content(desk: Desk) -> None:
    desk.put(event("e1"), reason="a")
    desk.put(event("e2"), reason="a")
    desk.put(event("e1"), reason="b")
    desk.insert({"received_at": RECEIVED.isoformat(), "source": desk.source})
    ids = {row["dead_letter_id"] for row in desk.rows("dead_letters_unique")}
    assert len(ids) == 4
    assert {row["dead_letter_id"] for row in desk.rows("dead_letters_unique")} == ids


def test_a_row_that_lacks_all_but_its_time_is_a_dead_letter_that_stays(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.insert({"received_at": RECEIVED.isoformat(), "source": desk.source})
    assert desk.run("list", "--show", "1") == 0
    assert f"1  {desk.source}  unknown: unknown" in capsys.readouterr().out
    assert desk.run("replay") == 0
    assert "dead letters that stay: 1" in capsys.readouterr().out


def segment(**fields: Any) -> dict[str, Any]:
    """A batch of one message, whose sender says not who the visitor is."""
    message = {
        "type": "track",
        "event": "Lamp",
        "messageId": "m1",
        "timestamp": NOW.isoformat(),
        **fields,
    }
    return {"writeKey": KEY, "batch": [message]}


# ---- each protocol

SNOWPLOW = {
    "schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
    "data": [
        {
            "e": "pv",
            "eid": "e1",
            "aid": KEY,
            "dtm": str(NOW_MS),
            "url": "https://shop.example/",
            "duid": "",
        }
    ],
}
MIXPANEL = {
    "event": "Product Viewed",
    "properties": {
        "token": KEY,
        "distinct_id": "$device:d1",
        "time": "noon",
        "$insert_id": "i1",
        "product_id": "p1",
    },
}
AMPLITUDE = {
    "device_id": "d1",
    "time": NOW_MS,
    "insert_id": "i1",
    "event_properties": {"product_id": "p1"},
}
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
        (
            "POST",
            "/v1/track",
            {"writeKey": KEY, "anonymousId": "d1", "messageId": "m2", "evnt": "Lamp"},
        ),
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
def test_a_rejected_event_is_repaired_and_arrives_with_what_the_collector_does_to_ids(
    desk: Desk, case: str
) -> None:
    request, repairs, (name, product_id, visitor) = CASES[case]
    desk.reject(*request)
    assert desk.run("replay", *repairs) == 0
    [event] = desk.published(1)
    assert (event.event, event.product_id, event.user_id) == (name, product_id, None)
    assert event.anonymous_id == HASHED.apply_id("anonymous_id", visitor)
    assert (desk.records(), desk.open()) == ([("replayed", 1, 0)], [])


def test_an_event_without_an_id_is_the_same_one_when_it_is_replayed_again(desk: Desk) -> None:
    request, repairs, _ = CASES["ga4, a tag"]
    desk.reject(*request)
    assert desk.run("replay") == 0
    assert desk.published(0) == []
    assert desk.run("replay", *repairs) == 0
    first = desk.published_ids()
    assert desk.run("replay", *repairs) == 0
    assert desk.published(0) == []
    assert desk.run("replay", "--again", *repairs) == 0
    assert desk.published_ids() == first


# ---- what a dead letter may hold


def test_an_order_of_which_the_visitor_was_missing_is_all_of_its_purchases(desk: Desk) -> None:
    desk.reject("POST", "/v1/batch", segment(event="Order Completed", properties=ORDER))
    assert desk.run("replay", "--set", "userId=anna") == 0
    assert [(e.event_id, e.product_id, e.user_id) for e in desk.published(1)] == [
        ("m1:0", "p1", "anna"),
        ("m1:1", "p2", "anna"),
    ]
    assert desk.records() == [("replayed", 2, 0)]


def test_dead_letters_of_several_protocols_and_our_own_go_together(desk: Desk) -> None:
    desk.reject(
        "POST", "/v1/batch", segment(userId="anna", timestamp=(NOW - timedelta(days=3)).isoformat())
    )
    desk.reject(
        "POST",
        "/2/httpapi",
        {"api_key": KEY, "events": [AMPLITUDE | {"event_type": "Lamp", "time": 1.7e12}]},
    )
    ours = {
        "event_id": "e1",
        "event": "click",
        "user_id": "anna",
        "timestamp": (NOW - timedelta(days=3)).isoformat(),
    }
    desk.reject("POST", f"/v1/events?key={KEY}", {"events": [ours]})
    assert desk.run("replay") == 0
    assert desk.published_ids() == ["e1", "i1", "m1"]
    assert desk.records() == [("replayed", 1, 0)] * 3


def test_a_clock_that_ran_ahead_is_shifted_in_a_file_and_replayed(
    desk: Desk, tmp_path: Path
) -> None:
    desk.reject(
        "POST", "/v1/batch", segment(userId="anna", timestamp=(NOW + timedelta(days=2)).isoformat())
    )
    file = tmp_path / "dead-letters.jsonl"
    assert desk.run("fix", "--shift", "-172800", "--to", str(file)) == 0
    assert desk.run("replay", str(file)) == 0
    [event] = desk.published(1)
    assert (event.event_id, event.timestamp) == ("m1", NOW)


def test_a_body_that_could_not_be_read_is_edited_and_split(desk: Desk, tmp_path: Path) -> None:
    [good] = segment(userId="anna")["batch"]
    [bad] = segment(messageId="m2")["batch"]
    body = json.dumps({"batch": [good, bad]})
    desk.reject("POST", f"/v1/batch?writeKey={KEY}", body[:-1].encode())
    file = tmp_path / "dead-letters.jsonl"
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


# ---- what stays


def test_a_dry_run_tells_what_would_become_of_a_vendors_dead_letter(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.reject("POST", "/v1/batch", segment())
    assert desk.run("fix", "--dry-run", "--show", "1", "--set", "userId=anna") == 0
    said = capsys.readouterr().out
    assert "dead letters: 1, events that pass: 1, events that are refused: 0" in said
    assert '"userId":"anna"' in said
    assert desk.run("fix", "--dry-run") == 0
    assert "1  user_id: expected user_id or anonymous_id" in capsys.readouterr().out
    assert desk.published(0) == [] and len(desk.open()) == 1


@pytest.mark.parametrize(
    ("env", "code", "told"),
    [
        ({"FRESHET_BACKFILL_KEY": "guess"}, 1, "the collector answered 403: backfill: "),
        (
            {"FRESHET_COLLECTOR_URL": "http://127.0.0.1:9"},
            1,
            "the collector at http://127.0.0.1:9 does not answer",
        ),
        (
            {"FRESHET_BACKFILL_KEY": ""},
            2,
            "FRESHET_BACKFILL_KEY: expected the collector's backfill key, got nothing",
        ),
        ({"FRESHET_COLLECTOR_URL": ""}, 2, "--collector: expected the address of the collector"),
    ],
)
def test_where_the_collector_takes_nothing_nothing_is_recorded(
    desk: Desk, capsys: pytest.CaptureFixture[str], env: dict[str, str], code: int, told: str
) -> None:
    desk.reject("POST", "/v1/batch", segment())
    assert desk.run("replay", "--set", "userId=anna", **env) == code
    assert told in capsys.readouterr().err
    assert (desk.records(), len(desk.open()), desk.published(0)) == ([], 1, [])


def test_an_address_that_is_none_is_told(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.run("replay", "--collector", "collect.shop.example") == 2
    assert "--collector: expected an address such as https://" in capsys.readouterr().err


# ---- each for its site


def test_each_dead_letter_is_replayed_for_its_own_site_and_sender(desk: Desk) -> None:
    origins = {
        "e1": {"site": "shop", "sender": "server"},
        "e2": {"site": "news", "sender": "browser"},
        "e3": {"site": "shop", "sender": "server"},
        "e4": {"site": "shop", "sender": "browser"},
    }
    for name, attributes in origins.items():
        desk.put(event(name), reason=name, attributes=attributes)
    desk.reject("POST", "/v1/batch", segment(messageId="m1"))
    desk.reject("POST", "/v1/batch", segment(messageId="m2") | {"writeKey": BROWSER_KEY})
    assert desk.run("replay", "--set", "userId=anna") == 0
    messages = desk.topics.events(3)
    found = {e.event_id: m.attributes for m in messages for e in decode_message(m.data)}
    assert {
        name: {key: stored[key] for key in ("site", "sender")} for name, stored in found.items()
    } == {
        **origins,
        "m1": {"site": "shop", "sender": "server"},
        "m2": {"site": "shop", "sender": "browser"},
    }
    assert all(stored["backfill"] == "1" and "address" not in stored for stored in found.values())


def test_a_dead_letter_of_a_site_that_there_is_not_stays_and_the_others_go(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(event("e1"), reason="a", attributes={"site": "gone"})
    desk.put(event("e2"), reason="b", attributes={})
    desk.put(event("e3"), reason="c")
    assert desk.run("replay") == 1
    said = capsys.readouterr()
    assert "replayed dead letters: 1" in said.out and "dead letters that stay: 2" in said.out
    assert (
        "2  the collector answered 400: site: expected the name of a site in X-Freshet-Replay"
        in said.err
    )
    assert desk.published_ids() == ["e3"]
    assert len(desk.open()) == 2


def test_what_was_hashed_before_it_became_a_dead_letter_is_the_same_visitor_after_its_replay(
    desk: Desk,
) -> None:
    hashed = HASHED.apply_id("anonymous_id", "a")
    desk.put(event("e1"), event("e2", anonymous_id=hashed))
    assert desk.run("replay") == 0
    assert {one.anonymous_id for one in desk.published()} == {hashed}


def test_consent_that_was_found_goes_along_and_what_was_denied_is_not_stored(desk: Desk) -> None:
    for name, personalization in (("e1", True), ("e2", False)):
        stated = json.dumps({"analytics": True, "personalization": personalization})
        desk.put(event(name), reason=name, attributes=BROWSERS | {"consent": stated})
    denied = json.dumps({"analytics": False, "personalization": False})
    desk.put(event("e3"), reason="e3", attributes=BROWSERS | {"consent": denied})
    assert desk.run("replay") == 0
    assert {
        one.event_id: one.metadata["consent"]["personalization"] for one in desk.published()
    } == {
        "e1": True,
        "e2": False,
    }
    assert desk.open() == []


def test_what_the_sites_plan_refuses_is_a_dead_letter_of_its_own_with_the_same_site(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.reject("POST", "/v1/batch", segment(messageId="m3") | {"writeKey": STRICT_KEY})
    desk.reject(
        "POST", "/v1/batch", segment(messageId="m4", event="Shade") | {"writeKey": STRICT_KEY}
    )
    assert desk.run("replay", "--set", "userId=anna") == 0
    assert "events that the collector rejected: 1" in capsys.readouterr().out
    assert desk.published_ids() == ["m4"]
    assert (desk.records(), desk.open()) == ([("replayed", 1, 0), ("split", 0, 1)], [])
    assert [json.loads(payload)["messageId"] for payload in desk.split()] == ["m3"]
    [dead_letter] = desk.topics.dead_letters(1)
    assert (dead_letter.attributes["protocol"], json.loads(dead_letter.data)["event_id"]) == (
        "native",
        "m3",
    )
    assert {name: dead_letter.attributes[name] for name in ("site", "sender")} == {
        "site": "strict",
        "sender": "server",
    }
