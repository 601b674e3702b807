"""Requests that are almost right: seeded mutations of bytes, texts, forms, JSON and headers."""

from __future__ import annotations

import base64
import binascii
import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote

import msgspec

from tests.bench.fuzz_corpus import NOW_MS, FuzzRequest

MAX_REPEATED = 40_000


def mutated(request: FuzzRequest, others: list[FuzzRequest], dice: random.Random) -> FuzzRequest:
    """One to four mutations of a request, with pieces of the others."""
    for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 4))):
        part = dice.random()
        if part < 0.1:
            request = msgspec.structs.replace(request, headers=_headers(dict(request.headers), dice))
        elif request.query and (part < 0.3 or not request.body):
            query = _text(request.query, dice).encode("utf-8", "replace").decode("latin-1")
            request = msgspec.structs.replace(request, query=query)
        elif part < 0.4:
            request = msgspec.structs.replace(request, body=_spliced(request.body, dice.choice(others).body, dice))
        else:
            request = msgspec.structs.replace(request, body=_body(request.body, dice))
    return request


# ---- bytes -----------------------------------------------------------------------------------------------------

_TOKENS = (
    *(
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\n",
        b"\r\n",
        b"&",
        b"=",
        b"%",
        b"%00",
        b"%ff",
        b"%ED%A0%80",
    ),
    *(
        b'"',
        b"\\",
        b"\\ud800",
        b"\\udfff",
        b"\\u0000",
        b"[",
        b"{",
        b"]",
        b"}",
        b",",
        b":",
        b"null",
        b"NaN",
        b"-Infinity",
    ),
    *(b"1e400", b"-0", b"1" * 400, b"0.1e-400", b"true", b"{}", b"[]", b"+", b" ", b"~", b"<", b"data=", b"verbose=1&"),
)


def _bytes(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    end = min(len(data), at + dice.choice((1, 1, 2, 8, 64, 512)))
    kind = dice.randrange(6)
    if kind == 0 and data:
        at %= len(data)
        return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + dice.choice(_TOKENS) + data[at:]
    if kind == 3:
        return data[:at] + data[end:]
    if kind == 4:
        piece = data[at:end] or b"["
        return data[:at] + piece * dice.choice((2, 3, 20, MAX_REPEATED // len(piece))) + data[end:]
    return data[:at] + dice.randbytes(end - at) + data[end:]


def _spliced(one: bytes, other: bytes, dice: random.Random) -> bytes:
    return one[: dice.randrange(len(one) + 1)] + other[dice.randrange(len(other) + 1) :]


# ---- texts that hold something ---------------------------------------------------------------------------------


def _body(data: bytes, dice: random.Random) -> bytes:
    if dice.random() < 0.2:
        return _bytes(data, dice)
    return _text(data.decode("utf-8", "surrogateescape"), dice).encode("utf-8", "surrogatepass")


def _text(text: str, dice: random.Random) -> str:
    """JSON as JSON, base64 of JSON and forms by what is in them, lines one by one, anything else as bytes."""
    if dice.random() < 0.15:
        return _characters(text, dice)
    if text[:1] in ("{", "["):
        return _json_text(text, dice)
    if text.startswith(("ey", "W3", "eyJ")) and (inner := _of_base64(text)) is not None:
        changed = _text(inner, dice).encode("utf-8", "replace")
        return (
            dice.choice((base64.urlsafe_b64encode, base64.b64encode))(changed).decode().rstrip(dice.choice(("", "=")))
        )
    if "=" in text and len(text) < 16_000:
        return _form(text, dice)
    return _characters(text, dice)


def _characters(text: str, dice: random.Random) -> str:
    return _bytes(text.encode("utf-8", "surrogatepass"), dice).decode("utf-8", "surrogateescape")


def _json_text(text: str, dice: random.Random) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        lines = text.split("\n")
        if len(lines) > 1 and dice.random() < 0.7:
            at = dice.randrange(len(lines))
            lines[at] = _text(lines[at], dice)
            return "\n".join(lines)
        return _characters(text, dice)
    try:
        return json.dumps(_json(value, dice), ensure_ascii=dice.random() < 0.8)
    except (ValueError, RecursionError):
        return text


def _of_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "==").decode()
    except (binascii.Error, ValueError):
        return None


def _form(text: str, dice: random.Random) -> str:
    pairs = parse_qsl(text, keep_blank_values=True, errors="replace")
    if not pairs:
        return text
    at = dice.randrange(len(pairs))
    name, value = pairs[at]
    kind = dice.randrange(8)
    if kind == 0:
        del pairs[at]
    elif kind == 1:
        pairs.insert(dice.randrange(len(pairs)), pairs[at])
    elif kind == 2:
        pairs[at] = (dice.choice(pairs)[0], value)
    elif kind == 3:
        pairs[at] = (name, str(_odd(dice)))
    elif kind == 4:
        pairs *= dice.choice((2, 10, 200))
    elif kind == 5:
        pairs[at] = (_characters(name, dice), value)
    else:
        pairs[at] = (name, _text(value, dice))
    return "&".join(f"{quote(n, errors='replace')}={quote(v, errors='replace')}" for n, v in pairs[:3000])


# ---- JSON ------------------------------------------------------------------------------------------------------


def _nested(levels: int, dice: random.Random) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if dice.random() < 0.5 else {"a": value}
    return value


_ODD: tuple[Callable[[random.Random], Any], ...] = (
    lambda dice: None,
    lambda dice: dice.choice((True, False)),
    lambda dice: dice.choice((0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400)),
    lambda dice: dice.choice((0.0, -0.0, 0.5, 1e-320, 1e15, 1e22, 1.8e308, float("inf"), float("nan"))),
    lambda dice: dice.choice((NOW_MS, NOW_MS * 1000, NOW_MS / 1000, -NOW_MS, 253402300800000, 10**18)),
    lambda dice: dice.choice(
        ("", " ", "\x00", "\ud800", "a\udfffb", "\u202e", "ß" * 300, "null", "NaN", "1e400", "-1")
    ),
    lambda dice: dice.choice(("9" * 50, "9" * 5000, "1_000", "٣", "1e5", "0x10", "true", "{}", "[object Object]")),
    lambda dice: dice.choice(("2026-01-01T12:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "now")),
    lambda dice: (
        dice.choice(("a", "\ud83d", "=", "~", " ", "9", "[", "%", "\\", ".")) * dice.choice((300, 4000, MAX_REPEATED))
    ),
    lambda dice: dice.choice(([], {}, [[]], [None], {"": None}, [{}], {"a": {}}, [1, "a", None])),
    lambda dice: _nested(dice.choice((3, 8, 12, 40, 900)), dice),
    lambda dice: {f"k{number}": number for number in range(dice.choice((5, 70, 1500)))},
    lambda dice: (
        [dice.choice(("p1", {"product_id": "p1", "price": 1}, {"item_id": "p1"}))] * dice.choice((2, 120, 600))
    ),
)


_NAMES = (
    *"event events batch type name properties params items products product_id price quantity currency value".split(),
    *"timestamp time sent_at sentAt user_id userId anonymousId context traits consent schema data metadata".split(),
    *"messageId $insert_id $device_id $set url title referrer ip user_agent language order_id query bot".split(),
)


def _odd(dice: random.Random) -> Any:
    return dice.choice(_ODD)(dice)


def _json(value: Any, dice: random.Random) -> Any:
    """Changed at a place taken at random; deeper places are as likely as outer ones."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        return _object(dict(value), dice)
    if isinstance(value, list) and value and dice.random() < 0.9:
        return _list(list(value), dice)
    if isinstance(value, str) and dice.random() < 0.5:
        return _text(value, dice)
    return _wrapped(value, dice) if dice.random() < 0.2 else _odd(dice)


def _wrapped(value: Any, dice: random.Random) -> Any:
    return dice.choice(([value], {"value": value}, str(value), json.dumps(value), [value, value]))


def _object(value: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    name, kind = dice.choice(list(value)), dice.random()
    if kind < 0.7:
        value[name] = _json(value[name], dice)
    elif kind < 0.78:
        del value[name]
    elif kind < 0.86:
        value[dice.choice((*_NAMES, str(_odd(dice))[:2000]))] = value[name]
    elif kind < 0.94:
        value[dice.choice(_NAMES)] = _odd(dice)
    else:
        value[name] = value[dice.choice(list(value))]
    return value


def _list(value: list[Any], dice: random.Random) -> list[Any]:
    at, kind = dice.randrange(len(value)), dice.random()
    if kind < 0.7:
        value[at] = _json(value[at], dice)
    elif kind < 0.8:
        del value[at]
    elif kind < 0.9:
        value.insert(at, _odd(dice))
    else:
        value = (value * dice.choice((2, 3, 60, 600)))[:1200]
    return value


# ---- headers ---------------------------------------------------------------------------------------------------

_HEADER_VALUES = {
    "content-type": ("application/json", "text/plain", "application/x-www-form-urlencoded", "APPLICATION/JSON;;", ""),
    "authorization": (
        "Basic YTpi",
        "basic eA==",
        "Basic \xff",
        "Basic",
        "Bearer x",
        "Basic " + "A" * 4000,
        "Basic /w==",
    ),
    "user-agent": ("curl/8", "", "Mozilla/5.0 (", "(" * 500, "Mozilla/5.0 (X11) " + "a " * 2000, "\xff\x00"),
    "accept-language": ("", "de", "*", "de;q=", "a-" * 2000, "en-US,en;q=0.9," * 200, "\xe4"),
    "sec-gpc": ("1", "0"),
    "dnt": ("1", "x"),
    "cookie": ("a=b", "freshet=1", ";" * 3000, "=" * 3000),
    "x-freshet-key": ("", "k", "\xff"),
    "sec-fetch-mode": ("navigate", "", "\xff"),
    "x-forwarded-proto": ("http", "https,http", ""),
    "host": ("", "a" * 300),
    "sp-anonymous": ("*", ""),
}


def _headers(headers: dict[str, str], dice: random.Random) -> dict[str, str]:
    name = dice.choice(list(_HEADER_VALUES))
    kind = dice.random()
    if kind < 0.2:
        headers.pop(name, None)
    elif kind < 0.8 or name not in headers:
        headers[name] = dice.choice(_HEADER_VALUES[name])
    else:
        headers[name] = _bytes(headers[name].encode("latin-1"), dice)[:8192].decode("latin-1")
    return headers
