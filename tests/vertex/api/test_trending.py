"""Trending items in memory: fresh where they are asked for, as last known without Bigtable."""

from __future__ import annotations

from pipeline.store.layout import GLOBAL_SCOPE
from tests.vertex.api.fakes import Clock, FakeReader, trending_of
from vertex.api.trending import TRENDING_RETRY_S, TrendingCache


class TestTrending:
    def setup_method(self) -> None:
        self.clock = Clock()
        self.reader = FakeReader()
        self.reader.scopes[GLOBAL_SCOPE] = trending_of("p1", "p2")
        self.cache = TrendingCache(self.reader, self.clock)

    async def top(self) -> list[str]:
        return list((await self.cache.top([GLOBAL_SCOPE]))[GLOBAL_SCOPE])

    async def test_scores_are_shares_of_the_most_popular(self) -> None:
        assert (await self.cache.top([GLOBAL_SCOPE]))[GLOBAL_SCOPE] == {"p1": 1.0, "p2": 0.5}

    async def test_within_a_second_nothing_is_read_again(self) -> None:
        await self.top()
        self.clock.now += 0.9
        await self.top()

        assert self.reader.read == [GLOBAL_SCOPE]

    async def test_a_stale_answer_is_given_while_the_new_one_is_read(self) -> None:
        await self.top()
        self.reader.scopes[GLOBAL_SCOPE] = trending_of("p9")
        self.clock.now += 2.0

        assert await self.top() == ["p1", "p2"]
        self.clock.now += 11.0
        assert await self.top() == ["p9"]

    async def test_a_scope_that_could_not_be_read_is_waited_for_again_only_after_some_seconds(
        self,
    ) -> None:
        self.reader.is_up = False
        assert await self.top() == []
        self.reader.is_up = True

        self.clock.now += TRENDING_RETRY_S - 0.1
        assert await self.top() == []
        assert self.reader.read == []
        self.clock.now += 0.1
        assert await self.top() == ["p1", "p2"]

    async def test_without_bigtable_it_is_what_was_last_known_or_nothing(self) -> None:
        await self.top()
        self.reader.is_up = False
        self.clock.now += 100.0

        assert await self.top() == ["p1", "p2"]
        assert await self.cache.top(["category#none"]) == {"category#none": {}}
