"""Values of visitor and context are those of the profile and the request at the moment asked."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.core.context import Context, Trait
from pipeline.core.events import Event
from pipeline.core.expressions.fields import NOW, Kind
from pipeline.core.expressions.scalars import SCALAR_KINDS, STRONGEST, scalars_of
from pipeline.core.profile import UserProfile

NOON = datetime(2026, 12, 1, 12, 30, tzinfo=UTC)  # a Tuesday
NOW_MS = round(NOON.timestamp() * 1000)


def bought(category: str, brand: str, number: int) -> Event:
    return Event(
        event_id=f"e{number}",
        event="purchase",
        user_id="u1",
        product_id=f"p{number}",
        timestamp=NOON,
        metadata={"category": category, "brand": brand},
    )


def test_a_visitor_has_the_strongest_categories_and_brands_and_counts() -> None:
    profile = UserProfile()
    for number in range(12):
        place = min(number, 5)
        profile.add(bought(f"c{place}", f"b{place}", number))
    traits: dict[str, Trait] = {"tier": "gold", "member": True, "age": 42.0, "score": 0.5}
    context = Context(country="nl", device="phone", referrer_kind="search", traits=traits)
    scalars = scalars_of(profile, context, NOW_MS)
    assert scalars["visitor.categories"] == ["c5", "c0", "c1", "c2"]
    assert scalars["visitor.brands"] == ["b5", "b0", "b1", "b2"]
    assert len(profile.taste.brands) > STRONGEST
    assert scalars["visitor.purchases"] == 12
    assert (scalars["context.country"], scalars["context.device"]) == ("nl", "phone")
    assert scalars["context.referrer_kind"] == "search"
    assert scalars["context.traits"] == ["tier=gold", "member=true", "age=42", "score=0.5"]
    assert (scalars["context.hour"], scalars["context.weekday"]) == (12, 2)


def test_each_scalar_has_a_value_of_its_kind_for_an_unknown_visitor_too() -> None:
    scalars = scalars_of(UserProfile(), Context(), NOW_MS)
    assert scalars.keys() == {NOW, *SCALAR_KINDS}
    types = {Kind.TEXT: str, Kind.TEXTS: list, Kind.NUMBER: int}
    assert all(isinstance(scalars[name], types[kind]) for name, kind in SCALAR_KINDS.items())
