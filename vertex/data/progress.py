"""Progress of a long loop, logged every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Say = Callable[[str], None]

EVERY_S = 3.0


def told(
    items: Iterable[T], total: int, what: str, say: Say, clock: Callable[[], float] = time.monotonic
) -> Iterator[T]:
    """The items; says `what: done of total` before the first, then at most every `EVERY_S`
    seconds."""
    say(f"{what}: 0 of {total:,}")
    said_s = clock()
    for done, item in enumerate(items):
        if clock() - said_s >= EVERY_S:
            say(f"{what}: {done:,} of {total:,}")
            said_s = clock()
        yield item
