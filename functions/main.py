"""The Cloud Function: `functions-framework --asgi --target collect --source functions/main.py`."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from functions import logs
from functions.collector import Collector
from functions.config import Config
from functions.publisher import Publisher

logs.configure()
_config = Config.from_env(os.environ)
_collector = Collector(
    _config,
    Publisher(_config.pubsub_emulator_host, _config.publish_deadline_s),
    lambda: datetime.now(UTC),
)


async def collect(request: Request) -> Response:
    """Answer one request: `POST /v1/events` or `GET /healthz`."""
    return await _collector(request)
