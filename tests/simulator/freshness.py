"""How long a click takes to change the profile and the next recommendation, measured by probe
visitors.

A probe is a visitor nobody has seen. It asks for a row, then views a product (through the
collector) and from the collector's answer on, without telling the API what it did, reads its
profile about every 20 ms until that holds the view; then it asks for recommendations, as often,
until an answer both knows the view and differs from the first row. Recommendations are asked for
only once the profile holds the view, to be gentle on a shared machine; as they are made from the
same profile, that can only lengthen what is reported. What does not come within 10 s is counted as
lost, and reported beside the percentiles.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulator.browser import Browser
from tests.simulator.client import Answer, Client, Unanswered
from tests.simulator.shoppers import Act, World
from tests.simulator.statistics import percentiles

POLL_S = 0.02
TIMEOUT_S = 10.0
SLATE = 20


@dataclass(slots=True)
class Freshness:
    """Milliseconds from the collector's answer to the changed profile and to the changed
    recommendation.
    """

    profile_ms: list[float] = field(default_factory=list)
    recommendation_ms: list[float] = field(default_factory=list)
    probes: int = 0
    lost: int = 0
    failed: int = 0

    def report(self) -> dict[str, Any]:
        """The keys of the machine-readable report."""
        return {
            "freshness_profile_ms": percentiles(self.profile_ms),
            "freshness_recommendation_ms": percentiles(self.recommendation_ms),
            "freshness_probes": self.probes,
            "freshness_lost": self.lost,
            "freshness_failed": self.failed,
        }


class Prober:
    """Sends probes one after another for a bounded time.

    Args:
        every_s: from the beginning of one probe to the next, where the first is done by then.
    """

    def __init__(
        self,
        client: Client,
        world: World,
        *,
        run: str,
        every_s: float = 0.5,
        timeout_s: float = TIMEOUT_S,
        seed: int = 7,
    ) -> None:
        self.freshness = Freshness()
        self._client = client
        self._world = world
        self._run = run
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._rng = random.Random(f"probes-{seed}")

    async def run(self, seconds: float, at_least: int = 0) -> Freshness:
        """Probe for `seconds`, and on a busy machine until there were `at_least` probes; each is
        seen through.
        """
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end or self.freshness.probes < at_least:
            await self._probe_once()
            pause = min(began + self._every_s, end) - time.monotonic()
            await asyncio.sleep(max(0.0, pause))
        return self.freshness

    async def _probe_once(self) -> None:
        self.freshness.probes += 1
        try:
            found = await self._probe(f"{self._run}-probe-{self.freshness.probes}")
        except Unanswered:
            self.freshness.failed += 1
            return
        if not found:
            self.freshness.lost += 1

    async def _probe(self, name: str) -> bool:
        """One probe; False when the profile or the recommendation did not change in time."""
        identity = {"anonymous_id": name}
        question = {**identity, "session_id": name, "placement": "home", "k": SLATE, "events": []}
        before = await self._client.recommend(question, timed=False)
        event = Browser(identity, name).act(
            Act("view_product", self._rng.choice(self._world.products)), time.time()
        )
        await self._client.send([event])
        confirmed = time.monotonic()

        async def in_profile() -> bool:
            return bool((await self._client.profile(identity, event)).get("contains_event"))

        async def in_recommendation() -> bool:
            answer = await self._client.recommend(question, timed=False)
            return (
                _knows(answer, event["event_id"])
                and answer.recommendations != before.recommendations
            )

        deadline = confirmed + self._timeout_s
        return await _until(
            in_profile, confirmed, deadline, self.freshness.profile_ms
        ) and await _until(in_recommendation, confirmed, deadline, self.freshness.recommendation_ms)


def _knows(answer: Answer, event_id: str) -> bool:
    """Whether the answer was made from a profile whose last event is the probe's one."""
    return bool(answer.profile.get("last_event_id") == event_id)


async def _until(
    happened: Callable[[], Awaitable[bool]], since: float, deadline: float, found_ms: list[float]
) -> bool:
    """Poll until it `happened`, noting the milliseconds since `since`; False at `deadline`."""
    while True:
        if await happened():
            found_ms.append((time.monotonic() - since) * 1000)
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(POLL_S)
