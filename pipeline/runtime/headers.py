"""Headers of a request as texts, decoded on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SIGNALS = (b"sec-gpc", b"dnt")
"""A signal counts in whichever line of a request it stands."""


def by_name(raw: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The lines of a request, with lower-case names; of those that came several times the last, of
    signals all.

    Several are one list with commas, as a proxy may have joined them (RFC 9110, section 5.3).
    """
    found = dict(raw)
    if len(found) < len(raw):
        for name in found.keys() & SIGNALS:
            found[name] = b",".join(value for given, value in raw if given == name)
    return found


class Headers(Mapping[str, str]):
    """By lower-case name; of a header that came several times, the last.

    Args:
        raw: lower-case names and values, in Latin-1.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: Mapping[bytes, bytes]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        return self._raw[name.encode("latin-1", "replace")].decode("latin-1")

    def get(self, name: str, default: Any = None) -> Any:
        """As a dict's; the mix-in's own costs an exception for each header that is not there."""
        value = self._raw.get(name.encode("latin-1", "replace"))
        return default if value is None else value.decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)
