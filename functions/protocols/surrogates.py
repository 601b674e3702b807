"""Half a character in JSON: what a client writes whose text was cut within an emoji.

`JSON.stringify("😀".slice(0, 1))` is `"\\ud83d"`: an escape that is JSON by its grammar and no character (RFC 8259,
section 8.2), which strict readers refuse, with the whole batch around it.
"""

from __future__ import annotations

import re

REPLACEMENT = rb"\ufffd"
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
# Every escape from its backslash on, so that the `u` after an escaped backslash is none; a pair is one character.
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^u])")


def mended(json: bytes | str) -> bytes | None:
    """The same JSON with U+FFFD for each half; None where it holds none. In linear time."""
    data = json.encode("utf-8", "replace") if isinstance(json, str) else json
    if _HALF.search(data) is None:
        return None
    changed = _ESCAPE.sub(_whole, data)
    return None if changed == data else changed


def _whole(found: re.Match[bytes]) -> bytes:
    escape = found[0]
    return REPLACEMENT if len(escape) == 6 and _HALF.match(escape) else escape
