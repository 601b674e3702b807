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


def mutated(request: FuzzRequest, others: list[FuzzRequest], rng: random.Random) -> FuzzRequest:
    """One to four mutations of a request, with pieces of the others."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        part = rng.random()
        if part < 0.1:
            request = msgspec.structs.replace(request, headers=_headers(dict(request.headers), rng))
        elif request.query and (part < 0.3 or not request.body):
            query = _text(request.query, rng).encode("utf-8", "replace").decode("latin-1")
            request = msgspec.structs.replace(request, query=query)
        elif part < 0.4:
            request = msgspec.structs.replace(
                request, body=_spliced(request.body, rng.choice(others).body, rng)
            )
        else:
            request = msgspec.structs.replace(request, body=_body(request.body, rng))
    return request


# ---- bytes

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
    *(
        b"1e400",
        b"-0",
        b"1" * 400,
        b"0.1e-400",
        b"true",
        b"{}",
        b"[]",
        b"+",
        b" ",
        b"~",
        b"<",
        b"data=",
        b"verbose=1&",
    ),
)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((1, 1, 2, 8, 64, 512)))
    kind = rng.randrange(6)
    if kind == 0 and data:
        at %= len(data)
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + rng.choice(_TOKENS) + data[at:]
    if kind == 3:
        return data[:at] + data[end:]
    if kind == 4:
        piece = data[at:end] or b"["
        return data[:at] + piece * rng.choice((2, 3, 20, MAX_REPEATED // len(piece))) + data[end:]
    return data[:at] + rng.randbytes(end - at) + data[end:]


def _spliced(one: bytes, other: bytes, rng: random.Random) -> bytes:
    return one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :]


# ---- texts that hold something


def _body(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return _bytes(data, rng)
    return _text(data.decode("utf-8", "surrogateescape"), rng).encode("utf-8", "surrogatepass")


def _text(text: str, rng: random.Random) -> str:
    """JSON as JSON, base64 of JSON and forms by what is in them, lines one by one, anything else as
    bytes.
    """
    if rng.random() < 0.15:
        return _characters(text, rng)
    if text[:1] in ("{", "["):
        return _json_text(text, rng)
    if text.startswith(("ey", "W3", "eyJ")) and (inner := _of_base64(text)) is not None:
        changed = _text(inner, rng).encode("utf-8", "replace")
        return (
            rng.choice((base64.urlsafe_b64encode, base64.b64encode))(changed)
            .decode()
            .rstrip(rng.choice(("", "=")))
        )
    if "=" in text and len(text) < 16_000:
        return _form(text, rng)
    return _characters(text, rng)


def _characters(text: str, rng: random.Random) -> str:
    return _bytes(text.encode("utf-8", "surrogatepass"), rng).decode("utf-8", "surrogateescape")


def _json_text(text: str, rng: random.Random) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        lines = text.split("\n")
        if len(lines) > 1 and rng.random() < 0.7:
            at = rng.randrange(len(lines))
            lines[at] = _text(lines[at], rng)
            return "\n".join(lines)
        return _characters(text, rng)
    try:
        return json.dumps(_json(value, rng), ensure_ascii=rng.random() < 0.8)
    except (ValueError, RecursionError):
        return text


def _of_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "==").decode()
    except (binascii.Error, ValueError):
        return None


def _form(text: str, rng: random.Random) -> str:
    pairs = parse_qsl(text, keep_blank_values=True, errors="replace")
    if not pairs:
        return text
    at = rng.randrange(len(pairs))
    name, value = pairs[at]
    kind = rng.randrange(8)
    if kind == 0:
        del pairs[at]
    elif kind == 1:
        pairs.insert(rng.randrange(len(pairs)), pairs[at])
    elif kind == 2:
        pairs[at] = (rng.choice(pairs)[0], value)
    elif kind == 3:
        pairs[at] = (name, str(_odd(rng)))
    elif kind == 4:
        pairs *= rng.choice((2, 10, 200))
    elif kind == 5:
        pairs[at] = (_characters(name, rng), value)
    else:
        pairs[at] = (name, _text(value, rng))
    return "&".join(
        f"{quote(n, errors='replace')}={quote(v, errors='replace')}" for n, v in pairs[:3000]
    )


# ---- JSON


def _nested(levels: int, rng: random.Random) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


_ODD: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: None,
    lambda rng: rng.choice((True, False)),
    lambda rng: rng.choice(
        (0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400)
    ),
    lambda rng: rng.choice(
        (0.0, -0.0, 0.5, 1e-320, 1e15, 1e22, 1.8e308, float("inf"), float("nan"))
    ),
    lambda rng: rng.choice(
        (NOW_MS, NOW_MS * 1000, NOW_MS / 1000, -NOW_MS, 253402300800000, 10**18)
    ),
    lambda rng: rng.choice(
        ("", " ", "\x00", "\ud800", "a\udfffb", "\u202e", "ß" * 300, "null", "NaN", "1e400", "-1")
    ),
    lambda rng: rng.choice(
        ("9" * 50, "9" * 5000, "1_000", "٣", "1e5", "0x10", "true", "{}", "[object Object]")
    ),
    lambda rng: rng.choice(
        ("2026-01-01T12:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "now")
    ),
    lambda rng: (
        rng.choice(("a", "\ud83d", "=", "~", " ", "9", "[", "%", "\\", "."))
        * rng.choice((300, 4000, MAX_REPEATED))
    ),
    lambda rng: rng.choice(([], {}, [[]], [None], {"": None}, [{}], {"a": {}}, [1, "a", None])),
    lambda rng: _nested(rng.choice((3, 8, 12, 40, 900)), rng),
    lambda rng: {f"k{number}": number for number in range(rng.choice((5, 70, 1500)))},
    lambda rng: (
        [rng.choice(("p1", {"product_id": "p1", "price": 1}, {"item_id": "p1"}))]
        * rng.choice((2, 120, 600))
    ),
)


_NAMES = (
    *"event events batch type name properties params items products product_id price quantity "
    "currency value".split(),
    *"timestamp time sent_at sentAt user_id userId anonymousId context traits consent schema data "
    "metadata".split(),
    *"messageId $insert_id $device_id $set url title referrer ip user_agent language order_id "
    "query bot".split(),
)


def _odd(rng: random.Random) -> Any:
    return rng.choice(_ODD)(rng)


def _json(value: Any, rng: random.Random) -> Any:
    """Changed at a place taken at random; deeper places are as likely as outer ones."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        return _object(dict(value), rng)
    if isinstance(value, list) and value and rng.random() < 0.9:
        return _list(list(value), rng)
    if isinstance(value, str) and rng.random() < 0.5:
        return _text(value, rng)
    return _wrapped(value, rng) if rng.random() < 0.2 else _odd(rng)


def _wrapped(value: Any, rng: random.Random) -> Any:
    return rng.choice(([value], {"value": value}, str(value), json.dumps(value), [value, value]))


def _object(value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    name, kind = rng.choice(list(value)), rng.random()
    if kind < 0.7:
        value[name] = _json(value[name], rng)
    elif kind < 0.78:
        del value[name]
    elif kind < 0.86:
        value[rng.choice((*_NAMES, str(_odd(rng))[:2000]))] = value[name]
    elif kind < 0.94:
        value[rng.choice(_NAMES)] = _odd(rng)
    else:
        value[name] = value[rng.choice(list(value))]
    return value


def _list(value: list[Any], rng: random.Random) -> list[Any]:
    at, kind = rng.randrange(len(value)), rng.random()
    if kind < 0.7:
        value[at] = _json(value[at], rng)
    elif kind < 0.8:
        del value[at]
    elif kind < 0.9:
        value.insert(at, _odd(rng))
    else:
        value = (value * rng.choice((2, 3, 60, 600)))[:1200]
    return value


# ---- headers

_HEADER_VALUES = {
    "content-type": (
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "APPLICATION/JSON;;",
        "",
    ),
    "authorization": (
        "Basic YTpi",
        "basic eA==",
        "Basic \xff",
        "Basic",
        "Bearer x",
        "Basic " + "A" * 4000,
        "Basic /w==",
    ),
    "user-agent": (
        "curl/8",
        "",
        "Mozilla/5.0 (",
        "(" * 500,
        "Mozilla/5.0 (X11) " + "a " * 2000,
        "\xff\x00",
    ),
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


def _headers(headers: dict[str, str], rng: random.Random) -> dict[str, str]:
    name = rng.choice(list(_HEADER_VALUES))
    kind = rng.random()
    if kind < 0.2:
        headers.pop(name, None)
    elif kind < 0.8 or name not in headers:
        headers[name] = rng.choice(_HEADER_VALUES[name])
    else:
        headers[name] = _bytes(headers[name].encode("latin-1"), rng)[:8192].decode("latin-1")
    return headers
