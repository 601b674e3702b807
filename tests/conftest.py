"""What tests run on: the real emulators, the whole stack, a browser.

    emulators   the environment of Pub/Sub, Bigtable and BigQuery emulators on free ports; one set a
                session, also put into this process' environment, so that Google's clients find them
    fresh       the same, with topics, subscriptions and Bigtable tables of names nobody else uses
    warehouse   the same as `fresh`, with the session's one dataset, emptied: to make tables and
                views takes seconds
    stack       the emulators and all applications, in names of their own and the session's one
                dataset, emptied; `stack.env` says where they are
    chromium    path of a Chromium
    browser     that Chromium, running, for one module
    shared_data path of a file of `../shared/data`; the test is skipped where the file is not there

What the machine lacks fails the test and says how to get it.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.stack import APPS, EMULATORS, Stack
from tests.stack.ports import free_ports
from tests.stack.prerequisites import REPO, headless_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
SHARED_DATA = REPO.parent / "shared" / "data"


@pytest.fixture(scope="session")
def emulator_stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The session's one set of emulators; `stack` adds the applications to it."""
    stack = Stack(f"test-{os.getpid()}", free_ports(), (*EMULATORS, *APPS))
    try:
        stack.prepare()
        stack.start_parts(EMULATORS)
        yield stack
        stack.check()
    finally:
        stack.stop()
    if request.session.testsfailed == 0:
        shutil.rmtree(stack.folder)


@pytest.fixture(scope="session")
def emulators(emulator_stack: Stack) -> Iterator[dict[str, str]]:
    """The environment of the emulators, topics and tables made; also this process' environment
    meanwhile.
    """
    env = dict(emulator_stack.env)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        yield env


@pytest.fixture
def fresh(emulators: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment of which nobody else uses the names; also this process' environment during the
    test.
    """
    from tests.stack.bootstrap import bootstrap, fresh_names

    env = fresh_names(emulators)
    bootstrap(env, {"pubsub", "bigtable"})
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env


@pytest.fixture
def warehouse(
    fresh: dict[str, str], emulators: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """`fresh`, and its dataset holds the tables, empty, and the views."""
    from tests.stack.bootstrap import empty_warehouse

    env = {**fresh, "FRESHET_DATASET": emulators["FRESHET_DATASET"]}
    monkeypatch.setenv("FRESHET_DATASET", env["FRESHET_DATASET"])
    empty_warehouse(env)
    return env


@pytest.fixture(scope="session")
def stack(emulator_stack: Stack, emulators: dict[str, str]) -> Stack:
    """Everything, running. What a test stops or kills it starts again."""
    from tests.stack.bootstrap import empty_warehouse, fresh_names

    dataset = emulators["FRESHET_DATASET"]
    emulator_stack.env = {**fresh_names(emulators, "stack"), "FRESHET_DATASET": dataset}
    emulator_stack.bootstrap({"pubsub", "bigtable"})
    empty_warehouse(emulator_stack.env)
    emulator_stack.start_parts(APPS)
    return emulator_stack


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A Chromium or Chrome, its headless shell where it is installed; fails where there is none."""
    return headless_chromium(os.environ)


# One module's browser at a time: Playwright's event loop, while open, would stand in the way of
# async tests.
@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """Chromium, headless."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(chromium), args=CHROMIUM_ARGS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Finds a file of real data by its name; skips where it is not there."""

    def find(name: str) -> Path:
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"needs the data file {name}, which is not in ../shared/data")
        return path

    return find


def pytest_configure() -> None:
    """A Pub/Sub emulator lives for minutes here: Java's second compiler would cost more than it
    gives.
    """
    os.environ.setdefault("JAVA_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The whole stack takes both cores: the tests that need it come last, the others in their
    order.

    Where workers share the files, those of few tests come first: they run processes and take long,
    and at the end the many short tests of the others even the workers out.
    """
    items.sort(key=lambda item: "stack" in getattr(item, "fixturenames", ()))
    if hasattr(config, "workerinput"):
        tests = Counter(item.path for item in items)
        items.sort(key=lambda item: (tests[item.path], item.path))
