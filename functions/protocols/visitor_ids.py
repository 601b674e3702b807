"""Ids of no visitor, which trackers send where a site had no id to give.

All of them are not one visitor.
"""

from __future__ import annotations

from typing import Any

from functions.protocols.values import as_id

NOBODY = frozenset(
    (
        *(
            "anon",
            "anonymous",
            "unknown",
            "undefined",
            "null",
            "<nil>",
            "nil",
            "none",
            "n/a",
            "na",
            "nan",
            "true",
        ),
        *("false", "0", "-1", "{}", "[]", "[object object]", "guest"),
    )
)
_ZEROS = frozenset("0-")


def somebody(*candidates: Any) -> str | None:
    """The first that is an id; also all zeros are none, which phones that may not be tracked
    give."""
    return next((found for given in candidates if (found := as_id(given)) and _is_one(found)), None)


def _is_one(found: str) -> bool:
    plain = found.strip().lower()
    return bool(plain) and plain not in NOBODY and not _ZEROS.issuperset(plain)
