"""The planted log, in order."""

from __future__ import annotations

import pytest

from pipeline.core.events import Event
from tests.vertex import planted
from vertex.data.replay import in_order


@pytest.fixture(scope="session")
def log() -> list[Event]:
    return in_order(planted.clicks_on_cheap_things())
