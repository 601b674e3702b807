"""Events that the collector took for no person's: they are the visitor's own and count for nobody else."""

from __future__ import annotations

from pipeline.core.events import Event

FIELD = "bot"
"""Where the collector says why, in a word: `metadata.bot`."""


def is_bot(event: Event) -> bool:
    """Whether the event says that no person made it. The view `events_trusted` asks the same: is it a text?"""
    return isinstance(event.metadata.get(FIELD), str)
