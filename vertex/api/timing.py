"""Time of an answer, by step."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class StageTimer:
    """Milliseconds by step since it was made."""

    began: float = field(default_factory=time.perf_counter)
    steps: dict[str, float] = field(default_factory=dict)
    _last: float = 0.0

    def lap(self, step: str) -> None:
        """The time since the last lap belongs to `step`."""
        now = self.total_ms
        self.steps[step] = self.steps.get(step, 0.0) + now - self._last
        self._last = now

    @property
    def total_ms(self) -> float:
        """Since the beginning."""
        return (time.perf_counter() - self.began) * 1000

    def header(self) -> str:
        """The steps as a `Server-Timing` header, which browsers show beside the request."""
        steps = [*self.steps.items(), ("total", self.total_ms)]
        return ", ".join(f"{step};dur={ms:.2f}" for step, ms in steps)
