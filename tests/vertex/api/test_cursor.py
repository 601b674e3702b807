"""The cursor of a feed: what it keeps, its end, and texts that are none."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.item_tapes import item_hash
from vertex.api.cursor import (
    MAX_CURSOR_LENGTH,
    MAX_FEED,
    NOTHING_SHOWN,
    next_cursor,
    read_cursor,
)


@given(st.lists(st.lists(st.text(min_size=1), min_size=1, max_size=20), min_size=1, max_size=8))
def test_a_cursor_holds_the_items_of_all_pages_before_it(pages: list[list[str]]) -> None:
    shown = NOTHING_SHOWN
    for ids in pages:
        cursor = next_cursor(shown, ids)
        assert cursor is not None
        shown = read_cursor(cursor)
    assert shown.tolist() == [item_hash(item_id) for ids in pages for item_id in ids]


def test_a_feed_ends_at_its_bound_and_after_an_empty_page() -> None:
    full = np.arange(MAX_FEED - 1, dtype=np.uint32)
    last = next_cursor(full, ["a"])
    assert last is not None
    assert len(last) <= MAX_CURSOR_LENGTH
    assert next_cursor(read_cursor(last), ["b"]) is None
    assert next_cursor(NOTHING_SHOWN, []) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no cursor",
        "ä",
        "AAAA",
        urlsafe_b64encode(b"\x02" + bytes(4)).decode(),
        urlsafe_b64encode(b"\x01" + bytes(3)).decode(),
        urlsafe_b64encode(b"\x01" + bytes(4 * MAX_FEED + 4)).decode(),
    ],
)
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no cursor"):
        read_cursor(text)
