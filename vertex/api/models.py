"""The model folder's latest version in memory: item vectors, and the ranker for when Vertex does not answer."""

from __future__ import annotations

import asyncio
import logging

from vertex.model import InvalidModel, Model, is_remote, latest_version, load_model, prior_model

log = logging.getLogger(__name__)

POLL_S, POLL_REMOTE_S = 2.0, 30.0


class LatestModel:
    """The model that `LATEST` names, followed; the shipped prior before there is one."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._loaded: str | None = None
        self._model = prior_model()

    def __call__(self) -> Model:
        """The model of the moment."""
        return self._model

    def refresh(self) -> None:
        """Load the latest version if it is another; an unreadable one is logged and the old one kept."""
        try:
            version = latest_version(self._directory)
            if version != self._loaded:
                self._model = load_model(f"{self._directory}/{version}") if version else prior_model()
                self._loaded = version
                log.info("model loaded", extra={"model_version": self._model.version})
        except (InvalidModel, OSError) as error:
            log.error("the latest model stays unused: %s", error)

    async def follow(self) -> None:
        """Look for another version now and then; runs until cancelled."""
        while True:
            await asyncio.sleep(POLL_REMOTE_S if is_remote(self._directory) else POLL_S)
            await asyncio.to_thread(self.refresh)
