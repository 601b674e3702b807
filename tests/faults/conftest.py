"""Two stacks of applications to hurt: one on the session's emulators, one on emulators that may be
stopped.

apps    pipeline, collector and dead letters, none running yet, on the session's emulators in fresh
        names
island  emulators of its own, running, and a pipeline, not running yet, in fresh names
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.stack import EMULATORS, Stack
from tests.stack.bootstrap import NAMES, empty_warehouse, fresh_names
from tests.stack.ports import free_ports


@pytest.fixture
def apps(
    warehouse: dict[str, str], emulator_stack: Stack, request: pytest.FixtureRequest
) -> Iterator[Stack]:
    """Applications that the test starts, on the session's emulators.

    What still runs at the end must not have died.
    """
    shared = {part: getattr(emulator_stack.ports, part) for part in (*EMULATORS, "bigquery_grpc")}
    parts, names = (
        ("collector", "pipeline", "dead_letters"),
        {name: warehouse[name] for name in NAMES},
    )
    stack = Stack(f"faults-{os.getpid()}", replace(free_ports(), **shared), parts, names)
    failed = request.session.testsfailed
    try:
        stack.prepare()
        yield stack
        stack.check()
    finally:
        stack.stop()
    if request.session.testsfailed == failed:
        shutil.rmtree(stack.folder)


@pytest.fixture(scope="session")
def island_emulators(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Emulators that no other test needs."""
    stack = Stack(f"island-{os.getpid()}", free_ports(), (*EMULATORS, "pipeline"))
    try:
        stack.prepare()
        stack.start_parts(EMULATORS)
        yield stack
        stack.check()
    finally:
        stack.stop()
    if request.session.testsfailed == 0:
        shutil.rmtree(stack.folder)


@pytest.fixture
def island(island_emulators: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The same with names that nobody has used, also in this process' environment; the pipeline
    ends with the test.
    """
    stack = island_emulators
    dataset = stack.env["FRESHET_DATASET"]
    stack.env = {**fresh_names(stack.env), "FRESHET_DATASET": dataset}
    stack.bootstrap({"pubsub", "bigtable"})
    empty_warehouse(stack.env)
    for name, value in stack.env.items():
        monkeypatch.setenv(name, value)
    try:
        yield stack
    finally:
        if "pipeline" in stack.processes:
            stack.stop_process("pipeline")
