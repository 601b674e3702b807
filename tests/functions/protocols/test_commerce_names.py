"""Shop events and product properties by the names that sites give them."""

from __future__ import annotations

from typing import Any

import pytest

from functions.protocols.commerce_facts import (
    MAX_FACTS,
    MAX_PRODUCTS,
    Fact,
    facts_of,
    kept,
    within_bounds,
    written,
)
from functions.protocols.commerce_names import event_of, named_properties, product_list_of
from functions.protocols.contract import Translated
from functions.protocols.visitor_ids import first_id
from pipeline.core.events import MAX_ID_LENGTH, MAX_NUMBER
from pipeline.core.invalid_event import InvalidEvent


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Product Viewed", "view_product"),
        ("View Product", "view_product"),
        ("viewed_item", "view_product"),
        ("Add to Cart", "add_to_cart"),
        ("ADD_TO_CART", "add_to_cart"),
        ("Product Added", "add_to_cart"),
        ("Remove from Cart", "remove_from_cart"),
        ("product-removed", "remove_from_cart"),
        ("Purchase", "purchase"),
        ("Order  Completed", "purchase"),
        ("Search", "search"),
        ("Products Searched", "search"),
        ("Page View", "page_view"),
        ("page viewed", "page_view"),
        ("$mp_web_page_view", "page_view"),
        ("$mp_click", "click"),
        ("[Amplitude] Page Viewed", "page_view"),
        ("[Amplitude] Element Clicked", "click"),
        ("[Amplitude] Viewed Product", "view_product"),
        ("Signed Up", None),
        ("", None),
        ("purchase" * 100, None),
    ],
)
def test_usual_names_are_known_whatever_their_case_and_joints(name: str, ours: str | None) -> None:
    assert event_of(name) == ours


def test_the_likeliest_property_comes_first() -> None:
    assert named_properties({"SKU": 1, "Product ID": 2, "colour": 3}) == {
        "product_id": ["Product ID", "SKU"]
    }


def test_id_and_name_mean_a_product_only_within_a_list_of_products() -> None:
    assert named_properties({"id": 1, "name": 2}) == {}
    assert named_properties({"id": 1, "name": 2}, within_a_product=True) == {
        "product_id": ["id"],
        "title": ["name"],
    }


def test_the_cart_is_what_was_bought_only_at_an_order() -> None:
    properties = {"cart": [{"sku": "a"}], "products": []}
    assert product_list_of(properties, with_cart=True) == "cart"
    assert product_list_of(properties, with_cart=False) is None


@pytest.mark.parametrize(
    ("given", "metadata"),
    [
        ({"price": "19.99"}, {"price": 19.99}),
        ({"price": -1}, {"unmapped": {"price": -1}}),
        ({"price": MAX_NUMBER}, {"price": MAX_NUMBER}),
        ({"price": 2 * MAX_NUMBER}, {"unmapped": {"price": 2 * MAX_NUMBER}}),
        ({"position": "top", "category": 7}, {"category": "7", "unmapped": {"position": "top"}}),
        ({"title": {"a": 1}}, {"unmapped": {"title": {"a": 1}}}),
        ({"variant": "red"}, {"product_variant": "red"}),
        ({"colour": None, "url": None}, {"colour": None, "url": None}),
    ],
)
def test_what_is_not_of_our_type_is_kept_beside(
    given: dict[str, Any], metadata: dict[str, Any]
) -> None:
    assert kept(given) == metadata


def test_an_event_of_one_product_takes_its_properties_by_their_usual_names() -> None:
    properties = {
        "Product ID": 17,
        "Price": "9.50",
        "qty": 2,
        "Category": "shoes",
        "Brand": "Oak",
        "size": "M",
    }
    [fact] = facts_of("Product Added", properties)
    assert (fact.event, fact.product_id) == ("add_to_cart", "17")
    assert fact.metadata == {
        "price": 9.5,
        "quantity": 2,
        "category": "shoes",
        "brand": "Oak",
        "size": "M",
    }


def test_an_order_is_a_purchase_of_each_product_and_its_own_properties_go_once() -> None:
    properties = {
        "order_id": "o1",
        "revenue": 30,
        "currency": "EUR",
        "gift": True,
        "products": [
            {"sku": "a", "price": 10, "quantity": 2},
            {"id": "b", "name": "Lamp", "variant": "oak"},
            "c",
        ],
    }
    facts = facts_of("Order Completed", properties)
    assert [(fact.event, fact.product_id) for fact in facts] == [("purchase", p) for p in "abc"]
    order = {"order_id": "o1", "order_value": 30, "currency": "EUR"}
    assert [fact.metadata for fact in facts] == [
        {**order, "gift": True, "price": 10, "quantity": 2},
        {**order, "title": "Lamp", "product_variant": "oak"},
        order,
    ]


def test_a_list_that_was_shown_is_an_impression_of_each_product_with_its_slate() -> None:
    slate = {"request_id": "r1", "placement": "home"}
    facts = facts_of(
        "Product List Viewed",
        slate | {"sorted": True, "products": [{"sku": "a", "position": 0}, "b"]},
    )
    assert [(fact.event, fact.product_id) for fact in facts] == [
        ("impression", "a"),
        ("impression", "b"),
    ]
    assert [fact.metadata for fact in facts] == [slate | {"sorted": True, "position": 0}, slate]


def test_beside_a_product_the_pages_title_has_a_name_of_its_own() -> None:
    page = {"title": "Shop"}
    named, bare = written([Fact("a", {"title": "Lamp"}, "p1"), Fact("b", {})], {}, page, "e", None)
    assert (named["metadata"], bare["metadata"]) == (
        {"title": "Lamp", "page_title": "Shop"},
        {"title": "Shop"},
    )


def test_what_the_visitor_agreed_to_goes_with_every_product() -> None:
    consent = {"analytics": True, "personalization": False}
    facts = facts_of("Purchase", {"products": ["a", "b"], "consent": consent, "gift": True})
    assert [fact.metadata for fact in facts] == [
        {"consent": consent, "gift": True},
        {"consent": consent},
    ]


def test_a_product_beside_the_whole_cart_is_what_was_added() -> None:
    facts = facts_of("Add to Cart", {"sku": "a", "items": [{"sku": "b"}, {"sku": "c"}]})
    assert [fact.product_id for fact in facts] == ["a"]


def test_several_products_may_be_added_at_once() -> None:
    facts = facts_of("Add to Cart", {"items": [{"sku": "b"}, {"sku": "c"}]})
    assert [(fact.event, fact.product_id) for fact in facts] == [
        ("add_to_cart", "b"),
        ("add_to_cart", "c"),
    ]


@pytest.mark.parametrize("product", [{"price": 1}, None, True, [], ""])
def test_a_listed_product_without_an_id_rejects_the_order(product: Any) -> None:
    with pytest.raises(InvalidEvent) as error:
        facts_of("Purchase", {"products": ["a", product]})
    assert error.value.field == "products[1]"


def test_a_hundred_products_are_an_order_and_one_more_is_not() -> None:
    assert len(facts_of("Purchase", {"products": [1] * MAX_PRODUCTS})) == MAX_PRODUCTS
    with pytest.raises(InvalidEvent):
        facts_of("Purchase", {"products": [1] * (MAX_PRODUCTS + 1)})


def test_a_product_event_without_a_product_keeps_its_own_name_unless_it_is_ours() -> None:
    assert [fact.event for fact in facts_of("Purchase", {"Amount": 5})] == ["Purchase"]
    assert [fact.event for fact in facts_of("purchase", {"Amount": 5})] == [
        "purchase_without_product"
    ]
    assert [fact.event for fact in facts_of("impression", {})] == ["impression_without_product"]


def test_a_search_has_its_query_and_a_custom_event_its_product() -> None:
    [search] = facts_of("Products Searched", {"Search Term": "oak lamp", "results": 7})
    assert (search.event, search.metadata) == ("search", {"query": "oak lamp", "results": 7})
    [custom] = facts_of("Wishlist Added", {"product_id": 5, "list": "mine"})
    assert (custom.event, custom.product_id, custom.metadata) == (
        "Wishlist Added",
        "5",
        {"list": "mine"},
    )


def test_several_facts_of_an_event_are_numbered_and_the_same_when_it_comes_again() -> None:
    facts = facts_of("Purchase", {"products": ["a", "a"]})
    ids = [fact["event_id"] for fact in written(facts, {}, {}, "e1", None)]
    assert ids == ["e1:0", "e1:1"]
    derived = [fact["event_id"] for fact in written(facts, {}, {}, None, {"some": "source"})]
    assert derived == [
        fact["event_id"] for fact in written(facts, {}, {}, None, {"some": "source"})
    ]
    assert len({*derived}) == 2
    longest = [fact["event_id"] for fact in written(facts, {}, {}, "x" * MAX_ID_LENGTH, None)]
    assert len({*longest}) == 2
    assert max(map(len, longest)) <= MAX_ID_LENGTH


def test_a_request_of_more_products_than_allowed_has_to_be_split() -> None:
    fifty = Translated(None, [{}] * 50)
    assert len([*within_bounds([fifty] * (MAX_FACTS // 50))]) == MAX_FACTS // 50
    with pytest.raises(InvalidEvent) as error:
        [*within_bounds([fifty] * (MAX_FACTS // 50 + 1))]
    assert error.value.field == "events"
    assert error.value.reason.startswith("expected at most")  # which the collector answers with 413


@pytest.mark.parametrize(
    "nobody", ["", " ", None, 0, "undefined", "NULL", "00000000-0000-0000-0000-000000000000", {}]
)
def test_what_stands_for_no_id_is_nobody(nobody: Any) -> None:
    assert first_id(nobody) is None
    assert first_id(nobody, "anna") == "anna"
