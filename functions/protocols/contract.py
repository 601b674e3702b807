"""The contract of every protocol: the request it reads, the events it makes of it, the answer it
gives.

A protocol is a folder beside this module. Its `protocol.py` is pure (no clock, no I/O, no
environment) and has five names:

    PATHS: Mapping[str, tuple[str, ...]]
        path -> the methods that are allowed there
    read(incoming: Incoming) -> Reading
        raises `InvalidEvent` for a body of which nothing can be read
    accepted(incoming: Incoming, outcome: Outcome) -> Answer
        the answer that the vendor's SDK takes for success
    refused(incoming: Incoming, refusal: Refusal) -> Answer
        the same for a refusal, in the vendor's error shape
    body_around(path: str, rejected: Any) -> Any
        the JSON body that would have brought one rejected event to this path, for a dead letter to
        be read again; a body that was rejected whole comes back as it is. `as_it_is` where nothing
        goes around an event
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from functions.http.exchange import Answer, Incoming, Refusal
from pipeline.core.events import WireEvent
from pipeline.core.invalid_event import InvalidEvent


class Translated(msgspec.Struct, frozen=True):
    """One event of the vendor's, and what it is in our contract.

    It is accepted whole or rejected whole, and then goes to the dead letter as it came.

    Attributes:
        source: the vendor's event: a JSON value, or the text it was.
        facts: our events on the wire (`event_id`, `event`, `timestamp`, ..., `metadata`), one or
            several: an order of three products is three purchases. None for what says nothing about
            a visitor (a ping, a group): it counts as accepted. With an `error` they are not events:
            at most one, with what the refused event says of its visitor's consent, in our form
            (`consent`), and of its `event_id`.
        error: why it cannot be one.
        sent_at: the client's clock at sending, where each event says it; else `Reading.sent_at`
            counts.
        wire: the event itself where it is written as ours are, in place of `facts`.
        user_token: what proves its user id, unchecked; None: that of the request counts. It is in
            no fact.
    """

    source: Any
    facts: Sequence[dict[str, Any]] = ()
    error: InvalidEvent | None = None
    sent_at: datetime | None = None
    wire: WireEvent | None = None
    user_token: Any = None


class Translations(Sequence[Translated]):
    """A vendor's events, each translated when it is asked for: thousands of them are not translated
    in one step.

    Args:
        given: the events as the request has them.
        translate: makes a `Translated` of one; it never raises.
    """

    __slots__ = ("_given", "_translate")

    def __init__(self, given: Sequence[Any], translate: Callable[[Any], Translated]) -> None:
        self._given = given
        self._translate = translate

    def __len__(self) -> int:
        return len(self._given)

    def __getitem__(self, index: Any) -> Any:
        return self._translate(self._given[index])


class Reading(msgspec.Struct, frozen=True):
    """A request, read by its protocol.

    Attributes:
        events: in the vendor's order.
        write_key: the key that the client gave, wherever the vendor's SDK puts it.
        sent_at: the client's clock at sending, by which the events' times are repaired.
        history: the vendor's own way of sending what is old (an import): timestamps before [-48 h]
            are meant. It needs the backfill key or a server's write key.
        consent: what the visitor agreed to, for all events that do not say so themselves:
            {"analytics": bool, "personalization": bool}, unchecked.
        key_paths: where the vendor's SDK writes the key into its events, `("properties", "token")`;
            of an event that is a query, names of its fields. A server's key is a secret, so no dead
            letter has it.
        user_token: what proves the user id of all events that bring no token of their own,
            unchecked.
    """

    events: Sequence[Translated]
    write_key: str | None = None
    sent_at: datetime | None = None
    history: bool = False
    consent: Any = None
    key_paths: Sequence[tuple[str, ...]] = ()
    user_token: Any = None


class Rejected(msgspec.Struct, frozen=True):
    """One event that was not accepted, by its place in the vendor's batch."""

    index: int
    error: InvalidEvent
    event_id: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of a request that was taken: all that is not in `rejected` is stored, confirmed
    by Pub/Sub.

    `withheld` of the accepted ones were not, for their visitors did not agree to it.
    """

    accepted: int
    rejected: Sequence[Rejected] = ()
    withheld: int = 0


class VendorProtocol(Protocol):
    """The five names of a protocol's module."""

    @property
    def PATHS(self) -> Mapping[str, tuple[str, ...]]:
        """See the module."""

    def read(self, incoming: Incoming) -> Reading:
        """See the module."""

    def accepted(self, incoming: Incoming, outcome: Outcome) -> Answer:
        """See the module."""

    def refused(self, incoming: Incoming, refusal: Refusal) -> Answer:
        """See the module."""

    def body_around(self, path: str, rejected: Any) -> Any:
        """See the module."""


def as_it_is(path: str, rejected: Any) -> Any:
    """The `body_around` of a protocol that keeps bodies, or whose events are bodies."""
    return rejected


def has_any(value: Any, *names: str) -> bool:
    """True for an object with one of the names, which only a body has."""
    return isinstance(value, dict) and not value.keys().isdisjoint(names)
