"""Things in lists that fill a request and do not exceed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def packed(
    things: Iterable[T], measure: Callable[[T], Sequence[int]], most: Sequence[int]
) -> Iterator[list[T]]:
    """Consecutive things in lists as long as they may be.

    Args:
        things: what to pack.
        measure: the sizes of one, e.g. its events and bytes.
        most: what the sizes of a list may add up to. A thing that exceeds it is a list of its own.
    """
    batch: list[T] = []
    held: Sequence[int] = [0] * len(most)
    for thing in things:
        sizes = measure(thing)
        held = [one + more for one, more in zip(held, sizes, strict=True)]
        if batch and any(size > limit for size, limit in zip(held, most, strict=True)):
            yield batch
            batch, held = [], sizes
        batch.append(thing)
    if batch:
        yield batch
