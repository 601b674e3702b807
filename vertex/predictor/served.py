"""The model that is being served, replaced when a newer one is published."""

from __future__ import annotations

import asyncio
import logging

from vertex.models.cloud_storage import is_remote
from vertex.models.registry import Model, latest_version, load_model, prior_model
from vertex.predictor.config import Config

logger = logging.getLogger(__name__)

CHECK_S = 1.0
PRIOR = "prior"


class Served:
    """Holds one model. When the one to serve cannot be loaded, the one before goes on serving.

    A version's folder never changes, so only another version is ever loaded. A local `LATEST` is
    watched; a remote one is read once, as on Vertex AI a new model is a new deployment.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._source: str | None = None
        self._reported = ""
        self.model: Model | None = None

    def refresh(self) -> None:
        """Load what is to be served now, unless it is served already; a failure is logged, once
        while it lasts.
        """
        try:
            source = self._wanted()
            if source == self._source:
                return
            model = prior_model() if source == PRIOR else load_model(source)
        except Exception as error:
            # any error of a folder or Cloud Storage: keep serving, and try again
            self._report(error)
            return
        self.model, self._source, self._reported = model, source, ""
        logger.info("serving model %s (%s)", model.version, model.kind)

    async def watch(self, every_s: float = CHECK_S) -> None:
        """Refresh every `every_s` seconds, beside the event loop, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await asyncio.to_thread(self.refresh)

    def _wanted(self) -> str:
        """The folder to serve, or `PRIOR`."""
        directory = self._config.model_dir
        if self._config.storage_uri:
            return self._config.storage_uri
        if directory is None:
            return PRIOR
        if is_remote(directory) and self._source:
            return self._source
        version = latest_version(directory)
        if version is None:
            return PRIOR
        return f"{directory}/{version}"

    def _report(self, error: Exception) -> None:
        if str(error) != self._reported:
            logger.error("model not loaded, %s: %s", self._left(), error)
        self._reported = str(error)

    def _left(self) -> str:
        if self.model is None:
            return "nothing to serve"
        return f"{self.model.version} goes on serving"
