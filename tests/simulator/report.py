"""What the simulator's commands share: elapsed times, the machine's facts, the report file."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.stack.environment import REPO

REPORTS = REPO / "build" / "reports"


class Progress:
    """Prints lines with the seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, line: str) -> None:
        """Print one line."""
        print(f"[{time.monotonic() - self._began:6.1f} s] {line}", flush=True)


class StepFailed(RuntimeError):
    """A command that the run needs ended with an error; `code` is its exit code, the message shows
    its output.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


async def run_module(module: str, *arguments: str, env: Mapping[str, str]) -> str:
    """Run `python -m module` in the project's root with `env` added to this process' own; its
    output.

    Raises:
        StepFailed: when it exits with anything but 0.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=REPO,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace").strip()
    if process.returncode:
        message = f"python -m {module} exited with {process.returncode}:\n{text[-3000:]}"
        raise StepFailed(message, process.returncode)
    return text


def machine() -> dict[str, Any]:
    """Where the figures were taken: cores, memory, system and Python."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_gb, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def machine_line() -> str:
    """The same on one line."""
    facts = machine()
    return (
        f"{facts['cores']} cores, {facts['memory_gb']} GB, {facts['system']}, Python "
        f"{facts['python']}"
    )


def write_report(name: str, report: Mapping[str, Any], folder: Path = REPORTS) -> Path:
    """Write `<folder>/<name>.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return path


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of texts as aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *others = (
            text.ljust(widths[0]) if n == 0 else text.rjust(widths[n]) for n, text in enumerate(row)
        )
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines)
