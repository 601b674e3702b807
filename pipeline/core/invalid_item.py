"""The error about an item of the catalog."""

from __future__ import annotations

from pipeline.core.invalid_event import InvalidEvent


class InvalidItem(InvalidEvent):
    """A catalog row that breaks the contract: field, expectation and value."""
