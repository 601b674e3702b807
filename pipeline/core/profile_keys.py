"""The key of a profile: an account's, `u#<user_id>`, or a browser's, `a#<anonymous_id>`.

Bigtable's rows and the pipeline's state have the same keys.
"""

from __future__ import annotations

from pipeline.core.events import Event

_ACCOUNT = "u#"
_BROWSER = "a#"


def account_key(user_id: str) -> str:
    """The key of the account's profile."""
    return _ACCOUNT + user_id


def browser_key(anonymous_id: str) -> str:
    """The key of the browser's profile, which moves into the account's at the first login."""
    return _BROWSER + anonymous_id


def is_browser_key(key: str) -> bool:
    """True for a browser's key."""
    return key.startswith(_BROWSER)


def visitor_id(key: str) -> str:
    """The user id or anonymous id that a key was made of."""
    return key[len(_BROWSER) :]


def profile_key(event: Event) -> str:
    """The key whose profile the event belongs to: the account's, or before a login the browser's.

    One of both ids is there in every valid event.
    """
    return _ACCOUNT + event.user_id if event.user_id else f"{_BROWSER}{event.anonymous_id}"
