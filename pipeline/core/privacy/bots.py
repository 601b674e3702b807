"""Events of bots, as the collector marked them: they count for their own visitor alone."""

from __future__ import annotations

from pipeline.core.events import Event

FIELD = "bot"
"""Name of the mark, `metadata.bot`: the reason in a word."""


def is_bot(event: Event) -> bool:
    """True for an event that a bot made: its mark is a text, as the view `events_trusted` has
    it."""
    return isinstance(event.metadata.get(FIELD), str)
