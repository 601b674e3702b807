"""Who may send: what a configuration of sites means, and how its mistakes are named."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from functions.access.sites import Sites, UnknownKey
from pipeline.runtime.environ import InvalidConfig

SHOP = {
    "write_keys": {"browser": ["browser-key"], "server": ["server-key"]},
    "origins": ["https://shop.example/"],
}


def sites(**options: Any) -> Sites:
    return Sites.parse(json.dumps(options))


def test_without_sites_anybody_is_the_default_site() -> None:
    made = Sites.parse("")
    assert made.is_open
    assert {made.find(key).name for key in (None, "", "anything")} == {"default"}


def test_a_key_finds_its_site_and_says_whether_a_back_end_sends() -> None:
    made = sites(shop=SHOP, news={"write_keys": {"browser": ["news-key"]}})
    assert not made.is_open
    assert (made.find("browser-key").name, made.find("browser-key").server) == ("shop", False)
    assert (made.find("server-key").name, made.find("server-key").server) == ("shop", True)
    assert made.find("news-key").name == "news"


@pytest.mark.parametrize(
    "key", [None, "", "browser-key ", "Browser-key", "browser-ke", "\ud800", "x" * 10_000]
)
def test_any_other_key_is_unknown(key: str | None) -> None:
    with pytest.raises(UnknownKey):
        sites(shop=SHOP).find(key)


def test_origins_bind_the_browser_key_and_not_the_back_ends() -> None:
    made = sites(shop=SHOP)
    assert made.find("browser-key").origins == made.origins == {"https://shop.example"}
    assert made.find("server-key").origins == frozenset()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{}", "at least one site"),
        ('{"shop": ', "truncated"),
        ('{"Shop!": {"write_keys": {"browser": ["long-enough"]}}}', "key"),
        ('{"shop": {}}', "shop: .*write_keys"),
        (
            '{"shop": {"write_keys": {"browser": ["long-enough"]}, "plan": "/nowhere.json"}}',
            "shop: /nowhere.json",
        ),
        (
            '{"shop": {"write_keys": {"browser": ["long-enough"]}, "origins": ["shop.example"]}}',
            "scheme://host",
        ),
        (
            '{"shop": {"write_keys": {"browser": ["long-enough"]}, "origins": '
            '["https://*.shop.example"]}}',
            "shop: origins",
        ),
        (
            '{"shop": {"write_keys": {"browser": ["long-enough"]}, "origins": '
            '["https://shop.example/en"]}}',
            "origins",
        ),
        ('{"shop": {"write_keys": {}}}', "at least one write key"),
        ('{"shop": {"write_keys": {"browser": ["short"]}}}', "write_keys.browser"),
        ('{"shop": {"write_keys": {"browser": ["long-enough"]}, "orgins": []}}', "orgins"),
        (
            '{"shop": {"write_keys": {"browser": ["long-enough"]}, "requests_per_s": 0}}',
            "requests_per_s",
        ),
        (
            '{"shop": {"write_keys": {"browser": ["long-enough"], "server": ["long-enough"]}}}',
            "stands twice",
        ),
    ],
)
def test_a_mistake_is_named_without_the_secret(text: str, named: str) -> None:
    with pytest.raises(InvalidConfig, match="FRESHET_SITES") as caught:
        Sites.parse(text)
    assert re.search(named, str(caught.value))
    assert "long-enough" not in str(caught.value)


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "https://Shop.example", "capacitor://localhost", "http://[::1]:8000"],
)
def test_origins_are_taken_as_browsers_write_them(origin: str) -> None:
    made = sites(shop=SHOP | {"origins": [origin]})
    assert made.origins == {origin.lower()}
