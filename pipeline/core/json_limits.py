"""Limits on what untrusted JSON may cost: counted before it is parsed, nesting afterwards."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import msgspec

from pipeline.core.invalid_event import TooMuch

MAX_DEPTH = 32
"""Levels of objects and lists in an event, itself and its metadata among them."""
MAX_CONTAINERS = 20_000
"""Objects and lists in one request: each may be of two bytes, and costs a microsecond."""
MAX_VALUES = 75_000
"""Values in one request, objects and lists included."""
MESSAGE_TIMES = 2
"""A message may hold this many times the objects, lists and values of a request: an order becomes
several events, and the collector adds to each."""
MAX_ESCAPED_HALVES = 20_000
"""Escaped surrogates in one request, two of which make a character: single ones are mended, at
0.3 us each."""
MAX_LONG_NUMBERS = 500
"""Numbers of a hundred digits, or with an exponent of three, in one request: each takes 10 us to
parse."""

_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_EXPONENT = re.compile(rb"0e0{3,}[\s,\]}]")
_HUNDRED_DIGITS = b"0" * 100
_NESTING = frozenset((dict, list))


def check_work(json: bytes, field: str = "body", times: int = 1) -> None:
    """Refuse JSON that would take long for its size, before it is parsed.

    Args:
        json: a whole request or message; a short one is not counted.
        field: its name.
        times: it may hold this many times the objects, lists and values of a request.

    Raises:
        TooMuch: naming `field`, above `MAX_CONTAINERS`, `MAX_VALUES`, `MAX_ESCAPED_HALVES` or
            `MAX_LONG_NUMBERS`.
    """
    if len(json) > MAX_CONTAINERS:
        Work.of(json).check(field, times)


class Work(msgspec.Struct, frozen=True):
    """The parts of JSON that cost more than their bytes: 1 MB of `[1],[1],` takes 0.3 s to parse.

    Every comma, bracket and brace is counted, also within texts: an upper bound, in about a
    millisecond a megabyte. The values are with the objects and lists among them.
    """

    containers: int = 0
    values: int = 0
    escaped_halves: int = 0
    long_numbers: int = 0

    @staticmethod
    def of(json: bytes) -> Work:
        """Count a whole request or message."""
        containers = json.count(b"[") + json.count(b"{")
        escaped_halves = json.count(rb"\ud") + json.count(rb"\uD")
        return Work(containers, containers + json.count(b","), escaped_halves, _long_numbers(json))

    def __add__(self, other: Work) -> Work:
        return Work(
            self.containers + other.containers,
            self.values + other.values,
            self.escaped_halves + other.escaped_halves,
            self.long_numbers + other.long_numbers,
        )

    def check(self, field: str = "body", times: int = 1) -> None:
        """Refuse more than a request, or `times` as much, may hold; see `check_work`."""
        if self.containers > times * MAX_CONTAINERS:
            most = f"{times * MAX_CONTAINERS} objects and lists"
            raise TooMuch(field, f"expected at most {most}", self.containers)
        if self.values > times * MAX_VALUES:
            most = f"{times * MAX_VALUES} values"
            raise TooMuch(field, f"expected at most {most}", self.values)
        if self.escaped_halves > MAX_ESCAPED_HALVES:
            most = f"{MAX_ESCAPED_HALVES} escaped surrogates"
            raise TooMuch(field, f"expected at most {most}")
        if self.long_numbers > MAX_LONG_NUMBERS:
            most = f"{MAX_LONG_NUMBERS} numbers of 100 digits or an exponent of 3"
            raise TooMuch(field, f"expected at most {most}")

    @property
    def fits(self) -> bool:
        """True where a request may hold as much, and so a message."""
        try:
            self.check()
        except TooMuch:
            return False
        return True


def _long_numbers(json: bytes) -> int:
    """Count long numbers, no further than just above `MAX_LONG_NUMBERS` of one kind.

    Anything that looks like a long exponent counts as one; only where there are many of them are
    they searched for exactly.
    """
    plain = json.translate(_DIGITS_ALIKE, b"+-")
    hundreds = plain.count(_HUNDRED_DIGITS)
    exponents = plain.count(b"0e000")
    if exponents <= MAX_LONG_NUMBERS:
        return hundreds + exponents
    found = islice(_LONG_EXPONENT.finditer(plain), MAX_LONG_NUMBERS + 1)
    return hundreds + sum(1 for _ in found)


def deeper_than(value: Any, limit: int) -> bool:
    """True where objects and lists nest more than `limit` levels; without recursion, for the
    nesting is not trusted.
    """
    level = [value] if type(value) in _NESTING else []
    for _ in range(limit):
        if not level:
            return False
        children = [node.values() if type(node) is dict else node for node in level]
        level = [
            child
            for nodes in children
            if not _NESTING.isdisjoint(map(type, nodes))
            for child in nodes
            if type(child) in _NESTING
        ]
    return bool(level)
