"""The likelihood of a purchase grows with every step towards it."""

from __future__ import annotations

from pipeline.core.features.conversion import conversion_likelihood
from tests.pipeline.core.features.stories import HATS, SHOES, touch
from tests.pipeline.core.streams import START_MS, profile_of


def test_the_likelihood_of_a_purchase_moves_with_every_step_towards_it() -> None:
    steps = [
        touch(SHOES),
        touch(HATS, at_s=1),
        touch(SHOES, at_s=2),
        touch(SHOES, "add_to_cart", 3),
    ]
    chances = [conversion_likelihood(profile_of(steps[:n]), START_MS + 3000) for n in range(5)]
    assert chances == sorted(chances) and chances[0] == 0 and len(set(chances)) == 5
    left = profile_of([*steps, touch(SHOES, "remove_from_cart", 4)])
    assert conversion_likelihood(left, START_MS + 4000) < chances[-1]
