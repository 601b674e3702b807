"""The build with further questions: the rows of a page, a list, items like one, search suggestions."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.web.conftest import Site
from tests.web.sdk_pages import wait_for

pytestmark = pytest.mark.browser

MAX_GZIPPED_BYTES = 6_500
BUILDS = ["freshet.recommend.js", "freshet.recommend.global.js"]


def open_build(page: Page, site: Site, sdk_build: Path, name: str, **settings: Any) -> None:
    """An empty page with that build, started as `freshet`; errors go to `wrongs`."""
    site.fake.folders["sdk"] = sdk_build
    page.goto(f"{site.freshet}/blank")
    page.evaluate(
        """async ([address, name, settings]) => {
            window.wrongs = [];
            const build = await import(`${address}/files/sdk/${name}`);
            const options = { collector: address, api: address, pages: false, ...settings };
            if (build.createFreshet) window.freshet = build.createFreshet(options);
            else freshet.init(options);
            freshet.on("error", ({ where, error }) => wrongs.push(`${where}: ${error}`));
        }""",
        [site.freshet, name, settings],
    )


@pytest.mark.parametrize("name", BUILDS)
def test_a_build_with_questions_is_small(sdk_build: Path, name: str) -> None:
    assert len(gzip.compress((sdk_build / name).read_bytes(), 9)) <= MAX_GZIPPED_BYTES


@pytest.mark.parametrize("name", BUILDS)
def test_each_question_goes_to_its_route_with_the_visitor_and_the_pending_events(
    page: Page, site: Site, sdk_build: Path, name: str
) -> None:
    site.fake.profile_lag_s = 60
    site.fake.experiments = ["order=cheap"]
    open_build(page, site, sdk_build, name)
    rows, ranked, similar, typed = page.evaluate(
        """async () => {
            freshet.track("click", { product_id: "i01" });
            const rows = [{ placement: "home", k: 2 }, { placement: "trending", k: 3 }];
            return [
                await freshet.recommendRows(rows, { filter: "price < 5", deadline_ms: 50 }),
                await freshet.rank(["i02", "i01"], { placement: "search", keep: 0.5 }),
                await freshet.similar("i 01/2", 4),
                await freshet.suggest("head", 3),
            ];
        }"""
    )
    assert page.evaluate("() => wrongs") == []
    page_asked, rank_asked = site.fake.asked
    for asked in (page_asked, rank_asked):
        assert asked["anonymous_id"] and asked["session_id"] and asked["sent_at"]
        assert [event["product_id"] for event in asked["events"]] == ["i01"]
    assert (page_asked["filter"], page_asked["deadline_ms"]) == ("price < 5", 50)
    assert (rank_asked["items"], rank_asked["keep"]) == (["i02", "i01"], 0.5)
    assert rows["client"]["included"] == [page_asked["events"][0]["event_id"]]
    last = rows["rows"][0]["ranked_feed"][-1]
    assert last["fields"] == {
        "request_id": "r1",
        "variant": "personalized",
        "experiments": ["order=cheap"],
        "placement": "trending",
        "product_id": last["id"],
        "position": 2,
        "propensity": 1.0,
    }
    assert [entry["fields"]["product_id"] for entry in ranked["ranked_feed"]] == ranked["ranked"]
    assert ranked["ranked_feed"][1]["fields"]["placement"] == "search"
    assert page.evaluate("() => freshet.assign()") == ["order=cheap"]
    assert similar["item_id"] == "i 01/2" and similar["n"] == "4"
    (suggested,) = site.fake.typed
    assert suggested["q"] == "head" and suggested["anonymous_id"] == page_asked["anonymous_id"]
    assert typed["suggestions"]


def test_without_an_agreement_no_question_names_the_visitor(
    page: Page, site: Site, sdk_build: Path
) -> None:
    open_build(page, site, sdk_build, BUILDS[0], consent="denied")
    page.evaluate(
        """async () => {
            await freshet.recommendRows([{ placement: "home" }]);
            await freshet.rank(["i02"]);
            await freshet.suggest("head");
        }"""
    )
    denied = {"analytics": False, "personalization": False}
    asked = [*site.fake.asked, *site.fake.typed]
    assert len(asked) == 3
    for question in asked:
        assert question["consent"] == denied
        assert {"anonymous_id", "user_id", "session_id"}.isdisjoint(question)


def test_an_impression_of_a_ranked_item_says_its_answer_and_its_position(
    page: Page, site: Site, sdk_build: Path
) -> None:
    open_build(page, site, sdk_build, BUILDS[0], impressionMs=50)
    page.evaluate(
        """async () => {
            const answer = await freshet.rank(["i02", "i01"]);
            const card = document.createElement("div");
            card.textContent = "second";
            document.body.append(card);
            freshet.observe(card, answer.ranked_feed[1].fields);
        }"""
    )
    wait_for(lambda: bool(site.fake.named("impression")), page)
    (shown,) = site.fake.named("impression")
    assert shown["product_id"] == "i01"
    assert (shown["metadata"]["request_id"], shown["metadata"]["position"]) == ("r1", 1)


def test_a_refused_question_answers_null_and_is_told(
    page: Page, site: Site, sdk_build: Path
) -> None:
    open_build(page, site, sdk_build, BUILDS[0], api=f"{site.freshet}/nowhere")
    answers = page.evaluate(
        """async () => [
            await freshet.recommendRows([{ placement: "home" }]),
            await freshet.rank(["i01"]),
            await freshet.similar("i01"),
            await freshet.suggest("x"),
        ]"""
    )
    assert answers == [None] * 4
    wrongs = page.evaluate("() => wrongs")
    assert wrongs == [
        f"{name}: Error: answered 404" for name in ("recommendRows", "rank", "similar", "suggest")
    ]
