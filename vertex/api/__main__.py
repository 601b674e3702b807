"""`python -m vertex.api`: one process, one worker; Cloud Run scales by instances."""

from __future__ import annotations

import os
import sys

from functions import logs
from pipeline.runtime.server import serve
from vertex.api.app import create_app
from vertex.api.config import Config, InvalidConfig


def main() -> int:
    """Serve until SIGTERM or Ctrl-C, then finish what is being answered."""
    try:
        config = Config.from_env(os.environ)
    except InvalidConfig as error:
        print(f"api: {error}", file=sys.stderr)
        return 1
    logs.configure()
    serve(create_app(config), config.host, config.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
