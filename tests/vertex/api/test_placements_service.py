"""The real service over the real emulator with a file of placements: pages, feeds, refusals, and a
start with a file that cannot be used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from pipeline.runtime.clock import now_ms
from tests.stack import Stack, running_stack
from tests.vertex.api.test_service import fill, rfc3339

PLACEMENTS = """\
home:
  kind: for_you
  diversity: 0.8
  filter: price < 60
  rules:
    - {at_most: 1, of: category, within: 2}
    - {pin: p7, slot: 2, name: of the month}
    - {boost: 2, where: price < 20}
similar: {kind: similar}
viewed: {kind: because_you_viewed}
recent: {kind: recently_viewed}
trending: {kind: trending, fallback: popular}
small: {kind: trending, filter: '"s" in sizes and not adult'}
"""
EXPERIMENTS = """
experiments:
  few:
    variants: {all: {share: 0.5}, few: {share: 0.5, placements: {trending: {k: 2}}}}
    force: {tester: few}
"""
ATTRIBUTES = "{adult: boolean, sizes: list, released: time}"


@pytest.fixture(scope="module")
def service() -> Iterator[Stack]:
    """Bigtable and API, which ranks by itself, with a small shop in them."""
    extra = {
        "FRESHET_PLACEMENTS": PLACEMENTS,
        "FRESHET_EXPERIMENTS": EXPERIMENTS,
        "FRESHET_ATTRIBUTES": ATTRIBUTES,
        "FRESHET_BIGTABLE_DEADLINE_S": "0.5",
        "FRESHET_VERTEX_ENDPOINT": "",
        "FRESHET_EXPLORE_RATE": "0",
    }
    name = f"test-placements-{os.getpid()}"
    with running_stack(name, parts=("bigtable", "api"), extra_env=extra) as stack:
        fill(stack, model=False)
        stack.restart_process("api")
        yield stack
    shutil.rmtree(stack.folder)


@pytest.fixture
def client(service: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=service.env["FRESHET_API_URL"], timeout=10.0, trust_env=False
    ) as client:
        yield client


def ask(client: httpx.Client, path: str = "/v1/recommendations", **question: Any) -> Any:
    response = client.post(path, json={"user_id": "visitor3", **question})
    assert response.status_code == 200, response.text
    return response.json()


def test_an_experiment_changes_a_placement_and_all_are_assigned_by_a_route(
    client: httpx.Client,
) -> None:
    asked: Any = {"user_id": None, "anonymous_id": "tester"}
    answer = ask(client, placement="trending", **asked)
    assert (answer["experiments"], len(answer["recommendations"])) == (["few=few"], 2)
    assert ask(client, "/v1/experiments/assign", **asked) == {"experiments": ["few=few"]}
    assert ask(client, placement="home", **asked)["experiments"] == []
    refused = client.post("/v1/experiments/assign", json={"anonymous_id": 7})
    assert refused.status_code == 400 and "anonymous_id" in refused.text


def view(product_id: str) -> dict[str, Any]:
    return {
        "event_id": f"e-{product_id}",
        "event": "view_product",
        "product_id": product_id,
        "timestamp": rfc3339(now_ms()),
    }


def test_a_placement_and_a_request_filter_by_declared_attributes(client: httpx.Client) -> None:
    answer = ask(client, placement="small", filter="not has(released) or released < now - 7d", k=9)
    assert answer["recommendations"]
    for item_id in answer["recommendations"]:
        attributes = client.get(f"/v1/items/{item_id}").json()["attributes"]
        assert "s" in attributes["sizes"] and not attributes["adult"]


def prices_and_categories(client: httpx.Client, ids: list[str]) -> list[tuple[float, str]]:
    items = [client.get(f"/v1/items/{item_id}").json() for item_id in ids]
    return [(item["price"], item["category"]) for item in items]


def test_the_rules_of_the_file_hold_and_an_explanation_names_them(client: httpx.Client) -> None:
    answer = ask(client, k=8, explain=True)

    assert answer["placement"] == "home"
    found = prices_and_categories(client, answer["recommendations"])
    assert all(price < 60 for price, _ in found)
    assert all(one != other for (_, one), (_, other) in pairwise(found))
    boosts = [
        rule["multiplied"]
        for shown in answer["ranked_feed"]
        for rule in shown["explanation"]["rules"]
        if "multiplied" in rule
    ]
    assert set(boosts) <= {2.0}
    cheap = sum(price < 20 for price, _ in found)
    assert len(boosts) == cheap
    pinned = answer["ranked_feed"][1]["explanation"]["rules"]
    (p7,) = prices_and_categories(client, ["p7"])
    if p7[0] < 60:
        assert {"rule": "of the month", "placed": True} in pinned
    assert set(answer["ranked_feed"][0]["explanation"]["features"]) >= {"item_ctr", "recency"}


def test_a_page_is_answered_with_its_rows_in_personal_order_and_no_item_twice(
    client: httpx.Client,
) -> None:
    rows = [{"placement": name, "k": 6} for name in ("home", "trending", "viewed", "recent")]

    page = ask(client, "/v1/pages", rows=rows, events=[view("p42")])

    shown = [item_id for row in page["rows"] for item_id in row["recommendations"]]
    assert len(shown) == len(set(shown))
    assert {row["placement"] for row in page["rows"]} == {"home", "trending", "viewed", "recent"}
    assert sorted(row["row"] for row in page["rows"]) == [0, 1, 2, 3]
    (viewed,) = [row for row in page["rows"] if row["placement"] == "viewed"]
    assert viewed["about"] == "p42"
    assert viewed["title"].startswith("Because you viewed ")


def test_a_feed_over_http_repeats_nothing(client: httpx.Client) -> None:
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        answer = ask(client, placement="trending", k=20, cursor=cursor)
        seen += answer["recommendations"]
        cursor = answer["cursor"]
    assert len(seen) == len(set(seen)) == 80


@pytest.mark.parametrize(
    ("path", "question", "field", "reason"),
    [
        ("/v1/recommendations", {"cursor": "page2"}, "cursor", "expected the cursor of an answer"),
        (
            "/v1/recommendations",
            {"product_ids": ["p1"] * 21},
            "product_ids",
            "expected `array` of length <= 20",
        ),
        ("/v1/recommendations", {"explain": 1}, "explain", "expected `bool`"),
        ("/v1/pages", {}, "rows", "required"),
        ("/v1/pages", {"rows": []}, "rows", "expected `array` of length >= 1"),
        (
            "/v1/pages",
            {"rows": [{"placement": "home"}] * 13},
            "rows",
            "expected `array` of length <= 12",
        ),
        ("/v1/pages", {"rows": [{"k": 3}]}, "rows[0].placement", "required"),
        (
            "/v1/pages",
            {"rows": [{"placement": "home", "k": 0}]},
            "rows[0].k",
            "expected `int` >= 1",
        ),
    ],
)
def test_a_mistake_is_answered_with_field_and_expectation(
    client: httpx.Client, path: str, question: dict[str, Any], field: str, reason: str
) -> None:
    response = client.post(path, json={"anonymous_id": "a1", **question})

    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["field"], error["reason"]) == (field, reason)


def test_a_file_that_cannot_be_used_ends_the_start_with_its_line(service: Stack) -> None:
    wrong = {"FRESHET_PLACEMENTS": "home:\n  kind: for_you\n  filter: prize < 5\n"}
    done = subprocess.run(
        [sys.executable, "-m", "vertex.api"],
        env={**service.env, **wrong},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "FRESHET_PLACEMENTS:3: home.filter: expected a known field" in done.stderr
