"""JSON log lines as Cloud Logging reads them.

They carry ids and counts, never payloads or personal data.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import msgspec

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: severity, message, logger, and the fields that the call gave as
    `extra`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line. Of an exception only its type and place are kept: its text may quote a
        payload."""
        line = {"severity": record.levelname, "message": record.getMessage(), "logger": record.name}
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _place(record.exc_info[1])
        return msgspec.json.encode(line, enc_hook=str).decode()


def configure(stream: TextIO = sys.stdout) -> None:
    """Send the root logger's lines, from INFO up, to `stream` as JSON."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return type(error).__name__ + where
