"""What a request does not say of its circumstances is the browser's, if a browser asks."""

from __future__ import annotations

import pytest

from pipeline.core.context import Context
from pipeline.runtime.headers import Headers
from vertex.api.browser_context import in_browsers_context
from vertex.api.contract import Request

PIXEL = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0 Mobile Safari"
BROWSER = {
    "origin": "https://shop.example",
    "user-agent": PIXEL,
    "accept-language": "nl-NL,nl;q=0.9,en;q=0.8",
    "cf-ipcountry": "nl",
}


def context(request: Request, country_header: str | None = None, **headers: str) -> Context:
    given = {**BROWSER, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = {name.encode(): value.encode("latin-1") for name, value in given.items() if value}
    return in_browsers_context(request, Headers(raw), country_header).context


def test_a_browser_says_its_device_and_language_and_the_balancer_the_country() -> None:
    asked = Request(anonymous_id="a1")
    assert context(asked) == Context(device="mobile", language="nl-NL")
    assert context(asked, "cf-ipcountry").country == "NL"
    assert context(asked, "cf-ipcountry", cf_ipcountry="XX").country == ""


def test_what_the_request_says_stays() -> None:
    said = Context(device="tv", language="fr", country="BE", traits={"tier": "gold"})
    asked = Request(anonymous_id="a1", context=said)
    assert context(asked, "cf-ipcountry") == said


def test_a_back_ends_headers_say_nothing_of_its_visitor() -> None:
    assert context(Request(anonymous_id="a1"), "cf-ipcountry", origin="") == Context()


@pytest.mark.parametrize("text", ["\x00", "a" * 100_000, "\xff\xfe;q=1", ";;;,,,q=", "=" * 9_000])
def test_headers_of_any_form_are_no_error(text: str) -> None:
    found = context(Request(), "cf-ipcountry", user_agent=text, accept_language=text)
    assert found.language == "" and found.device == "other"
