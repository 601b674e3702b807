"""The store's static server: pages, catalog, addresses, and the headers they travel with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from pipeline.runtime.environ import InvalidConfig
from tests.web.servers import serving
from web.store.app import create_app
from web.store.catalog import build_document
from web.store.config import Config

ENVIRON: Mapping[str, str] = {
    "FRESHET_COLLECTOR_URL": "http://127.0.0.1:8080/",
    "FRESHET_API_URL": "https://api.example/base",
    "FRESHET_CATALOG": "build/catalog.jsonl",
}


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.jsonl"
    lines = [
        {
            "item_id": "p1",
            "title": "Armchair, Sand",
            "category": "home.furniture",
            "price": 0,
            "url": "x",
            "description": "Deep enough to read in.",
            "attributes": {"material": "oak", "width": "72 cm", "margin": 0.4},
        },
        {"id": 2, "title": "Fern", "in_stock": False, "brand": "", "stub": True},
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n", encoding="utf-8")
    return path


@pytest.fixture
def client(catalog: Path) -> Iterator[httpx.Client]:
    config = Config(
        collector_url="http://127.0.0.1:1", api_url="https://api.example/base", catalog=catalog
    )
    with serving(create_app(config)) as store, httpx.Client(base_url=store) as client:
        yield client


def test_any_page_of_the_store_can_be_opened_by_its_address(client: httpx.Client) -> None:
    pages = [
        client.get(path)
        for path in ("/", "/product/p1", "/category/home.furniture", "/search?q=lamp")
    ]
    assert {page.status_code for page in pages} == {200}
    assert {page.headers["content-type"] for page in pages} == {"text/html; charset=utf-8"}
    assert len({page.text for page in pages}) == 1


def test_a_missing_asset_is_not_taken_for_a_page(client: httpx.Client) -> None:
    assert client.get("/assets/nothing.js").status_code == 404
    assert client.get("/sdk/%2e%2e/store/config.py").status_code == 404


def test_the_browser_learns_where_collector_and_api_are(client: httpx.Client) -> None:
    expected = {"collector": "http://127.0.0.1:1", "api": "https://api.example/base"}
    assert client.get("/config.json").json() == expected


def test_the_catalog_keeps_what_the_store_shows_and_drops_the_rest(client: httpx.Client) -> None:
    assert client.get("/catalog.json").json() == {
        "items": [
            {
                "item_id": "p1",
                "title": "Armchair, Sand",
                "category": "home.furniture",
                "price": 0,
                "material": "oak",
            },
            {"item_id": "2", "title": "Fern", "in_stock": False},
        ]
    }


def test_a_product_page_gets_the_texts_of_its_item_and_no_numbers(client: httpx.Client) -> None:
    assert client.get("/details/p1").json() == {
        "description": "Deep enough to read in.",
        "attributes": {"material": "oak", "width": "72 cm"},
    }
    assert client.get("/details/2").json() == {"description": "", "attributes": {}}
    unknown = client.get("/details/p9")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["value"] == "p9"


def test_the_catalog_is_compressed_for_those_who_can_read_it(client: httpx.Client) -> None:
    packed = client.get("/catalog.json", headers={"Accept-Encoding": "gzip"})
    plain = client.get("/catalog.json", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()


def test_an_unchanged_catalog_is_not_sent_again(client: httpx.Client) -> None:
    etag = client.get("/catalog.json").headers["etag"]
    again = client.get("/catalog.json", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


def test_a_changed_catalog_is_read_again(client: httpx.Client, catalog: Path) -> None:
    before = client.get("/catalog.json")
    catalog.write_text('{"item_id": "p9"}\n', encoding="utf-8")
    os.utime(catalog, ns=(1, 1))
    after = client.get("/catalog.json")
    assert after.json() == {"items": [{"item_id": "p9"}]}
    assert after.headers["etag"] != before.headers["etag"]


def test_a_missing_or_broken_catalog_is_an_answer_not_a_crash(
    client: httpx.Client, catalog: Path
) -> None:
    catalog.write_text('{"title": "no id"}\n', encoding="utf-8")
    assert client.get("/catalog.json").status_code == 503
    catalog.unlink()
    assert client.get("/catalog.json").status_code == 503
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("line", ['{"title": "no id"}', "[1]", "not json"])
def test_a_broken_catalog_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "catalog.jsonl"
    path.write_text('{"item_id": "p1"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"catalog\.jsonl:2: expected an object with an id"):
        build_document(path)


def test_other_sites_may_load_the_sdk_but_not_frame_the_store(client: httpx.Client) -> None:
    sdk = client.get("/sdk/freshet.js")
    assert sdk.headers["content-type"].startswith(("text/javascript", "application/javascript"))
    assert sdk.headers["access-control-allow-origin"] == "*"
    home = client.get("/")
    assert "access-control-allow-origin" not in home.headers
    assert "frame-ancestors 'none'" in home.headers["content-security-policy"]


def test_pages_may_talk_to_nobody_but_collector_and_api(client: httpx.Client) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "connect-src 'self' http://127.0.0.1:1 https://api.example;" in policy
    assert client.get("/").headers["x-content-type-options"] == "nosniff"


def test_pages_are_revalidated_and_the_catalog_is_cached(client: httpx.Client) -> None:
    assert client.get("/").headers["cache-control"] == "no-cache"
    assert "max-age=60" in client.get("/catalog.json").headers["cache-control"]
    assert "max-age=300" in client.get("/sdk/freshet.js").headers["cache-control"]


def test_the_server_says_that_it_lives(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_the_configuration_comes_from_the_environment() -> None:
    config = Config.from_env(ENVIRON)
    assert config == Config(
        "http://127.0.0.1:8080", "https://api.example/base", Path("build/catalog.jsonl"), 8000
    )
    assert Config.from_env({**ENVIRON, "PORT": "8123"}).port == 8123


@pytest.mark.parametrize("key", list(ENVIRON))
def test_a_missing_setting_is_named(key: str) -> None:
    environ = {name: value for name, value in ENVIRON.items() if name != key}
    with pytest.raises(InvalidConfig, match=f"{key}: required"):
        Config.from_env(environ)


@pytest.mark.parametrize(
    ("key", "value"), [("PORT", "http"), ("PORT", "70000"), ("FRESHET_API_URL", "api:8081")]
)
def test_an_unusable_setting_is_named_with_its_value(key: str, value: str) -> None:
    with pytest.raises(InvalidConfig, match=f"{key}: expected .* got '{value}'"):
        Config.from_env({**ENVIRON, key: value})
