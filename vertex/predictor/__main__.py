"""`python -m vertex.predictor`: one process, one worker; Vertex AI scales by replicas."""

from __future__ import annotations

import sys

from pipeline.runtime.server import run_server
from vertex.predictor.app import make_app
from vertex.predictor.config import Config

if __name__ == "__main__":
    sys.exit(run_server("predictor", Config.from_env, make_app))
