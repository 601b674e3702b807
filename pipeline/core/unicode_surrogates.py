"""Half a character in JSON: what a client writes whose text was cut within an emoji.

`JSON.stringify("😀".slice(0, 1))` is `"\\ud83d"`: an escape that is JSON by its grammar and no
character (RFC 8259, section 8.2), which strict readers refuse, with the whole batch around it.
"""

from __future__ import annotations

import re

_HALF = re.compile(
    rb"\\u[dD](?:"
    rb"[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})|"
    rb"[c-fC-F][0-9a-fA-F]{2}(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb")"
)
"""A first half without its second, or a second without its first."""
_BACKSLASH, _HIDDEN = rb"\\", b"\xff\xff"
"""An escaped backslash, so that the `u` after it is none; and what no JSON holds, in its place."""


def mended(json: bytes | str) -> bytes | None:
    """The same JSON with U+FFFD for each half; None where it holds none. In linear time."""
    data = json.encode("utf-8", "replace") if isinstance(json, str) else json
    if (b"\\ud" not in data and b"\\uD" not in data) or b"\xff" in data:
        return None
    hidden = data.replace(_BACKSLASH, _HIDDEN)
    changed = _HALF.sub(rb"\\ufffd", hidden)
    return None if changed == hidden else changed.replace(_HIDDEN, _BACKSLASH)
