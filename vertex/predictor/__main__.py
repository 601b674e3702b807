"""`python -m vertex.predictor`: one process, one worker; Vertex AI scales by replicas."""

from __future__ import annotations

import os
import sys

import uvicorn

from functions import logs
from vertex.predictor.app import make_app
from vertex.predictor.config import Config

GRACE_S = 5


def main() -> int:
    """Serve until SIGTERM or Ctrl-C, then finish what is being answered."""
    try:
        config = Config.from_env(os.environ)
    except ValueError as error:
        print(f"predictor: {error}", file=sys.stderr)
        return 1
    logs.configure()
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
