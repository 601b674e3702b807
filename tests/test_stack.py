"""The local stack starts, answers, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.stack import APPS, EMULATORS, NotUp, Stack, StackError, load_env, presence, running_stack
from tests.stack.bootstrap import bigquery_client, bootstrap
from tests.stack.environment import DEFAULT, files_environment, service_environment, stack_folder
from tests.stack.ports import HOST, Ports, PortTaken, free_ports, is_free, parse_ports, refuse_taken
from tests.stack.prerequisites import (
    REPO,
    Missing,
    chromium,
    headless_chromium,
    java,
    missing,
    pubsub_emulator,
    python,
    sdk_root,
)
from tests.stack.processes import Reaper, ServerProcess, group_runs, procfile
from tests.stack.readiness import QUESTIONS, NotYet, ask_pipeline, ask_pubsub, publisher, subscriber


def _until(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    reaper = Reaper()
    yield reaper
    reaper.close()


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a stack that nobody else runs; its folder goes afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    shutil.rmtree(stack_folder(name), ignore_errors=True)


# what the machine must have


def test_a_missing_sdk_names_itself_and_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"the Google Cloud SDK is missing: .*cloud\.google\.com/sdk"):
        sdk_root({"CLOUDSDK_ROOT": str(tmp_path)})


def test_a_missing_emulator_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    (tmp_path / "platform").mkdir()
    with pytest.raises(Missing, match="gcloud components install pubsub-emulator"):
        pubsub_emulator({"CLOUDSDK_ROOT": str(tmp_path)})


def test_the_sdk_is_found_where_gcloud_really_lives(tmp_path: Path) -> None:
    gcloud = tmp_path / "sdk" / "bin" / "gcloud"
    for folder in (gcloud.parent, tmp_path / "sdk" / "platform", tmp_path / "bin"):
        folder.mkdir(parents=True, exist_ok=True)
    gcloud.touch(mode=0o755)
    (tmp_path / "bin" / "gcloud").symlink_to(gcloud)
    assert sdk_root({"PATH": str(tmp_path / "bin")}) == tmp_path / "sdk"


def test_missing_java_is_named(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"Java is missing: .*Pub/Sub emulator needs it"):
        java({"PATH": str(tmp_path)})


def test_a_missing_python_is_named(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"Python 3\.13 is missing: .*pyenv install 3\.13"):
        python("3.13", {"PATH": str(tmp_path), "HOME": str(tmp_path)})


def test_a_pyenv_shim_that_does_not_answer_is_passed_over_for_the_version_itself(
    tmp_path: Path,
) -> None:
    shim = tmp_path / "shims" / "python3.13"
    real = tmp_path / ".pyenv" / "versions" / "3.13.5" / "bin" / "python3.13"
    for path, line in ((shim, "exit 127"), (real, "echo 3.13")):
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    assert python("3.13", {"PATH": str(shim.parent), "HOME": str(tmp_path)}) == real


def test_pages_run_in_chromiums_shell_where_it_is_unless_a_browser_is_given(tmp_path: Path) -> None:
    whole, shell = tmp_path / "whole" / "chromium", tmp_path / "shell" / "chromium-headless-shell"
    for path in (whole, shell):
        path.parent.mkdir()
        path.touch(mode=0o755)
    both = f"{whole.parent}{os.pathsep}{shell.parent}"
    assert headless_chromium({"PATH": both}) == shell
    assert headless_chromium({"PATH": str(whole.parent)}) == chromium({"PATH": both}) == whole
    assert headless_chromium({"PATH": both, "CHROMIUM": str(whole)}) == whole


def test_one_message_names_all_that_is_missing(tmp_path: Path) -> None:
    bare = {
        "PATH": str(tmp_path),
        "CLOUDSDK_ROOT": str(tmp_path),
        "LOCAL_BIGQUERY": str(tmp_path / "none"),
    }
    assert [problem.name for problem in missing(EMULATORS, bare)] == [
        "Java",
        "the Google Cloud SDK",
        "local-bigquery",
    ]


def test_setup_names_what_is_missing_and_fails(tmp_path: Path) -> None:
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path), "CLOUDSDK_ROOT": str(tmp_path)}
    command = [sys.executable, "tests/stack/prerequisites.py", "check"]
    done = subprocess.run(command, cwd=REPO, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for name in ("Java", "the Google Cloud SDK", "Python 3.11", "Python 3.13", "npm", "Chromium"):
        assert f"{name} is missing" in done.stderr
    assert "gcloud components install pubsub-emulator bigtable-emulator" in done.stderr


# ports


def test_ports_are_fixed_unless_said() -> None:
    assert parse_ports(None) == parse_ports("default") == Ports()


def test_single_ports_can_be_changed() -> None:
    assert parse_ports("store=9000,api=9081") == Ports(store=9000, api=9081)


@pytest.mark.parametrize("text", ["shop=1", "store", "store=0", "store=65536", "store=abc"])
def test_a_wrong_port_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match=f"expected auto, or name=port .* got '{text}'"):
        parse_ports(text)


def test_free_ports_are_free_and_all_different() -> None:
    ports = [port for _, port in free_ports().items()]
    assert len(set(ports)) == len(ports)
    assert all(is_free(port) for port in ports)


def test_a_taken_port_is_named_with_the_way_to_change_it() -> None:
    with socket.create_server((HOST, 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(
            PortTaken,
            match=rf"port {taken} \(for bigquery_grpc\).*PORTS=bigquery_grpc={taken + 1000}",
        ):
            refuse_taken(Ports(bigquery_grpc=taken), {"bigquery"})


def test_a_taken_port_of_a_part_that_is_not_asked_for_is_no_matter() -> None:
    with socket.create_server((HOST, 0)) as server:
        refuse_taken(Ports(store=server.getsockname()[1]), {"bigquery"})


# processes


def test_stopping_a_process_ends_its_children_too(tmp_path: Path, reaper: Reaper) -> None:
    process = ServerProcess("tree", "sleep 60 & sleep 60", os.environ, tmp_path / "log", reaper)
    process.stop()
    assert _until(lambda: not group_runs(process.pid))


def test_a_process_that_ignores_being_asked_is_ended_all_the_same(
    tmp_path: Path, reaper: Reaper
) -> None:
    command = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    process = ServerProcess("stubborn", command, os.environ, tmp_path / "log", reaper)
    assert _until(lambda: "ready" in process.tail())
    process.stop(grace_s=0.2)
    assert _until(lambda: not group_runs(process.pid))


def test_children_left_by_a_process_that_ended_itself_are_ended(
    tmp_path: Path, reaper: Reaper
) -> None:
    process = ServerProcess("orphans", "sleep 60 & exit 3", os.environ, tmp_path / "log", reaper)
    assert _until(lambda: process.exit_code == 3)
    assert group_runs(process.pid)
    process.stop()
    assert _until(lambda: not group_runs(process.pid))


def test_nothing_outlives_a_holder_that_was_killed(tmp_path: Path) -> None:
    holder = (
        "import os, sys, pathlib, time; from tests.stack.processes import Reaper, ServerProcess\n"
        "p = ServerProcess('left', 'sleep 60 & sleep 60', os.environ, pathlib.Path(sys.argv[1]), "
        "Reaper())\n"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "log")],
        cwd=REPO,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        group = int(running.stdout.readline())
        assert group_runs(group)
        running.kill()
    assert _until(lambda: not group_runs(group))


def test_every_part_of_the_procfile_is_explained_and_asked_whether_it_answers() -> None:
    assert set(procfile()) == {*EMULATORS, *APPS} == set(presence.WHAT) == set(QUESTIONS)


def test_the_compose_file_runs_the_same_parts_with_the_same_variables() -> None:
    compose = yaml.safe_load((REPO / "docker-compose.yml").read_text(encoding="utf-8"))
    assert set(compose["services"]) == {*procfile(), "bootstrap"}
    told = {*service_environment(Ports()), *files_environment(DEFAULT)}
    for part in APPS:
        assert told <= set(compose["services"][part]["environment"])


# a stack of one


def test_a_part_that_ends_by_itself_is_named_with_the_end_of_its_log(name: str) -> None:
    with running_stack(name, parts=["bigtable"]) as stack:
        os.killpg(stack.processes["bigtable"].pid, signal.SIGKILL)
        with pytest.raises(
            StackError, match=r"bigtable ended by itself with exit code -9.*bigtable\.log"
        ):
            _until(lambda: _checked(stack))


def _checked(stack: Stack) -> bool:
    stack.check()
    return False


def test_a_page_of_an_origin_that_is_given_may_call_collector_and_api_as_the_store_may(
    name: str,
) -> None:
    command = [sys.executable, "-m", "tests.stack", "up", "--name", name, "--ports", "auto"]
    parts = [
        "--only",
        "pubsub,bigtable,collector,api",
        "--origin",
        "http://localhost:3000/,https://shop.test",
    ]
    with subprocess.Popen([*command, *parts], cwd=REPO, stdout=subprocess.DEVNULL) as running:
        try:
            assert _until(
                lambda: presence.is_up(name) and (stack_folder(name) / "env.json").exists(), 120
            )
            env = load_env(name)
            for origin in ("http://localhost:3000", "https://shop.test", env["FRESHET_STORE_URL"]):
                assert _allowed(f"{env['FRESHET_COLLECTOR_URL']}/v1/events", origin) == origin
                assert _allowed(f"{env['FRESHET_API_URL']}/v1/recommendations", origin) == origin
            assert (
                _allowed(f"{env['FRESHET_COLLECTOR_URL']}/v1/events", "http://localhost:3001")
                is None
            )
        finally:
            running.terminate()


def _allowed(url: str, origin: str) -> str | None:
    """The origin that a preflight's answer allows."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    request = urllib.request.Request(url, headers=headers, method="OPTIONS")
    try:
        answer = urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as refused:
        answer = refused
    with answer:
        found: str | None = answer.headers["Access-Control-Allow-Origin"]
    return found


def test_an_origin_that_is_none_is_refused_before_anything_starts(name: str) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.stack",
        "up",
        "--name",
        name,
        "--origin",
        "localhost:3000",
    ]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "origin: expected scheme://host or scheme://host:port" in done.stderr


def test_two_stacks_of_one_name_are_refused(name: str) -> None:
    with running_stack(name, parts=["bigtable"]) as first:
        with pytest.raises(StackError, match=f"'{name}' is up already"):
            Stack(name, free_ports(), ["bigtable"]).start()
        first.check()


def test_the_environment_can_be_loaded_by_its_owner_while_the_stack_is_up_and_not_after(
    name: str,
) -> None:
    stack_folder(name).mkdir(mode=0o755, parents=True)
    with running_stack(name, parts=["bigtable"]) as stack:
        assert load_env(name) == stack.env
        assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((stack.folder / "env.json").stat().st_mode) == 0o600
        assert presence.is_up(name)
    assert not presence.is_up(name)
    with pytest.raises(NotUp, match=f"'{name}' is up: start it with `make up`"):
        load_env(name)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(StackError, match=r"expected some of pubsub, .* got kafka"):
        Stack("test-part", parts=["kafka"])


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_command_stops_everything_when_told_to(ending: signal.Signals, name: str) -> None:
    with _command("up", name) as running:
        group = _started(running, name)
        running.send_signal(ending)
        assert running.wait(30) == 0
    assert _until(lambda: not group_runs(group))
    assert not (stack_folder(name) / "env.json").exists()


def test_down_stops_a_stack_that_was_started_elsewhere(name: str) -> None:
    with _command("up", name) as running:
        group = _started(running, name)
        assert presence.shut_down(name)
        assert running.wait(30) == 0
    assert _until(lambda: not group_runs(group))
    assert not presence.shut_down(name)


def test_the_command_fails_and_stops_the_rest_when_a_process_dies(name: str) -> None:
    with _command("up", name, "bigtable,bigquery") as running:
        group = _started(running, name)
        os.killpg(presence.processes(name)["bigquery"], signal.SIGKILL)
        assert running.wait(30) == 1
        assert running.stdout is not None
        assert "bigquery ended by itself" in running.stdout.read()
    assert _until(lambda: not group_runs(group))


def _command(command: str, name: str, only: str = "bigtable") -> subprocess.Popen[str]:
    line = [
        sys.executable,
        "-m",
        "tests.stack",
        command,
        "--name",
        name,
        "--ports",
        "auto",
        "--only",
        only,
    ]
    return subprocess.Popen(
        line, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _started(running: subprocess.Popen[str], name: str) -> int:
    """The process group of the stack's Bigtable emulator, once the stack says that it is up."""
    assert running.stdout is not None
    for line in running.stdout:
        if "logs are in" in line:
            return presence.processes(name)["bigtable"]
    raise AssertionError(f"{name} did not come up")


# the emulators


def test_pubsub_keeps_acknowledged_messages_for_a_week(emulators: Mapping[str, str]) -> None:
    project = f"projects/{emulators['GOOGLE_CLOUD_PROJECT']}"
    with subscriber(emulators) as client:
        for name in ("events-pipeline", "dead-letters-pipeline"):
            made = client.get_subscription(subscription=f"{project}/subscriptions/{name}")
            assert made.retain_acked_messages
            assert made.message_retention_duration.days == 7


def test_bigquery_holds_the_tables_and_views(emulators: Mapping[str, str]) -> None:
    client = bigquery_client(emulators)
    kinds = {
        table.table_id: table.table_type
        for table in client.list_tables(emulators["FRESHET_DATASET"])
    }
    assert {"events", "sessions", "dead_letters"} <= {
        name for name, kind in kinds.items() if kind == "TABLE"
    }
    assert {"events_unique", "sessions_latest"} <= {
        name for name, kind in kinds.items() if kind == "VIEW"
    }
    client.close()


def test_making_everything_twice_changes_nothing(emulators: Mapping[str, str]) -> None:
    bootstrap(emulators, set(EMULATORS))


def test_fresh_names_are_shared_with_nobody(
    emulators: dict[str, str], fresh: dict[str, str]
) -> None:
    assert fresh["FRESHET_EVENTS_TOPIC"] != emulators["FRESHET_EVENTS_TOPIC"]
    assert os.environ["FRESHET_DATASET"] == fresh["FRESHET_DATASET"]
    with publisher(fresh) as client:
        topics = [topic.name for topic in client.list_topics(project="projects/demo-project")]
    assert f"projects/demo-project/topics/{fresh['FRESHET_EVENTS_TOPIC']}" in topics


def test_a_pipeline_that_does_not_read_is_not_taken_for_one_that_does(
    fresh: dict[str, str],
) -> None:
    with pytest.raises(NotYet, match="nobody reads"):
        ask_pipeline(fresh)


def test_a_question_to_a_closed_port_is_answered_at_once(emulators: dict[str, str]) -> None:
    closed = {**emulators, "PUBSUB_EMULATOR_HOST": f"{HOST}:{free_ports().pubsub}"}
    began = time.monotonic()
    with pytest.raises(NotYet, match="refused"):
        ask_pubsub(closed)
    assert time.monotonic() - began < 1


# everything


@pytest.mark.end_to_end
def test_every_part_of_the_stack_runs_and_answers(stack: Stack) -> None:
    stack.check()
    assert set(stack.processes) == set(procfile())
    for url in ("FRESHET_COLLECTOR_URL", "FRESHET_API_URL"):
        with urllib.request.urlopen(f"{stack.env[url]}/healthz", timeout=5) as answer:
            assert answer.status == 200
            json.load(answer)


@pytest.mark.end_to_end
def test_a_part_can_be_stopped_and_started_again(stack: Stack) -> None:
    stack.kill_process("predictor")
    stack.check()
    stack.start_process("predictor")
    stack.wait_for("predictor")
