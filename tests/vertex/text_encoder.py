"""A model of texts for tests: a text is the sum of its words' random directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.core.embedding import signature
from pipeline.core.text_vectors import TEXT_DIM, Units


class WordEncoder:
    """Texts are alike by the share of their words that they have in common."""

    name = "words"

    def encode(self, texts: Sequence[str]) -> Units:
        """See `TextEncoder`."""
        vectors = np.zeros((len(texts), TEXT_DIM))
        for place, text in enumerate(texts):
            for word in text.lower().split():
                vectors[place] += signature("word", word, TEXT_DIM)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
