"""Sequences of items: the sessions of the log."""

from __future__ import annotations

from tests.vertex.planted import event
from vertex.data.sequences import session_items


def test_sessions_keep_apart_and_impressions_are_no_interest() -> None:
    events = [
        event("view_product", 0, product_id="p1", session_id="s1"),
        event("view_product", 1, product_id="p9", session_id="s2"),
        event("impression", 2, product_id="p5", session_id="s1"),
        event("click", 3, product_id="p2", session_id="s1"),
        event("view_product", 4, product_id="p2", session_id="s1"),
    ]
    assert session_items(events) == [["p1", "p2"]]
