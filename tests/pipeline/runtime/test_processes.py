"""Collector, API and predictor as they run: what a hostile client may take of them, over real
sockets.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPResponse

import pytest

from pipeline.runtime.bodies import READ_DEADLINE_S
from pipeline.runtime.server import GRACE_S, HEAD_DEADLINE_S
from tests.stack import Stack
from tests.stack.ports import HOST, free_ports

SERVERS = {"collector": "/v1/events", "predictor": "/predict", "api": "/v1/recommendations"}
LATE_S = 30.0
EVENT = b'{"event": "click", "user_id": "u1", "timestamp": "2025-01-01T00:00:00Z"}'
HANGING = {
    "collector": b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"
    % (len(EVENT), EVENT),
    "predictor": b"",
    "api": b"GET /v1/profile?user_id=u1 HTTP/1.1\r\nhost: x\r\n\r\n",
}
"""Requests that wait for an emulator, up to `LATE_S`."""
SLACK_S = 4.0  # the machine may be busy

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The three servers and what they need to start."""
    parts = ("pubsub", "bigtable", *SERVERS)
    patience = {
        "FRESHET_PUBLISH_DEADLINE_S": str(LATE_S),
        "FRESHET_BIGTABLE_DEADLINE_S": str(LATE_S),
    }
    with Stack(f"test-edges-{os.getpid()}", free_ports(), parts, patience) as stack:
        yield stack
    shutil.rmtree(stack.folder)


def connect(stack: Stack, server: str) -> socket.socket:
    ports = dict(stack.ports.items())
    return socket.create_connection((HOST, ports[server]), timeout=HEAD_DEADLINE_S + SLACK_S)


def head(server: str, length: int = 100) -> bytes:
    """Of a request to the server with a body."""
    return (
        f"POST {SERVERS[server]} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode()
    )


def ended_with(stack: Stack, server: str, sent: bytes) -> tuple[bytes, float]:
    """What the server answers to this and silence, and the seconds until it closes."""
    began = time.monotonic()
    answer = b""
    with connect(stack, server) as connection, suppress(ConnectionResetError):
        connection.sendall(sent)
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer, time.monotonic() - began


def status(connection: socket.socket, request: bytes) -> int:
    """Of the answer, which is read whole; the connection stays open."""
    connection.sendall(request)
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def test_silence_is_cut_off_in_headers_and_body_and_an_idle_connection_is_not(stack: Stack) -> None:
    get = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    idle = {server: connect(stack, server) for server in SERVERS}
    assert {status(connection, get) for connection in idle.values()} == {200}
    with ThreadPoolExecutor(9) as pool:
        nothing = [pool.submit(ended_with, stack, server, b"") for server in SERVERS]
        part = [pool.submit(ended_with, stack, server, head(server)[:-2]) for server in SERVERS]
        no_body = [pool.submit(ended_with, stack, server, head(server)) for server in SERVERS]
    for waiting in (*nothing, *part):
        answer, seconds = waiting.result()
        assert answer == b""
        assert HEAD_DEADLINE_S - 1.0 < seconds < HEAD_DEADLINE_S + SLACK_S
    for waiting in no_body:
        answer, seconds = waiting.result()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
        assert READ_DEADLINE_S - 1.0 < seconds < READ_DEADLINE_S + SLACK_S
    assert {status(connection, get) for connection in idle.values()} == {200}
    for connection in idle.values():
        connection.close()


@pytest.mark.parametrize("server", SERVERS)
def test_a_head_that_is_too_large_is_400(stack: Stack, server: str) -> None:
    answer, _ = ended_with(stack, server, head(server)[:-2] + b"a: b\r\n" * 200 + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("server", SERVERS)
def test_a_body_that_is_too_large_is_413_at_its_declared_length(stack: Stack, server: str) -> None:
    answer, seconds = ended_with(stack, server, head(server, 2_000_000))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert seconds < SLACK_S


@pytest.mark.parametrize("server", SERVERS)
def test_a_client_that_leaves_is_no_error_in_the_log(stack: Stack, server: str) -> None:
    log = stack.processes[server].log
    before = log.stat().st_size
    for sent in (head(server), head(server) + b"{", head(server, 2) + b"{}"):
        with connect(stack, server) as connection:
            connection.sendall(sent)
            time.sleep(0.2)
    with connect(stack, server) as connection:
        status(connection, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    time.sleep(0.2)
    said = log.read_bytes()[before:]
    assert b"ERROR" not in said and b"Traceback" not in said and b"Exception" not in said, said


def test_neither_who_is_silent_nor_what_hangs_holds_up_the_end(stack: Stack) -> None:
    asked = {server: [connect(stack, server), connect(stack, server)] for server in SERVERS}
    emulators = [stack.processes[part].pid for part in ("pubsub", "bigtable")]
    for emulator in emulators:
        os.killpg(emulator, signal.SIGSTOP)
    try:
        for server, (silent, hanging) in asked.items():
            silent.sendall(head(server))
            hanging.sendall(HANGING[server])
        time.sleep(0.5)
        assert seconds_to_end(stack) < GRACE_S + SLACK_S
    finally:
        for emulator in emulators:
            os.killpg(emulator, signal.SIGCONT)
        for connection in itertools.chain(*asked.values()):
            connection.close()


def seconds_to_end(stack: Stack) -> float:
    """From SIGTERM until all three are gone."""
    began = time.monotonic()
    for server in SERVERS:
        stack.processes[server].ask_to_stop()
    while any(stack.processes[server].exit_code is None for server in SERVERS):
        assert time.monotonic() - began < 2 * LATE_S, "they do not end at all"
        time.sleep(0.05)
    return time.monotonic() - began
