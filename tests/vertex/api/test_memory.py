"""The items that fit follow from the memory that the container has, or else the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vertex.api.memory import items_that_fit, memory_bytes

PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
GIB = 1024**3


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("memory.max", str(GIB), GIB),
        ("memory.max", "max", PHYSICAL),
        ("memory/memory.limit_in_bytes", str(GIB), GIB),
        ("memory/memory.limit_in_bytes", "9223372036854771712", PHYSICAL),
        ("nothing", "", PHYSICAL),
    ],
)
def test_memory_is_the_containers_limit_or_the_machines(
    tmp_path: Path, name: str, text: str, expected: int
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{text}\n")

    assert memory_bytes(tmp_path) == expected


def test_a_third_of_memory_is_for_items() -> None:
    assert items_that_fit(GIB) == 178_956
    assert items_that_fit(1) == 1
