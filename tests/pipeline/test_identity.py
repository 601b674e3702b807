"""Event ids that a stranger can guess, on the real emulators: no page's event takes the place of a
server's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from google.cloud import bigquery

from pipeline.core.events import Event
from pipeline.core.items import ITEM_CODES
from pipeline.steps.bigquery import WriteRows
from pipeline.steps.decode import LOG, Decode
from pipeline.store.blocking import Bigtable, Store
from sql import schema
from tests.pipeline.running import (
    START,
    Visitor,
    features,
    message,
    run,
    script,
    stored_items,
    stored_profile,
)

SHOP = {"site": "shop", "sender": "server"}
PAGE = {"site": "shop", "sender": "browser"}
NEWS = {"site": "news", "sender": "browser"}


@pytest.fixture(scope="module")
def unique(bigquery_server: bigquery.Client, dataset: str) -> Iterator[str]:
    """The view `events_unique` over the tests' own log."""
    bigquery_server.query_and_wait(schema.ddl("events_unique", dataset))
    yield f"{dataset}.events_unique"
    bigquery_server.query_and_wait(f"drop view `{dataset}.events_unique`")


def order(visitor: Visitor, minute: int = 0, **fields: Any) -> Event:
    """The purchase whose id follows from the order's number and the product, `minute` minutes after
    `START`.
    """
    at = START + timedelta(minutes=minute)
    ids = {"event_id": f"{visitor.tag}-o1#p1#0", "ingest_time": at, "timestamp": at}
    return msgspec.structs.replace(
        visitor.did("purchase", "p1"), **{**ids, "metadata": {"price": 5.0}, **fields}
    )


def process(source: Bigtable, dataset: str, messages: Sequence[PubsubMessage]) -> None:
    """Fold the messages and write the log, each message in a bundle of its own."""
    features(source, messages)

    def connect(pipeline: beam.Pipeline) -> None:
        decoded = pipeline | script(*([one] for one in messages)) | Decode(source)
        decoded[LOG] | WriteRows("demo-project", dataset, "events", "insert_rows")

    run(connect)


def rows(client: bigquery.Client, table: str, visitor: Visitor) -> list[dict[str, Any]]:
    """All rows under the order's event id."""
    query = f"select * from `{table}` where event_id = '{visitor.tag}-o1#p1#0'"
    return [dict(row) for row in client.query_and_wait(query)]


@pytest.mark.parametrize("first", ["the browsers'", "the server's"])
def test_a_servers_purchase_is_in_log_view_profile_and_item_whatever_browsers_sent_under_its_id(
    source: Bigtable,
    store: Store,
    bigquery_server: bigquery.Client,
    dataset: str,
    unique: str,
    visitor: Visitor,
    first: str,
) -> None:
    stranger = {"user_id": None, "anonymous_id": f"stranger{visitor.tag}"}
    other_product = visitor.product("p2")
    sold = order(visitor, 5 if first == "the browsers'" else 0)
    forged = [
        message(order(visitor, 1, **stranger), **PAGE),
        message(order(visitor, 2, event="page_view", product_id=None), **PAGE),
        message(order(visitor, 3, product_id=other_product), **PAGE),
        message(order(visitor, 4, **stranger), **NEWS),
    ]
    servers = [message(sold, **SHOP)] * 2  # delivered twice

    process(source, dataset, forged + servers if first == "the browsers'" else servers + forged)

    logged = rows(bigquery_server, f"{dataset}.events", visitor)
    assert Counter(row["sender"] for row in logged) == {"server": 1, "browser": 4}
    counted = rows(bigquery_server, unique, visitor)
    [of_server] = [row for row in counted if row["sender"] == "server"]
    assert (of_server["visitor"], of_server["product_id"], of_server["price"]) == (
        visitor.key,
        visitor.product("p1"),
        5,
    )
    bought = [(row["site"], row["product_id"]) for row in counted if row["event"] == "purchase"]
    # the stranger's tells of the same order
    assert Counter(bought)["shop", visitor.product("p1")] == 1
    profile = stored_profile(store, visitor.key)
    assert profile.contains(sold.event_id, "purchase", sold.product_id)
    # one of them of another product
    assert (profile.total("purchase"), profile.total("page_view")) == (2, 1)
    items = stored_items(store, [visitor.product("p1"), other_product])
    purchases = {
        item_id: stats.counts.totals[ITEM_CODES["purchase"]] for item_id, stats in items.items()
    }
    assert purchases == {
        visitor.product("p1"): 2,
        other_product: 1,
    }  # the visitor's, and the stranger's in its own name


@pytest.mark.parametrize("first", [PAGE, SHOP])
def test_an_order_told_by_browser_and_server_counts_once_in_view_profile_and_item(
    source: Bigtable,
    store: Store,
    bigquery_server: bigquery.Client,
    dataset: str,
    unique: str,
    visitor: Visitor,
    first: dict[str, str],
) -> None:
    second = SHOP if first == PAGE else PAGE
    told = [
        message(order(visitor, minute), **sender) for minute, sender in enumerate((first, second))
    ]

    process(source, dataset, [*told, told[0]])

    assert Counter(
        row["sender"] for row in rows(bigquery_server, f"{dataset}.events", visitor)
    ) == {
        "server": 1,
        "browser": 1,
    }
    assert [row["sender"] for row in rows(bigquery_server, unique, visitor)] == ["server"]
    assert stored_profile(store, visitor.key).events_total == 1
    [item] = stored_items(store, [visitor.product("p1")]).values()
    assert item.counts.totals == {ITEM_CODES["purchase"]: 1}
