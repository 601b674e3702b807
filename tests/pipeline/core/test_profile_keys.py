"""Keys of profiles: of an account, and of a browser."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Event
from pipeline.core.profile_keys import (
    account_key,
    browser_key,
    is_browser_key,
    profile_key,
    visitor_id,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_account_has_a_browsers_key(user_id: str, anonymous_id: str) -> None:
    account, browser = account_key(user_id), browser_key(anonymous_id)
    assert (is_browser_key(account), is_browser_key(browser)) == (False, True)
    assert (visitor_id(account), visitor_id(browser)) == (user_id, anonymous_id)


def test_a_profile_belongs_to_the_account_and_before_a_login_to_the_browser() -> None:
    visit = Event(event_id="e", event="click", timestamp=NOW, anonymous_id="a")
    assert profile_key(visit) == browser_key("a")
    assert profile_key(msgspec.structs.replace(visit, user_id="u")) == account_key("u")
