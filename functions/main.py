"""The Cloud Function: `functions-framework --asgi --target collect --source functions/main.py`."""

from __future__ import annotations

import gc
import os
import random
import time
from datetime import UTC, datetime

from starlette.requests import Request
from uvicorn_worker import UvicornWorker

from functions.collector import Collector
from functions.config import Config
from functions.http.answers import WireResponse
from functions.openapi import encoded
from functions.protocols.registry import PROTOCOLS
from functions.publisher import Publisher
from pipeline.runtime import logs
from pipeline.runtime.server import SETTINGS

GARBAGE_THRESHOLD = 20_000
OWN = ("native", "pixel")

# functions-framework names gunicorn's worker itself and hands no settings on, but imports this
# module before.
UvicornWorker.CONFIG_KWARGS = {**UvicornWorker.CONFIG_KWARGS, **SETTINGS}

logs.configure()
_config = Config.from_env(os.environ)
_collector = Collector(
    _config,
    Publisher(_config.pubsub_emulator_host, _config.publish_deadline_s),
    lambda: datetime.now(UTC),
    time.monotonic,
    random.Random().getrandbits,  # trace ids are no secrets
    encoded({name: protocol.PATHS for name, protocol in PROTOCOLS.items() if name not in OWN}),
)


# Requests that wait for Pub/Sub outlive young collections, so full ones follow often, and each
# walks every object that the libraries made at import: 40 % of a busy collector's processor time.
# Those objects live as long as the process, so they are left out, and the rest is looked at less
# often.
gc.collect()
gc.freeze()
gc.set_threshold(GARBAGE_THRESHOLD, 20, 20)


async def collect(request: Request) -> WireResponse:
    """Answer one request on any path of `routes`, or of the collector's own."""
    return await _collector(request)
