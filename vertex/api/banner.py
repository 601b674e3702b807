"""The one line at the top of the page: what the visitor is most likely here for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from pipeline.core.catalog import Item, department
from pipeline.core.item_tapes import item_hash
from pipeline.core.profile import UserProfile
from vertex.candidates import top_categories


@dataclass(frozen=True, slots=True)
class Banner:
    """`id` names the kind and its subject, stable enough to count clicks by."""

    id: str
    headline: str
    text: str
    category: str = ""
    product_id: str = ""


WELCOME = Banner("welcome", "Find something you love", "Popular with shoppers right now.")


# What a banner may be about, first the most telling.
SUBJECTS = ("cart", "search", "category")


def choose_banner(
    profile: UserProfile,
    slate: Sequence[str],
    item_of: Callable[[str], Item | None],
    about: Collection[str] = SUBJECTS,
) -> Banner:
    """The banner for this visitor: about the cart left behind, else the last search, else the
    strongest category that they have not just bought from.

    Args:
        profile: the visitor's state.
        slate: the recommended ids, best first; the banner points to one of its category.
        item_of: what the catalog says of an item.
        about: those of `SUBJECTS` that it may be about.
    """
    cart = [item for item in map(item_of, profile.in_cart()) if item is not None and item.in_stock]
    if cart and "cart" in about:
        return _cart(cart, profile)
    is_search = profile.last_query and profile.last_query_at[0] >= profile.last_item_at[0]
    if is_search and "search" in about:
        return _search(profile.last_query, slate)
    bought = _bought_categories(profile, item_of)
    names = [name for name in top_categories(profile) if name not in bought]
    if not names or "category" not in about:
        return WELCOME
    return _category(names[0], slate, item_of)


def banner_of_slate(slate: Sequence[str], item_of: Callable[[str], Item | None]) -> Banner:
    """The category of the best item that has one: it says nothing of the visitor that the slate
    does not.
    """
    for item in filter(None, map(item_of, slate)):
        if item.category:
            return _category(item.category, slate, item_of)
    return WELCOME


def _bought_categories(
    profile: UserProfile, item_of: Callable[[str], Item | None]
) -> frozenset[str]:
    """Categories of the items that went from the cart into a purchase: done with, for now."""
    bought = profile.bought()
    items = [item_of(item_id) for item_id in profile.cart if item_hash(item_id) in bought]
    return frozenset(item.category for item in items if item is not None)


def readable(category: str) -> str:
    """A dotted path as words: its last part, `home_audio` as `home audio`."""
    return category.rpartition(".")[2].replace("_", " ").replace("-", " ")


def _cart(cart: Sequence[Item], profile: UserProfile) -> Banner:
    """Titles stay out of the text: the banner may be seen by one who only knows the visitor's
    id."""
    newest = max(cart, key=lambda item: profile.cart[item.item_id])
    text = "An item is waiting for you."
    if len(cart) > 1:
        text = f"{len(cart)} items are waiting for you."
    return Banner(
        id=f"cart:{newest.item_id}",
        headline="Still in your cart",
        text=text,
        category=newest.category,
        product_id=newest.item_id,
    )


def _search(query: str, slate: Sequence[str]) -> Banner:
    text = "Picked from what others chose after a search like yours."
    return Banner("search", f"Looking for {query}?", text, product_id=slate[0] if slate else "")


def _category(category: str, slate: Sequence[str], item_of: Callable[[str], Item | None]) -> Banner:
    best = _best_of(category, slate, item_of)
    name = readable(category)
    text, product_id = f"New picks in {name}, chosen for you.", ""
    if best is not None:
        text, product_id = best.title or text, best.item_id
    return Banner(
        id=f"category:{category}",
        headline=f"More in {name}",
        text=text,
        category=category,
        product_id=product_id,
    )


def _best_of(
    category: str, slate: Sequence[str], item_of: Callable[[str], Item | None]
) -> Item | None:
    """The slate's first item of the category, else its first of the department; None without."""
    near = None
    for item in filter(None, map(item_of, slate)):
        if item.category == category:
            return item
        if near is None and department(item.category) == department(category):
            near = item
    return near
