"""The index of words: what is found, in any history of changes, with a mistake, and how."""

from __future__ import annotations

from collections.abc import Generator
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.core.streams import laws, randoms
from vertex.api.suggest.index import WordIndex
from vertex.api.suggest.segment import Entry, Segment
from vertex.api.suggest.words import MAX_WORD_LENGTH, words_of

WORDS = ["lamp", "lampshade", "desk", "red", "brass", "café", "sofa", "rtx4090", "b&w", "Ünder"]


def done(work: Generator[None, None, Any]) -> Any:
    """Do all of the work at once, and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def index_of(*entries: Entry) -> WordIndex:
    index = WordIndex()
    done(index.put(entries))
    return index


def keys(index: WordIndex, typed: str, limit: int = 20) -> list[str]:
    return [match.key for match in index.find(words_of(typed), limit)]


def titled(*titles: str) -> WordIndex:
    """Entries whose key is their title, the first the most wanted."""
    return index_of(
        *(Entry(title, title, rank=0.9 - place / 100) for place, title in enumerate(titles))
    )


@laws
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), max_size=30), randoms())
def test_every_beginning_of_a_word_finds_its_title_through_any_changes(
    titles: list[list[str]], random: Random
) -> None:
    index, held = WordIndex(), dict[str, str]()
    for words in titles:
        key = f"k{random.randrange(10)}"
        if random.random() < 0.2:
            index.remove([key])
            held.pop(key, None)
        else:
            held[key] = " ".join(words)
            done(index.put([Entry(key, held[key])]))
    assert len(index) == len(held)
    for key, title in held.items():
        word = random.choice(words_of(title))
        assert key in keys(index, word[: random.randint(1, len(word))], 20)
    assert set(keys(index, "", 50)) == set(held)
    found = [match.text for match in index.find([], 50)]
    assert sorted(found) == sorted(held.values())


@laws
@given(st.lists(st.text(max_size=40), max_size=20))
def test_any_text_can_be_put_in_and_is_given_back_as_it_was(texts: list[str]) -> None:
    index = index_of(*(Entry(str(n), text) for n, text in enumerate(texts)))
    assert [match.text for match in index.find([], 50)] == sorted(texts)
    for n, text in enumerate(texts):
        for word in words_of(text)[:2]:
            assert str(n) in keys(index, word, 50)


def test_all_words_have_to_fit_in_any_order() -> None:
    index = titled("Red desk lamp", "Red sofa", "Desk")
    assert keys(index, "la re") == ["Red desk lamp"]
    assert keys(index, "desk") == ["Red desk lamp", "Desk"]
    assert keys(index, "sofa lamp") == []


def test_case_and_accents_make_no_difference() -> None:
    index = titled("Café CRÈME")
    assert keys(index, "cafe cr") == keys(index, "CAFÉ") == ["Café CRÈME"]


def test_the_most_wanted_come_first_and_a_rank_can_change() -> None:
    index = titled("Lamp one", "Lamp two", "Lamp three")
    assert keys(index, "lamp", 2) == ["Lamp one", "Lamp two"]
    assert index.rank("Lamp three", 1.0) and not index.rank("Lamp four", 1.0)
    assert keys(index, "lamp", 2) == ["Lamp three", "Lamp one"]


def test_a_title_that_changes_is_found_by_its_new_words_alone() -> None:
    index = titled("Lamp")
    done(index.put([Entry("Lamp", "Sofa")]))
    assert (keys(index, "lamp"), keys(index, "sofa"), len(index)) == ([], ["Lamp"], 1)


def test_more_words_find_an_entry_that_does_not_show_them() -> None:
    [match] = index_of(Entry("k", "Desk lamp", also="Oakmere")).find(["oak", "lamp"], 5)
    assert match.text == "Desk lamp"


# mistakes


@pytest.mark.parametrize(
    "typed",
    ["snaekers", "sneekers", "sneaers", "sneakkers", "zneakers", "neakers", "snaek", "sneax"],
)
def test_one_mistake_in_a_word_or_its_beginning_is_forgiven(typed: str) -> None:
    index = titled("Red sneakers", "Red sofa")
    [match] = index.find(words_of(typed), 5)
    assert (match.key, match.typo) == ("Red sneakers", True)
    assert keys(index, f"red {typed}") == ["Red sneakers"]


@pytest.mark.parametrize("typed", ["xxeakers", "sofx s", "sof x", "rxd"])
def test_two_mistakes_and_mistakes_in_short_words_are_not(typed: str) -> None:
    assert keys(titled("Red sneakers"), typed) == []


def test_what_was_typed_right_comes_before_what_may_have_been_meant() -> None:
    index = index_of(Entry("camp", "camp bed", rank=1.0), Entry("lamp", "lamp", rank=0.1))
    assert keys(index, "lamp") == ["lamp", "camp"]


@laws
@given(st.sampled_from(["sneakers", "headphones", "lampshade"]), randoms())
def test_a_word_with_any_one_mistake_is_found(word: str, random: Random) -> None:
    place = random.randrange(len(word))
    swapped = word[:place] + word[place + 1 : place + 2] + word[place] + word[place + 2 :]
    wrong = random.choice(
        [word[:place] + word[place + 1 :], word[:place] + "e" + word[place:], swapped]
    )
    assert keys(titled("sneakers", "headphones", "lampshade"), wrong) == [word]


# bounds


def test_changes_one_by_one_leave_few_segments_and_building_goes_in_slices() -> None:
    index = WordIndex()
    for n in range(300):
        done(index.put([Entry(f"k{n}", f"lamp {n}")]))
    assert len(index) == 300 and index.segments <= 6
    for n in range(300):
        index.remove([f"k{n}"])
    done(index.put([Entry("last", "lamp")]))
    assert keys(index, "lamp", 50) == ["last"] and index.segments == 1
    slices = sum(1 for _ in Segment([Entry(str(n), f"lamp {n}") for n in range(5_000)]).build())
    assert slices > 50


def test_a_very_long_word_is_found_by_its_beginning() -> None:
    assert keys(titled("x" * 500), "x" * MAX_WORD_LENGTH) == ["x" * 500]
