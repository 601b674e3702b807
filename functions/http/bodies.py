"""Unpacks a request's body and never holds more of it than is allowed."""

from __future__ import annotations

import zlib

import brotli  # type: ignore[import-untyped]

from pipeline.runtime.bodies import BodyRefused

MAX_BODY_BYTES = 1024 * 1024
"""Of one request, and of what it unpacks to."""
FREE_UNPACKED_BYTES, MAX_RATIO = 64 * 1024, 64
"""A body unpacks to at most so much and so many times what was sent: real events shrink to a tenth
or a thirtieth, and 3 kB that become 1 MB are there to cost."""
ENCODINGS = ("identity", "gzip", "br", "deflate")


def decoded(body: bytes, encoding: bytes) -> bytes:
    """The bytes that `body` unpacks to; unpacking stops at the bounds above, so a small bomb stays
    small.

    Raises:
        BodyRefused: 415 for an encoding that is none of `ENCODINGS`, 413, or 400 for bytes that are
            not so encoded.
    """
    named = encoding.strip().lower()
    if named in (b"gzip", b"x-gzip"):
        return _inflated(body, zlib.MAX_WBITS | 16)
    if named == b"deflate":
        return _inflated(body, zlib.MAX_WBITS)
    if named == b"br":
        return _unbrotlied(body)
    if named == b"identity":
        return body
    raise BodyRefused(415, "content-encoding", f"expected one of {', '.join(ENCODINGS)}")


def _inflated(body: bytes, window_bits: int) -> bytes:
    unpacker = zlib.decompressobj(window_bits)
    try:
        plain = unpacker.decompress(body, _most(body) + 1)
    except zlib.error:
        raise _not_as_encoded() from None
    if len(plain) > _most(body):
        raise _too_large()
    if not unpacker.eof or unpacker.unused_data:
        raise _not_as_encoded()
    return plain


def _unbrotlied(body: bytes) -> bytes:
    unpacker = brotli.Decompressor()
    parts: list[bytes] = []
    size, given = 0, body
    try:
        while True:
            part = unpacker.process(given, output_buffer_limit=_most(body) + 1 - size)
            size += len(part)
            parts.append(part)
            if size > _most(body):
                raise _too_large()
            if unpacker.is_finished():
                return b"".join(parts)
            if unpacker.can_accept_more_data():
                raise _not_as_encoded()
            given = b""
    except brotli.error:
        raise _not_as_encoded() from None


def _most(body: bytes) -> int:
    return min(MAX_BODY_BYTES, FREE_UNPACKED_BYTES + MAX_RATIO * len(body))


def _too_large() -> BodyRefused:
    free = f"{FREE_UNPACKED_BYTES} and {MAX_RATIO} times what was sent"
    return BodyRefused(
        413, "body", f"expected at most {MAX_BODY_BYTES} bytes, and unpacked at most {free}"
    )


def _not_as_encoded() -> BodyRefused:
    return BodyRefused(400, "content-encoding", "expected a body that is encoded so, whole")
