"""Values of the visitor and of a request's context that an expression may name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from heapq import nsmallest
from typing import Annotated

import msgspec

from pipeline.core.expressions.fields import NOW, Kind, Scalar
from pipeline.core.interests import LONG
from pipeline.core.profile import UserProfile

MAX_CONTEXT_LENGTH = 64
STRONGEST = 4
"""Categories and brands of a visitor."""

SCALAR_KINDS: Mapping[str, Kind] = {
    "visitor.category": Kind.TEXT,
    "visitor.categories": Kind.TEXTS,
    "visitor.brands": Kind.TEXTS,
    "visitor.purchases": Kind.NUMBER,
    "context.country": Kind.TEXT,
    "context.device": Kind.TEXT,
    "context.language": Kind.TEXT,
    "context.hour": Kind.NUMBER,
    "context.weekday": Kind.NUMBER,
}

ContextText = Annotated[str, msgspec.Meta(max_length=MAX_CONTEXT_LENGTH)]


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The circumstances of a request, in the shop's own words; empty: unknown."""

    country: ContextText = ""
    device: ContextText = ""
    language: ContextText = ""


def scalars_of(profile: UserProfile, context: Context, now_ms: int) -> dict[str, Scalar]:
    """The values of `SCALAR_KINDS` and of `now`; hour (0 to 23) and weekday (1: Monday) in UTC."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    return {
        NOW: now_ms,
        "visitor.category": profile.last_category,
        "visitor.categories": _strongest(profile.category_interest()),
        "visitor.brands": _strongest(profile.taste.brand_shares(LONG)),
        "visitor.purchases": profile.total("purchase"),
        "context.country": context.country,
        "context.device": context.device,
        "context.language": context.language,
        "context.hour": now.hour,
        "context.weekday": now.isoweekday(),
    }


def _strongest(shares: Mapping[str, float]) -> list[str]:
    """The names with the largest shares (ties by name)."""
    return nsmallest(STRONGEST, shares, key=lambda name: (-shares[name], name))
