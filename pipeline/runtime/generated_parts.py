"""Parts of a document that are written from the code, each between two markers."""

from __future__ import annotations


def with_part(text: str, begin: str, end: str, part: str) -> str:
    """`text` with `part` in place of what stands between the markers `begin` and `end`.

    Raises:
        ValueError: when `text` lacks a marker.
    """
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise ValueError(f"text: expected the lines {begin} and {end}")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"
