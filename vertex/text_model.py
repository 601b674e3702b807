"""A static embedding model of texts: a vector for each word piece, and of a text their mean.

WordLlama (https://github.com/dleemiller/WordLlama, MIT): token embeddings of Llama 2, distilled and
trained so that the first numbers of a vector are a good shorter one (Kusupati et al., "Matryoshka
Representation Learning", NeurIPS 2022). Weights and tokenizer lie in the package: nothing is
downloaded.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.text_vectors import TEXT_DIM, TextEncoder, Units

log = logging.getLogger(__name__)

_CONFIG = "l2_supercat"


class WordLlamaEncoder:
    """`TextEncoder` over the package's model; takes 1.5 s and 60 MB to load, and some 0.1 ms a
    text.

    Raises:
        ImportError: the package is not installed.
        OSError: its files are not there.
    """

    def __init__(self) -> None:
        # Imported here: the package is optional, and slow to import.
        import wordllama

        folder = Path(wordllama.__file__).parent
        model: Any = wordllama.WordLlama.load(
            _CONFIG,
            # without it the package looks for its own tokenizer elsewhere, and would download it
            cache_dir=folder,
            trunc_dim=TEXT_DIM,
            disable_download=True,
        )
        self._tokenizer, self._pieces = model.tokenizer, model.embedding  # (vocabulary, TEXT_DIM)
        self.name = f"wordllama-{version('wordllama')}-{_CONFIG}-{TEXT_DIM}"

    def encode(self, texts: Sequence[str]) -> Units:
        """See `TextEncoder`. One thread, and no padding: a text's vector does not depend on the
        others'.
        """
        vectors = np.zeros((len(texts), TEXT_DIM), np.float32)
        for place, text in enumerate(texts):
            valid = text.encode("utf-8", "replace").decode()  # no lone surrogates
            pieces = self._tokenizer.encode(valid, add_special_tokens=False).ids
            vectors[place] = self._pieces[pieces].sum(axis=0)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units: Units = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
        return units


@cache
def load_text_encoder() -> TextEncoder | None:
    """The model of texts, one for the process; None, and a line in the log, where it cannot be
    loaded.
    """
    try:
        return WordLlamaEncoder()
    except (ImportError, OSError) as error:
        log.warning("items have no text vectors: the model of texts cannot be loaded: %s", error)
        return None
