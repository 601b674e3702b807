"""Dead letters from the warehouse to the events topic and into the records, on the real BigQuery and Pub/Sub."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery

from pipeline.core.deadletter import DeadLetter
from pipeline.core.events import InvalidEvent, decode_message
from pipeline.dead_letters import main
from tests.functions.pubsub import Topics
from tests.stack.bootstrap import bigquery_client, bootstrap, fresh_names

RECEIVED = datetime.now(UTC).replace(microsecond=123_000) - timedelta(hours=3)
OLD = "2025-01-01T12:00:00Z"


@dataclass
class Desk:
    """Where letters are put in, commands run, and what is published is read; `source` is this test's alone."""

    env: Mapping[str, str]
    client: bigquery.Client
    topics: Topics
    source: str

    def put(self, *payloads: Any, field: str = "timestamp", reason: str = "expected something else") -> None:
        """Letters as the pipeline writes them; a list is a body of events."""
        for number, payload in enumerate(payloads):
            payload = {"events": payload} if isinstance(payload, list) else payload
            data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            at = RECEIVED + timedelta(minutes=number)
            self.insert("dead_letters", DeadLetter.of(data, InvalidEvent(field, reason), self.source, at, {}).row())

    def insert(self, table: str, row: dict[str, Any]) -> None:
        assert not self.client.insert_rows_json(f"{self.env['FRESHET_DATASET']}.{table}", [row], row_ids=[None])

    def run(self, *arguments: str) -> int:
        """A command on this test's letters."""
        named = len(arguments) > 1 and not arguments[1].startswith("-") and arguments[0] != "export"
        return main([*arguments, *([] if named else ["--source", self.source])], self.env)

    def rows(self, view: str) -> list[dict[str, Any]]:
        query = f"select * from `{self.env['FRESHET_DATASET']}.{view}` where source = '{self.source}' order by payload"
        return [dict(row) for row in self.client.query_and_wait(query)]

    def records(self) -> list[tuple[str, int, int]]:
        """(outcome, events, refused) of this test's replays."""
        dataset = self.env["FRESHET_DATASET"]
        query = f"""
            select outcome, events, refused from `{dataset}.dead_letters_replayed`
            where letter_id in (select letter_id from `{dataset}.dead_letters_unique` where source = '{self.source}')
            order by replayed_at, events"""
        return [tuple(row) for row in self.client.query_and_wait(query)]

    def published(self, messages: int) -> list[list[str]]:
        """The event ids of each of the next messages; exactly so many must come."""
        found = self.topics.events(messages)
        assert all(message.attributes["schema_version"] == "1" for message in found)
        return [[event.event_id for event in decode_message(message.data)] for message in found]


@pytest.fixture(scope="module")
def place(emulators: dict[str, str]) -> dict[str, str]:
    """One warehouse and one topic for all tests here, because making views takes seconds."""
    env = fresh_names(emulators)
    bootstrap(env, {"pubsub", "bigquery"})
    return env


@pytest.fixture
def desk(place: dict[str, str], tag: str) -> Iterator[Desk]:
    client = bigquery_client(place)
    with Topics(place) as topics:
        yield Desk(place, client, topics, tag)
    client.close()


def event(event_id: str, **fields: Any) -> dict[str, Any]:
    return {"event_id": event_id, "event": "click", "anonymous_id": "a", "timestamp": OLD, **fields}


def test_open_letters_are_listed_by_field_and_reason_and_doubles_count_once(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(event("secret-1"), event("secret-2"))
    desk.put(event("secret-1"))  # the same letter, delivered twice
    desk.put(b"\xff", field="body", reason="expected JSON")
    assert desk.run("list") == 0
    said = capsys.readouterr().out
    assert "dead-letters: open letters: 3\n" in said
    first, last = (RECEIVED + timedelta(minutes=minutes) for minutes in (0, 1))
    times = f"({first:%FT%T}.123Z to {last:%FT%T}.123Z)"
    assert f"2  {desk.source}  timestamp: expected something else  {times}" in said
    assert f"1  {desk.source}  body: expected JSON" in said
    assert "secret" not in said


def test_without_a_command_letters_are_listed(place: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], place) == 0
    assert "open letters: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (("--field", "timestamp"), 2),
        (("--field", "other"), 0),
        (("--reason", "something"), 2),
        (("--since", "4h"), 2),
        (("--since", (RECEIVED + timedelta(seconds=30)).isoformat()), 1),
        (("--id", "z"), 0),
    ],
)
def test_filters_say_which_letters(
    desk: Desk, capsys: pytest.CaptureFixture[str], filters: tuple[str, ...], count: int
) -> None:
    desk.put(event("e1"), event("e2"))
    assert desk.run("list", *filters) == 0
    assert f"open letters: {count}\n" in capsys.readouterr().out


def test_a_letter_is_shown_whole_on_request_without_what_a_terminal_would_obey(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(b'{"event": "\x1b[2J\xe2\x80\xaeclick"}', event("second"), field="metadata.\x1b]0;x\x07\n")
    assert desk.run("list", "--show", "1") == 0
    said = capsys.readouterr().out
    assert '{"event": "\\x1b[2J\\u202eclick"}' in said and "second" not in said
    assert "metadata.\\x1b]0;x\\x07\\n: expected" in said
    assert not set(said) & {"\x1b", "\x07", "\u202e"}


def test_replayed_letters_are_one_message_with_their_ids_and_a_second_replay_repeats_nothing(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(event("e1"), [event("e2"), event("e3")])
    assert desk.run("replay") == 0
    assert "replayed letters: 2, events: 3, messages: 1" in capsys.readouterr().out
    assert sorted(desk.published(1)[0]) == ["e1", "e2", "e3"]
    assert desk.records() == [("replayed", 1, 0), ("replayed", 2, 0)]
    assert desk.rows("dead_letters_open") == []
    assert desk.run("replay") == 0
    assert "replayed letters: 0" in capsys.readouterr().out
    assert desk.published(0) == []
    assert desk.run("replay", "--again") == 0
    assert sorted(desk.published(1)[0]) == ["e1", "e2", "e3"]


def test_letters_of_two_sites_or_senders_are_messages_each_with_its_own(desk: Desk) -> None:
    origins = {
        "e1": {"site": "shop", "sender": "server"},
        "e2": {"site": "news", "sender": "browser"},
        "e3": {"site": "shop", "sender": "server"},
        "e4": {"site": "shop", "sender": "browser"},
        "e5": {"site": "shop"},  # rejected before letters told their sender
    }
    for name, attributes in origins.items():
        fault, at = InvalidEvent("timestamp", "expected"), RECEIVED
        letter = DeadLetter.of(json.dumps(event(name)).encode(), fault, desk.source, at, attributes)
        desk.insert("dead_letters", letter.row())
    assert desk.run("replay") == 0
    messages = desk.topics.events(4)
    found = {e.event_id: m.attributes for m in messages for e in decode_message(m.data)}
    told = {
        name: {key: attributes[key] for key in ("site", "sender") if key in attributes}
        for name, attributes in found.items()
    }
    assert told == origins


def test_a_letter_that_is_shown_tells_its_site_and_protocol(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    attributes = {"site": "shop", "protocol": "segment", "path": "/v1/track"}
    letter = DeadLetter.of(b"{}", InvalidEvent("event", "required"), desk.source, RECEIVED, attributes)
    desk.insert("dead_letters", letter.row())
    assert desk.run("list", "--show", "1") == 0
    assert "site shop, protocol segment, path /v1/track" in capsys.readouterr().out


def test_more_than_500_events_are_several_messages(desk: Desk) -> None:
    desk.put([event(f"e{number}") for number in range(501)])
    assert desk.run("replay") == 0
    assert sorted(map(len, desk.published(2))) == [1, 500]
    assert desk.records() == [("replayed", 501, 0)]


def test_what_still_breaks_the_contract_stays_open_and_the_reason_is_told(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(event("e1"), event("e2", event=""), b"NaN")
    assert desk.run("replay") == 0
    said = capsys.readouterr().out
    assert "letters: 3, events that pass: 1, events that are refused: 2" in said
    assert "1  event: expected 1 to 256 printable characters" in said
    assert "replayed letters: 1" in said and "letters that stay: 2" in said
    assert desk.published(1) == [["e1"]]
    assert len(desk.rows("dead_letters_open")) == 2


def test_a_repair_on_the_way_lets_the_rest_go(desk: Desk) -> None:
    desk.put(event("e1", metadata={"price": "9.5"}), event("e2", metadata={"price": "free"}))
    assert desk.run("replay", "--number", "metadata.price") == 0
    assert desk.published(1) == [["e1"]]
    assert desk.run("replay", "--set", "metadata.price=0") == 0
    assert desk.published(1) == [["e2"]]
    assert desk.rows("dead_letters_open") == []


def test_of_a_split_body_the_good_events_go_and_each_bad_one_is_a_letter_that_can_be_mended(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put([event("e1"), event("e2", event=5), event("e3")], field="body")
    assert desk.run("replay") == 0
    assert desk.published(0) == []
    assert desk.run("replay", "--split") == 0
    assert "of these split: 1" in capsys.readouterr().out
    assert desk.published(1) == [["e1", "e3"]]
    assert desk.records() == [("split", 2, 1)]
    (left,) = desk.rows("dead_letters_open")
    assert (left["field"], left["reason"], json.loads(left["payload"])) == (
        "event",
        "expected a text",
        event("e2", event=5),
    )
    assert desk.run("replay", "--split", "--set", "event=search") == 0
    assert desk.published(1) == [["e2"]]
    assert desk.rows("dead_letters_open") == []


def test_an_exported_file_is_edited_by_hand_and_replayed_once(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(event("e1", event="klick"), event("e2", timestamp="?"), b"\xff\x00")
    file = tmp_path / "letters.jsonl"
    assert desk.run("export", str(file)) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = {line["encoding"] + line["payload"][:20]: line for line in map(json.loads, file.read_text().splitlines())}
    text, other, binary = (lines[name] for name in sorted(lines, key=lambda n: (n.startswith("base64"), "e2" in n)))
    assert {"letter_id", "received_at", "source", "field", "reason", "attributes"} <= set(text)
    assert (binary["encoding"], binary["payload"]) == ("base64", "/wA=")
    edited = [{**text, "payload": event("e1")}, {**other, "payload": json.dumps(event("e2"))}, binary]
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(map(json.dumps, edited)).encode())
    assert desk.run("replay", str(file)) == 0
    assert sorted(desk.published(1)[0]) == ["e1", "e2"]
    capsys.readouterr()
    assert desk.run("replay", str(file)) == 0
    assert "letters replayed before: 2; --again repeats them" in capsys.readouterr().out
    assert desk.published(0) == []
    assert [row["encoding"] for row in desk.rows("dead_letters_open")] == ["base64"]


def test_a_dry_run_tells_what_would_change_and_changes_nothing(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    desk.put(event("secret", metadata={"price": "1"}), event("e2", metadata={"price": "free"}))
    assert desk.run("fix", "--number", "metadata.price", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "letters: 2, events that pass: 1, events that are refused: 1" in said
    assert "1  metadata.price: expected a finite number" in said
    assert "mended events: 1; nothing was written" in said and "secret" not in said
    assert desk.run("fix", "--number", "metadata.price", "--dry-run", "--show", "2") == 0
    said = capsys.readouterr().out
    assert '"price": "1"' in said and '"price":1' in said
    assert "refused: metadata.price: expected a finite number, got free" in said
    assert desk.published(0) == [] and desk.records() == [] and list(tmp_path.iterdir()) == []


def test_a_mended_file_can_be_mended_again_and_replayed(desk: Desk, tmp_path: Path) -> None:
    desk.put([event("e1"), event("e2", event=None, name="click")], event("e3", timestamp=5))
    file = tmp_path / "letters.jsonl"
    assert desk.run("fix", "--rename", "name=event", "--to", str(file)) == 0
    assert desk.run("fix", str(file), "--set", f"timestamp={OLD}") == 0
    assert desk.run("replay", str(file)) == 0
    assert sorted(desk.published(1)[0]) == ["e1", "e2", "e3"]
    assert desk.rows("dead_letters_open") == []


def test_a_file_remembers_that_its_letters_may_be_split(desk: Desk, tmp_path: Path) -> None:
    desk.put([event("e1"), event("e2", event=5)])
    file = tmp_path / "letters.jsonl"
    assert desk.run("fix", "--split", "--to", str(file)) == 0
    assert desk.run("replay", str(file)) == 0
    assert desk.published(1) == [["e1"]]


@pytest.mark.parametrize("line", ["{", "[]", '{"letter_id": "x"}', "\\ud800", '{"letter_id": 5}', "[" * 100_000])
def test_a_file_with_a_line_that_is_no_letter_is_refused_before_anything_is_sent(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    desk.put(event("e1"))
    file = tmp_path / "letters.jsonl"
    assert desk.run("export", str(file)) == 0
    with file.open("a") as opened:
        opened.write(line + "\n")
    before = file.read_bytes()
    assert desk.run("replay", str(file)) == 2
    assert desk.run("fix", str(file), "--drop", "event") == 2
    assert "letters.jsonl line 2: expected a letter" in capsys.readouterr().err
    assert file.read_bytes() == before and desk.published(0) == []


def test_no_file_is_written_over(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "edited.jsonl"
    file.write_text("an afternoon's work")
    assert desk.run("export", str(file)) == 2
    assert desk.run("fix", "--to", str(file)) == 2
    assert file.read_text() == "an afternoon's work"
    assert "FILE: expected one that does not exist yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fix", "--set", "event"), "fix: expected a FILE to mend"),
        (("fix", "--dry-run", "--set", "event"), "--set: expected field=value, got 'event'"),
        (("fix", "--dry-run", "--set", "metadata.price=much"), "set: metadata.price: expected a number, got 'much'"),
        (("replay", "--shift", "inf"), "shift: expected at most"),
        (("replay", "nothing.jsonl"), "FILE: expected a file that exists, got nothing.jsonl"),
        (("replay", "nothing.jsonl", "--field", "x"), "replay: expected a FILE or filters, got both"),
        (("list", "--since", "yesterday"), "--since: expected an RFC 3339 time"),
    ],
)
def test_what_cannot_be_done_as_asked_is_told(
    place: dict[str, str], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert main(arguments, place) == 2
    assert f"dead-letters: {message}" in capsys.readouterr().err


def test_a_warehouse_that_is_not_there_is_no_traceback(
    place: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list"], {**place, "FRESHET_DATASET": "nobody"}) == 1
    assert "BigQuery or Pub/Sub did not do it" in capsys.readouterr().err
    assert main(["list"], {}) == 2


def test_without_a_topic_nothing_is_recorded_and_the_letters_stay(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.put(event("e1"))
    assert main(["replay", "--source", desk.source], {**desk.env, "FRESHET_EVENTS_TOPIC": "nobody"}) == 1
    assert "did not do it" in capsys.readouterr().err
    assert desk.records() == [] and len(desk.rows("dead_letters_open")) == 1


def test_letters_of_the_same_time_and_place_differ_by_their_content(desk: Desk) -> None:
    desk.put(event("e1"), reason="a")
    desk.put(event("e2"), reason="a")
    desk.put(event("e1"), reason="b")
    desk.insert("dead_letters", {"received_at": RECEIVED.isoformat(), "source": desk.source})
    ids = {row["letter_id"] for row in desk.rows("dead_letters_unique")}
    assert len(ids) == 4
    assert {row["letter_id"] for row in desk.rows("dead_letters_unique")} == ids


def test_a_row_that_lacks_all_but_its_time_is_a_letter_that_stays(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.insert("dead_letters", {"received_at": RECEIVED.isoformat(), "source": desk.source})
    assert desk.run("list", "--show", "1") == 0
    assert f"1  {desk.source}  unknown: unknown" in capsys.readouterr().out
    assert desk.run("replay") == 0
    assert "letters that stay: 1" in capsys.readouterr().out
