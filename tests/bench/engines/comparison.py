"""Every engine on the same file, one after the other, each on one and the same core; speed, size,
agreement.

A figure is the median of `ROUNDS` rounds in which all engines take turns. An engine is a process
from its start to its end; its start-up is the same process on the first message alone, and its rate
is that of the other messages. What it wrote is compared with the definition after every run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.engines import data
from tests.bench.engines.contract import EVENTS_A_MESSAGE
from tests.bench.engines.lines import code_lines
from tests.bench.engines.reference import Answer, differences, expected, read_answer
from tests.bench.rows import Row, row
from tests.simulator.report import table
from tests.stack.environment import REPO

HERE = Path(__file__).resolve().parent
OURS = Path(sys.executable)
THEIRS = REPO / ".venv-engines" / "bin" / "python"
ROUNDS = 3
LIMIT_S = 120.0  # of one run
LIBRARY = (REPO / "pipeline" / "core" / "decay.py", ("DecayedSums", "BucketRing"))


@dataclass(frozen=True)
class Engine:
    """An entry of the comparison: `module` of this package, run as `python -m module MESSAGES
    ANSWER`.

    `files` hold the features as somebody wrote them for this engine; `on_library` where they stand
    on `LIBRARY`.
    """

    name: str
    title: str
    python: Path
    module: str
    files: tuple[str, ...]
    on_library: bool = False

    def lines(self) -> int:
        """Lines of code of its files."""
        return sum(code_lines((HERE / name).read_text(encoding="utf-8")) for name in self.files)

    def lines_with_library(self) -> int:
        """The same, the two classes of `LIBRARY` included where it uses them."""
        path, classes = LIBRARY
        return self.lines() + (
            code_lines(path.read_text(encoding="utf-8"), classes) if self.on_library else 0
        )


ENGINES = (
    Engine(
        "plain",
        "plain Python",
        OURS,
        "ours_plain",
        ("ours_plain.py", "ours_features.py"),
        on_library=True,
    ),
    Engine(
        "beam",
        "Beam, FnApiRunner",
        OURS,
        "ours_beam",
        ("ours_beam.py", "ours_features.py"),
        on_library=True,
    ),
    Engine("bytewax", "bytewax", THEIRS, "bytewax_flow", ("bytewax_flow.py",)),
    Engine("flink", "Flink, PyFlink", THEIRS, "flink_job", ("flink_job.py",)),
)


@dataclass
class Result:
    """What an engine's runs gave; `failure` holds why there was no answer, empty where there was
    one.
    """

    start_up_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    failure: str = ""

    def rate(self, events: int) -> float:
        """Events a second after the start-up."""
        return events / max(median(self.whole_s) - median(self.start_up_s), 1e-3)


class Failed(RuntimeError):
    """An engine's process did not end well; the message is the end of what it said."""


def run() -> list[Row]:
    """Compare all engines and print the table; about four minutes."""
    _make_environment()
    with tempfile.TemporaryDirectory(prefix="freshet-engines-") as name:
        folder = Path(name)
        messages = folder / "messages.jsonl"
        source, base = data.base_events()
        events = data.write_stream(messages, base)
        with messages.open(encoding="utf-8") as lines:
            (folder / "first.jsonl").write_text(lines.readline(), encoding="utf-8")
        with messages.open(encoding="utf-8") as lines:
            right = expected(lines)
        print(
            f"engines: {events:,} events of {len(right):,} visitors: {source}, late and doubled",
            flush=True,
        )
        results = compare(ENGINES, folder, right)
    print(report(results, len(right), events - EVENTS_A_MESSAGE), flush=True)
    return rows(results, len(right), events - EVENTS_A_MESSAGE)


def compare(engines: Sequence[Engine], folder: Path, right: Answer) -> dict[Engine, Result]:
    """Let the engines take turns on `folder`'s first.jsonl and messages.jsonl; one that fails is
    not asked again.
    """
    results = {engine: Result() for engine in engines}
    for turn in range(ROUNDS):
        for engine, result in results.items():
            if result.failure:
                continue
            try:
                result.start_up_s.append(
                    timed(engine, folder / "first.jsonl", folder / f"{engine.name}-{turn}-first")
                )
                sink = folder / f"{engine.name}-{turn}"
                result.whole_s.append(timed(engine, folder / "messages.jsonl", sink))
                result.wrong = max(result.wrong, differences(right, read_answer(sink)), key=len)
            except (Failed, OSError, ValueError) as error:
                result.failure = str(error)
    return results


def timed(engine: Engine, messages: Path, sink: Path) -> float:
    """Seconds that the engine's process takes from start to end; Failed where it does not end well
    in `LIMIT_S`.
    """
    command = [
        str(engine.python),
        "-m",
        f"tests.bench.engines.{engine.module}",
        str(messages),
        str(sink),
    ]
    with _one_core(), tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=REPO, stdout=log, stderr=log, start_new_session=True
        )
        try:
            code = process.wait(LIMIT_S)
            seconds = time.perf_counter() - started
        except subprocess.TimeoutExpired as error:
            raise Failed(f"not done after {LIMIT_S:.0f} s") from error
        finally:
            _end(process)
        if code:
            log.seek(0)
            raise Failed(f"exit code {code}: {log.read()[-500:].strip()}")
    return seconds


def report(results: dict[Engine, Result], visitors: int, events: int) -> str:
    """The comparison as a table, then each engine's disagreement in words."""
    cells = [["engine", "events/s", "start-up s", "lines", "with library", "agreement"]]
    notes = []
    for engine, result in results.items():
        answered = not result.failure
        cells.append(
            [
                engine.title,
                f"{result.rate(events):,.0f}" if answered else "-",
                f"{median(result.start_up_s):.1f}" if answered else "-",
                str(engine.lines()),
                str(engine.lines_with_library()),
                f"{visitors - len(result.wrong):,} of {visitors:,} visitors"
                if answered
                else "no answer",
            ]
        )
        if result.failure or result.wrong:
            notes.append(
                f"engines: {engine.title} DOES NOT AGREE: {result.failure or result.wrong[0]}"
            )
    agreed = "engines: all answers agree: windows exactly, interests to 1e-9, in each of the runs"
    return "\n".join(["", table(cells), "", *(notes or [agreed])])


def rows(results: dict[Engine, Result], visitors: int, events: int) -> list[Row]:
    """The same as rows; an engine without an answer has all visitors wrong and no speed."""
    floor = next(iter(results))
    found = []
    for engine, result in results.items():
        name, wrong = f"engines_{engine.name}", visitors if result.failure else len(result.wrong)
        if not result.failure:
            beside = (
                None if engine is floor or results[floor].failure else results[floor].rate(events)
            )
            found += [
                row(
                    name,
                    result.rate(events),
                    "events/s",
                    None,
                    floor.title if beside else None,
                    beside,
                ),
                row(f"{name}_start_up", median(result.start_up_s), "s"),
            ]
        found += [
            row(
                f"{name}_lines",
                engine.lines(),
                "lines",
                None,
                "with library",
                engine.lines_with_library(),
            ),
            row(f"{name}_disagreeing", wrong, "visitors", 0.0, "visitors", visitors),
        ]
    return found


def _make_environment() -> None:
    made = subprocess.run(
        ["make", "--no-print-directory", ".venv-engines/.installed"], cwd=REPO, check=False
    )
    if made.returncode:
        print(
            "engines: .venv-engines is not there, so the engines in it will not answer", flush=True
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        # its children too: Flink's JVM would outlive its parent
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _one_core() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
