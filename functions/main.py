"""The Cloud Function: `functions-framework --asgi --target collect --source functions/main.py`."""

from __future__ import annotations

import gc
import os
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from functions import logs
from functions.collector import Collector
from functions.config import Config
from functions.publisher import Publisher

GARBAGE_THRESHOLD = 20_000

logs.configure()
_config = Config.from_env(os.environ)
_collector = Collector(
    _config,
    Publisher(_config.pubsub_emulator_host, _config.publish_deadline_s),
    lambda: datetime.now(UTC),
)


# Requests that wait for Pub/Sub outlive young collections, so full ones follow often, and each walks every object
# that the libraries made at import: 40 % of a busy collector's processor time. Those objects live as long as the
# process, so they are left out, and the rest is looked at less often.
gc.collect()
gc.freeze()
gc.set_threshold(GARBAGE_THRESHOLD, 20, 20)


async def collect(request: Request) -> Response:
    """Answer one request: `POST /v1/events` or `GET /healthz`."""
    return await _collector(request)
