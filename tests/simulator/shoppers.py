"""Shoppers with hidden tastes, and what they do when a shop shows them products. Pure and seeded.

The click model is the position-based model (Richardson, Dominowska, Ragno, WWW 2007; Craswell,
Zoeter, Taylor, Ramsey, WSDM 2008): a shown product is clicked when it is examined and attracts,
independently of its neighbours,

    P(click | item i at position p, shopper s) = examine(p) * attract(s, i)
    examine(p)    = (1 + p) ** -0.6                       p = 0, 1, 2, ...
    attract(s, i) = 0.6 * sigmoid(u(s, i) - 3.6)
    u(s, i) = 2.0 [i is of the session's intent category] + 0.7 [i is of another liked category]
            + 0.8 [s likes the brand of i] - 0.7 |z(i) - level(s)| + 1.0 <style(s), style(i)> /
            sqrt(d) + 0.6 appeal(i) + mood(s) - 2.0 [i opened this session] - 0.4 (earlier sights of
            i this session)

z(i) is the product's log price, standardised within its category. `style` (d = 4), `appeal` and
`mood` are drawn from normal laws and appear in no catalog: a recommender can only learn them from
behaviour. Nothing here reads a recommender's features, scores or sources; a shopper is handed ids
in order and knows the products behind them.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tests.simulator.catalog import Product

Floats = npt.NDArray[np.float64]
STYLE_DIMENSIONS = 4
EXAMINATION_DECAY = 0.6
ATTRACTION_CEILING = 0.6
ATTRACTION_OFFSET = 3.6
INTENT_WEIGHT, LIKED_WEIGHT, BRAND_WEIGHT, PRICE_WEIGHT = 2.0, 0.7, 0.8, 0.7
STYLE_WEIGHT, APPEAL_WEIGHT = 1.0, 0.6
OPENED_PENALTY, SEEN_PENALTY = 2.0, 0.4
VIEWABLE = {"home": 8, "product": 6}
MAX_PAGES = 15


class World:
    """What is true of the products but written in no catalog: style, appeal, each category's share.

    Args:
        products: the catalog, in a fixed order.
        seed: the same seed and catalog give the same world.
    """

    def __init__(self, products: Sequence[Product], seed: int = 7) -> None:
        rng = np.random.default_rng([seed, 1])
        self.seed = seed
        self.products = list(products)
        self.index = {product.id: number for number, product in enumerate(products)}
        self.categories = sorted({product.category for product in products})
        self.brands = sorted({product.brand for product in products})
        self.category = np.array([self.categories.index(product.category) for product in products])
        self.brand = np.array([self.brands.index(product.brand) for product in products])
        self.price_z = _price_z(products, self.category)  # (n,)
        self.style: Floats = rng.normal(size=(len(self.products), STYLE_DIMENSIONS))  # (n, d)
        self.appeal: Floats = rng.normal(size=len(self.products))  # (n,)
        ranks = rng.permutation(len(self.categories)) + 1
        self.category_share: Floats = ranks**-0.7 / (ranks**-0.7).sum()  # Zipf-like, (categories,)
        self.in_category = [
            np.flatnonzero(self.category == number) for number in range(len(self.categories))
        ]

    def shopper(self, number: int) -> Shopper:
        """The `number`-th person of the population, always the same one."""
        rng = np.random.default_rng([self.seed, 2, number])
        liked = rng.choice(
            len(self.categories), min(3, len(self.categories)), replace=False, p=self.category_share
        )
        near = np.unique(self.brand[np.isin(self.category, liked)])
        return Shopper(
            number=number,
            registered=bool(rng.random() < 0.5),
            liked=tuple(int(category) for category in liked),
            brands=frozenset(
                int(brand) for brand in rng.choice(near, min(4, len(near)), replace=False)
            ),
            level=float(rng.normal(0, 0.8)),
            style=rng.normal(size=STYLE_DIMENSIONS),
            mood=float(rng.normal(0, 0.4)),
        )

    def taste(self, shopper: Shopper, intent: int) -> Floats:
        """u(s, i) of every product before opened and seen penalties, shape (n,)."""
        is_intent = self.category == intent
        liked = np.isin(self.category, shopper.liked) & ~is_intent
        taste: Floats = (
            INTENT_WEIGHT * is_intent
            + LIKED_WEIGHT * liked
            + BRAND_WEIGHT * np.isin(self.brand, list(shopper.brands))
            - PRICE_WEIGHT * np.abs(self.price_z - shopper.level)
            + STYLE_WEIGHT * (self.style @ shopper.style) / math.sqrt(STYLE_DIMENSIONS)
            + APPEAL_WEIGHT * self.appeal
            + shopper.mood
        )
        return taste


@dataclass(frozen=True, slots=True, eq=False)
class Shopper:
    """A person. `liked`: category numbers, likeliest intents first; `level`: price level in
    deviations.
    """

    number: int
    registered: bool
    liked: tuple[int, ...]
    brands: frozenset[int]
    level: float
    style: Floats
    mood: float

    @property
    def id(self) -> str:
        """The name that the experiment assigns an arm to."""
        return f"shopper-{self.number:05d}"

    @property
    def identity(self) -> dict[str, str]:
        """What the browser knows: always a device, and an account for those who have one."""
        device = {"anonymous_id": f"device-{self.number:05d}"}
        return {"user_id": self.id, **device} if self.registered else device


@dataclass(frozen=True, slots=True)
class Look:
    """The shopper opens a page with a recommendation row; answer it with the ids shown, in
    order."""

    number: int
    placement: str
    product_id: str | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """The shopper does something. `look` and `position` say which shown product a click was on."""

    event: str
    product: Product | None = None
    look: int | None = None
    position: int | None = None
    query: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """The shopper reads for so many seconds of life."""

    seconds: float


Step = Look | Act | Pause
Visit = Generator[Step, Sequence[str] | None, None]


def arm(shopper_id: str, salt: str = "freshet-demo") -> str:
    """`personalized` or `popular`, half and half, by a hash of the id alone."""
    digest = hashlib.sha256(f"{salt}:{shopper_id}".encode()).digest()
    return "personalized" if digest[0] & 1 else "popular"


def examine(position: int) -> float:
    """Chance that a shopper's eye reaches the 0-based `position`, 1 at the first."""
    return float((1 + position) ** -EXAMINATION_DECAY)


def attract(utility: float) -> float:
    """Chance that an examined product with this utility is clicked, 0 to 0.6."""
    return ATTRACTION_CEILING / (1 + math.exp(ATTRACTION_OFFSET - utility))


def visit(world: World, shopper: Shopper, number: int) -> Visit:
    """The shopper's `number`-th visit to the shop, as steps; the same for the same answers to its
    looks.
    """
    return _Visit(world, shopper, random.Random(f"{world.seed}-{shopper.number}-{number}")).steps()


@dataclass(slots=True)
class _Visit:
    world: World
    shopper: Shopper
    rng: random.Random
    looks: int = 0
    intent: int = 0
    taste: Floats = field(default_factory=lambda: np.zeros(0))
    opened: set[int] = field(default_factory=set)
    seen: dict[int, int] = field(default_factory=dict)
    # (product, look, position), last opened first
    tabs: list[tuple[int, int, int]] = field(default_factory=list)
    cart: list[int] = field(default_factory=list)

    def steps(self) -> Visit:
        self._choose_intent()
        patience = min(MAX_PAGES, 2 + int(self.rng.expovariate(1 / 5)))
        yield from self._first_page()
        while patience > 0 or self.tabs:
            patience -= 1
            yield from self._next_page(asks=patience > 0)
            if self.rng.random() < 0.08:
                self._choose_intent()
        yield from self._checkout()

    def _choose_intent(self) -> None:
        """Mostly one of the liked categories; one time in seven whatever people look for."""
        if self.rng.random() < 0.85:
            self.intent = self.rng.choices(
                self.shopper.liked, weights=(5, 3, 2)[: len(self.shopper.liked)]
            )[0]
        else:
            share = self.world.category_share
            self.intent = self.rng.choices(range(len(share)), weights=share.tolist())[0]
        self.taste = self.world.taste(self.shopper, self.intent)

    def _first_page(self) -> Visit:
        if self.rng.random() < 0.7:
            yield from self._home()
        else:  # a link from elsewhere, straight to a product
            yield from self._open(self._own_choice(), None, None, asks=True)

    def _next_page(self, asks: bool) -> Visit:
        if self.tabs:
            product, look, position = self.tabs.pop()
            yield Act("click", self.world.products[product], look, position)
            yield from self._open(product, look, position, asks)
        elif self.rng.random() < 0.4 and asks:
            yield from self._home()
        else:
            yield from self._search(asks)

    def _home(self) -> Visit:
        yield Act("page_view")
        yield from self._look("home", None)

    def _search(self, asks: bool) -> Visit:
        category = self.world.categories[self.intent]
        yield Act("search", query=category.rpartition(".")[2])
        yield self._pause()
        yield from self._open(self._own_choice(), None, None, asks)

    def _own_choice(self) -> int:
        """What the shopper finds unaided: one of a dozen of the intent category, by logit
        choice."""
        found = self.rng.choices(self.world.in_category[self.intent].tolist(), k=12)
        weights = [
            math.exp(self.taste[product] - OPENED_PENALTY * (product in self.opened))
            for product in found
        ]
        return self.rng.choices(found, weights=weights)[0]

    def _open(self, product: int, look: int | None, position: int | None, asks: bool) -> Visit:
        self.opened.add(product)
        yield Act("view_product", self.world.products[product], look, position)
        if asks:
            yield from self._look("product", product)
        else:
            yield self._pause()
        yield from self._consider(product)

    def _look(self, placement: str, product: int | None) -> Visit:
        look, self.looks = self.looks, self.looks + 1
        shown = yield Look(
            look, placement, None if product is None else self.world.products[product].id
        )
        yield self._pause()
        clicked = [
            (item, look, position)
            for position, item in enumerate(
                self.world.index[id] for id in (shown or ()) if id in self.world.index
            )
            if self._clicks(item, position)
        ]
        self.tabs.extend(reversed(clicked))

    def _clicks(self, item: int, position: int) -> bool:
        utility = self.taste[item] - OPENED_PENALTY * (item in self.opened)
        utility -= SEEN_PENALTY * self.seen.get(item, 0)
        self.seen[item] = self.seen.get(item, 0) + 1
        return self.rng.random() < examine(position) * attract(utility)

    def _consider(self, product: int) -> Visit:
        wants = 0.35 / (1 + math.exp(3.0 - self.taste[product]))
        item = self.world.products[product]
        if item.in_stock and self.rng.random() < wants and product not in self.cart:
            self.cart.append(product)
            yield Act("add_to_cart", item)

    def _checkout(self) -> Visit:
        for product in self.cart:
            choice = self.rng.random()
            if choice < 0.15:
                yield Act("remove_from_cart", self.world.products[product])
            elif choice < 0.6:
                yield Act("purchase", self.world.products[product])

    def _pause(self) -> Pause:
        return Pause(4 + self.rng.expovariate(1 / 10))


def _price_z(products: Sequence[Product], category: npt.NDArray[np.int64]) -> Floats:
    """Log prices standardised within each category, shape (n,)."""
    logs = np.log([max(product.price, 0.01) for product in products])
    z = np.zeros(len(logs))
    for number in np.unique(category):
        inside = category == number
        z[inside] = (logs[inside] - logs[inside].mean()) / max(float(logs[inside].std()), 1e-9)
    return z
