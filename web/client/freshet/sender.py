"""The thread that posts batches to the collector, and posts them again where that may help."""

from __future__ import annotations

import gzip
import logging
import random
import threading
from datetime import UTC, datetime

import httpx

from freshet.contract import format_time
from freshet.event_queue import EventQueue
from freshet.retries import retry_delay_s
from freshet.undelivered import OnError, rejected, report, undelivered

logger = logging.getLogger(__name__)

GZIP_FROM_BYTES = 1024
_TEMPORARY = (408, 429)


class Sender:
    """Sends until the queue ends. Logs counts, status codes and field names, a few lines a request.

    Args:
        queue: the events to send.
        http: its timeouts are those of a request. It is closed when the thread ends, however late.
        url: the collector's endpoint for events.
        write_key: of the site.
        on_error: receives what is given up, on the sending thread.
    """

    def __init__(
        self,
        queue: EventQueue,
        http: httpx.Client,
        *,
        url: str,
        write_key: str,
        on_error: OnError | None,
    ) -> None:
        self._queue = queue
        self._http = http
        self._url = url
        self._headers = {"content-type": "application/json", "x-freshet-key": write_key}
        self._on_error = on_error
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._failures = 0

    def start(self) -> bool:
        """Start the thread unless it runs; False where the system has none to spare."""
        if self._is_running():
            return True
        with self._starting:
            if self._is_running():
                return True
            thread = threading.Thread(target=self._send_all, name="freshet", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                logger.warning("cannot send events: %s", error)
                return False
            self._thread = thread
        return True

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; returns False where it still runs."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        return not self._is_running()

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _send_all(self) -> None:
        while batch := self._queue.take():
            self._send_safely(batch)
            dropped = self._queue.count_dropped()
            if dropped:
                logger.warning("%d events were dropped for newer ones, the queue was full", dropped)
        self._http.close()

    def _send_safely(self, batch: list[bytes]) -> None:
        """Send a batch; after any exception the thread goes on, and the batch is reported."""
        try:
            self._send(batch)
        except Exception as error:
            kind = type(error).__name__
            logger.error("events cannot be sent: %s", kind)
            if self._queue.answered():
                report(self._on_error, undelivered(f"cannot be sent ({kind})", batch))
            self._queue.finish()

    def _send(self, batch: list[bytes]) -> None:
        try:
            response = self._post(batch)
        except (httpx.HTTPError, OSError) as error:
            self._wait_and_retry(type(error).__name__)
            return
        status = response.status_code
        if status in _TEMPORARY or status >= 500:
            self._wait_and_retry(f"status {status}", response.headers.get("retry-after"))
        elif status == 413 and len(batch) > 1:
            self._queue.give_back(max_batch=len(batch) // 2)
        else:
            self._failures = 0
            self._finish(batch, response)

    def _post(self, batch: list[bytes]) -> httpx.Response:
        sent_at = format_time(datetime.now(UTC)).encode()
        body = b'{"sent_at":"%b","events":[%b]}' % (sent_at, b",".join(batch))
        headers = self._headers
        if len(body) > GZIP_FROM_BYTES:
            body = gzip.compress(body, 6)
            headers = {**headers, "content-encoding": "gzip"}
        return self._http.post(self._url, content=body, headers=headers)

    def _wait_and_retry(self, reason: str, retry_after: str | None = None) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning("events wait, the collector does not take them: %s", reason)
        self._queue.give_back()
        delay_s = retry_delay_s(self._failures, retry_after, datetime.now(UTC), random.random())
        self._queue.pause(delay_s)

    def _finish(self, batch: list[bytes], response: httpx.Response) -> None:
        gone = rejected(response, batch)
        if gone and self._queue.answered():
            count = sum(len(each.events) for each in gone)
            fields = sorted({each.field for each in gone if each.field})[:5]
            status = response.status_code
            logger.warning("%d events were not taken: status %d, fields %s", count, status, fields)
            for each in gone:
                report(self._on_error, each)
        self._queue.finish()
