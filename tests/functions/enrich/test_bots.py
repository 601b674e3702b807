"""Bots are marked by name and by what a browser cannot leave out; a person is rather missed than
marked.
"""

from __future__ import annotations

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # type: ignore[import-untyped]  # ships no types
from hypothesis import given
from hypothesis import strategies as st

from functions.enrich.bots import bot_reason, event_bot_reason
from functions.enrich.user_agents import (
    MAX_USER_AGENT_LENGTH,
    NOT_PARSED,
    PEOPLE,
    SENDERS,
    UserAgents,
)

AGENTS = UserAgents(busy_share=1.0, burst_s=1e9)

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, "
    "like Gecko)"
)
ANDROID_WEB_VIEW = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP2A.240805.005; wv) AppleWebKit/537.36"
)
CHROME = f"{WINDOWS} AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0"
SAFARI = f"{MAC} Version/17.5 Safari/605.1.15"
IPHONE_SAFARI = f"{IPHONE} Version/17.5 Mobile/15E148 Safari/604.1"

HTTPS = {"host": "collect.example", "x-forwarded-proto": "https"}
LANGUAGE = {"accept-language": "en"}
FETCH_METADATA = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.mark.parametrize(
    "user_agent",
    [
        GOOGLEBOT,
        "GPTBot/1.0 (+https://openai.com/gptbot)",
        "facebookexternalhit/1.1",
        f"{WINDOWS} AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
    ],
)
def test_a_known_crawler_is_marked_by_its_name_whatever_else_it_sends(user_agent: str) -> None:
    assert bot_reason(user_agent, HTTPS | LANGUAGE | FETCH_METADATA, AGENTS) == "user_agent"


@pytest.mark.parametrize("user_agent", [None, ""])
def test_a_request_without_a_user_agent_is_marked(user_agent: str | None) -> None:
    assert bot_reason(user_agent, HTTPS | LANGUAGE | FETCH_METADATA, AGENTS) == "no_user_agent"


@pytest.mark.parametrize("user_agent", [CHROME, FIREFOX, SAFARI, IPHONE_SAFARI])
def test_a_browser_that_sends_what_it_always_sends_is_a_person(user_agent: str) -> None:
    assert bot_reason(user_agent, HTTPS | LANGUAGE | FETCH_METADATA, AGENTS) is None


@pytest.mark.parametrize("user_agent", [CHROME, FIREFOX, SAFARI, IPHONE_SAFARI])
def test_no_browser_comes_without_accept_language(user_agent: str) -> None:
    assert bot_reason(user_agent, FETCH_METADATA, AGENTS) == "no_browser_signals"
    assert (
        bot_reason(user_agent, FETCH_METADATA | {"accept-language": ""}, AGENTS)
        == "no_browser_signals"
    )


@pytest.mark.parametrize(
    ("user_agent", "reason"),
    [
        (CHROME, "no_browser_signals"),
        (CHROME.replace("126.", "80."), "no_browser_signals"),
        (CHROME.replace("126.", "79."), None),
        (FIREFOX, "no_browser_signals"),
        (FIREFOX.replace("Firefox/127.", "Firefox/90."), "no_browser_signals"),
        (FIREFOX.replace("Firefox/127.", "Firefox/89."), None),
        (SAFARI, None),
        (IPHONE_SAFARI, None),
    ],
)
def test_chrome_since_80_and_firefox_since_90_tell_an_https_collector_how_they_fetch(
    user_agent: str, reason: str | None
) -> None:
    assert bot_reason(user_agent, HTTPS | LANGUAGE, AGENTS) == reason


@pytest.mark.parametrize("name", list(FETCH_METADATA))
def test_one_of_the_two_fetch_headers_is_enough(name: str) -> None:
    assert bot_reason(CHROME, HTTPS | LANGUAGE | {name: FETCH_METADATA[name]}, AGENTS) is None


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"host": "localhost:8080"}, "no_browser_signals"),
        ({"host": "127.0.0.1:8080"}, "no_browser_signals"),
        ({"host": "[::1]:8080"}, "no_browser_signals"),
        ({"host": "collect.example"}, None),
        ({"host": "collect.example", "x-forwarded-proto": "http"}, None),
        ({"host": "collect.example", "x-forwarded-proto": "http, https"}, None),
        ({"host": "10.0.0.1"}, None),
        ({}, None),
    ],
)
def test_fetch_headers_are_missed_only_where_browsers_send_them(
    headers: dict[str, str], reason: str | None
) -> None:
    assert bot_reason(CHROME, headers | LANGUAGE, AGENTS) == reason


@pytest.mark.parametrize(
    "user_agent",
    [
        f"{ANDROID_WEB_VIEW} (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36",
        f"{IPHONE} Mobile/15E148",
        f"{IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/470.0]",
        f"{WINDOWS} AppleWebKit/537.36 (KHTML, like Gecko) Shop/1.2 Chrome/120.0.0.0 Electron/28.0 "
        "Safari/537.36",
        "Mozilla/5.0",
        "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8)",
        "Shop/1 CFNetwork/1494.0.7 Darwin/23.4.0",
    ],
)
def test_an_app_may_lack_what_browsers_send(user_agent: str) -> None:
    assert bot_reason(user_agent, HTTPS, AGENTS) is None


@pytest.mark.parametrize(
    "user_agent",
    [
        "python-requests/2.32.3",
        "okhttp/4.12.0",
        "axios/1.7.2",
        "Go-http-client/2.0",
        "curl/8.8.0",
        "Amazon CloudFront",
    ],
)
def test_the_libraries_that_apps_and_back_ends_send_with_are_no_bots(user_agent: str) -> None:
    assert bot_reason(user_agent, HTTPS, AGENTS) is None


@pytest.mark.parametrize(
    "user_agent",
    [
        f"{ANDROID_WEB_VIEW} Version/4.0 Chrome/146.0.7680.174 Mobile Safari/537.36 MetaIAB "
        "Facebook",
        "Mozilla/5.0 (Linux; Android 15; CPH2557 Build/AP3A.240617.008; wv) AppleWebKit/537.36 "
        "Instagram 406.0.0.58",
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    ],
)
def test_the_browsers_in_apps_and_the_proxies_of_mail_readers_act_for_people(
    user_agent: str,
) -> None:
    assert not AGENTS.of(user_agent).crawler


def test_of_a_long_text_the_first_512_characters_count() -> None:
    assert AGENTS.of("x" * 503 + "Googlebot/").crawler is False
    assert AGENTS.of("x" * 502 + "Googlebot/").crawler is True


def test_a_family_taken_from_the_text_is_bounded_and_plain() -> None:
    assert AGENTS.of("B" * 100 + "/1.0 CFNetwork/1494 Darwin/23").family == "B" * 64
    assert AGENTS.of("Shöp/1.0 CFNetwork/1494 Darwin/23").family == "Sh?p"


def test_what_is_taken_from_the_list_is_in_it() -> None:
    listed = {row["pattern"] for row in CRAWLER_USER_AGENTS_DATA}
    assert listed >= SENDERS | PEOPLE


def test_all_that_is_left_of_the_list_is_recognised_by_its_own_examples() -> None:
    rows = [row for row in CRAWLER_USER_AGENTS_DATA if row["pattern"] not in SENDERS | PEOPLE]
    examples = [
        text for row in rows for text in row["instances"][:1] if len(text) <= MAX_USER_AGENT_LENGTH
    ]
    assert len(examples) > 1000
    assert [text for text in examples if not AGENTS.of(text).crawler] == []


@pytest.mark.parametrize(
    ("reason", "metadata", "expected"),
    [
        ("no_user_agent", {}, "no_user_agent"),
        ("no_user_agent", {"user_agent": ""}, "no_user_agent"),
        ("no_user_agent", {"user_agent": 5}, "no_user_agent"),
        ("no_user_agent", {"user_agent": CHROME}, None),
        ("user_agent", {"user_agent": CHROME}, "user_agent"),
        ("rate", {"user_agent": CHROME}, "rate"),
        (None, {"user_agent": CHROME}, None),
        (None, {"user_agent": GOOGLEBOT}, "user_agent"),
    ],
)
def test_an_event_that_names_its_visitors_agent_is_judged_by_that(
    reason: str | None, metadata: dict[str, object], expected: str | None
) -> None:
    assert event_bot_reason(reason, metadata, AGENTS) == expected


class Clock:
    """Seconds that pass by `step_s` with each look."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def test_ever_new_user_agents_get_a_share_of_the_time_and_no_more() -> None:
    clock = Clock(step_s=0.01)
    agents = UserAgents(clock, busy_share=0.1, burst_s=0.05)
    read = [agents.of(f"Googlebot/{n}") is not NOT_PARSED for n in range(1000)]
    assert 0.05 < sum(read) / len(read) < 0.25
    assert read[:5] == [True] * 5


def test_a_remembered_agent_is_known_when_there_is_no_time_left() -> None:
    clock = Clock(step_s=0.01)
    agents = UserAgents(clock, busy_share=1e-9, burst_s=0.005)
    assert agents.of(GOOGLEBOT).crawler
    assert agents.of(CHROME) is NOT_PARSED
    assert agents.of(GOOGLEBOT).crawler


def test_what_nobody_looked_at_is_read_once_there_is_time_again() -> None:
    clock = Clock(step_s=0.01)
    agents = UserAgents(clock, busy_share=0.1, burst_s=0.005)
    assert agents.of(GOOGLEBOT).crawler and agents.of(CHROME).family == "unknown"
    clock.now_s += 60.0
    assert agents.of(CHROME).family == "Chrome"


def test_a_process_that_slept_while_reading_is_not_charged_for_its_sleep() -> None:
    clock = Clock(step_s=1000.0)
    agents = UserAgents(clock, busy_share=1e-5, burst_s=0.03)
    assert [agents.of(text).family for text in (CHROME, FIREFOX)] == ["Chrome", "Firefox"]


def test_only_the_latest_agents_are_remembered() -> None:
    agents = UserAgents(Clock(step_s=0.001), busy_share=1e-9, burst_s=0.0045, size=2)
    first, second, third = "Googlebot/1", "Googlebot/2", "Googlebot/3"
    agents.of(first), agents.of(second), agents.of(first), agents.of(third)
    agents.of("Googlebot/4"), agents.of("Googlebot/5")  # uses up the time
    assert agents.of("Googlebot/6") is NOT_PARSED
    assert agents.of(first) is NOT_PARSED and agents.of("Googlebot/5").crawler


def test_one_that_was_asked_for_lately_outlives_one_that_was_not() -> None:
    agents = UserAgents(Clock(step_s=0.001), busy_share=1e-9, burst_s=0.0025, size=2)
    (
        agents.of("Googlebot/1"),
        agents.of("Googlebot/2"),
        agents.of("Googlebot/1"),
        agents.of("Googlebot/3"),
    )
    assert agents.of("Googlebot/1").crawler and agents.of("Googlebot/2") is NOT_PARSED


@given(
    st.one_of(st.text(max_size=600), st.binary(max_size=600).map(lambda raw: raw.decode("latin-1")))
)
def test_any_text_is_read(text: str) -> None:
    agent = AGENTS.of(text)
    assert 0 < len(agent.family) <= 64 and agent.family.isprintable()
    assert 0 < len(agent.os_family) <= 64 and agent.os_family.isprintable()


@given(
    st.sampled_from(["", "Mozilla/5.0 (", "; Build/", "Android ", "CPU OS "]),
    st.text(alphabet="abAB019 /;.()-_:\ud800\n", max_size=600),
)
def test_texts_that_look_like_agents_are_read_too(start: str, text: str) -> None:
    assert AGENTS.of(start + text).device_class in {
        "desktop",
        "mobile",
        "tablet",
        "tv",
        "bot",
        "other",
    }
