"""A Cloud Storage of one process' memory, as much of its HTTP as the model folder needs.

Written by hand.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class FakeStorage(ThreadingHTTPServer):
    """Objects by (bucket, name); `url` is what STORAGE_EMULATOR_HOST wants."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[tuple[str, str], bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeStorage

    def do_GET(self) -> None:
        path, query = self._asked()
        bucket, _, name = path.partition("/b/")[2].partition("/o")
        if not name:
            prefix = query.get("prefix", "")
            found = [
                key
                for of, key in sorted(self.server.objects)
                if of == bucket and key.startswith(prefix)
            ]
            self._json({"kind": "storage#objects", "items": [_about(bucket, key) for key in found]})
        elif (content := self.server.objects.get((bucket, unquote(name[1:])))) is None:
            self._json({"error": {"code": 404, "message": "No such object"}}, 404)
        else:
            self._send(content, "application/octet-stream")

    def do_POST(self) -> None:
        path, query = self._asked()
        bucket = path.partition("/b/")[2].partition("/o")[0]
        body = self.rfile.read(int(self.headers["content-length"]))
        about, content = _multipart(self.headers["content-type"], body)
        key = bucket, str(about["name"])
        if query.get("ifGenerationMatch") == "0" and key in self.server.objects:
            self._json({"error": {"code": 412, "message": "conditionNotMet"}}, 412)
            return
        self.server.objects[key] = content
        self._json(_about(*key))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}

    def _json(self, content: object, code: int = 200) -> None:
        self._send(json.dumps(content).encode(), "application/json", code)

    def _send(self, content: bytes, kind: str, code: int = 200) -> None:
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def fake_storage() -> Iterator[FakeStorage]:
    """A running storage, stopped afterwards."""
    with FakeStorage() as storage:
        thread = threading.Thread(target=storage.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield storage
        finally:
            storage.shutdown()
            thread.join()


def _about(bucket: str, name: str) -> dict[str, str]:
    return {"kind": "storage#object", "bucket": bucket, "name": name, "generation": "1"}


def _multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    described, content = body.split(b"--" + boundary)[1:3]
    about = json.loads(str(message_from_bytes(described.strip(b"\r\n")).get_payload()))
    return about, content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
