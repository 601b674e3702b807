"""Messages to facts: what cannot be read stops nothing, each event goes to its visitor, and the log
has it whole.
"""

from __future__ import annotations

import base64
from collections import Counter
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from google.cloud import bigquery

from pipeline.core.catalog import Item, encode_item
from pipeline.core.event_log import LOG_COLUMNS
from pipeline.core.events import Event, encode_message
from pipeline.steps.bigquery import WriteRows
from pipeline.steps.decode import (
    BY_ADDRESS,
    BY_BROWSER,
    INVALID,
    LOG,
    Decode,
    dead_letter_rows,
    event_row,
)
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.layout import STUB, cell, item_write
from tests.pipeline.running import (
    RUNNERS,
    START,
    START_MS,
    Visitor,
    collect,
    facts,
    message,
    outputs,
    run,
    script,
)


def decode(source: Bigtable, *messages: PubsubMessage) -> Counter[str]:
    def connect(pipeline: beam.Pipeline) -> None:
        decoded = pipeline | script(messages) | Decode(source)
        collect(decoded.facts, "accounts")
        for name in (BY_BROWSER, BY_ADDRESS, LOG, INVALID):
            collect(decoded[name], name)

    return run(connect)


def test_a_message_becomes_one_element_a_visitor_and_one_list_of_rows(
    source: Bigtable, visitor: Visitor
) -> None:
    mine = [visitor.did("scroll"), visitor.did("view_product", "p", 1)]
    other = visitor.anonymously("scroll", at_s=2)
    counts = decode(source, message(mine[0], other, mine[1]))
    assert outputs["accounts"] == [(visitor.key, facts(*mine))]
    assert outputs[BY_BROWSER] == [(visitor.browser, facts(other))]
    assert [[row.row["event_id"] for row in rows] for rows in outputs[LOG]] == [
        [mine[0].event_id, other.event_id, mine[1].event_id]
    ]
    assert outputs[INVALID] == outputs[BY_ADDRESS] == []
    assert (counts["decode/accepted"], counts["decode/invalid"], counts["decode/unknown_item"]) == (
        3,
        0,
        1,
    )


def test_of_a_message_without_events_no_address_is_told(source: Bigtable) -> None:
    decode(source, message(address="net"))
    assert outputs[BY_ADDRESS] == outputs[INVALID] == []


def test_an_address_is_told_of_who_sent_when(source: Bigtable, visitor: Visitor) -> None:
    decode(
        source,
        message(
            visitor.did("scroll", at_s=1), visitor.anonymously("scroll", at_s=2), address="net"
        ),
    )
    assert outputs[BY_ADDRESS] == [
        ("net", [(visitor.key, START_MS + 1000), (visitor.browser, START_MS + 2000)]),
    ]


@pytest.mark.parametrize(
    "body", [b"", b"\xff\x00", b"{}", b'{"events": [{"event": "click"}]}', b"[" * 100_000]
)
def test_a_body_that_is_no_message_becomes_a_dead_letter_whole_and_stops_nothing(
    source: Bigtable, visitor: Visitor, body: bytes
) -> None:
    event = visitor.did("scroll")
    counts = decode(source, PubsubMessage(body, {"origin": "x"}, "m", None), message(event))
    [[dead_letter]] = outputs[INVALID]
    payload = dead_letter.row["payload"]
    assert body == (
        base64.b64decode(payload) if dead_letter.row["encoding"] == "base64" else payload.encode()
    )
    assert dead_letter.row["source"] == "pipeline" and dead_letter.row["field"] == "body"
    assert dead_letter.row["attributes"] == '{"origin":"x"}' and dead_letter.insert_id is None
    assert outputs["accounts"] == [(visitor.key, facts(event))]
    assert (counts["decode/accepted"], counts["decode/invalid"]) == (1, 1)


def test_events_are_enriched_from_the_catalog_and_a_stub_is_no_catalog(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    lamp = Item(visitor.product("lamp"), category="home.light", brand="b", price=5.0)
    stub = Item(visitor.product("stub"), category="guessed", stub=True)
    store.write([item_write(lamp, 1000), cell(STUB, stub.item_id, encode_item(stub), 1)])
    views = [
        visitor.did("view_product", "lamp", metadata={"category": "said"}),
        visitor.did("view_product", "stub"),
    ]
    counts = decode(source, message(*views))
    assert outputs["accounts"] == [(visitor.key, ("facts", [(views[0], lamp), (views[1], None)]))]
    [rows] = outputs[LOG]
    assert [(r.row["category"], r.row["brand"], r.row["price"]) for r in rows] == [
        ("home.light", "b", 5.0),
        (None, None, None),
    ]
    assert counts["decode/unknown_item"] == 1


@pytest.mark.parametrize(
    ("late_s", "counted"),
    [(50, [0, 0, 0]), (70, [1, 0, 0]), (3_700, [1, 1, 0]), (86_500, [1, 1, 1])],
)
def test_late_events_are_counted_by_how_late_they_are(
    source: Bigtable, visitor: Visitor, late_s: float, counted: list[int]
) -> None:
    event = Event(
        event_id="e",
        event="scroll",
        timestamp=datetime.now(UTC) - timedelta(seconds=late_s),
        user_id=visitor.tag,
    )
    counts = decode(source, message(event))
    assert [counts[f"decode/late_{span}"] for span in ("1m", "1h", "24h")] == counted


# rows


def test_a_row_of_the_log_says_all_that_the_event_said(visitor: Visitor) -> None:
    metadata = {
        "price": 3,
        "position": 2.0,
        "propensity": 0.5,
        "query": "q",
        "request_id": "r",
        "placement": "home",
    }
    event = visitor.did(
        "impression", "p", 0.5, metadata={**metadata, "variant": "v", "category": "c", "x": [1]}
    )
    row = event_row(event, None, "shop", "browser").row
    assert tuple(row) == LOG_COLUMNS
    assert row == {
        "event_id": event.event_id,
        "event": "impression",
        "visitor": visitor.key,
        "user_id": visitor.tag,
        "anonymous_id": None,
        "session_id": "s1",
        "product_id": visitor.product("p"),
        "timestamp": "2025-01-01T12:00:00.500Z",
        "ingest_time": "2025-01-01T12:00:00.000Z",
        "category": "c",
        "brand": None,
        "price": 3,
        "query": "q",
        "request_id": "r",
        "placement": "home",
        "variant": "v",
        "position": 2,
        "propensity": 0.5,
        "metadata": '{"price":3,"position":2.0,"propensity":0.5,"query":"q","request_id":"r",'
        '"placement":"home","variant":"v","category":"c","x":[1]}',
        "site": "shop",
        "sender": "browser",
    }


def test_rows_share_an_insert_id_only_where_the_view_counts_them_as_one_event(
    visitor: Visitor,
) -> None:
    sold = msgspec.structs.replace(
        visitor.did("purchase", "p", user_id="u" * 256), event_id="o1#p#0" * 40
    )
    later = msgspec.structs.replace(
        sold, session_id="s2", ingest_time=START + timedelta(hours=1), metadata={"x": 1}
    )
    others = [
        event_row(sold, None, "shop", "browser"),
        event_row(sold, None, "shop"),
        event_row(sold, None, "news", "server"),
        event_row(sold, None, None, "server"),
        *(
            event_row(msgspec.structs.replace(sold, **other), None, "shop", "server")
            for other in (
                {"user_id": "v"},
                {"event_id": "o2"},
                {"event": "click"},
                {"product_id": "q"},
            )
        ),
    ]
    insert_id = event_row(sold, None, "shop", "server").insert_id
    assert event_row(later, None, "shop", "server").insert_id == insert_id
    assert insert_id is not None and len(insert_id) <= 128
    assert len({insert_id, *(row.insert_id for row in others)}) == 1 + len(others)


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_log_names_for_each_event_site_and_sender_of_the_message_that_it_came_with(
    source: Bigtable, bigquery_server: bigquery.Client, dataset: str, visitor: Visitor, runner: type
) -> None:
    shop, news, nobody = [
        [visitor.did("scroll", at_s=n), visitor.anonymously("click")] for n in range(3)
    ]
    of_shop = {"site": "shop", "sender": "server"}
    bundle = [
        message(*shop, **of_shop),
        message(*nobody),
        message(*news, site="news", sender="browser"),
    ]
    # as a rewind does
    again = [message(shop[0], **of_shop), PubsubMessage(encode_message(nobody), None, "m", None)]

    def connect(pipeline: beam.Pipeline) -> None:
        decoded = pipeline | script(bundle, again) | Decode(source)
        decoded[LOG] | WriteRows("demo-project", dataset, "events", "insert_rows")

    run(connect, runner)
    columns = "distinct event_id, site, sender"
    query = f"select {columns} from `{dataset}.events` where starts_with(event_id, '{visitor.tag}')"
    found = [
        (row["event_id"], row["site"], row["sender"])
        for row in bigquery_server.query_and_wait(query)
    ]
    origins = {("shop", "server"): shop, ("news", "browser"): news, (None, None): nobody}
    wanted = [(event.event_id, *origin) for origin, events in origins.items() for event in events]
    assert sorted(found, key=itemgetter(0)) == wanted


@pytest.mark.parametrize(
    ("metadata", "logged"),
    [({"price": None}, 7.5), ({}, 7.5), ({"price": 0}, 0), ({"price": 3.0}, 3.0)],
)
def test_the_logged_price_is_the_events_where_it_names_one_and_else_the_catalogs(
    visitor: Visitor, metadata: dict[str, Any], logged: float
) -> None:
    event = visitor.did("view_product", "p", metadata=metadata)
    assert event_row(event, Item(visitor.product("p"), price=7.5)).row["price"] == logged


def test_a_rejected_event_of_the_collector_becomes_a_row_under_its_message_id() -> None:
    attributes = {
        "source": "collector",
        "field": "event",
        "reason": "required",
        "received_at": "2025-01-01T00:00:00Z",
    }
    [(insert_id, row)] = dead_letter_rows(PubsubMessage(b'{"a":1}', attributes, "m7", None))
    assert insert_id == "m7" and row["payload"] == '{"a":1}' and row["reason"] == "required"
    [(_, bare)] = dead_letter_rows(PubsubMessage(b"\xff", None, "m8", None))
    assert (bare["encoding"], bare["source"]) == ("base64", "unknown")
