"""Item vectors from sessions: items that are touched in the same sessions lie close together.

Skip-gram with negative sampling over the items of a session, in the order they were touched
(Mikolov et al., "Distributed Representations of Words and Phrases and their Compositionality", NIPS
2013; Barkan and Koenigstein, "Item2Vec: Neural Item Embedding for Collaborative Filtering", MLSP
2016).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pipeline.core.events import Event, profile_key
from pipeline.core.vocabulary import ENGAGED
from vertex.models.folder import VectorIndex

DIM = 32
WINDOW = 8
NEGATIVE = 10
EPOCHS = 15
# An item touched once has no neighbours to learn from.
MIN_COUNT = 2


def session_items(events: Iterable[Event]) -> list[list[str]]:
    """The items of each session in the order of `events`, immediate repeats once; no sessions of
    one item.
    """
    sessions: dict[tuple[str, str], list[str]] = {}
    for event in events:
        if event.product_id is None or event.event not in ENGAGED:
            continue
        items = sessions.setdefault((profile_key(event), event.session_id or ""), [])
        if not items or items[-1] != event.product_id:
            items.append(event.product_id)
    return [items for items in sessions.values() if len(items) > 1]


def fit(events: Iterable[Event], seed: int) -> VectorIndex:
    """Unit vectors `(n_items, DIM)` of the items that were touched at least `MIN_COUNT` times
    beside others.

    The same events and seed give the same vectors: one thread, no hashing. Empty with nothing to
    learn from.
    """
    from gensim.models import Word2Vec

    sentences = session_items(events)
    counts: dict[str, int] = {}
    for sentence in sentences:
        for item_id in sentence:
            counts[item_id] = counts.get(item_id, 0) + 1
    if sum(count >= MIN_COUNT for count in counts.values()) < 2:
        return VectorIndex.empty()
    words = Word2Vec(
        sentences,
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
