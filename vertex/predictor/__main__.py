"""`python -m vertex.predictor`: one process, one worker; Vertex AI scales by replicas."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

import uvicorn

from vertex.predictor.app import make_app
from vertex.predictor.config import Config

GRACE_S = 5


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the fields that Cloud Logging reads."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "severity": record.levelname,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def main() -> int:
    """Serve until SIGTERM or Ctrl-C, then finish what is being answered."""
    try:
        config = Config.from_env(os.environ)
    except ValueError as error:
        print(f"predictor: {error}", file=sys.stderr)
        return 1
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    uvicorn.run(
        make_app(config),
        host=config.host,
        port=config.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
