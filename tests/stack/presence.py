"""Whether a stack is up, who holds it, and how to end it: what `status` and `down` need.

The process that started a stack holds a file lock for as long as the stack is up; the system lets
go of it when that process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.stack.environment import stack_folder
from tests.stack.ports import HOST

WHAT = {
    "pubsub": "Pub/Sub emulator",
    "bigtable": "Bigtable emulator",
    "bigquery": "local BigQuery",
    "collector": "takes events: POST /v1/events",
    "pipeline": "Beam, on the DirectRunner",
    "dead_letters": "Beam: what was rejected, to BigQuery",
    "predictor": "the model, on Vertex AI's routes",
    "api": "answers: POST /v1/recommendations",
    "store": "the demo shop: open this one",
}


class StackError(RuntimeError):
    """The stack cannot start or did not stay up; the message says what, and the way out."""


class Silent(StackError):
    """A part did not answer in time; the message says what came instead."""


def lock_file(name: str) -> Path:
    """The file that the holder of the stack keeps locked."""
    return stack_folder(name) / "lock"


def is_up(name: str) -> bool:
    """Whether somebody holds the stack of this name."""
    path = lock_file(name)
    if not path.exists():
        return False
    with path.open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def shut_down(name: str, timeout_s: float = 40.0) -> bool:
    """Tells the holder of the stack to stop it and waits until it has. False when no such stack is
    up.

    Raises StackError when it is still up after `timeout_s` seconds although its holder was killed.
    """
    if not is_up(name):
        return False
    pid = int(_state(name)["pid"])
    for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not is_up(name):
                return True
            time.sleep(0.1)
    raise StackError(f"the stack {name!r}, held by process {pid}, does not stop")


def processes(name: str) -> dict[str, int]:
    """part -> process id of a stack that is up."""
    return dict(_state(name)["processes"])


def _state(name: str) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(
        (stack_folder(name) / "state.json").read_text(encoding="utf-8")
    )
    return state


def describe(env: Mapping[str, str], pids: Mapping[str, int]) -> str:
    """What runs where, a line a process."""
    return "\n".join(
        f"  {part:<12} {_address(part, env):<24} {WHAT[part]:<36} pid {pid}"
        for part, pid in pids.items()
    )


def _address(part: str, env: Mapping[str, str]) -> str:
    addresses = {
        "pubsub": env["PUBSUB_EMULATOR_HOST"],
        "bigtable": env["BIGTABLE_EMULATOR_HOST"],
        "bigquery": env["BIGQUERY_EMULATOR_HOST"],
        "collector": env["FRESHET_COLLECTOR_URL"],
        "pipeline": "-",
        "dead_letters": "-",
        "predictor": f"http://{env['FRESHET_VERTEX_HOST']}",
        "api": env["FRESHET_API_URL"],
        "store": env["FRESHET_STORE_URL"].replace(HOST, "localhost"),
    }
    return addresses[part]
