"""Past traffic, from before Freshet: what the shop showed then, and what people clicked, for a
first model.

The old shop chose its rows without Freshet: on the home page bestsellers in a shuffled order or
products at random, on a product page others of the same category. Each impression carries the true
chance of that product at that position, so the log can be learnt from without bias.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.simulator.browser import Browser, Slate, WireEvent
from tests.simulator.shoppers import Act, Look, Pause, Visit, World, visit

MESSAGE_EVENTS = 20
ROW = 10
BESTSELLERS = 60
RANDOM_SHARE = 0.4
# Weights of what a product's rank among bestsellers counts.
_POPULARITY = {"view_product": 1, "add_to_cart": 3, "purchase": 5}
Shelf = Callable[[Look], Slate]


@dataclass(slots=True)
class OldShop:
    """The shop before Freshet: `slate` answers a look, `note` keeps the bestsellers."""

    world: World
    rng: random.Random
    sold: Counter[int] = field(default_factory=Counter)
    answered: int = 0

    def slate(self, look: Look) -> Slate:
        """A row of up to 10 products, none twice, with the chance of each at its position."""
        self.answered += 1
        variant, pool = self._pool(look)
        shown = self.rng.sample(pool, min(ROW, len(pool)))
        ids = [self.world.products[item].id for item in shown]
        return Slate(
            f"before-{self.answered}", look.placement, variant, ids, [1 / len(pool)] * len(ids)
        )

    def _pool(self, look: Look) -> tuple[str, Sequence[int]]:
        if look.product_id is not None:
            own = self.world.index[look.product_id]
            same = self.world.in_category[self.world.category[own]]
            return "before_similar", [int(item) for item in same if item != own]
        if self.rng.random() < RANDOM_SHARE or len(self.sold) < BESTSELLERS:
            return "before_random", range(len(self.world.products))
        return "before_popular", [item for item, _ in self.sold.most_common(BESTSELLERS)]

    def note(self, act: Act) -> None:
        """Count what the shopper did towards the bestsellers."""
        if act.product is not None and act.event in _POPULARITY:
            self.sold[self.world.index[act.product.id]] += _POPULARITY[act.event]


def generate(
    world: World,
    *,
    sessions: int,
    until: float,
    run: str,
    population: int = 600,
    hours: float = 24,
    seed: int = 7,
) -> Iterator[WireEvent]:
    """Wire events of `sessions` visits that began in the `hours` before `until` less 10 minutes.

    Visits come whole and in order of their beginning; within one, events are in time order. None is
    after `until`.

    Args:
        until: seconds since the Unix epoch.
        run: distinguishes event ids of one run from another's.
        population: shoppers to draw visitors from, numbers 0 to `population` - 1.
    """
    rng = random.Random(f"history-{seed}")
    shop = OldShop(world, rng)
    earliest, latest = until - hours * 3600, until - 600
    starts = sorted(rng.uniform(earliest, latest) for _ in range(sessions))
    visits: Counter[int] = Counter()
    for number, start in enumerate(starts):
        person = rng.randrange(population)
        shopper = world.shopper(person)
        browser = Browser(shopper.identity, f"{run}-h{number}")
        events = play(visit(world, shopper, visits[person]), browser, shop, start)
        visits[person] += 1
        yield from (event for event in events)


def play(steps: Visit, browser: Browser, shop: OldShop, start: float) -> Iterator[WireEvent]:
    """One visit in the old shop's virtual time, beginning at `start`."""
    now, answer = start, None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration:
            return
        answer = None
        now += 0.001  # no two events of a visit at one moment, so their order is known
        if isinstance(step, Pause):
            now += step.seconds
        elif isinstance(step, Look):
            shown = browser.show(step, shop.slate(step), now)
            answer = [str(event["product_id"]) for event in shown]
            yield from shown
        else:
            shop.note(step)
            yield browser.act(step, now)


def messages(events: Iterator[WireEvent], size: int = MESSAGE_EVENTS) -> Iterator[list[WireEvent]]:
    """The events in order, `size` to a message, the last one shorter."""
    message: list[WireEvent] = []
    for event in events:
        message.append(event)
        if len(message) == size:
            yield message
            message = []
    if message:
        yield message
