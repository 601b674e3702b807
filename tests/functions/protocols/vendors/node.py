"""A vendor's SDK for Node, run as its back end would: the SDK is real, and so is the collector it
talks to.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import msgspec

from tests.functions.protocols.vendors.pages import NODE_MODULES

DEADLINE_S = 30.0


class Ran(msgspec.Struct, frozen=True):
    """What a script came to.

    Attributes:
        status: 0 where Node ended by itself.
        told: what it wrote to its standard output, each line of it JSON.
        errors: its standard error.
    """

    status: int
    told: list[Any]
    errors: str


def run_node(script: str, *arguments: str) -> Ran:
    """Run a script that may require the SDKs and tell its findings by `tell(...)`.

    Args:
        script: JavaScript; `process.argv.slice(1)` are the arguments.
        arguments: e.g. the collector's address and a key.
    """
    tell = "const tell = (found) => process.stdout.write(JSON.stringify(found) + '\\n');"
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = ["node", "-e", f"{tell}\n{script}", *arguments]
    done = subprocess.run(
        command,
        cwd=NODE_MODULES.parent,
        env=env,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return Ran(
        done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr
    )
