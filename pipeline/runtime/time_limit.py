"""A time limit for many tasks at once: one timer for all of them.

`asyncio.timeout` sets a timer of its own for each block and takes it back, which costs more than
reading a small body does.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import NamedTuple


class _Waiting(NamedTuple):
    """A task within the limit: when its time is over, and how often it had been cancelled
    before."""

    ends_s: float
    cancelling: int


class TimeLimit:
    """The same limit for the blocks of all tasks of one event loop: `with limit: await …`.

    A task is in one block of a limit at a time.

    Args:
        seconds: of one block; a task that is still in it is cancelled there.

    Raises:
        TimeoutError: at the end of a block that took longer.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # in order of their ends, for each is as long
        self._waiting: dict[asyncio.Task[object], _Waiting] = {}
        self._expired: dict[asyncio.Task[object], _Waiting] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self.seconds
        self._waiting[task] = _Waiting(ends_s, task.cancelling())
        if self._timer is None:
            self._timer = loop.call_at(ends_s, self._end_overdue, loop)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._waiting.pop(task, None) is not None:
            return
        waited = self._expired.pop(task)
        if task.uncancel() <= waited.cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _end_overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is over time; look again when the next one would be."""
        self._timer = None
        now_s = loop.time()
        for task, waiting in list(self._waiting.items()):
            if waiting.ends_s > now_s:
                self._timer = loop.call_at(waiting.ends_s, self._end_overdue, loop)
                return
            self._expired[task] = self._waiting.pop(task)
            task.cancel()
