"""Live traffic: shoppers come, get personalized or popular rows, and react to what they are
shown."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulator.browser import Browser, Slate
from tests.simulator.client import Answer, Client, Outbox, Unanswered
from tests.simulator.shoppers import Act, Look, Pause, Shopper, Visit, World, arm, visit
from tests.simulator.statistics import Lift, Ratio, click_through, lift

logger = logging.getLogger(__name__)

ARMS = ("personalized", "popular")
SLATE = 20
EVENTS_A_VISIT = 50.0  # the first guess; corrected by the visits that have ended
MAX_ACTIVE = 300


@dataclass(frozen=True, slots=True)
class Plan:
    """A bounded run.

    Args:
        seconds: how long shoppers arrive; visits under way then end at their next step.
        events_per_s: what to aim at, over all shoppers.
        haste: how many times faster than life shoppers read.
        population: shoppers who may have a past; `new_share` of the arrivals are not among them.
    """

    seconds: float
    events_per_s: float = 50.0
    haste: float = 10.0
    population: int = 600
    new_share: float = 0.3
    seed: int = 7

    def __post_init__(self) -> None:
        for name in ("seconds", "events_per_s", "haste", "population"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")


@dataclass(slots=True)
class Outcome:
    """What the run saw: clicks and viewable impressions by (arm, shopper), and how many visits
    there were.
    """

    clicks: Counter[tuple[str, str]] = field(default_factory=Counter)
    impressions: Counter[tuple[str, str]] = field(default_factory=Counter)
    visits: int = 0
    events: int = 0
    broken_visits: int = 0
    seconds: float = 0.0

    def click_through(self, of_arm: str) -> Ratio | None:
        """Click-through of one arm over its shoppers; None before its first impression."""
        shoppers = [key for key in self.impressions if key[0] == of_arm]
        if not shoppers:
            return None
        return click_through(
            [self.clicks[key] for key in shoppers], [self.impressions[key] for key in shoppers]
        )

    def lift(self) -> Lift | None:
        """Personalized over popular; None while an arm has no click."""
        personalized, popular = (self.click_through(name) for name in ARMS)
        return lift(personalized, popular) if personalized and popular else None


class Traffic:
    """One bounded run of live traffic.

    Args:
        run: distinguishes event ids of this run from another's.
        assign: which arm a shopper id belongs to.
    """

    def __init__(
        self,
        client: Client,
        world: World,
        plan: Plan,
        *,
        run: str,
        assign: Callable[[str], str] = arm,
    ) -> None:
        self.outcome = Outcome()
        self._client = client
        self._world = world
        self._plan = plan
        self._run = run
        self._assign = assign
        self._rng = random.Random(f"traffic-{plan.seed}")
        self._visits: Counter[int] = Counter()
        self._active: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended_events = 0

    async def run(self) -> Outcome:
        """Let shoppers arrive for the planned time, then wait for the last to leave."""
        started = time.monotonic()
        deadline = started + self._plan.seconds
        while (now := time.monotonic()) < deadline:
            if len(self._active) < MAX_ACTIVE and self.outcome.events < self._due(now - started):
                self._arrive(deadline)
            await asyncio.sleep(min(self._rng.expovariate(self._arrivals_per_s()), deadline - now))
        if self._tasks:
            await asyncio.gather(*self._tasks)
        self.outcome.seconds = time.monotonic() - started
        return self.outcome

    def _due(self, elapsed_s: float) -> float:
        """How many events there may be by now: the target, and 5 s more, so that chance evens
        out."""
        return self._plan.events_per_s * (elapsed_s + 5)

    def _arrivals_per_s(self) -> float:
        """A fifth more often than the target needs; `_due` holds back what is too much."""
        events_a_visit = (EVENTS_A_VISIT * 10 + self._ended_events) / (10 + self.outcome.visits)
        return 1.2 * self._plan.events_per_s / events_a_visit

    def _arrive(self, deadline: float) -> None:
        number = self._who()
        self._active.add(number)
        task = asyncio.create_task(self._visit(number, deadline))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _who(self) -> int:
        """A known shopper who is not in the shop at the moment, or now and then somebody new."""
        number = self._rng.randrange(self._plan.population)
        if self._rng.random() < self._plan.new_share or number in self._active:
            return self._plan.population + self._rng.randrange(1_000_000_000)
        return number

    async def _visit(self, number: int, deadline: float) -> None:
        shopper = self._world.shopper(number)
        visits, self._visits[number] = self._visits[number], self._visits[number] + 1
        guest = Guest(
            self._client,
            shopper,
            self._assign(shopper.id),
            self.outcome,
            f"{self._run}-{number}-{visits}",
        )
        try:
            # The past used the first visits' random numbers, so live ones start far from them.
            await guest.play(
                visit(self._world, shopper, 10_000 + visits), self._plan.haste, deadline
            )
        except Unanswered as error:
            self.outcome.broken_visits += 1
            logger.warning("a visit broke off: %s", error)
        finally:
            self._active.discard(number)
            self._ended_events += guest.browser.made
            self.outcome.visits += 1


class Guest:
    """One visit under way: the steps of a shopper on one side, collector and API on the other."""

    def __init__(
        self, client: Client, shopper: Shopper, variant: str, outcome: Outcome, session_id: str
    ) -> None:
        self.browser = Browser(shopper.identity, session_id)
        self._client = client
        self._variant = variant
        self._outcome = outcome
        self._key = (variant, shopper.id)
        self._outbox = Outbox(client)

    async def play(self, steps: Visit, haste: float, deadline: float) -> None:
        """Live the visit, `haste` times faster than life; leave at the first pause past
        `deadline`."""
        answer: list[str] | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                break
            answer = None
            if isinstance(step, Look):
                answer = await self._look(step)
            elif isinstance(step, Act):
                await self._act(step)
            elif not await _rest(step, haste, deadline):
                break
        await self._outbox.flush()

    async def _look(self, look: Look) -> list[str]:
        slate = await self._ask(look)
        shown = self.browser.show(look, slate, time.time())
        self._outcome.impressions[self._key] += len(shown)
        self._outcome.events += len(shown)
        self._outbox.add(shown)
        return [str(event["product_id"]) for event in shown]

    async def _ask(self, look: Look) -> Slate:
        question: dict[str, Any] = {
            **self.browser.identity,
            "session_id": self.browser.session_id,
            "placement": look.placement,
            "k": SLATE,
            "events": self._outbox.pending(),
            "variant": self._variant,
        }
        if look.product_id is not None:
            question["product_id"] = look.product_id
        # What the page has gathered goes out while the answer is under way.
        answer, _ = await asyncio.gather(self._client.recommend(question), self._outbox.flush())
        self._outbox.processed(answer.profile.get("newest_event_time"))
        return _slate(answer, look, self._variant)

    async def _act(self, act: Act) -> None:
        self._outcome.events += 1
        self._outcome.clicks[self._key] += act.event == "click"
        self._outbox.add([self.browser.act(act, time.time())])
        if act.event == "click":
            await self._outbox.flush()


def _slate(answer: Answer, look: Look, variant: str) -> Slate:
    return Slate(
        answer.request_id, look.placement, variant, answer.recommendations, answer.propensities
    )


async def _rest(pause: Pause, haste: float, deadline: float) -> bool:
    """Read for a while; whether there is time for more."""
    await asyncio.sleep(max(0.0, min(pause.seconds / haste, deadline - time.monotonic())))
    return time.monotonic() < deadline
