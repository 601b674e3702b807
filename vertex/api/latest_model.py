"""The model folder's latest version in memory: item vectors, and the ranker for when Vertex does
not answer.
"""

from __future__ import annotations

import asyncio
import logging

from pipeline.core.features.ranking import FEATURE_NAMES
from vertex.models.cloud_storage import drop_copy, is_remote
from vertex.models.registry import Model, latest_version, load_version, prior_model

log = logging.getLogger(__name__)

POLL_S, POLL_REMOTE_S = 2.0, 30.0
EXACT_VECTORS = 20_000
"""Up to so many, exact search takes a millisecond or two."""


class LatestModel:
    """The model that `LATEST` names, followed; the shipped prior before there is one.

    Args:
        directory: see `registry`.
        exact_vectors: up to so many item vectors are searched exactly.
    """

    def __init__(self, directory: str, exact_vectors: int = EXACT_VECTORS) -> None:
        self._directory = directory
        self._exact_vectors = exact_vectors
        self._loaded: str | None = None
        self._model = prior_model()
        self._prepared = self._model.vectors
        # the versions this process has tried to load, each a local copy
        self._copied: set[str] = set()
        self._reported = ""

    def __call__(self) -> Model:
        """The model of the moment."""
        return self._model

    def refresh(self) -> None:
        """Load the latest version if it is another; a failure is logged, once while it lasts, and
        the old one kept.
        """
        try:
            version = latest_version(self._directory)
            if version != self._loaded:
                self._load(version)
            self._reported = ""
        except Exception as error:
            # any error of a folder, Cloud Storage or its credentials: rank on, and try again
            if str(error) != self._reported:
                log.error("the latest model stays unused: %s: %s", type(error).__name__, error)
            self._reported = str(error)

    def prepare_search(self) -> None:
        """Make the search among very many vectors fast; until then, and where that fails, which is
        logged once a model, it is exact and slow.
        """
        vectors = self._model.vectors
        if vectors is self._prepared:
            return
        self._prepared = vectors
        if len(vectors) <= self._exact_vectors:
            return
        try:
            # only here: a library that a small shop's process has no memory for
            from vertex.api.approximate import InvertedLists

            vectors.search_with(InvertedLists(vectors.rows).nearest)
        except Exception as error:
            # the library may be missing, memory may be short: the model is followed all the same
            log.error(
                "search among %d vectors stays exact: %s: %s",
                len(vectors),
                type(error).__name__,
                error,
            )
        else:
            log.info("search among %d vectors prepared", len(vectors))

    async def follow(self) -> None:
        """Look for another version now and then; runs until cancelled."""
        while True:
            await asyncio.to_thread(self.prepare_search)
            await asyncio.sleep(POLL_REMOTE_S if is_remote(self._directory) else POLL_S)
            await asyncio.to_thread(self.refresh)

    def _load(self, version: str | None) -> None:
        if version is not None:
            self._copied.add(version)
        model = load_version(self._directory, version)
        model.check_features(FEATURE_NAMES)
        self._model, self._loaded = model, version
        log.info("model loaded", extra={"model_version": self._model.version})
        for older in self._copied - {version}:
            drop_copy(f"{self._directory}/{older}")
            self._copied.discard(older)
