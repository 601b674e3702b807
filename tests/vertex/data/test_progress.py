"""Progress of training: what, how many, of how many, every few seconds."""

from __future__ import annotations

from vertex.data.progress import told


def test_a_long_loop_tells_how_far_it_is_every_few_seconds_and_a_short_one_only_what_it_does() -> (
    None
):
    now_s, lines = [0.0], list[str]()

    def seconds_each(items: int, seconds: float) -> list[str]:
        lines.clear()
        for _ in told(range(items), items, "slates", lines.append, clock=lambda: now_s[0]):
            now_s[0] += seconds
        return [*lines]

    assert seconds_each(1_150, 1 / 128) == [f"slates: {done} of 1,150" for done in (0, 384, 768)]
    assert seconds_each(3, 2.0) == ["slates: 0 of 3", "slates: 2 of 3"]
    assert seconds_each(20, 1 / 128) == ["slates: 0 of 20"]


def test_the_loop_gets_every_item_once_in_order() -> None:
    assert list(told(iter("abc"), 3, "letters", lambda line: None)) == ["a", "b", "c"]
