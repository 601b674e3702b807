"""Personal values of an event, found by their names and cut, removed or changed, at any depth.

All walks are without recursion and visit each value once: events are not trusted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pipeline.core.privacy.addresses import truncated_address
from pipeline.core.privacy.pii_names import PII_IN_TRAITS, TRAITS, is_personal, plain_name
from pipeline.core.privacy.user_tokens import USER_TOKEN

ADDRESS_FIELDS = frozenset(
    "ip ip_address ipAddress client_ip clientIp clientIP user_ip userIp user_ipaddress remote_addr "
    "remote_ip x_forwarded_for $ip uip".split()
)
"""Under these names, exactly so, an address stands wherever in an event."""
TOKEN_FIELDS = frozenset({USER_TOKEN, f"up.{USER_TOKEN}"})
"""Under these names a user's token stands, the second in GA4's short form. It proves an id; no
event keeps it."""
_CUT_FIELDS = ADDRESS_FIELDS | TOKEN_FIELDS
_TOKEN_NAME = USER_TOKEN.encode()
_QUOTES = rb"(?:[\\\"'\s]++|%(?:25)*+(?:2[027]|5[Cc]))*+"
_WRITTEN_TOKEN = re.compile(
    rb"(%b%b(?:[:=]|%%(?:25)*3[ADad])%b)" % (_TOKEN_NAME, _QUOTES, _QUOTES)
    + rb"(?:\{[^}]*+|(?<=\")[^\\\"]*+|[^\\\"'\s&,;%}\]]*+)"
)
"""A token by its name, in JSON, in JSON within a text, in a query, or in JSON in a query."""
MAX_WRITTEN_TOKENS = 5000
"""Twice as many as a request has events; to cut more would hold up all other requests."""

_NESTING = frozenset((dict, list))
Change = Callable[[Any], Any]
"""Replacement of a value; None removes it."""


def without_tokens(text: bytes) -> bytes | None:
    """A text that is no JSON, less the tokens that stand after their name. In base64 none is found.

    None where the name stands more than `MAX_WRITTEN_TOKENS` times.
    """
    if text.count(_TOKEN_NAME) > MAX_WRITTEN_TOKENS:
        return None
    return _WRITTEN_TOKEN.sub(rb"\1***", text)


def clean(
    root: Any, pii: frozenset[str] | None = None, names: frozenset[str] = frozenset()
) -> None:
    """Cut addresses, and remove tokens and what is named, in all objects and lists below, in place.

    Args:
        root: an object or a list.
        pii: plain names; in traits of a person `PII_IN_TRAITS` in their place. None: none of them.
        names: exact names.
    """
    waiting: list[tuple[Any, frozenset[str] | None]] = [(root, pii)]
    for node, personal in waiting:
        if type(node) is list:
            waiting += [(value, personal) for value in node if type(value) in _NESTING]
            continue
        if not _CUT_FIELDS.isdisjoint(node):
            _cut_in(node)
        if names and not names.isdisjoint(node):
            _remove(node, [name for name in node if name in names])
        if personal is None:
            waiting += [(value, None) for value in node.values() if type(value) in _NESTING]
        else:
            _remove(node, [name for name in node if is_personal(name, personal)])
            waiting += [
                (value, PII_IN_TRAITS if plain_name(name) in TRAITS else personal)
                for name, value in node.items()
                if type(value) in _NESTING
            ]


def _cut_in(node: dict[str, Any]) -> None:
    for name in _CUT_FIELDS.intersection(node):
        cut = None if name in TOKEN_FIELDS else truncated_address(node[name])
        if cut is None:
            del node[name]
        else:
            node[name] = cut


def _remove(node: dict[str, Any], names: list[str]) -> None:
    for name in names:
        del node[name]


def replace_at(node: Any, path: tuple[str, ...], change: Change) -> None:
    """Change the value at the end of a path through objects, where there is one."""
    for name in path[:-1]:
        node = node.get(name) if isinstance(node, dict) else None
    if isinstance(node, dict) and node.get(path[-1]) is not None:
        value = change(node[path[-1]])
        if value is None:
            del node[path[-1]]
        else:
            node[path[-1]] = value


def replace_anywhere(root: Any, name: str, change: Change) -> None:
    """Change every value that has this plain name, in all objects and lists below."""
    waiting = [root]
    for node in waiting:
        if type(node) is dict:
            for found in [key for key in node if plain_name(key) == name]:
                replace_at(node, (found,), change)
        children = node.values() if type(node) is dict else node
        waiting += [value for value in children if type(value) in _NESTING]
