"""The thread that posts an outbox's batches to the collector, and again where that may help."""

from __future__ import annotations

import gzip
import logging
import random
import threading
from datetime import UTC, datetime

import httpx

from functions.client.outbox import Outbox
from functions.client.retries import retry_delay_s
from functions.client.undelivered import OnError, refused, tell, undelivered
from pipeline.core.events import format_time

logger = logging.getLogger(__name__)

GZIP_FROM_BYTES = 1024
_MAY_PASS = (408, 429)


class Sender:
    """Sends until the outbox gives no more. Logs counts, status codes and field names, at most a few lines a request.

    Args:
        http: its timeouts are those of a request. It is closed when the thread ends, however late.
        on_error: told of what is given up, on the sending thread.
    """

    def __init__(self, outbox: Outbox, http: httpx.Client, url: str, write_key: str, on_error: OnError | None) -> None:
        self._outbox = outbox
        self._http = http
        self._url = url
        self._headers = {"content-type": "application/json", "x-freshet-key": write_key}
        self._on_error = on_error
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._failures = 0

    def start(self) -> bool:
        """Have the thread run; False where there is none to be had. The next event tries again."""
        if self._is_running():
            return True
        with self._starting:
            if not self._is_running():
                thread = threading.Thread(target=self._send_all, name="freshet", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    logger.warning("cannot send events: %s", error)
                    return False
                self._thread = thread
        return True

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; whether nothing is being sent any more."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        return not self._is_running()

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _send_all(self) -> None:
        while batch := self._outbox.take():
            try:
                self._send(batch)
            except Exception as error:  # whatever it is, the thread goes on and the batch is not forgotten
                logger.error("events cannot be sent: %s", type(error).__name__)
                if self._outbox.answered():
                    tell(self._on_error, undelivered(f"cannot be sent ({type(error).__name__})", batch))
                self._outbox.settle()
            if dropped := self._outbox.count_dropped():
                logger.warning("%d events were dropped for newer ones, the queue was full", dropped)
        self._http.close()

    def _send(self, batch: list[bytes]) -> None:
        try:
            answer = self._post(batch)
        except (httpx.HTTPError, OSError) as error:
            return self._wait_and_retry(type(error).__name__)
        status = answer.status_code
        if status in _MAY_PASS or status >= 500:
            self._wait_and_retry(f"status {status}", answer.headers.get("retry-after"))
        elif status == 413 and len(batch) > 1:
            self._outbox.give_back(most=len(batch) // 2)
        else:
            self._failures = 0
            self._settle(batch, answer)

    def _post(self, batch: list[bytes]) -> httpx.Response:
        body = b'{"sent_at":"%b","events":[%b]}' % (format_time(datetime.now(UTC)).encode(), b",".join(batch))
        headers = self._headers
        if len(body) > GZIP_FROM_BYTES:
            body, headers = gzip.compress(body, 6), {**headers, "content-encoding": "gzip"}
        return self._http.post(self._url, content=body, headers=headers)

    def _wait_and_retry(self, why: str, retry_after: str | None = None) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning("events wait, the collector does not take them: %s", why)
        self._outbox.give_back()
        self._outbox.pause(retry_delay_s(self._failures, retry_after, datetime.now(UTC), random.random()))

    def _settle(self, batch: list[bytes], answer: httpx.Response) -> None:
        gone = refused(answer, batch)
        if gone and self._outbox.answered():
            count, fields = sum(len(each.events) for each in gone), sorted({each.field for each in gone if each.field})
            logger.warning("%d events were not taken: status %d, fields %s", count, answer.status_code, fields[:5])
            for each in gone:
                tell(self._on_error, each)
        self._outbox.settle()
