"""The cursor of an endless feed: which items it has shown, so that none comes twice.

It holds no secret and gives no right: who forges one hides items from themselves. So it is neither
stored nor signed.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.core.item_tapes import item_hash

Hashes = NDArray[np.uint32]
MAX_FEED = 1_000
"""Items of one feed; after them it ends."""
_VERSION = b"\x01"
MAX_CURSOR_LENGTH = 4 * ((4 * MAX_FEED + 1) // 3 + 1)
"""Characters."""

NOTHING_SHOWN: Hashes = np.zeros(0, np.uint32)


def next_cursor(shown: Hashes, ids: Iterable[str]) -> str | None:
    """The cursor after these items too, None where the feed ends.

    Two items in 4 x 10^9 have the same hash: then the second is left out.
    """
    hashes = np.fromiter(map(item_hash, ids), np.uint32)
    every = np.append(shown, hashes)
    if len(hashes) == 0 or len(every) > MAX_FEED:
        return None
    return urlsafe_b64encode(_VERSION + every.astype(">u4").tobytes()).decode()


def read_cursor(text: str) -> Hashes:
    """The hashes of the items shown.

    Raises:
        ValueError: for a text that is no cursor.
    """
    try:
        data = urlsafe_b64decode(text.encode("ascii"))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ValueError("no cursor") from error
    if data[:1] != _VERSION or len(data) % 4 != 1 or len(data) > 4 * MAX_FEED + 1:
        raise ValueError("no cursor")
    return np.frombuffer(data, ">u4", offset=1).astype(np.uint32)
