"""The number of items that fit into the memory of this process."""

from __future__ import annotations

import os
from pathlib import Path

# An item in columns with its trained vector and two short attributes: 1.3 kB, measured with a
# million of them. The rest is for its text's vector, longer titles and more attributes.
ITEM_BYTES = 2_000
# Of all memory, items may take one part in so many: the process without them has 200 MB.
ITEM_SHARE = 3
CGROUPS = Path("/sys/fs/cgroup")
# Version 2, version 1.
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")


def items_that_fit(memory: int) -> int:
    """The number of items to keep with so many bytes of memory, at least 1."""
    return max(memory // ITEM_SHARE // ITEM_BYTES, 1)


def memory_bytes(cgroups: Path = CGROUPS) -> int:
    """The memory of the machine, or the container's limit where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(
        [physical, *(limit for name in _LIMITS if (limit := _limit(cgroups / name)) is not None)]
    )


def _limit(path: Path) -> int | None:
    """The number in the file; None where there is none, or no limit."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
