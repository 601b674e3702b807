"""A shopper's browser: it turns the steps of a visit into wire events, as the browser SDK would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.simulator.shoppers import VIEWABLE, Act, Look

WireEvent = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Slate:
    """What was shown: ids in order, with what is needed to report on it.

    `propensities` may be shorter.
    """

    request_id: str
    placement: str
    variant: str
    ids: Sequence[str]
    propensities: Sequence[float] = ()


@dataclass(slots=True)
class Browser:
    """One visit's browser.

    Args:
        identity: user_id and/or anonymous_id.
        session_id: the visit's name; event ids are `<session_id>-<n>`, so it must be used once.
    """

    identity: dict[str, str]
    session_id: str
    slates: dict[int, Slate] = field(default_factory=dict)
    made: int = 0

    def show(self, look: Look, slate: Slate, at: float) -> list[WireEvent]:
        """Put the slate on the page; the impressions of its viewable products."""
        viewable = Slate(
            slate.request_id,
            slate.placement,
            slate.variant,
            slate.ids[: VIEWABLE[look.placement]],
            slate.propensities,
        )
        self.slates[look.number] = viewable
        return [self._impression(viewable, position, at) for position in range(len(viewable.ids))]

    def act(self, act: Act, at: float) -> WireEvent:
        """The event of one thing the shopper did at `at`, seconds since the Unix epoch."""
        metadata = self._metadata(act)
        event: WireEvent = {**self._event(act.event, at), "metadata": metadata}
        if act.product is not None:
            event["product_id"] = act.product.id
        return event

    def _metadata(self, act: Act) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        if act.query is not None:
            metadata["query"] = act.query
        if act.look is not None:
            slate = self.slates[act.look]
            metadata |= {
                "request_id": slate.request_id,
                "placement": slate.placement,
                "variant": slate.variant,
            }
            metadata["position"] = act.position
        if act.product is not None:
            metadata |= {
                "category": act.product.category,
                "brand": act.product.brand,
                "price": act.product.price,
            }
        if act.event in ("add_to_cart", "purchase"):
            metadata["quantity"] = 1
        return metadata

    def _impression(self, slate: Slate, position: int, at: float) -> WireEvent:
        metadata = {
            "request_id": slate.request_id,
            "placement": slate.placement,
            "variant": slate.variant,
            "position": position,
        }
        if position < len(slate.propensities):
            metadata["propensity"] = slate.propensities[position]
        return {
            **self._event("impression", at),
            "product_id": slate.ids[position],
            "metadata": metadata,
        }

    def _event(self, name: str, at: float) -> WireEvent:
        self.made += 1
        return {
            "event_id": f"{self.session_id}-{self.made}",
            "event": name,
            "timestamp": wire_time(at),
            **self.identity,
            "session_id": self.session_id,
        }


def wire_time(at: float) -> str:
    """RFC 3339 UTC with milliseconds of `at`, seconds since the Unix epoch."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
