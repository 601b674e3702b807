"""What a request and an address in an event say is added under fixed names; what the client says
itself stays.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.enrich.context import (
    enrich_event,
    host_of,
    merge,
    request_context,
)
from functions.enrich.referrers import KINDS, kind_of, site_of
from functions.enrich.user_agents import UserAgents
from pipeline.core.context import preferred_language

AGENTS = UserAgents(busy_share=1.0, burst_s=1e9)

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36"
)
PIXEL = CHROME.replace("(Windows NT 10.0; Win64; x64)", "(Linux; Android 14; Pixel 8)").replace(
    " Safari", " Mobile Safari"
)
ANDROID_TABLET = PIXEL.replace(" Mobile", "")
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/17.5"
    " Mobile/15E148 Safari/604.1"
)
BRAVIA = (
    "Mozilla/5.0 (Linux; Android 12; BRAVIA 4K VH2 Build/SPP1) AppleWebKit/537.36 "
    "Chrome/120.0.0.0 Safari/537.36"
)
TIZEN = (
    "Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) 76.0/6.0 "
    "TV Safari/537.36"
)
CONTEXT = request_context(CHROME, "de-DE,de;q=0.9", "DE", AGENTS)


def enriched(event: str = "page_view", **metadata: Any) -> dict[str, Any]:
    enrich_event(metadata, event)
    return metadata


def merged(**metadata: Any) -> dict[str, Any]:
    merge(CONTEXT, metadata, AGENTS)
    return metadata


def test_a_request_says_agent_language_and_country() -> None:
    assert CONTEXT == {
        "user_agent_family": "Chrome",
        "os_family": "Windows",
        "device_class": "desktop",
        "language": "de-DE",
        "country": "DE",
    }


def test_what_a_request_does_not_say_is_left_out() -> None:
    assert request_context(None, None, None, AGENTS) == {}
    assert request_context("", "", None, AGENTS) == {}
    assert request_context(None, "*", None, AGENTS) == {}


@pytest.mark.parametrize(
    ("user_agent", "family", "os_family", "device_class"),
    [
        (CHROME, "Chrome", "Windows", "desktop"),
        (PIXEL, "Chrome Mobile", "Android", "mobile"),
        (ANDROID_TABLET, "Chrome", "Android", "tablet"),
        (IPHONE, "Mobile Safari", "iOS", "mobile"),
        (IPHONE.replace("iPhone;", "iPad;"), "Mobile Safari", "iOS", "tablet"),
        (BRAVIA, "Chrome", "Android", "tv"),
        (TIZEN, "Safari", "Tizen", "tv"),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            "Firefox",
            "Linux",
            "desktop",
        ),
        ("Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8)", "Android", "Android", "mobile"),
        (PIXEL.replace("Pixel 8", "CUBOT P50"), "Chrome Mobile", "Android", "mobile"),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Googlebot",
            "Other",
            "bot",
        ),
        ("python-requests/2.32", "Python Requests", "Other", "other"),
        ("a client of our own", "Other", "Other", "other"),
    ],
)
def test_a_user_agent_says_family_system_and_kind_of_device(
    user_agent: str, family: str, os_family: str, device_class: str
) -> None:
    context = request_context(user_agent, None, None, AGENTS)
    assert context == {
        "user_agent_family": family,
        "os_family": os_family,
        "device_class": device_class,
    }


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "de-DE"),
        ("en;q=0.8, fr", "fr"),
        ("en;q=0.5,fr;q=0.7,it;q=0.7", "fr"),
        ("*, de;q=0.5", "de"),
        ("en;q=0", None),
        ("en;q=0.0,de;q=0.001", "de"),
        ("PT-br", "pt-BR"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        (" de ; q=1.0 ", "de"),
        ("de;q=1.1,en;q=0.1", "en"),
        ("de;q=nan,en", "en"),
        ("d", None),
        ("german,en", "en"),
        ("de_DE", None),
        ("<script>", None),
        ("", None),
        (",,;,", None),
    ],
)
def test_the_language_is_the_first_of_the_greatest_quality(
    header: str, language: str | None
) -> None:
    assert preferred_language(header) == language


@given(st.text(alphabet="abAB01-,;=q. *é", max_size=300))
def test_a_language_is_short_and_plain(header: str) -> None:
    language = request_context(None, header, None, AGENTS).get("language", "en")
    assert len(language) <= 40 and language.isascii() and language.replace("-", "").isalnum()


def test_what_the_event_says_comes_before_what_the_request_says() -> None:
    assert merged(country="FR", device_class="tv", price=3) == CONTEXT | {
        "country": "FR",
        "device_class": "tv",
        "price": 3,
    }


def test_a_field_without_a_value_is_filled() -> None:
    assert merged(country=None) == CONTEXT


def test_the_context_is_left_as_it_is() -> None:
    before = dict(CONTEXT)
    merged(country="FR", user_agent=IPHONE)
    assert before == CONTEXT


def test_a_visitors_own_user_agent_says_the_device_and_removes_the_back_ends_place() -> None:
    assert merged(user_agent=IPHONE, language="en-GB") == {
        "user_agent_family": "Mobile Safari",
        "os_family": "iOS",
        "device_class": "mobile",
        "language": "en-GB",
    }


def test_a_browser_that_repeats_its_user_agent_keeps_language_and_country() -> None:
    assert merged(user_agent=CHROME) == CONTEXT


@pytest.mark.parametrize("given_agent", [CHROME, IPHONE, "", None, 5, ["x"], {"a": "b"}])
def test_the_whole_user_agent_never_stays_in_an_event(given_agent: Any) -> None:
    assert "user_agent" not in merged(user_agent=given_agent)


@pytest.mark.parametrize("given_agent", ["", None, 5, ["x"], {"a": "b"}])
def test_a_user_agent_that_is_no_text_says_nothing(given_agent: Any) -> None:
    assert merged(user_agent=given_agent) == CONTEXT


def test_two_agents_that_nobody_looked_at_are_not_taken_for_the_same() -> None:
    busy = UserAgents(busy_share=0.0, burst_s=0.0)
    context = request_context(CHROME, "de", "DE", busy)
    metadata: dict[str, Any] = {"user_agent": IPHONE}
    merge(context, metadata, busy)
    assert metadata == {
        "user_agent_family": "unknown",
        "os_family": "unknown",
        "device_class": "other",
    }


def test_an_address_says_its_campaign() -> None:
    url = "https://shop.example/p?id=1&utm_source=news&utm_medium=email&utm_campaign=summer+sale%21&utm_term=a&utm_content=b#top"
    assert enriched(url=url) == {
        "url": url,
        "utm_source": "news",
        "utm_medium": "email",
        "utm_campaign": "summer sale!",
        "utm_term": "a",
        "utm_content": "b",
        "referrer_kind": "campaign",
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?utm_source=", None),
        ("?utm_source=&utm_source=x", "x"),
        ("?utm_source=x&utm_source=y", "x"),
        ("?xutm_source=x", None),
        ("?UTM_SOURCE=x", None),
        ("#utm_source=x", None),
        ("?a=1#&utm_source=x", "x"),
        ("?utm_source=%C3%A4", "ä"),
        ("?utm_source=%FF", "\ufffd"),
        ("?utm_source=a%00%0Ab", "ab"),
        ("?utm_source=%20+", None),
        ("?utm_source=" + "%C3%A4" * 300, "ä" * 256),
        ("?utm_source=" + "x" * 300, "x" * 256),
    ],
)
def test_a_campaigns_source_is_the_first_that_is_not_empty_decoded_and_bounded(
    query: str, expected: str | None
) -> None:
    assert enriched(url="https://shop.example/" + query).get("utm_source") == expected


def test_a_campaign_is_looked_for_in_the_first_32_fields_and_8192_characters() -> None:
    start, wanted = "https://a.example/?", "utm_source=x"
    assert "utm_source" in enriched(url=start + "utm_term=a&" * 31 + wanted)
    assert "utm_source" not in enriched(url=start + "utm_term=a&" * 32 + wanted)
    padding = "a" * (8192 - len(start) - len(wanted) - 1)
    assert enriched(url=f"{start}{padding}&{wanted}")["utm_source"] == "x"
    assert "utm_source" not in enriched(url=f"{start}{padding}a&{wanted}")


def test_what_the_client_says_of_its_campaign_stays() -> None:
    found = enriched(
        url="https://a.example/?utm_source=x&utm_medium=y&gclid=1",
        utm_source="mine",
        click_id_kind="own",
    )
    assert (found["utm_source"], found["utm_medium"], found["click_id_kind"]) == (
        "mine",
        "y",
        "own",
    )


@pytest.mark.parametrize("name", ["gclid", "fbclid", "msclkid", "ttclid"])
def test_of_a_click_id_the_name_is_kept_and_not_the_value(name: str) -> None:
    found = enriched(url=f"https://a.example/?{name}=secret")
    assert found.pop("url") and found == {"click_id_kind": name, "referrer_kind": "campaign"}


def test_the_first_click_id_counts() -> None:
    assert enriched(url="https://a.example/?x=1&fbclid=1&gclid=2")["click_id_kind"] == "fbclid"


@pytest.mark.parametrize(
    ("referrer", "kind"),
    [
        ("https://www.shop.example/list?q=1", "internal"),
        ("https://shop.example", "internal"),
        ("https://SHOP.example:8443/", "internal"),
        ("https://shop.example.evil.test/", "other"),
        ("https://evil.test/?https://shop.example", "other"),
        ("https://shop.example@evil.test/", "other"),
        ("https://www.google.com/", "search"),
        ("https://www.google.co.uk/", "search"),
        ("https://google.de", "search"),
        ("https://de.search.yahoo.com/", "search"),
        ("https://yandex.com.tr/search", "search"),
        ("https://google.github.io/", "other"),
        ("https://www.google.evil.test/", "other"),
        ("https://docs.google.com/", "other"),
        ("https://duckduckgo.com/", "search"),
        ("https://mail.google.com/mail/u/0", "email"),
        ("https://gemini.google.com/app", "ai"),
        ("https://chatgpt.com/", "ai"),
        ("https://www.perplexity.ai/search", "ai"),
        ("https://l.facebook.com/l.php?u=x", "social"),
        ("https://t.co/x", "social"),
        ("https://out.reddit.com/", "social"),
        ("https://netflix.com/", "other"),
        ("android-app://com.google.android.gm/", "email"),
        ("android-app://com.google.android.googlequicksearchbox/", "search"),
        ("https://news.example/", "other"),
        ("about:blank", "other"),
        ("no address", "other"),
        ("https://", "other"),
        ("https://[::1]/", "other"),
        ("https://192.0.2.1/", "other"),
    ],
)
def test_a_referrer_is_of_the_kind_of_its_host(referrer: str, kind: str) -> None:
    assert enriched(url="https://shop.example/p", referrer=referrer)["referrer_kind"] == kind


def test_a_referrer_has_its_kind_without_an_address_of_ones_own_too() -> None:
    assert enriched(referrer="https://bing.com/")["referrer_kind"] == "search"
    assert enriched(referrer="no address", url="none either")["referrer_kind"] == "other"


@pytest.mark.parametrize("referrer", [None, "", "$direct"])
def test_a_page_view_without_a_referrer_is_direct(referrer: str | None) -> None:
    assert enriched(url="https://shop.example/", referrer=referrer)["referrer_kind"] == "direct"


def test_other_events_and_those_without_an_address_are_not_called_direct() -> None:
    assert "referrer_kind" not in enriched("click", url="https://shop.example/")
    assert "referrer_kind" not in enriched("purchase", price=3)
    assert "referrer_kind" not in enriched("page_view")


def test_a_kind_that_the_client_gave_stays() -> None:
    assert enriched(url="https://shop.example/", referrer_kind="mine")["referrer_kind"] == "mine"


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("www.shop.example", "shop.example"),
        ("a.b.shop.co.uk", "shop.co.uk"),
        ("shop.co.uk", "shop.co.uk"),
        ("www.shop.de", "shop.de"),
        ("www.com.example", "com.example"),
        ("mine.myshopify.com", "mine.myshopify.com"),
        ("a.mine.github.io", "mine.github.io"),
        ("b.s3.amazonaws.com", "b.s3.amazonaws.com"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]", "[2001:db8::1]"),
    ],
)
def test_a_site_is_what_one_can_register_nearly(host: str, site: str) -> None:
    assert site_of(host) == site


def test_two_shops_of_one_hoster_are_two_sites() -> None:
    found = enriched(url="https://mine.myshopify.com/", referrer="https://yours.myshopify.com/")
    assert found["referrer_kind"] == "other"


def test_every_host_of_the_table_is_of_its_kind_and_so_are_its_subdomains() -> None:
    for host, kind in KINDS.items():
        assert host == host.lower() and kind_of(host) == kind and kind_of("www." + host) == kind


def test_a_host_is_bounded() -> None:
    assert host_of("https://" + "a" * 253) == "a" * 253
    assert host_of("https://" + "a" * 254) == ""


ANYTHING = st.one_of(
    st.text(),
    st.text(alphabet="htps:/?#@&=%[]utm_sorce.a\ud800\x00+", max_size=300),
    st.none(),
    st.integers(),
    st.lists(st.text()),
)


@given(url=ANYTHING, referrer=ANYTHING)
def test_any_address_and_referrer_are_read_and_kept_as_they_are(url: Any, referrer: Any) -> None:
    found = enriched(url=url, referrer=referrer)
    assert (found.pop("url"), found.pop("referrer")) == (url, referrer)
    assert all(isinstance(value, str) and 0 < len(value) <= 256 for value in found.values())


@given(url=st.text(alphabet="?&=utm_sorcedgli#%", max_size=200))
def test_enriching_again_changes_nothing(url: str) -> None:
    once = enriched(url="https://a.example/" + url)
    again = dict(once)
    enrich_event(again)
    assert again == once


@pytest.mark.parametrize(
    "part",
    [
        "&",
        "&utm_source",
        "&utm_source=%41",
        "%F0",
        "&utm_source=",
        "@",
        "a",
        ".",
        "?",
        "https://",
        ":",
        "[",
    ],
)
def test_the_longest_texts_take_no_longer_than_long_ones(part: str) -> None:
    def seconds(length: int) -> float:
        text = ("https://a.example/?" + part * length)[:length]
        started = time.perf_counter()
        enriched(url=text, referrer="https://" + part * length)
        return time.perf_counter() - started

    assert min(seconds(64_000) for _ in range(5)) < 0.01
