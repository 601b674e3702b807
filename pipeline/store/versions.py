"""Versions of stored states, and the decoder of each (docs/decisions/versions.md).

A stored state begins with a byte, its version. A state's own `encode` writes the newest one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from pipeline.core.catalog import Item, decode_item
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.queries import QueryStats, TopQueries
from pipeline.store.layout import ITEM, PROFILE, QUERY, STATS, STUB, TOP_QUERIES, TRENDING

State = TypeVar("State", UserProfile, ItemStats, Trending, QueryStats, TopQueries, Item)

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
"""The errors that `decode` raises."""

_FORMS: Mapping[str, type] = {
    PROFILE: UserProfile,
    ITEM: Item,
    STATS: ItemStats,
    STUB: Item,
    TRENDING: Trending,
    QUERY: QueryStats,
    TOP_QUERIES: TopQueries,
}
_DECODERS: Mapping[type, Mapping[int, Callable[[bytes], Any]]] = {
    UserProfile: {1: UserProfile.decode},
    ItemStats: {1: ItemStats.decode},
    Trending: {1: Trending.decode},
    QueryStats: {1: QueryStats.decode},
    TopQueries: {1: TopQueries.decode},
    Item: {1: decode_item},
}


class UnknownVersion(msgspec.DecodeError):
    """A stored state of a version that this release does not read, written by a newer release."""


def decode(form: type[State], value: bytes) -> State:
    """The stored state, by the decoder of its version.

    Raises:
        UnknownVersion: naming the version and those that are known.
        msgspec.DecodeError, UnicodeDecodeError: the value is damaged.
    """
    decoders = _DECODERS[form]
    decoder = decoders.get(value[0]) if value else None
    if decoder is None:
        found = value[0] if value else "no byte"
        known = " or ".join(map(str, decoders))
        raise UnknownVersion(f"version of a stored {form.__name__}: expected {known}, got {found}")
    state: State = decoder(value)
    return state


def knows_version(kind: str, value: bytes) -> bool:
    """True where this release reads the version of a stored value; it must overwrite no other."""
    return bool(value) and value[0] in _DECODERS[_FORMS[kind]]
