"""Probes: they measure from the collector's answer, and what never comes is counted as lost."""

from __future__ import annotations

from tests.simulator import catalog
from tests.simulator.client import Client
from tests.simulator.fakes import FakeFreshet, serving
from tests.simulator.freshness import Freshness, Prober
from tests.simulator.shoppers import World

WORLD = World(catalog.generate(400))


async def probe(fake: FakeFreshet, seconds: float = 1.0, timeout_s: float = 5.0) -> Freshness:
    async with serving(fake), Client(fake.url, fake.url) as client:
        return await Prober(client, WORLD, run="t", every_s=0.05, timeout_s=timeout_s).run(seconds)


async def test_a_pipeline_of_200_ms_is_measured_as_such() -> None:
    found = await probe(FakeFreshet(WORLD.products, delay_s=0.2))
    assert found.probes >= 2 and found.lost == found.failed == 0
    assert len(found.profile_ms) == len(found.recommendation_ms) == found.probes
    assert min(found.profile_ms) > 190 and min(found.profile_ms) < 400
    assert all(r >= p for p, r in zip(found.profile_ms, found.recommendation_ms, strict=True))


async def test_the_api_is_not_told_of_the_probes_view() -> None:
    fake = FakeFreshet(WORLD.products, delay_s=0.05)
    await probe(fake)
    assert all(question["events"] == [] for question in fake.questions)


async def test_a_view_that_never_arrives_is_lost_and_not_left_out() -> None:
    found = await probe(FakeFreshet(WORLD.products, delay_s=60), seconds=0.5, timeout_s=0.2)
    assert found.lost == found.probes > 0 and not found.profile_ms
    assert found.report()["freshness_lost"] == found.lost
    assert found.report()["freshness_profile_ms"]["p50"] is None


async def test_a_recommendation_that_does_not_change_is_lost_though_the_profile_did() -> None:
    found = await probe(FakeFreshet(WORLD.products, blind=True), seconds=0.5, timeout_s=0.2)
    assert found.lost == found.probes > 0
    assert len(found.profile_ms) == found.probes and not found.recommendation_ms
