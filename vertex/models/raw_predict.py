"""The binary body of `rawPredict`: a matrix in, probabilities out, without a number ever becoming
text.

    request   b"FSM2" | uint32 n | uint32 d | uint32 size of the names in bytes
              | names of the d columns, UTF-8, a line each, filled with newlines to four bytes
              | n * d float32, row after row
    response  b"FSP1" | uint32 n | n float32

All little-endian. JSON of 200 candidates costs both sides milliseconds; this costs microseconds. A
request names its columns, so that a model picks its own, and neither side has to know the other's.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MATRIX_MAGIC, PREDICTIONS_MAGIC = b"FSM2", b"FSP1"
# What a Vertex AI endpoint takes in one request.
MAX_BODY_BYTES = 1_500_000
MAX_NAMES_BYTES = 16_384
CONTENT_TYPE = "application/octet-stream"
VERSION_HEADER = "x-freshet-model-version"

Matrix = NDArray[np.float32]
Predictions = NDArray[np.float32]

_MATRIX_HEADER = struct.Struct("<4sIII")
_PREDICTIONS_HEADER = struct.Struct("<4sI")
_FLOAT_BYTES = 4
# A client sends the same names each time; a predictor sees those of a few releases.
_KNOWN_NAMES = 16


class InvalidBody(ValueError):
    """A body that is not what the codec writes: which part, what was expected, what was there."""

    def __init__(self, field: str, expected: str, value: object) -> None:
        self.field = field
        super().__init__(f"{field}: expected {expected}, got {value}")


class NamedMatrix(NamedTuple):
    """A matrix `(n, d)` and the names of its `d` columns."""

    matrix: Matrix
    names: tuple[str, ...]


def encode_matrix(matrix: Matrix, names: Sequence[str]) -> bytes:
    """The request body of a matrix `(n, d)` whose `d` columns have these names.

    Raises:
        InvalidBody: for another shape, a number that is not finite, or a body over
            `MAX_BODY_BYTES`.
    """
    if matrix.ndim != 2:
        raise InvalidBody("matrix", "two dimensions", f"shape {matrix.shape}")
    n, d = matrix.shape
    _check_names(names, d)
    values = np.ascontiguousarray(matrix, "<f4")
    _check_finite("matrix", values)
    lines = _encoded_names(tuple(names))
    header = _MATRIX_HEADER.pack(MATRIX_MAGIC, n, d, len(lines))
    body = b"".join([header, lines, values.tobytes()])
    _check_size(body)
    return body


def decode_matrix(body: bytes) -> NamedMatrix:
    """The matrix `(n, d)` of a request body, read-only, and the names of its columns.

    Raises:
        InvalidBody: naming the part that is wrong.
    """
    _check_size(body)
    magic, n, d, names_bytes = _header(_MATRIX_HEADER, body)
    _check_magic(magic, MATRIX_MAGIC)
    if d == 0:
        raise InvalidBody("d", "at least 1 column", d)
    if names_bytes > MAX_NAMES_BYTES:
        raise InvalidBody("names", f"at most {MAX_NAMES_BYTES} bytes", names_bytes)
    start = _MATRIX_HEADER.size + names_bytes
    values = _floats(body, start, n * d, f"{n} x {d}")
    names = _decoded_names(body[_MATRIX_HEADER.size : start])
    _check_names(names, d)
    _check_finite("matrix", values)
    return NamedMatrix(values.reshape(n, d), names)


def encode_predictions(predictions: Predictions) -> bytes:
    """The response body of probabilities `(n,)`.

    Raises:
        InvalidBody: for another shape or a number that is not in [0, 1].
    """
    if predictions.ndim != 1:
        raise InvalidBody("predictions", "one dimension", f"shape {predictions.shape}")
    values = np.ascontiguousarray(predictions, "<f4")
    _check_probabilities(values)
    return _PREDICTIONS_HEADER.pack(PREDICTIONS_MAGIC, len(values)) + values.tobytes()


def decode_predictions(body: bytes, rows: int | None = None) -> Predictions:
    """The probabilities `(n,)` of a response body, read-only; with `rows`, `n` must be that.

    Raises:
        InvalidBody: naming the part that is wrong.
    """
    magic, n = _header(_PREDICTIONS_HEADER, body)
    _check_magic(magic, PREDICTIONS_MAGIC)
    if rows is not None and n != rows:
        raise InvalidBody("n", f"{rows} predictions", n)
    values = _floats(body, _PREDICTIONS_HEADER.size, n, str(n))
    _check_probabilities(values)
    return values


def predictions_bytes(rows: int) -> int:
    """The length of the response body for so many rows."""
    return _PREDICTIONS_HEADER.size + rows * _FLOAT_BYTES


def _header(layout: struct.Struct, body: bytes) -> tuple[Any, ...]:
    if len(body) < layout.size:
        raise InvalidBody("body", f"at least {layout.size} bytes", len(body))
    return layout.unpack_from(body)


def _floats(body: bytes, offset: int, count: int, shape: str) -> NDArray[np.float32]:
    expected = offset + count * _FLOAT_BYTES
    if len(body) != expected:
        raise InvalidBody("body", f"{expected} bytes for {shape} values", len(body))
    return np.frombuffer(body, "<f4", offset=offset)


@lru_cache(_KNOWN_NAMES)
def _encoded_names(names: tuple[str, ...]) -> bytes:
    lines = "\n".join(names).encode()
    return lines + b"\n" * (-len(lines) % _FLOAT_BYTES)


@lru_cache(_KNOWN_NAMES)
def _decoded_names(lines: bytes) -> tuple[str, ...]:
    try:
        return tuple(lines.decode().split())
    except UnicodeDecodeError as error:
        raise InvalidBody("names", "UTF-8", error) from None


def _check_names(names: Sequence[str], columns: int) -> None:
    if len(names) != columns:
        raise InvalidBody("names", f"{columns}, one a column", len(names))


def _check_magic(magic: bytes, expected: bytes) -> None:
    if magic != expected:
        raise InvalidBody("magic", repr(expected), repr(magic))


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidBody("body", f"at most {MAX_BODY_BYTES} bytes", len(body))


def _check_finite(field: str, values: NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        raise InvalidBody(
            field, "finite numbers", f"{np.count_nonzero(~np.isfinite(values))} that are not"
        )


def _check_probabilities(values: NDArray[np.float32]) -> None:
    inside = (values >= 0.0) & (values <= 1.0)  # NaN is neither
    if not inside.all():
        raise InvalidBody(
            "predictions", "numbers in [0, 1]", f"{np.count_nonzero(~inside)} that are not"
        )
