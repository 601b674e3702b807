"""What the views answer, on rows small enough to work out by hand."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.cloud import bigquery

from sql import schema
from tests.sql.conftest import Warehouse
from tests.stack.prerequisites import REPO

DAY = date(2025, 1, 1)
HISTORY_DAYS = 30


@pytest.fixture(scope="module")
def short_dataset(bigquery_server: bigquery.Client) -> Iterator[str]:
    """A dataset whose views look back `HISTORY_DAYS`, with those of its views that the tests
    ask."""
    dataset = f"sql_{uuid.uuid4().hex[:12]}"
    bigquery_server.create_dataset(dataset)
    for name in (
        "events",
        "sessions",
        "anomalies",
        "events_unique",
        "events_trusted",
        "sessions_latest",
    ):
        bigquery_server.query_and_wait(schema.ddl(name, dataset, HISTORY_DAYS))
    yield dataset
    bigquery_server.delete_dataset(dataset, delete_contents=True)


@pytest.fixture
def short_history(bigquery_server: bigquery.Client, short_dataset: str) -> Iterator[Warehouse]:
    """An empty warehouse that looks back `HISTORY_DAYS`."""
    warehouse = Warehouse(bigquery_server, short_dataset)
    yield warehouse
    warehouse.clear()


def event(
    event_id: str, name: str, visitor: str = "u#1", at: str = "2025-01-01T12:00:00Z", **more: Any
) -> dict[str, Any]:
    return {"event_id": event_id, "event": name, "visitor": visitor, "timestamp": at, **more}


def shown(event_id: str, slate: str, product: str, variant: str = "personalized") -> dict[str, Any]:
    return event(
        event_id,
        "impression",
        product_id=product,
        request_id=slate,
        placement="home",
        variant=variant,
    )


def clicked(event_id: str, slate: str | None, product: str) -> dict[str, Any]:
    return event(event_id, "click", product_id=product, request_id=slate)


def session(
    visitor: str, start: str, end: str, emitted_at: str = "2025-01-02T00:00:00Z", **more: Any
) -> dict[str, Any]:
    times = {"session_start": start, "session_end": end, "emitted_at": emitted_at}
    return {"visitor": visitor, **times, "events": 1, "purchases": 0, "revenue": 0.0, **more}


def documented(view: str) -> str:
    """The query of docs/analytics.md that reads the view."""
    text = (REPO / "docs" / "analytics.md").read_text(encoding="utf-8")
    queries = re.findall(r"```sql\n(.+?)```", text, re.DOTALL)
    [query] = [query for query in queries if f"from freshet.{view}\n" in query]
    return str(query)


def test_an_event_delivered_twice_is_one_event_and_the_first_ingested_counts(
    tables: Warehouse,
) -> None:
    late, early = "2025-01-01T12:00:09Z", "2025-01-01T12:00:01Z"
    tables.insert(
        "events",
        [
            event("e1", "click", ingest_time=late, query="late"),
            event("e1", "click", ingest_time=early, query="early"),
            event("e2", "click", ingest_time=late),
        ],
    )

    rows = tables.rows("events_unique", "event_id")

    assert [row["event_id"] for row in rows] == ["e1", "e2"]
    assert rows[0]["query"] == "early"
    assert rows[0]["ingest_time"] == datetime(2025, 1, 1, 12, 0, 1, tzinfo=UTC)


def test_each_site_counts_its_own_as_the_documentation_does(tables: Warehouse) -> None:
    query = documented("events_unique")
    now = datetime.now(UTC).isoformat()
    sent = [
        ("e1", "click", "shop"),
        ("e2", "click", "shop"),
        ("e3", "click", "news"),
        ("e4", "search", "shop"),
    ]
    tables.insert(
        "events", [event(name, what, at=now, site=site) for name, what, site in [*sent, sent[0]]]
    )
    tables.insert("events", [event("e5", "click", at=now)])

    rows = tables.client.query_and_wait(query.replace("freshet.", f"{tables.dataset}."))

    assert [tuple(row.values()) for row in rows] == [
        (None, "click", 1),
        ("news", "click", 1),
        ("shop", "click", 2),
        ("shop", "search", 1),
    ]
    assert [row["site"] for row in tables.rows("events_trusted", "event_id")] == [
        "shop",
        "shop",
        "news",
        "shop",
        None,
    ]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("squatter", "remain"),
    [
        ({"site": "shop", "visitor": "u#1"}, []),  # tells the same order of the same visitor
        ({"site": "shop", "visitor": "a#squatter"}, []),
        ({"site": "shop", "visitor": "u#1", "event": "page_view"}, ["page_view"]),
        ({"site": "shop", "visitor": "u#1", "product_id": "p9"}, ["purchase"]),
        ({"site": "news", "visitor": "u#1"}, ["purchase"]),
        ({"site": None, "visitor": "u#1"}, ["purchase"]),
    ],
)
def test_no_browsers_event_displaces_a_servers_of_the_same_id(
    tables: Warehouse, squatter: dict[str, Any], remain: list[str], before: bool
) -> None:
    sold = event("o1#p1#0", "purchase", product_id="p1", site="shop", sender="server", price=5.0)
    forged = {**sold, "sender": "browser", "price": 0.0, **squatter}
    early, late = "2025-01-01T12:00:01Z", "2025-01-01T12:00:09Z"
    tables.insert("events", [{**forged, "ingest_time": early if before else late}])
    # the server's came twice
    tables.insert("events", [{**sold, "ingest_time": at} for at in (late, early)])

    rows = tables.rows("events_unique", "sender, site")

    of_server = [row for row in rows if row["sender"] == "server"]
    assert [(row["visitor"], row["price"]) for row in of_server] == [("u#1", 5.0)]
    assert [row["event"] for row in rows if row["sender"] == "browser"] == remain


@pytest.mark.parametrize("sender", ["server", "browser", None])
def test_events_that_share_an_id_and_differ_in_site_name_or_product_are_all_kept(
    tables: Warehouse, sender: str | None
) -> None:
    sold = event("o1", "purchase", product_id="p1", site="shop", sender=sender)
    others: list[dict[str, Any]] = [
        {"site": "news"},
        {"site": None},
        {"event": "click"},
        {"product_id": "p2"},
    ]
    tables.insert("events", [{**sold, **other} for other in ({}, *others)])

    assert len(tables.rows("events_unique", "event_id")) == 1 + len(others)


def test_of_one_event_id_each_browsers_visitor_keeps_the_event_that_came_first(
    tables: Warehouse,
) -> None:
    times = ["2025-01-01T12:00:01Z", "2025-01-01T12:00:02Z", "2025-01-01T12:00:03Z"]
    told = [("a#1", "first"), ("a#2", "first"), ("a#1", "again")]
    for sender in ("browser", None):  # None: written before the column was there
        sent: dict[str, Any] = {"product_id": "p1", "site": "shop", "sender": sender}
        tables.insert(
            "events",
            [
                event(f"o1 of {sender}", "purchase", visitor, ingest_time=at, query=query, **sent)
                for (visitor, query), at in zip(told, times, strict=True)
            ],
        )

    rows = tables.rows("events_unique", "event_id, visitor")

    assert [(row["visitor"], row["query"]) for row in rows] == [
        ("a#1", "first"),
        ("a#2", "first"),
    ] * 2


def mark(
    visitor: str | None, found_at: str, marked_until: str | None, anomaly_id: str = "m1"
) -> dict[str, Any]:
    row = {
        "id": anomaly_id,
        "visitor": visitor,
        "rule": "event_rate_1m",
        "severity": "high",
        "found_at": found_at,
    }
    return {**row, "marked_until": marked_until}


def test_a_marked_visitors_events_are_not_trusted_from_the_finding_until_just_before_the_mark_ends(
    tables: Warehouse,
) -> None:
    noon, one = "2025-01-01T12:00:00Z", "2025-01-01T13:00:00Z"
    times = {
        "just before": "2025-01-01T11:59:59.999Z",
        "at the finding": noon,
        "last": "2025-01-01T12:59:59.999Z",
        "at the end": one,
    }
    tables.insert("events", [event(name, "click", "u#1", at) for name, at in times.items()])
    tables.insert("events", [event("another visitor's", "click", "u#2", noon)])
    tables.insert("anomalies", [mark("u#1", noon, one), mark("u#1", noon, one)])  # told twice

    rows = tables.rows("events_trusted", "event_id")

    trusted = ["another visitor's", "at the end", "just before"]
    assert [row["event_id"] for row in rows] == trusted
    assert rows == [
        row for row in tables.rows("events_unique", "event_id") if row["event_id"] in trusted
    ]


def test_a_finding_that_does_not_mark_or_names_no_visitor_leaves_the_events_in(
    tables: Warehouse,
) -> None:
    noon = "2025-01-01T12:00:00Z"
    tables.insert("events", [event("e1", "click", "u#1", noon)])
    tables.insert(
        "anomalies", [mark("u#1", noon, None), mark(None, noon, "2025-01-02T12:00:00Z", "m2")]
    )

    assert [row["event_id"] for row in tables.rows("events_trusted", "event_id")] == ["e1"]


def test_an_event_under_two_marks_is_left_out_and_one_between_them_is_not(
    tables: Warehouse,
) -> None:
    tables.insert(
        "events",
        [event(f"at {hour}", "click", at=f"2025-01-01T{hour}:30:00Z") for hour in (10, 11, 12, 14)],
    )
    tables.insert(
        "anomalies",
        [
            mark("u#1", "2025-01-01T10:00:00Z", "2025-01-01T12:00:00Z", "m1"),
            mark("u#1", "2025-01-01T11:00:00Z", "2025-01-01T12:00:00Z", "m2"),
            mark("u#1", "2025-01-01T14:00:00Z", "2025-01-01T15:00:00Z", "m3"),
        ],
    )

    assert [row["event_id"] for row in tables.rows("events_trusted", "event_id")] == ["at 12"]


def test_what_a_marked_visitor_was_shown_and_clicked_is_no_figure_of_the_experiment(
    tables: Warehouse,
) -> None:
    tables.insert("events", [shown("i1", "r1", "p1"), clicked("c1", "r1", "p1")])
    tables.insert(
        "events", [{**shown(f"b{n}", "r2", f"p{n}"), "visitor": "u#bot"} for n in range(5)]
    )
    tables.insert(
        "events", [{**clicked(f"d{n}", "r2", f"p{n}"), "visitor": "u#bot"} for n in range(5)]
    )
    tables.insert("anomalies", [mark("u#bot", "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z")])

    (personalized,) = tables.rows("ctr_by_variant", "variant")

    assert (
        personalized["slates"],
        personalized["impressions"],
        personalized["clicked_impressions"],
    ) == (1, 1, 1)


def test_a_mark_older_than_the_history_still_holds_for_the_events_in_it(
    short_history: Warehouse,
) -> None:
    now = datetime.now(UTC)
    begun, seen, ends = [
        (now + timedelta(days=days)).isoformat() for days in (-HISTORY_DAYS - 10, -1, 5)
    ]
    short_history.insert(
        "events", [event("e1", "click", "u#1", seen), event("e2", "click", "u#2", seen)]
    )
    short_history.insert("anomalies", [mark("u#1", begun, ends)])

    assert [row["event_id"] for row in short_history.rows("events_trusted", "event_id")] == ["e2"]


def test_the_funnel_counts_a_visitor_once_a_day_and_only_with_the_steps_before(
    tables: Warehouse,
) -> None:
    tables.insert(
        "events",
        [
            # u#1 goes all the way, views twice, and one view is delivered twice
            event("e1", "view_product", "u#1"),
            event("e1", "view_product", "u#1"),
            event("e2", "view_product", "u#1"),
            event("e3", "add_to_cart", "u#1"),
            event("e4", "purchase", "u#1"),
            # u#2 stops at the cart, u#3 and u#4 at the view
            event("e5", "view_product", "u#2"),
            event("e6", "add_to_cart", "u#2"),
            event("e7", "view_product", "u#3"),
            event("e8", "view_product", "a#4"),
            # u#5 buys without a cart; u#6 fills a cart without a view
            event("e9", "purchase", "u#5"),
            event("e10", "add_to_cart", "u#6"),
            # the next day in UTC
            event("e11", "view_product", "u#1", at="2025-01-02T00:00:00Z"),
            event("e12", "page_view", "u#7"),
        ],
    )

    first, second = tables.rows("funnel_daily", "day")

    assert first == {
        "day": DAY,
        "view_visitors": 4,
        "cart_visitors": 2,
        "purchase_visitors": 1,
        "buyers": 2,
        "view_to_cart_rate": 0.5,
        "cart_to_purchase_rate": 0.5,
        "view_to_purchase_rate": 0.25,
    }
    assert (second["view_visitors"], second["cart_visitors"]) == (1, 0)
    assert second["cart_to_purchase_rate"] is None


def test_an_impression_counts_as_clicked_once_however_often_it_is_clicked(
    tables: Warehouse,
) -> None:
    tables.insert(
        "events",
        [
            *[shown(f"i{n}", "r1", f"p{n}") for n in range(8)],
            shown("i8", "r2", "p0"),
            shown("i9", "r2", "p1"),
            shown("i9", "r2", "p1"),  # delivered twice
            shown("i10", "r3", "p0", variant="popular"),
            clicked("c1", "r1", "p0"),
            clicked("c2", "r1", "p0"),  # a second click on the same impression
            clicked("c3", "r1", "p1"),
            clicked("c4", "r9", "p1"),  # of a slate that was never seen
            clicked("c5", "r2", "p7"),  # of a product that this slate did not show
            clicked("c6", None, "p0"),  # not of a slate
        ],
    )

    personalized, popular = tables.rows("ctr_by_variant", "variant")

    assert (personalized["placement"], personalized["variant"]) == ("home", "personalized")
    assert (personalized["slates"], personalized["impressions"]) == (2, 10)
    assert (personalized["clicked_impressions"], personalized["ctr"]) == (2, 0.2)
    # Wilson's interval of 2 in 10 and of 0 in 1, worked out apart from the view
    assert personalized["ctr_low"] == pytest.approx(0.05668, abs=1e-5)
    assert personalized["ctr_high"] == pytest.approx(0.50984, abs=1e-5)
    assert (popular["impressions"], popular["clicked_impressions"], popular["ctr"]) == (1, 0, 0.0)
    assert popular["ctr_low"] == 0.0
    assert popular["ctr_high"] == pytest.approx(0.79345, abs=1e-5)


def test_who_stood_in_an_experiment_is_a_row_from_the_first_time_on(tables: Warehouse) -> None:
    def saw(event_id: str, slate: str, visitor: str, at: str, *entries: str) -> dict[str, Any]:
        metadata = json.dumps({"experiments": list(entries)} if entries else {})
        shown = event(event_id, "impression", visitor, at, product_id="p1", request_id=slate)
        return {**shown, "metadata": metadata}

    noon, one, two = (f"2025-01-01T{hour}:00:00Z" for hour in (12, 13, 14))
    tables.insert(
        "events",
        [
            saw("i1", "r1", "a#1", one, "order=cheap", "page=a"),
            saw("i2", "r1", "a#1", one, "order=cheap", "page=a"),
            saw("i3", "r2", "a#1", two, "order=cheap"),
            saw("i4", "r3", "a#2", noon, "order=control"),
            saw("i5", "r4", "a#3", noon),
        ],
    )

    found = tables.rows("exposures", "experiment, visitor")

    assert [
        (
            row["experiment"],
            row["variant"],
            row["visitor"],
            row["first_shown_at"].hour,
            row["slates"],
        )
        for row in found
    ] == [
        ("order", "cheap", "a#1", 13, 2),
        ("order", "control", "a#2", 12, 1),
        ("page", "a", "a#1", 13, 1),
    ]


def test_a_slot_is_the_same_in_sql(tables: Warehouse) -> None:
    path = REPO / "tests" / "pipeline" / "core" / "slots.json"
    for salt, unit, slot in json.loads(path.read_text("utf-8")):
        query = (
            documented_slot().replace("@salt", json.dumps(salt)).replace("@unit", json.dumps(unit))
        )
        [row] = tables.client.query_and_wait(f"select {query} as slot")
        assert row["slot"] == slot


def documented_slot() -> str:
    """The expression of docs/experiments.md."""
    text = (REPO / "docs" / "experiments.md").read_text(encoding="utf-8")
    found = re.search(r"```text\n(mod\(.*?)\n```", text, re.DOTALL)
    assert found is not None
    return found[1]


def bought(
    order: str, product: str, visitor: str = "u#1", sender: str | None = "server", **more: Any
) -> dict[str, Any]:
    """One product of an order, with the value of the whole."""
    metadata = {"order_id": order, "order_value": 30.5, "currency": "EUR", "quantity": 2, **more}
    sold = event(
        f"{order}#{product}#0",
        "purchase",
        visitor,
        product_id=product,
        price=5.0,
        site="shop",
        sender=sender,
    )
    return {
        **sold,
        "metadata": json.dumps(
            {name: value for name, value in metadata.items() if value is not None}
        ),
    }


def test_an_orders_value_counts_once_however_many_products_it_has(tables: Warehouse) -> None:
    order = [bought("o1", product) for product in ("p1", "p2", "p3")]
    tables.insert("events", [*order, order[0]])
    tables.insert("events", [bought("o2", "p1", order_value=None, quantity=None, currency=None)])
    tables.insert(
        "events",
        [{**bought("o3", "p1"), "event": "add_to_cart"}, event("e4", "purchase", product_id="p1")],
    )

    first, second = tables.rows("orders", "order_id")

    assert first == {
        "site": "shop",
        "order_id": "o1",
        "visitor": "u#1",
        "sender": "server",
        "ordered_at": datetime(2025, 1, 1, 12, tzinfo=UTC),
        "purchases": 3,
        "products": 3,
        "pieces": 6.0,
        "order_value": 30.5,
        "products_value": 30.0,
        "currency": "EUR",
    }
    assert (second["order_id"], second["order_value"], second["products_value"]) == (
        "o2",
        None,
        5.0,
    )


def test_orders_are_summed_as_the_documentation_does(tables: Warehouse) -> None:
    query = documented("orders")
    now = datetime.now(UTC).isoformat()
    order = [bought("o1", product) for product in ("p1", "p2")]
    others = [bought("o2", "p1", order_value=None), bought("o3", "p1", currency="USD")]
    tables.insert("events", [{**sold, "timestamp": now} for sold in (*order, *others)])

    rows = tables.client.query_and_wait(query.replace("freshet.", f"{tables.dataset}."))

    assert sorted(tuple(row.values()) for row in rows) == [("EUR", 2, 40.5), ("USD", 1, 30.5)]


def test_an_order_that_a_server_sent_is_the_servers_alone_and_any_other_its_visitors(
    tables: Warehouse,
) -> None:
    forged: dict[str, Any] = {"visitor": "a#stranger", "sender": "browser", "order_value": 9e9}
    tables.insert("events", [bought("o1", "p1"), bought("o1", "p1", "a#1", "browser")])
    tables.insert("events", [bought("o1", "p9", **forged), bought("o2", "p1", **forged)])
    tables.insert(
        "events",
        [
            bought("o2", product, "a#1", sender)
            for product, sender in (("p1", "browser"), ("p2", None))
        ],
    )

    rows = tables.rows("orders", "order_id, visitor")

    told = [(row["order_id"], row["visitor"], row["order_value"], row["products"]) for row in rows]
    assert told == [("o1", "u#1", 30.5, 1), ("o2", "a#1", 30.5, 2), ("o2", "a#stranger", 9e9, 1)]


def test_the_newest_summary_of_a_session_holds(tables: Warehouse) -> None:
    noon, one, two = "2025-01-01T12:00:00Z", "2025-01-01T13:00:00Z", "2025-01-01T14:00:00Z"
    tables.insert(
        "sessions",
        [
            session("u#1", noon, noon, emitted_at=one, events=1),
            session("u#1", noon, "2025-01-01T12:05:00Z", emitted_at=two, events=4),
            session("u#2", noon, noon, emitted_at=one, events=7),
        ],
    )

    rows = tables.rows("sessions_latest", "visitor")

    assert [(row["visitor"], row["events"]) for row in rows] == [("u#1", 4), ("u#2", 7)]


def test_a_session_that_a_late_event_joined_to_another_is_gone(tables: Warehouse) -> None:
    tables.insert(
        "sessions",
        [
            session(
                "u#1",
                "2025-01-01T12:00:00Z",
                "2025-01-01T12:10:00Z",
                "2025-01-01T12:45:00Z",
                events=2,
            ),
            session(
                "u#1",
                "2025-01-01T12:50:00Z",
                "2025-01-01T12:55:00Z",
                "2025-01-01T13:30:00Z",
                events=3,
            ),
            session(
                "u#1",
                "2025-01-01T12:00:00Z",
                "2025-01-01T12:55:00Z",
                "2025-01-01T13:40:00Z",
                events=6,
            ),
            # later the same day, and another visitor at the same time: both stay
            session(
                "u#1",
                "2025-01-01T18:00:00Z",
                "2025-01-01T18:01:00Z",
                "2025-01-01T18:40:00Z",
                events=1,
            ),
            session(
                "u#2",
                "2025-01-01T12:50:00Z",
                "2025-01-01T12:55:00Z",
                "2025-01-01T13:30:00Z",
                events=5,
            ),
        ],
    )

    rows = tables.rows("sessions_latest", "visitor, session_start")

    assert [(row["visitor"], row["events"]) for row in rows] == [("u#1", 6), ("u#1", 1), ("u#2", 5)]


def test_sessions_of_a_day_are_counted_and_measured(tables: Warehouse) -> None:
    tables.insert(
        "sessions",
        [
            session("u#1", "2025-01-01T10:00:00Z", "2025-01-01T10:01:00Z", events=3),
            session(
                "u#1",
                "2025-01-01T20:00:00Z",
                "2025-01-01T20:02:00Z",
                events=5,
                purchases=2,
                revenue=30.0,
            ),
            session("u#2", "2025-01-01T10:00:00Z", "2025-01-01T10:10:00.500Z", events=10),
            session(
                "u#3",
                "2025-01-01T23:59:59Z",
                "2025-01-02T00:00:59Z",
                events=2,
                purchases=1,
                revenue=10.0,
            ),
            session("u#4", "2025-01-02T00:00:00Z", "2025-01-02T00:00:00Z", events=1, revenue=None),
        ],
    )

    first, second = tables.rows("sessions_daily", "day")

    assert first == {
        "day": DAY,
        "sessions": 4,
        "visitors": 3,
        "median_length_s": 90.0,
        "avg_length_s": pytest.approx((60 + 120 + 600.5 + 60) / 4),
        "avg_events": 5.0,
        "converted_sessions": 2,
        "conversion_rate": 0.5,
        "revenue": 40.0,
        "revenue_per_session": 10.0,
    }
    assert (second["sessions"], second["median_length_s"], second["revenue"]) == (1, 0.0, 0.0)


def test_views_look_no_further_back_than_they_are_told(short_history: Warehouse) -> None:
    now = datetime.now(UTC)
    recent, old = [
        (now - timedelta(days=days)).isoformat() for days in (HISTORY_DAYS - 1, HISTORY_DAYS + 1)
    ]
    short_history.insert("events", [event("e1", "click", at=recent), event("e2", "click", at=old)])
    short_history.insert("sessions", [session("u#1", recent, recent), session("u#2", old, old)])

    assert [row["event_id"] for row in short_history.rows("events_unique", "event_id")] == ["e1"]
    assert [row["visitor"] for row in short_history.rows("sessions_latest", "visitor")] == ["u#1"]


def test_an_empty_warehouse_answers_with_no_rows(tables: Warehouse) -> None:
    marts = {
        "funnel_daily": "day",
        "ctr_by_variant": "variant",
        "exposures": "visitor",
        "sessions_daily": "day",
        "orders": "order_id",
    }
    for mart, key in marts.items():
        assert tables.rows(mart, key) == []
