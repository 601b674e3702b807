"""The error of an expression: the place, the expectation, and the text that stands there."""

from __future__ import annotations

from pipeline.core.invalid_event import MAX_SHOWN


class InvalidExpression(ValueError):
    """An expression that cannot be read.

    Args:
        column: the place, counted in characters from 1.
        expected: as in "expected a number".
        got: the text at that place, shown up to 80 characters.
    """

    def __init__(self, column: int, expected: str, got: str) -> None:
        self.column = column
        self.expected = expected
        self.got = got[:MAX_SHOWN]
        super().__init__(f"column {column}: expected {expected}, got {self.got}")
