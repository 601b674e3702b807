"""`python -m vertex.predictor`: one process, one worker; Vertex AI scales by replicas."""

from __future__ import annotations

import os
import sys

from functions import logs
from pipeline.runtime.server import serve
from vertex.predictor.app import make_app
from vertex.predictor.config import Config


def main() -> int:
    """Serve until SIGTERM or Ctrl-C, then finish what is being answered."""
    try:
        config = Config.from_env(os.environ)
    except ValueError as error:
        print(f"predictor: {error}", file=sys.stderr)
        return 1
    logs.configure()
    serve(make_app(config), config.host, config.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
