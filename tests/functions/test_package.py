"""The zip that Cloud Functions runs: the same bytes each time, and a collector that starts from it
alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx
import pytest

from functions import package
from tests.stack.ports import free_ports

ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": "demo-project",
    "FRESHET_EVENTS_TOPIC": "events",
    "FRESHET_DEAD_LETTER_TOPIC": "dead-letters",
    "FUNCTION_USE_ASGI": "true",
    # Nobody listens there: starting must not need Pub/Sub, nor credentials.
    "PUBSUB_EMULATOR_HOST": "127.0.0.1:9",
}


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A folder with what the zip holds."""
    package.write(tmp_path / "collector.zip")
    folder = tmp_path / "workspace"
    with zipfile.ZipFile(tmp_path / "collector.zip") as archive:
        archive.extractall(folder)
    return folder


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(folder)}


def test_the_zip_holds_the_collector_and_what_it_imports_and_nothing_else(unpacked: Path) -> None:
    names = {
        path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()
    }
    assert {"main.py", "requirements.txt", "constraints.txt", "functions/main.py"} <= names
    assert {"pipeline/__init__.py", "pipeline/core/events.py"} <= names
    elsewhere = ("functions/dead_letters/", "pipeline/store", "pipeline/main", "vertex/", "tests/")
    assert not any(name.startswith(elsewhere) for name in names)
    assert not {"functions/package.py", "pipeline/runtime/metrics.py"} & names


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    package.write(tmp_path / "a.zip")
    package.write(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_packages_are_pinned_as_for_the_local_collector(unpacked: Path) -> None:
    first, *asked = (unpacked / "requirements.txt").read_text().splitlines()
    assert first == "--constraint constraints.txt"
    assert all("==" in line for line in asked)
    assert any(line.startswith("functions-framework==") for line in asked)
    assert not any(line.startswith(("apache-beam", "lightgbm")) for line in asked)


def test_the_entry_point_runs_what_the_zip_holds(unpacked: Path) -> None:
    code = (
        "import main, sys; print(*[sys.modules[n].__file__ for n in ('functions.main', "
        "'pipeline.core.events')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=unpacked,
        env=environment(unpacked),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert all(Path(name).is_relative_to(unpacked) for name in done.stdout.split())


def test_the_function_answers_as_cloud_functions_starts_it(unpacked: Path) -> None:
    port = free_ports().collector
    command = [
        str(Path(sys.executable).with_name("functions-framework")),
        *("--target", "collect", "--host", "127.0.0.1", "--port", str(port)),
    ]
    with subprocess.Popen(
        command, cwd=unpacked, env=environment(unpacked), start_new_session=True
    ) as server:
        try:
            assert wait_for(f"http://127.0.0.1:{port}/healthz", server) == {"status": "ok"}
        finally:
            server.terminate()


def test_a_target_that_is_no_zip_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert package.main(["collector.tar"]) == 2
    assert (
        "expected one argument, the zip to write, got ['collector.tar']" in capsys.readouterr().err
    )


def wait_for(url: str, server: subprocess.Popen[bytes]) -> object:
    """The JSON of the first answer, within 30 s."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return httpx.get(url, timeout=2, trust_env=False).json()
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the function did not answer, exit code {server.poll()}")
