"""The banner speaks of the cart, else of the search, else of the strongest category, else to
anybody.
"""

from __future__ import annotations

from pipeline.core.catalog import Item
from pipeline.core.profile import UserProfile
from tests.vertex.api.fakes import event, item, visitor
from vertex.api.banner import WELCOME, Banner, choose_banner

ITEMS = {f"p{index}": item(index) for index in range(8)}


def banner(profile: UserProfile, slate: tuple[str, ...] = ("p1", "p2", "p3", "p4")) -> Banner:
    return choose_banner(profile, slate, ITEMS.get)


def test_an_unknown_visitor_is_welcomed() -> None:
    assert banner(UserProfile()) == WELCOME


def test_a_category_points_to_the_best_item_of_it_on_the_slate() -> None:
    profile = visitor(event("view_product", "p6"), items=ITEMS.values())

    assert banner(profile) == Banner("category:c2", "More in c2", "Product 2", "c2", "p2")


def test_a_dotted_category_is_said_in_words() -> None:
    profile = visitor(event("view_product", "x", metadata={"category": "electronics.home_audio"}))

    assert banner(profile).headline == "More in home audio"


def test_a_cart_left_behind_comes_first_until_it_is_bought() -> None:
    carted = [event("add_to_cart", "p5", 60), event("search", ago_s=1, metadata={"query": "lamp"})]

    assert banner(visitor(*carted, items=ITEMS.values())).product_id == "p5"
    bought = visitor(*carted, event("purchase", "p5", 0), items=ITEMS.values())
    assert not banner(bought).id.startswith("cart")


def test_the_category_that_was_just_bought_from_gives_way_to_the_next() -> None:
    looked = [
        event("view_product", "p6", 90),
        *(event("view_product", "p5", 80 - n) for n in (1, 2)),
    ]
    carted = [event("add_to_cart", "p5", 60)]
    bought = visitor(*looked, *carted, event("purchase", "p5", 0), items=ITEMS.values())

    assert banner(bought).category == "c2"
    alone = visitor(*carted, event("purchase", "p5", 0), items=ITEMS.values())
    assert banner(alone) == WELCOME


def test_the_cart_is_spoken_of_without_naming_what_is_in_it() -> None:
    one = visitor(event("add_to_cart", "p5", 60), items=ITEMS.values())
    two = visitor(
        event("add_to_cart", "p5", 60), event("add_to_cart", "p6", 50), items=ITEMS.values()
    )

    assert banner(one).text == "An item is waiting for you."
    assert banner(two).text == "2 items are waiting for you."


def test_what_is_out_of_stock_is_not_offered_from_the_cart() -> None:
    gone = Item("p5", in_stock=False)
    profile = visitor(event("add_to_cart", "p5"))

    assert choose_banner(profile, (), lambda item_id: gone) == WELCOME


def test_a_search_counts_until_an_item_was_looked_at() -> None:
    searched = event("search", ago_s=5, metadata={"query": "lamp"})

    assert banner(visitor(searched)).headline == "Looking for lamp?"
    assert (
        banner(visitor(searched, event("view_product", "p1", 1), items=ITEMS.values())).category
        == "c1"
    )
