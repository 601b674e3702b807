"""The cookie that nobody needs: written so that nothing can be put into it, and never against a
visitor's word.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.http.cookie import (
    NAME,
    CookieOptions,
    anonymous_id_from,
    clear_cookie,
    cookie_answer,
    is_secure,
    set_cookie,
)
from pipeline.core.privacy.consent import DENIED, GRANTED, Consent
from pipeline.runtime.environ import InvalidConfig

LAX = CookieOptions()
IDS = st.text(min_size=1, max_size=256).filter(str.isprintable)


def test_a_cookie_says_all_that_keeps_it_from_scripts_and_from_other_sites() -> None:
    assert set_cookie("a1", LAX, secure=True) == (
        "freshet_id=a1; Path=/; Max-Age=34560000; HttpOnly; Secure; SameSite=Lax"
    )
    options = CookieOptions("id", "None", "shop.example", 30)
    assert set_cookie("a1", options, secure=True) == (
        "id=a1; Path=/; Max-Age=2592000; HttpOnly; Domain=shop.example; Secure; SameSite=None"
    )
    assert clear_cookie(options, secure=True) == (
        "id=; Path=/; Max-Age=0; HttpOnly; Domain=shop.example; Secure; SameSite=None"
    )


def test_on_plain_http_there_is_no_secure_and_so_no_none_and_no_domain() -> None:
    options = CookieOptions("id", "None", "shop.example")
    assert (
        set_cookie("a1", options, secure=False)
        == "id=a1; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax"
    )


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({"host": "events.shop.example"}, True),
        ({}, True),
        ({"host": "localhost:8080"}, False),
        ({"host": "127.0.0.1:8080"}, False),
        ({"host": "[::1]:8080"}, False),
        ({"host": "localhost.shop.example"}, True),
        ({"host": "127.0.0.1.shop.example"}, True),
        ({"host": "localhost", "x-forwarded-proto": "https"}, True),
    ],
)
def test_only_plain_http_to_a_loopback_host_is_not_secure(
    headers: dict[str, str], secure: bool
) -> None:
    assert is_secure(headers) is secure


@given(IDS)
def test_any_id_comes_back_and_none_writes_an_attribute_or_a_header(anonymous_id: str) -> None:
    header = set_cookie(anonymous_id, LAX, secure=True)
    value, _, attributes = header.partition("; ")
    assert attributes == "Path=/; Max-Age=34560000; HttpOnly; Secure; SameSite=Lax"
    assert header.isascii() and header.isprintable() and not set(' ",;\\') & set(value)
    assert anonymous_id_from(f"other=1; {value}; more=2") == anonymous_id


@pytest.mark.parametrize("anonymous_id", ["", "a" * 257, "a\r\nSet-Cookie: b=1", "a\x00", "\ud800"])
def test_what_is_no_id_is_never_written(anonymous_id: str) -> None:
    with pytest.raises(ValueError, match="anonymous_id: expected 1 to 256 printable characters"):
        set_cookie(anonymous_id, LAX, secure=True)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("", None),
        ("a=1; b=2", None),
        ("freshet_id=a1", "a1"),
        ('b=freshet_id; freshet_id="a1" ; c=3', "a1"),
        ("xfreshet_id=a1", None),
        ("freshet_id=first; freshet_id=second", "first"),
        ("freshet_id=", None),
        ("freshet_id", None),
        ("freshet_id=%0d%0aSet-Cookie:x", None),
        ("freshet_id=%ff", None),
        ("freshet_id=" + "a" * 257, None),
        ("x=" + "a" * 8192 + "; freshet_id=a1", None),
    ],
)
def test_what_the_browser_sent_is_read_without_trust(header: str | None, found: str | None) -> None:
    assert anonymous_id_from(header) == found


@given(st.text() | st.text().map(lambda text: f"{NAME}={text}"))
def test_any_header_is_read(header: str) -> None:
    found = anonymous_id_from(header)
    assert found is None or (0 < len(found) <= 256 and found.isprintable())


class TestAnswer:
    def test_who_agreed_gets_it_anew_with_every_request(self) -> None:
        for sent in (None, "a1", "a2"):
            assert cookie_answer("a1", sent, GRANTED, LAX, secure=True) == set_cookie(
                "a1", LAX, secure=True
            )
        assert cookie_answer(None, None, GRANTED, LAX, secure=True) is None

    @pytest.mark.parametrize("consent", [DENIED, Consent(True, False), Consent(False, True)])
    def test_who_denies_anything_gets_none_and_the_one_there_is_taken_back(
        self, consent: Consent
    ) -> None:
        assert cookie_answer("a1", None, consent, LAX, secure=True) is None
        assert cookie_answer("a1", "a1", consent, LAX, secure=True) == clear_cookie(
            LAX, secure=True
        )


class TestConfiguration:
    def test_there_are_no_cookies_unless_it_says_so(self) -> None:
        assert CookieOptions.from_env({}) is None
        assert (
            CookieOptions.from_env({"FRESHET_COOKIE": "off", "FRESHET_COOKIE_DAYS": "9999"}) is None
        )
        assert CookieOptions.from_env({"FRESHET_COOKIE": "lax"}) == LAX
        environ = {
            "COOKIE": "none",
            "COOKIE_NAME": "id",
            "COOKIE_DOMAIN": "shop.example",
            "COOKIE_DAYS": "1",
        }
        found = CookieOptions.from_env(
            {f"FRESHET_{name}": value for name, value in environ.items()}
        )
        assert found == CookieOptions("id", "None", "shop.example", 1)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("FRESHET_COOKIE", "strict"),
            ("FRESHET_COOKIE_NAME", "a b"),
            ("FRESHET_COOKIE_NAME", "a;b"),
            ("FRESHET_COOKIE_DOMAIN", "shop"),
            ("FRESHET_COOKIE_DOMAIN", "shop.example; Secure"),
            ("FRESHET_COOKIE_DAYS", "0"),
            ("FRESHET_COOKIE_DAYS", "401"),
            ("FRESHET_COOKIE_DAYS", "soon"),
        ],
    )
    def test_a_setting_that_cannot_be_used_is_refused_by_name(self, key: str, value: str) -> None:
        with pytest.raises(InvalidConfig, match=f"{key}: expected"):
            CookieOptions.from_env({"FRESHET_COOKIE": "lax", key: value})
