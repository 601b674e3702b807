"""Item vectors from sessions."""

from __future__ import annotations

import numpy as np

from tests.vertex import planted
from vertex.data.sequences import session_items
from vertex.models import item2vec


def test_items_viewed_together_lie_close_together() -> None:
    vectors = item2vec.fit(session_items(planted.views_of_pairs()), seed=7)
    together = [float(vectors[f"p{n}"] @ vectors[f"p{n + 1}"]) for n in range(0, 60, 2)]
    apart = [float(vectors[f"p{n}"] @ vectors[f"p{(n + 30) % 60}"]) for n in range(0, 60, 2)]
    assert np.mean(together) > np.mean(apart) + 0.1


def test_the_same_log_and_seed_give_the_same_vectors() -> None:
    sessions = session_items(planted.views_of_pairs(60))
    first, second = item2vec.fit(sessions, seed=7), item2vec.fit(sessions, seed=7)
    assert list(first) == list(second)
    np.testing.assert_array_equal(first.rows, second.rows)


def test_nothing_to_learn_gives_an_empty_index() -> None:
    assert len(item2vec.fit([], seed=7)) == 0
