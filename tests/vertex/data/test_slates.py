"""Slates of the log: who asked, what was shown, what was clicked."""

from __future__ import annotations

from tests.vertex.planted import event, shown
from vertex.data.replay import in_order
from vertex.data.slates import logged_slates, viewed_slates


def test_the_items_of_one_request_are_one_slate_in_the_order_they_were_shown() -> None:
    (slate,) = logged_slates(in_order(shown("r1", 0, "p3", "p1", "p2")))
    assert (slate.items, slate.positions) == (("p3", "p1", "p2"), (0, 1, 2))


def test_an_item_is_clicked_when_a_click_or_a_view_names_it_and_the_slate() -> None:
    clicks = [
        event("click", 9, product_id="p1", request_id="r1"),
        event("view_product", 9, product_id="p2", request_id="r1"),
        event("click", 9, product_id="p3", request_id="another"),
        event("view_product", 9, product_id="p3"),
        event("add_to_cart", 9, product_id="p3", request_id="r1"),
    ]
    (slate,) = logged_slates(in_order([*shown("r1", 0, "p1", "p2", "p3"), *clicks]))
    assert slate.clicked == {"p1", "p2"}


def test_a_click_that_overtook_the_impressions_dates_the_slate() -> None:
    early = event("click", 400, product_id="p1", request_id="r1")
    (slate,) = logged_slates(in_order([*shown("r1", 1_000, "p1", "p2"), early]))
    assert slate.time_ms == early.time_ms


def test_an_item_reported_twice_is_shown_once() -> None:
    (slate,) = logged_slates(in_order([*shown("r1", 0, "p1", "p2"), *shown("r1", 50, "p1")]))
    assert slate.items == ("p1", "p2")


def test_impressions_of_no_request_are_no_slate() -> None:
    assert logged_slates([event("impression", 0, product_id="p1")]) == []


def test_views_that_follow_another_in_their_session_are_questions() -> None:
    views = [
        event("view_product", at_ms, product_id=name, session_id=session)
        for at_ms, name, session in [
            (0, "p1", "s1"),
            (1, "p2", "s1"),
            (2, "p3", "s2"),
            (3, "p4", "s1"),
        ]
    ]
    assert [slate.clicked for slate in viewed_slates(in_order(views))] == [{"p2"}, {"p4"}]
