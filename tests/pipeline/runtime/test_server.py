"""What one connection may take of a server of ours, over real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from pipeline.runtime.environ import InvalidConfig
from pipeline.runtime.server import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_PIPELINED,
    SETTINGS,
    BoundedProtocol,
    run_server,
)

DEADLINE_S = 0.5
PATIENCE_S = 10.0
GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
OK = b"HTTP/1.1 200 OK"
ANSWER = re.compile(rb".*?content-length: (?P<length>\d+).*?\r\n\r\n(?P<body>.*)", re.DOTALL)


class Impatient(BoundedProtocol):
    """The same with a deadline and a number for tests."""

    head_deadline_s = DEADLINE_S
    max_kept_connections = 3


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers 200 with the body's length, or at once where the path is `/early`; reads no longer
    than 5 s.
    """
    length = 0
    more = scope["path"] != "/early"
    async with asyncio.timeout(5.0):
        while more:
            part = await receive()
            if part["type"] == "http.disconnect":
                return
            length += len(part.get("body", b""))
            more = part.get("more_body", False)
    body = str(length).encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server with the settings of ours."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = {**SETTINGS, "http": Impatient}
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", lifespan="off", **settings)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=10)


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """All that still comes until the server closes; fails where it does not within `PATIENCE_S`."""
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65_536):
            received += chunk
    return received


def trickle(connection: socket.socket, first: bytes, drop: bytes) -> float:
    """Send a drop again and again; seconds until the server closes."""
    began = time.monotonic()
    with suppress(ConnectionError):
        connection.sendall(first)
        while time.monotonic() < began + PATIENCE_S:
            connection.sendall(drop)
            time.sleep(0.02)
    return time.monotonic() - began


def answered(connection: socket.socket, request: bytes) -> bytes:
    """The answer to this request, read whole: the server may write head and body apart."""
    connection.sendall(request)
    answer = connection.recv(65_536)
    while not (parts := ANSWER.match(answer)) or len(parts["body"]) < int(parts["length"]):
        chunk = connection.recv(65_536)
        assert chunk, f"the server closed after {answer!r}"
        answer += chunk
    return answer


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b"\r\n"),
        (b"", b"G"),
        (b"GET /", b"x"),
        (GET, b"a: b\r\n"),
        (GET + b"a: ", b"b"),
        (b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n", b"x"),
        (GET + b"\r\n" + GET + b"a: ", b"b"),
    ],
)
def test_who_trickles_loses_the_connection_at_the_deadline(
    port: int, first: bytes, drop: bytes
) -> None:
    with connected(port) as connection:
        assert trickle(connection, first, drop) < DEADLINE_S + 2.0


@pytest.mark.parametrize("sent", [b"", b"GET /", GET, GET + b"\r\n" + GET])
def test_who_falls_silent_before_the_end_of_the_headers_does_too(port: int, sent: bytes) -> None:
    with connected(port) as connection:
        began = time.monotonic()
        connection.sendall(sent)
        rest(connection)
        assert DEADLINE_S - 0.1 < time.monotonic() - began < DEADLINE_S + 2.0


def test_an_idle_connection_stays_open_beyond_that_and_is_used_again(port: int) -> None:
    with connected(port) as connection:
        assert answered(connection, GET + b"\r\n").startswith(OK)
        time.sleep(2 * DEADLINE_S)
        assert answered(connection, GET + b"\r\n").startswith(OK)


def test_a_request_answered_before_its_body_came_leaves_the_connection_open_too(port: int) -> None:
    with connected(port) as connection:
        post = b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n"
        assert answered(connection, post).startswith(OK)
        connection.sendall(b"abc")
        time.sleep(2 * DEADLINE_S)
        assert answered(connection, GET + b"\r\n").startswith(OK)


def test_a_body_is_the_apps_to_bound(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n")
        time.sleep(2 * DEADLINE_S)
        assert answered(connection, bytes(200_000)).endswith(b"200000")


def test_chunks_of_a_body_in_any_number_are_no_headers(port: int) -> None:
    with connected(port) as connection:
        head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        chunks = b"1\r\nx\r\n" * 50_000
        assert answered(connection, head + chunks + b"0\r\n\r\n").endswith(b"50000")


def test_headers_of_the_limits_pass(port: int) -> None:
    name = b"a: "
    room = MAX_HEAD_BYTES - len("/") - len("hostx") - len("a")
    with connected(port) as connection:
        assert answered(connection, GET + name + b"x" * room + b"\r\n\r\n").startswith(OK)
    with connected(port) as connection:
        assert answered(connection, GET + b"a: b\r\n" * (MAX_HEADERS - 1) + b"\r\n").startswith(OK)


@pytest.mark.parametrize(
    "head",
    [
        GET + b"a: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        GET + b"a: b\r\n" * MAX_HEADERS + b"\r\n",
    ],
)
def test_headers_of_more_bytes_or_fields_are_400_and_the_end(port: int, head: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(head)
        assert rest(connection).startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize(
    "first",
    [
        GET + b"a: ",
        b"GET /",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: ",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;",
    ],
)
def test_what_never_ends_is_not_gathered(port: int, first: bytes) -> None:
    sent = 0
    with connected(port) as connection, suppress(ConnectionError):
        connection.sendall(first)
        while sent < 64 * MAX_HEAD_BYTES:
            connection.sendall(b"x" * 4096)
            sent += 4096
            time.sleep(0.0005)
    assert sent < 64 * MAX_HEAD_BYTES


def test_trailers_without_end_are_not_gathered(port: int) -> None:
    sent = 0
    with connected(port) as connection, suppress(ConnectionError):
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
        while sent < 10_000:
            connection.sendall(b"a: b\r\n" * 10)
            sent += 10
            time.sleep(0.0005)
    assert sent < 10_000


def test_requests_sent_ahead_of_answers_are_answered_in_turn_and_bounded(port: int) -> None:
    with connected(port) as connection:
        connection.sendall((GET + b"\r\n") * MAX_PIPELINED + GET + b"connection: close\r\n\r\n")
        assert rest(connection).count(OK) == MAX_PIPELINED + 1
    sent = 0
    with connected(port) as connection, suppress(ConnectionError):
        while sent < 1_000_000:
            connection.sendall((GET + b"\r\n") * 1000)
            sent += 1000
    assert sent < 1_000_000


def test_with_many_connections_open_each_is_closed_after_its_answer(port: int) -> None:
    with connected(port) as a, connected(port) as b, connected(port) as c:
        for connection in (a, b, c):
            assert b"connection: close" not in answered(connection, GET + b"\r\n")
        with connected(port) as one_more:
            one_more.sendall(GET + b"\r\n")
            assert b"\r\nconnection: close\r\n" in rest(one_more)


def test_a_server_whose_configuration_cannot_be_used_ends_with_1_and_says_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unusable(environ: Any) -> Any:
        raise InvalidConfig("PORT: expected a whole number from 1 to 65535, got 'x'")

    assert run_server("api", unusable, lambda config: app) == 1
    assert (
        capsys.readouterr().err == "api: PORT: expected a whole number from 1 to 65535, got 'x'\n"
    )
