"""Values of the visitor and of a request's context that an expression may name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from heapq import nsmallest

from pipeline.core.context import Context, Trait
from pipeline.core.expressions.fields import NOW, Kind, Scalar
from pipeline.core.interests import LONG
from pipeline.core.profile import UserProfile

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
    "context.referrer_kind": Kind.TEXT,
    "context.traits": Kind.TEXTS,
    "context.hour": Kind.NUMBER,
    "context.weekday": Kind.NUMBER,
}


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
        "context.referrer_kind": context.referrer_kind,
        "context.traits": [trait_text(name, value) for name, value in context.traits.items()],
        "context.hour": now.hour,
        "context.weekday": now.isoweekday(),
    }


def trait_text(name: str, value: Trait) -> str:
    """A trait as one text: `tier=gold`, `member=true`, `age=42`."""
    if isinstance(value, bool):
        return f"{name}={str(value).lower()}"
    if isinstance(value, float) and value.is_integer():
        return f"{name}={int(value)}"
    return f"{name}={value}"


def _strongest(shares: Mapping[str, float]) -> list[str]:
    """The names with the largest shares (ties by name)."""
    return nsmallest(STRONGEST, shares, key=lambda name: (-shares[name], name))
