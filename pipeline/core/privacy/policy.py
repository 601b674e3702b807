"""Privacy policy of an installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.core.privacy.consent import GRANTED, Consent
from pipeline.core.privacy.field_policy import FieldPolicy
from pipeline.core.privacy.signals import Signal, signal_of


@dataclass(frozen=True, slots=True)
class Privacy:
    """Promises of an installation to its visitors.

    Attributes:
        default: consent of visitors who said nothing; denied where the law asks for an agreement
            first.
        signals: whether DNT and GPC are honoured.
        fields: fields that are cut, dropped and hashed.
        user_key: the secret, 16 to 64 bytes, of the tokens that prove user ids; None: no proof is
            asked for.
    """

    default: Consent = GRANTED
    signals: bool = True
    fields: FieldPolicy = field(default_factory=FieldPolicy)
    user_key: bytes | None = field(default=None, repr=False)

    def signal(self, headers: Mapping[str, str]) -> Signal | None:
        """The signal of a request, where signals are honoured."""
        return signal_of(headers) if self.signals else None
