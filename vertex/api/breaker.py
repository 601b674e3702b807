"""Circuit breaker: a part counts as down after a few failures in a row, until it has answered
once."""

from __future__ import annotations

FAILURES = 5


class Unavailable(RuntimeError):
    """A part did not answer, or not in time; the message names it and the reason."""


class Breaker:
    """Spares a part that is down, and those who would wait for it.

    While it is open no request waits for the part; the owner of the breaker asks the part in the
    background, and its first answer closes it.
    """

    def __init__(self, name: str, failures: int = FAILURES) -> None:
        self.name = name
        self._limit = failures
        self._failures = 0

    @property
    def is_open(self) -> bool:
        """True while the part counts as down."""
        return self._failures >= self._limit

    def check(self) -> None:
        """Raises `Unavailable` while the part counts as down."""
        if self.is_open:
            raise Unavailable(f"{self.name}: counts as down")

    def succeeded(self) -> None:
        """The part answered."""
        self._failures = 0

    def failed(self) -> None:
        """The part did not answer."""
        self._failures += 1
