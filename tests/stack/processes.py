"""Starts and stops one process of the stack with everything that it started in turn."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from honcho.environ import parse_procfile
from honcho.process import Popen

from tests.stack.environment import REPO

GRACE_S = 10.0  # a server takes up to 8 s to end
TAIL_LINES = 25


def procfile() -> dict[str, str]:
    """name -> command of the Procfile, in its order."""
    return dict(parse_procfile((REPO / "Procfile").read_text(encoding="utf-8")).processes)


class Reaper:
    """Kills what is left should this process be killed without a chance to clean up.

    A small process of its own (`reaper.py`) reads from a pipe which groups run; when the pipe
    closes because its writer is gone, it kills them.
    """

    def __init__(self) -> None:
        program = str(Path(__file__).with_name("reaper.py"))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", program], stdin=subprocess.PIPE, start_new_session=True
        )

    def watch(self, group: int) -> None:
        self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


class ServerProcess:
    """One line of the Procfile, running in a process group of its own, its output in a log file."""

    def __init__(
        self, name: str, command: str, env: Mapping[str, str], log: Path, reaper: Reaper
    ) -> None:
        self.name = name
        self.log = log
        self._reaper = reaper
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._child = Popen(
                command, env=dict(env), cwd=REPO, stdin=subprocess.DEVNULL, stdout=output
            )
        reaper.watch(self.pid)

    @property
    def pid(self) -> int:
        return int(self._child.pid)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        code: int | None = self._child.poll()
        return code

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Ends the whole group: asks first, and after `grace_s` seconds does not ask."""
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(grace_s)
        self.kill()

    def kill(self) -> None:
        """Ends the whole group at once, as a crash would."""
        self._signal(signal.SIGKILL)
        self._child.wait()
        self._reaper.forget(self.pid)

    def _signal(self, number: signal.Signals) -> None:
        # A group outlives its leader as long as one member runs, and its number is not given again
        # before.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines of its log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(
            self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        )


def group_runs(group: int) -> bool:
    """Whether the process group has a member; a killed one counts until its parent has collected
    it.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
