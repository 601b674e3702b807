"""Item vectors from sessions: items that are touched in the same sessions lie close together.

Skip-gram with negative sampling over the items of a session, in the order they were touched
(Mikolov et al., "Distributed Representations of Words and Phrases and their Compositionality", NIPS
2013; Barkan and Koenigstein, "Item2Vec: Neural Item Embedding for Collaborative Filtering", MLSP
2016). The score of two items is the cosine of their vectors (`VectorIndex.nearest`).
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from pipeline.core.vectors import VectorIndex
from vertex.models.click_model import Files, InvalidModel, read_json

VECTORS, VECTOR_IDS = "vectors.npy", "vector_ids.json"

DIM = 32
WINDOW = 8
NEGATIVE = 10
EPOCHS = 15
# An item touched once has no neighbours to learn from.
MIN_COUNT = 2


def fit(sequences: Sequence[Sequence[str]], seed: int) -> VectorIndex:
    """Unit vectors `(n_items, DIM)` of the items that stand at least `MIN_COUNT` times in the
    sequences of item ids.

    The same sequences and seed give the same vectors: one thread, no hashing. Empty with nothing to
    learn from.
    """
    from gensim.models import Word2Vec

    counts = Counter(chain.from_iterable(sequences))
    if sum(count >= MIN_COUNT for count in counts.values()) < 2:
        return VectorIndex.empty()
    words = Word2Vec(
        sequences,
        sg=1,
        vector_size=DIM,
        window=WINDOW,
        negative=NEGATIVE,
        min_count=MIN_COUNT,
        sample=0,  # a shop's bestseller says more than a language's "the"
        epochs=EPOCHS,
        seed=seed,
        workers=1,
    ).wv
    rows = np.asarray(words.vectors, np.float32)  # (n_items, DIM)
    return VectorIndex(list(words.index_to_key), rows / np.linalg.norm(rows, axis=1, keepdims=True))


def save(vectors: VectorIndex) -> Files:
    """The files of the vectors by name, as `load` reads them."""
    rows = io.BytesIO()
    np.save(rows, vectors.rows.astype(np.float32), allow_pickle=False)
    return {VECTORS: rows.getvalue(), VECTOR_IDS: json.dumps(list(vectors)).encode()}


def load(folder: Path) -> VectorIndex:
    """The vectors of a folder on disk; empty where it holds none.

    Raises:
        InvalidModel: when the files do not fit together.
    """
    if not (folder / VECTORS).exists():
        return VectorIndex.empty()
    ids = read_json(folder / VECTOR_IDS)
    try:
        rows = np.load(folder / VECTORS, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidModel(f"{folder / VECTORS}: expected a float32 array, got {error}") from None
    if not isinstance(ids, list) or rows.dtype != np.float32:
        raise InvalidModel(
            f"{folder}: expected a list of ids and float32 rows, got {rows.dtype} rows"
        )
    try:
        return VectorIndex([str(item_id) for item_id in ids], rows)
    except ValueError as error:
        raise InvalidModel(f"{folder / VECTORS}: {error}") from None
