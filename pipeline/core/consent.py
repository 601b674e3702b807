"""What a visitor agreed to, as an event carries it, and what may follow from the event then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.core.events import Event

FIELD = "consent"
"""Where an event carries it: `metadata.consent`; an event of somebody who agreed to everything has none."""


class Consent(msgspec.Struct, frozen=True):
    """What a visitor agreed to.

    Attributes:
        analytics: to be counted and logged.
        personalization: to be remembered, so that what is shown follows from what was done.
    """

    analytics: bool = True
    personalization: bool = True

    @property
    def is_full(self) -> bool:
        """Whether nothing is denied."""
        return self.analytics and self.personalization

    @property
    def is_none(self) -> bool:
        """Whether everything is denied: such an event is kept nowhere."""
        return not (self.analytics or self.personalization)


GRANTED, DENIED = Consent(), Consent(analytics=False, personalization=False)


def stored_consent(metadata: Mapping[str, Any]) -> Consent:
    """The consent in an event's metadata, of which the collector has checked and completed what it wrote.

    Without any it is granted. Of what is there, only `true` grants: whoever may publish may skip the collector, and
    what nobody can read is no agreement.
    """
    stored = metadata.get(FIELD)
    if stored is None:
        return GRANTED
    if not isinstance(stored, dict):
        return DENIED
    return Consent(stored.get("analytics") is True, stored.get("personalization") is True)


def may_log(event: Event) -> bool:
    """Whether the event may go into the log of events and into the summary of its visit."""
    return FIELD not in event.metadata or stored_consent(event.metadata).analytics


def may_fold(event: Event) -> bool:
    """Whether the event may go into profiles, and by them into items, campaigns and answers."""
    return FIELD not in event.metadata or stored_consent(event.metadata).personalization
