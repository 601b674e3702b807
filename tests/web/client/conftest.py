"""A collector with one site, and the client's wheel, unpacked as pip installs it."""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from flit_core.wheel import make_wheel_in

from tests.functions.pubsub import Topics
from tests.stack import Stack
from tests.stack.ports import free_ports
from tests.stack.prerequisites import REPO

SERVER_KEY = "server-key-1"
SITES = {"shop": {"write_keys": {"server": [SERVER_KEY]}}}


@pytest.fixture(scope="session")
def collector() -> Iterator[Stack]:
    """Collector and Pub/Sub emulator. A test that kills one starts it again."""
    env = {"FRESHET_SITES": json.dumps(SITES), "FRESHET_BACKFILL_KEY": "a key for the past"}
    parts = ("pubsub", "collector")
    with Stack(f"test-client-{os.getpid()}", free_ports(), parts, env) as stack:
        yield stack
        stack.check()
    shutil.rmtree(stack.folder)


@pytest.fixture
def url(collector: Stack) -> str:
    """The collector's address."""
    return collector.env["FRESHET_COLLECTOR_URL"]


@pytest.fixture
def topics(collector: Stack) -> Iterator[Topics]:
    """The messages that arrive during the test."""
    with Topics(collector.env) as topics:
        yield topics


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's wheel, built from the source."""
    folder = tmp_path_factory.mktemp("wheel")
    built = make_wheel_in(REPO / "web" / "client" / "pyproject.toml", folder)
    return Path(built.file)


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python that has the wheel and PyPI's packages, run with `-S`, and
    nothing of ours.
    """
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    packages = sysconfig.get_path("purelib")
    return {"PYTHONPATH": os.pathsep.join([str(folder), packages])}
