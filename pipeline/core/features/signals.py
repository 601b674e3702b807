"""Numeric features of one visitor at one moment, as rules read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.core.features.visitor import BY_NAME, NUMERIC, VISITOR_FEATURES
from pipeline.core.profile import UserProfile


class Signals(Mapping[str, float]):
    """The numeric features by name; each is computed when first asked for."""

    def __init__(self, profile: UserProfile, now_ms: int) -> None:
        self._profile = profile
        self._now_ms = now_ms
        self._known: dict[str, float] = {}

    def __getitem__(self, name: str) -> float:
        value = self._known.get(name)
        if value is None:
            if name not in NUMERIC:
                raise KeyError(name)
            value = float(BY_NAME[name].value(self._profile, self._now_ms))
            self._known[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return (feature.name for feature in VISITOR_FEATURES if feature.name in NUMERIC)

    def __len__(self) -> int:
        return len(NUMERIC)

    def when(self, name: str, value: float) -> int | None:
        """The first ms at which a feature that grows in silence is at `value`, if nothing else
        happens; None: never.
        """
        feature = BY_NAME.get(name)
        if feature is None or feature.at_ms is None:
            return None
        return feature.at_ms(self._profile, value)
