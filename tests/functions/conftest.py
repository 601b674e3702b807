"""A collector process of the tests' own, with a Pub/Sub emulator that they may kill."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator

import httpx
import pytest

from tests.functions.pubsub import Topics
from tests.stack import Stack
from tests.stack.ports import free_ports

DEADLINE_S = 2.0
BACKFILL_KEY = "open sesame"
ADDRESS_KEY = "a secret of the tests"
ORIGIN = "https://shop.example"


@pytest.fixture(scope="session")
def collector_stack() -> Iterator[Stack]:
    """Pub/Sub emulator and collector. What a test kills it starts again."""
    env = {
        "FRESHET_BACKFILL_KEY": BACKFILL_KEY,
        "FRESHET_ADDRESS_KEY": ADDRESS_KEY,
        "FRESHET_CORS_ORIGINS": f"{ORIGIN},https://app.example",
        "FRESHET_PUBLISH_DEADLINE_S": str(DEADLINE_S),
    }
    with Stack(
        f"test-collector-{os.getpid()}", free_ports(), ("pubsub", "collector"), env
    ) as stack:
        yield stack
        stack.check()
    shutil.rmtree(stack.folder)


@pytest.fixture
def topics(collector_stack: Stack) -> Iterator[Topics]:
    """The events and dead letters that arrive during the test."""
    with Topics(collector_stack.env) as topics:
        yield topics


@pytest.fixture
def client(collector_stack: Stack) -> Iterator[httpx.Client]:
    """An HTTP client of the collector."""
    url = collector_stack.env["FRESHET_COLLECTOR_URL"]
    with httpx.Client(base_url=url, trust_env=False, timeout=10.0) as client:
        yield client


BROWSER_KEY, SERVER_KEY, NEWS_KEY, SLOW_KEY = (
    "browser-key-1",
    "server-key-1",
    "news-key-1",
    "slow-key-1",
)
SITES = {
    "shop": {"write_keys": {"browser": [BROWSER_KEY], "server": [SERVER_KEY]}, "origins": [ORIGIN]},
    "news": {"write_keys": {"browser": [NEWS_KEY]}, "replay_window_s": 60},
    "slow": {"write_keys": {"browser": [SLOW_KEY]}, "requests_per_s": 0.1, "burst": 2},
}


@pytest.fixture(scope="session")
def guarded_stack() -> Iterator[Stack]:
    """A collector with sites and write keys, and its Pub/Sub emulator."""
    env = {
        "FRESHET_SITES": json.dumps(SITES),
        "FRESHET_ADDRESS_KEY": ADDRESS_KEY,
        "FRESHET_BACKFILL_KEY": BACKFILL_KEY,
        "FRESHET_CORS_ORIGINS": "",
    }
    with Stack(f"test-guarded-{os.getpid()}", free_ports(), ("pubsub", "collector"), env) as stack:
        yield stack
        stack.check()
    shutil.rmtree(stack.folder)


@pytest.fixture
def guarded_topics(guarded_stack: Stack) -> Iterator[Topics]:
    """What arrives from the collector with write keys during the test."""
    with Topics(guarded_stack.env) as topics:
        yield topics


@pytest.fixture
def guarded(guarded_stack: Stack) -> Iterator[httpx.Client]:
    """An HTTP client of the collector with write keys."""
    url = guarded_stack.env["FRESHET_COLLECTOR_URL"]
    with httpx.Client(base_url=url, trust_env=False, timeout=10.0) as client:
        yield client
