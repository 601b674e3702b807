"""Search suggestions over 100,000 titles: latency, memory and building, beside F in the same run.

F is one bare Bigtable `read_row` and one bare `rawPredict` of 200 rows, one after the other,
through the same clients. The suggestions are answered in this process, by the API's route.
`python -m tests.bench.suggest`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import time
import tracemalloc
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.features.ranking import FEATURE_NAMES
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import ItemRow, ItemStats
from pipeline.core.privacy.policy import Privacy
from pipeline.core.queries import TopQueries, TopQuery
from pipeline.runtime.clock import now_ms
from pipeline.store.serving import AsyncStore
from tests.bench.api import bare_store, quantile
from tests.bench.rows import Row, row
from tests.stack import Stack, running_stack
from vertex.api.contract import SuggestRequest
from vertex.api.endpoint import Endpoint
from vertex.api.items import ItemCache
from vertex.api.suggest.refresh import Suggestions
from vertex.api.suggest.route import SuggestRoute
from vertex.api.visitor import Visitors

TITLES, WORDS, QUERIES = 100_000, 30_000, 4_000
ASKED, ROUNDS, WARM_UP = 1_000, 10, 100
TYPOS, SHARE_OF_TWO_WORDS = 0.3, 0.4
TARGET_IN_F = 2.0

_CONSONANTS, _VOWELS = "bcdfghklmnprst", ("a", "e", "i", "o", "u", "an", "er", "in")


class Texts:
    """Titles of three to seven made-up words, as frequent as words are (Zipf), and what is typed to
    find them.
    """

    def __init__(self, seed: int = 5) -> None:
        self._random = random.Random(seed)
        syllables = [first + rest for first in _CONSONANTS for rest in _VOWELS]
        self._words = [
            "".join(self._random.choices(syllables, k=self._random.randint(2, 4)))
            for _ in range(WORDS)
        ]
        self._weights = list(accumulate(1 / (place + 10) for place in range(WORDS)))

    def title(self, least: int = 3, most: int = 7) -> str:
        """Some words."""
        size = self._random.randint(least, most)
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=size))

    def typed(self, title: str) -> str:
        """The beginning of one or two of the title's words, 30 % of them with letters swapped."""
        words = title.split()
        size = 2 if self._random.random() < SHARE_OF_TWO_WORDS else 1
        text = " ".join(self._random.sample(words, min(size, len(words))))
        text = text[: self._random.randint(1, len(text))]
        if self._random.random() < TYPOS and len(text) > 4:
            at = self._random.randrange(1, len(text) - 1)
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        return text


class OneReader:
    """Answers with these queries, and knows no visitor."""

    def __init__(self, top: TopQueries) -> None:
        self._top = top

    async def top_queries(self) -> TopQueries:
        return self._top


def run() -> list[Row]:
    """Measure, and return the rows of the bench report."""
    with running_stack("bench-suggest", parts=("bigtable", "predictor")) as stack:
        return asyncio.run(_measure(stack))


async def _measure(stack: Stack) -> list[Row]:
    texts = Texts()
    items = [
        Item(f"p{n}", texts.title(), f"department{n % 6}.c{n % 40}", f"brand {n % 500}", 10.0)
        for n in range(TITLES)
    ]
    columns, now = ItemColumns(), now_ms()
    for item in items:
        columns.put(ItemRow(item, ItemStats()))
    suggestions, built = await _built(columns, texts, now)
    typed = [texts.typed(items[random.randrange(TITLES)].title) for _ in range(ASKED + WARM_UP)]
    visitors = Visitors(OneReader(TopQueries()), ItemCache(OneReader(TopQueries()), 1))  # type: ignore[arg-type]
    route = SuggestRoute(suggestions, visitors, Privacy(), shows_profiles=False)
    for text in typed[ASKED:]:
        await route.answer(SuggestRequest(q=text), None)
    async with bare_store(stack) as store, contextlib.aclosing(_endpoint(stack)) as endpoint:
        answers, floors = await _in_turns(route, typed[:ASKED], store, endpoint)
    floor_ms = {share: quantile(floors, share) for share in (0.5, 0.99)}
    return [
        *(
            row(
                f"suggest_100k_titles_{name}",
                quantile(answers, share),
                "ms",
                TARGET_IN_F * floor_ms[share] if share == 0.5 else None,
                "F: one bare read_row and one bare rawPredict",
                floor_ms[share],
            )
            for name, share in (("p50", 0.5), ("p99", 0.99))
        ),
        *built,
    ]


async def _built(columns: ItemColumns, texts: Texts, now: int) -> tuple[Suggestions, list[Row]]:
    """The suggestions, and what building them took: processor time, memory, the longest pause."""
    most = now / (3 * 86_400_000)
    top = TopQueries(now)
    for n in range(QUERIES):
        top.note(texts.title(1, 3), TopQuery(1, most - n / 400, 0.05, 0.4))
    reader = OneReader(top)
    gc.collect()
    tracemalloc.start()
    traced = Suggestions(reader, lambda: columns)
    await traced.refresh()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del traced
    suggestions = Suggestions(reader, lambda: columns)
    began, pauses = time.process_time(), _Pauses()
    pausing = asyncio.create_task(pauses.measure())
    await suggestions.refresh()
    built_s = time.process_time() - began
    began = time.process_time()
    await suggestions.refresh()
    again_s = time.process_time() - began
    pausing.cancel()
    return suggestions, [
        row("suggest_bytes_a_title", held / TITLES, "bytes", 200.0),
        row("suggest_build_100k_titles", built_s, "s of processor time"),
        row("suggest_look_for_changes_100k_titles", again_s, "s of processor time"),
        row("suggest_build_pause_p99", quantile(pauses.ms, 0.99), "ms of processor time"),
        row("suggest_build_pause_longest", max(pauses.ms), "ms of processor time"),
    ]


class _Pauses:
    """How long the event loop is away, in processor time: others use the machine, too."""

    def __init__(self) -> None:
        self.ms = [0.0]

    async def measure(self) -> None:
        """Measure until cancelled."""
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            self.ms.append((time.thread_time() - began) * 1000)


async def _in_turns(
    route: SuggestRoute, typed: Sequence[str], store: AsyncStore, endpoint: Endpoint
) -> tuple[list[float], list[float]]:
    """Milliseconds of answers and of F, in alternating rounds, so that what else the machine does
    meets both.
    """
    matrix = np.zeros((200, len(FEATURE_NAMES)), np.float32)
    answers, floors = [], []
    for start in range(0, len(typed), len(typed) // ROUNDS):
        for text in typed[start : start + len(typed) // ROUNDS]:
            began = time.perf_counter()
            await route.answer(SuggestRequest(q=text), None)
            answers.append((time.perf_counter() - began) * 1000)
        for _ in range(len(typed) // ROUNDS):
            began = time.perf_counter()
            await store.read_profile("u#nobody")
            await endpoint.predict(matrix)
            floors.append((time.perf_counter() - began) * 1000)
    return answers, floors


def _endpoint(stack: Stack) -> Endpoint:
    return Endpoint(stack.env["FRESHET_VERTEX_ENDPOINT"], stack.env["FRESHET_VERTEX_HOST"], 1.0)


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
