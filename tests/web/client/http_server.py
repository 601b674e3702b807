"""A server over real sockets in the place of the collector or the API, which answers as a test
says.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NOWHERE = "http://127.0.0.1:9"  # the port of "discard": nobody listens

Answerer = Callable[[int, dict[str, Any]], tuple[int, dict[str, str], bytes]]


class Requests(list[tuple[dict[str, str], dict[str, Any]]]):
    """The requests that a server had: headers with lower-case names, and the body as JSON, of
    several lines as `lines`.
    """

    url = ""


@contextmanager
def server(answer: Answerer) -> Iterator[Requests]:
    """A server over real sockets that answers by the number of the request and its body."""
    requests = Requests()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one write: two would wait for each other's acknowledgement

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            lines = [json.loads(line) for line in body.splitlines()]
            content = {"lines": lines}
            if len(lines) == 1:
                content = lines[0]
            told = {"peer": str(self.client_address), "path": self.path, "method": self.command}
            requests.append((headers | told, content))
            status, more, said = answer(len(requests), content)
            self.send_response(status)
            for name, value in {**more, "content-length": str(len(said))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        requests.url = f"http://127.0.0.1:{running.server_port}"
        try:
            yield requests
        finally:
            running.shutdown()
            thread.join()


def accept_all(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    return (
        202,
        {},
        json.dumps({"accepted": len(body["events"]), "rejected": 0, "errors": []}).encode(),
    )
