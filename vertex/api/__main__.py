"""`python -m vertex.api`: one process, one worker; Cloud Run scales by instances."""

from __future__ import annotations

import sys

from pipeline.runtime.server import run_server
from vertex.api.app import create_app
from vertex.api.config import Config

if __name__ == "__main__":
    sys.exit(run_server("api", Config.from_env, create_app))
