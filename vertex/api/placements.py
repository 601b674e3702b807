"""Placements: the places of a shop's pages, and what is recommended at each.

A kind is data over the candidate sources: which of them, about whom, in which order, and what is
hidden. A placement is a kind with the shop's own settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from pipeline.core.expressions.compiler import Expression
from vertex.api.banner import SUBJECTS
from vertex.api.config import Config, Weights
from vertex.api.rules import Rule
from vertex.candidates import SOURCES

Subject = Literal["visitor", "page", "cart", "last"]
Order = Literal["score", "source"]
Hide = Literal["seen", "bought", "cart"]
Variants = Literal["one", "all"]

DEFAULT = "home"
"""The placement of a request that names none, and in place of an unknown one."""
HIDEABLE: tuple[Hide, ...] = ("seen", "bought", "cart")
VARIANTS: tuple[Variants, ...] = ("one", "all")
POPULAR = "popular"
DEFAULT_K = 20
# Pages of a shop that show what is picked for the visitor.
PAGES = (DEFAULT, "product", "cart", "category", "search")
_PERSONAL = {name: quota for name, (_, quota) in SOURCES.items()}
_ALIKE = {"covisit": 4, "embedding": 2, "context": 2, "content": 2, "category": 1}


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of recommendation.

    Attributes:
        sources: source -> how many candidates it may add in each round.
        subject: whose items the sources start from: the visitor's, those of the page
            (`product_id`, `product_ids`), those in the cart, the visitor's last one.
        order: by the score for the visitor, or as the sources found them, the first source first.
        hide: what is not shown: seen items, bought ones, those in the cart or that left it. The
            items of the page never are.
        is_personal: whether it needs a visitor: others are shown to everybody, also to who denied
            personalization.
        explores: whether chance has a slot.
        group: show categories or brands, each by its best item, in place of items.
        items: whether items are shown; a banner alone shows none.
        fallback: the placement in place of one that finds nothing; `POPULAR`: what is popular;
            empty: nothing, for a row of what was viewed holds no other items.
        filter: of the items, an expression; it may need attributes of the shop's own.
        title: of a row; `{title}` is that of the item it is about.
    """

    sources: Mapping[str, int]
    subject: Subject = "visitor"
    order: Order = "score"
    hide: frozenset[str] = frozenset({"cart"})
    is_personal: bool = True
    explores: bool = False
    group: str = ""
    items: bool = True
    fallback: str = POPULAR
    filter: str = ""
    title: str


_NOTHING: frozenset[str] = frozenset()
KINDS: dict[str, Kind] = {
    "for_you": Kind(sources=_PERSONAL, explores=True, title="Picked for you"),
    "similar": Kind(sources=_ALIKE, subject="page", is_personal=False, title="Similar items"),
    "bought_together": Kind(
        sources={"bought": 1},
        subject="page",
        order="source",
        is_personal=False,
        fallback="",
        title="Bought together",
    ),
    "cart_complements": Kind(
        sources={"bought": 4, "covisit": 1},
        subject="cart",
        order="source",
        fallback="",
        title="Goes with your cart",
    ),
    "recently_viewed": Kind(
        sources={"recent": 1},
        order="source",
        hide=_NOTHING,
        fallback="",
        title="Recently viewed",
    ),
    "buy_again": Kind(
        sources={"again": 1}, order="source", hide=_NOTHING, fallback="", title="Buy again"
    ),
    "trending": Kind(
        sources={"trending": 1}, order="source", hide=_NOTHING, is_personal=False, title="Trending"
    ),
    "new_arrivals": Kind(
        sources={"new": 1}, order="source", is_personal=False, title="New arrivals"
    ),
    "on_sale": Kind(sources=_PERSONAL, filter="price < list_price", title="On sale"),
    "because_you_viewed": Kind(
        sources=_ALIKE, subject="last", fallback="", title="Because you viewed {title}"
    ),
    "categories": Kind(
        sources=_PERSONAL, group="category", fallback="", title="Categories for you"
    ),
    "brands": Kind(sources=_PERSONAL, group="brand", fallback="", title="Brands for you"),
    "banner": Kind(sources=_PERSONAL, items=False, title=""),
}


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A place on a page.

    Attributes:
        name: by which requests ask for it, and impressions and clicks name it.
        kind: what it recommends.
        title: of the row.
        sources, hide: in place of the kind's.
        filter: which items may be shown.
        variants: `one`: of the variants of a product the best alone, and none of the page's items.
        rules: those of the shop, in the order of the file.
        weights: of the parts of the score.
        diversity: lambda of MMR in [0, 1]; 1 goes by score alone.
        fallback: see `Kind`.
        explore: the share of slates with one slot for an item few have seen, in [0, 1].
        banner: what its banner may be about; empty: there is none.
        deadline_s: what the ranker may take before the in-process one answers.
        k: items shown, where the request does not say.
    """

    name: str
    kind: Kind
    title: str
    sources: Mapping[str, int]
    hide: frozenset[str]
    filter: Expression | None = None
    variants: Variants = "one"
    rules: tuple[Rule, ...] = ()
    weights: Weights = Weights()
    diversity: float = 1.0
    fallback: str
    explore: float = 0.0
    banner: tuple[str, ...] = SUBJECTS
    deadline_s: float
    k: int = DEFAULT_K


class Placements(msgspec.Struct, frozen=True):
    """All placements by name."""

    by_name: Mapping[str, Placement]

    def find(self, name: str) -> Placement:
        """The placement of this name, the default one where there is none."""
        return self.by_name.get(name) or self.by_name[DEFAULT]


def placement_of(name: str, kind: str, config: Config) -> Placement:
    """A placement of a kind, with the settings of the environment."""
    known = KINDS[kind]
    hide = known.hide
    if name in config.hide_seen:
        hide |= {"seen"}
    return Placement(
        name=name,
        kind=known,
        title=known.title,
        sources=known.sources,
        hide=hide,
        fallback=known.fallback,
        weights=config.weights,
        explore=config.explore_rate if known.explores else 0.0,
        deadline_s=config.vertex_deadline_s,
    )


def built_in(config: Config) -> Placements:
    """The placements without a file: the pages, those that hide what was seen, and each kind under
    its own name but those that need attributes.
    """
    personal = dict.fromkeys([*PAGES, *config.hide_seen], "for_you")
    own_names = {name: name for name, kind in KINDS.items() if not kind.filter}
    kinds = {**own_names, **personal}
    return Placements({name: placement_of(name, kind, config) for name, kind in kinds.items()})
