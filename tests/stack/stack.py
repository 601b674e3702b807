"""The local stack as an object: starts the Procfile's processes in order, watches them, stops them
all.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import IO

from tests.stack import environment, prerequisites
from tests.stack.ports import Ports, parse_ports, refuse_taken
from tests.stack.presence import Silent, StackError, describe, lock_file
from tests.stack.processes import GRACE_S, Reaper, ServerProcess, procfile

EMULATORS = ("pubsub", "bigtable", "bigquery")
APPS = ("collector", "pipeline", "dead_letters", "predictor", "api", "store")
ANSWER_S = 120.0


class Stack:
    """The processes of one local stack.

    Args:
        name: folder below build/stack for environment, logs and data. One stack of a name at a
            time.
        ports: where the servers listen.
        parts: which processes of the Procfile; all of them unless said.
        extra_env: added to what every process is told.
        say: gets a line of progress now and then.
        origins: whose pages may call collector and API beside the store's.
    """

    def __init__(
        self,
        name: str = environment.DEFAULT,
        ports: Ports | None = None,
        parts: Iterable[str] = (*EMULATORS, *APPS),
        extra_env: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda line: None,
        origins: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.ports = ports or Ports()
        self.folder = environment.stack_folder(name)
        self.parts = _in_order(parts)
        self.env = {
            **environment.service_environment(self.ports, origins),
            **environment.files_environment(name),
            **(extra_env or {}),
        }
        self.processes: dict[str, ServerProcess] = {}
        self._say = say
        self._lock: IO[str] | None = None
        self._reaper: Reaper | None = None

    def __enter__(self) -> Stack:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts all parts and returns when each answers. Raises StackError, Missing or
        PortTaken."""
        self.prepare()
        self.start_parts(self.parts)

    def prepare(self) -> None:
        """Refuses what cannot work, then empties the folder of what an earlier stack left."""
        problems = prerequisites.missing(self.parts, os.environ)
        if problems:
            raise StackError("\n".join(map(str, problems)))
        self._take_lock()
        refuse_taken(self.ports, set(self.parts))
        for entry in self.folder.iterdir():
            if entry.name != "lock":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self._reaper = Reaper()

    def start_parts(self, parts: Iterable[str]) -> None:
        """Emulators first, then what they must hold, then the applications."""
        chosen = _in_order(parts)
        emulators = [part for part in chosen if part in EMULATORS]
        apps = [part for part in chosen if part in APPS]
        self._start_and_wait(emulators)
        if emulators:
            self.bootstrap(emulators)
        self._start_and_wait(apps)
        environment.write_env(self.name, self.env)

    def bootstrap(self, emulators: Iterable[str] = EMULATORS) -> None:
        """Makes topics, tables and views of the stack's environment."""
        # Google's clients take seconds to import: not for `down`
        from tests.stack.bootstrap import bootstrap

        self._say("making topics, tables and views")
        bootstrap(self.env, set(emulators))

    def start_process(self, part: str) -> None:
        """Starts one process that is not running, without waiting for it."""
        assert self._reaper is not None, "prepare() comes first"
        tools = environment.procfile_environment(self.name, self.ports, self.parts)
        env = {**os.environ, **self.env, **tools}
        log = self.folder / "logs" / f"{part}.log"
        self.processes[part] = ServerProcess(part, procfile()[part], env, log, self._reaper)
        self._write_state()

    def wait_for(self, part: str, timeout_s: float = ANSWER_S) -> None:
        """Returns when the process answers.

        Raises StackError when it died, or is silent for too long.
        """
        from tests.stack.readiness import wait_until_answered

        try:
            wait_until_answered(part, self.env, timeout_s, self.check)
        except Silent as error:
            raise StackError(f"{error}\nits log ends:\n{self.processes[part].tail()}") from error

    def stop_process(self, part: str) -> None:
        """Stops one process as a deploy would: asks it, then ends it."""
        self.processes.pop(part).stop()
        self._write_state()

    def kill_process(self, part: str) -> None:
        """Ends one process as a crash would."""
        self.processes.pop(part).kill()
        self._write_state()

    def restart_process(self, part: str) -> None:
        """Stops one process, starts it anew and waits until it answers."""
        self.stop_process(part)
        self.start_process(part)
        self.wait_for(part)

    def check(self) -> None:
        """Raises StackError when a process that should run has ended, with the end of its log."""
        for part, process in self.processes.items():
            if process.exit_code is not None:
                raise StackError(
                    f"{part} ended by itself with exit code {process.exit_code}; its log, "
                    f"{process.log.relative_to(environment.REPO)}, ends:\n{process.tail()}"
                )

    def stop(self) -> None:
        """Stops everything, the applications before the emulators they talk to. Safe to call
        twice."""
        for group in (APPS, EMULATORS):
            ending = [self.processes.pop(part) for part in group if part in self.processes]
            for process in ending:
                process.ask_to_stop()
            deadline = time.monotonic() + GRACE_S
            for process in ending:
                process.stop(max(0.0, deadline - time.monotonic()))
        self._let_go()

    def table(self) -> str:
        """What runs where, a line a process."""
        return describe(self.env, {part: process.pid for part, process in self.processes.items()})

    def _start_and_wait(self, parts: list[str]) -> None:
        if not parts:
            return
        self._say(f"starting {', '.join(parts)}")
        for part in parts:
            self.start_process(part)
        for part in parts:
            self.wait_for(part)

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "processes": {part: p.pid for part, p in self.processes.items()},
        }
        (self.folder / "state.json").write_text(json.dumps(state), encoding="utf-8")

    def _take_lock(self) -> None:
        environment.make_private(self.folder)
        lock = lock_file(self.name).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StackError(
                f"the stack {self.name!r} is up already: `make status`, `make down`"
            ) from None
        self._lock = lock

    def _let_go(self) -> None:
        if self._reaper is not None:
            self._reaper.close()
            self._reaper = None
        if self._lock is not None:
            (self.folder / "env.json").unlink(missing_ok=True)
            (self.folder / "state.json").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None


@contextlib.contextmanager
def running_stack(
    name: str,
    ports: str = "auto",
    parts: Iterable[str] = (*EMULATORS, *APPS),
    extra_env: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda line: None,
    origins: Iterable[str] = (),
) -> Iterator[Stack]:
    """A stack for the time of a `with` block, on free ports unless said.

    In the main thread, SIGTERM and SIGHUP end the block as Ctrl-C does, so that being told to stop
    still stops the stack.
    """
    with (
        _interrupted_by(signal.SIGTERM, signal.SIGHUP, signal.SIGINT),
        Stack(name, parse_ports(ports), parts, extra_env, say, origins) as stack,
    ):
        yield stack


@contextlib.contextmanager
def _interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _in_order(parts: Iterable[str]) -> tuple[str, ...]:
    wanted = set(parts)
    known = (*EMULATORS, *APPS)
    unknown = wanted - set(known)
    if unknown:
        raise StackError(
            f"parts: expected some of {', '.join(known)}; got {', '.join(sorted(unknown))}"
        )
    return tuple(part for part in known if part in wanted)
