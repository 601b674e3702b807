"""The binary body of `rawPredict`: a matrix in, probabilities out, without a number ever becoming
text.

    request   b"FSM1" | uint32 n | uint32 d | n * d float32, row after row
    response  b"FSP1" | uint32 n | n float32

All little-endian. JSON of 200 candidates costs both sides milliseconds; this costs microseconds.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

MATRIX_MAGIC, PREDICTIONS_MAGIC = b"FSM1", b"FSP1"
# What a Vertex AI endpoint takes in one request.
MAX_BODY_BYTES = 1_500_000
CONTENT_TYPE = "application/octet-stream"
VERSION_HEADER = "x-freshet-model-version"

Matrix = NDArray[np.float32]
Predictions = NDArray[np.float32]

_MATRIX_HEADER = struct.Struct("<4sII")
_PREDICTIONS_HEADER = struct.Struct("<4sI")
_FLOAT_BYTES = 4


class InvalidBody(ValueError):
    """A body that is not what the codec writes: which part, what was expected, what was there."""

    def __init__(self, field: str, expected: str, value: object) -> None:
        self.field = field
        super().__init__(f"{field}: expected {expected}, got {value}")


def encode_matrix(matrix: Matrix) -> bytes:
    """The request body of a matrix `(n, d)`.

    Raises:
        InvalidBody: for another shape, a number that is not finite, or a body over
            `MAX_BODY_BYTES`.
    """
    if matrix.ndim != 2:
        raise InvalidBody("matrix", "two dimensions", f"shape {matrix.shape}")
    n, d = matrix.shape
    values = np.ascontiguousarray(matrix, "<f4")
    _check_finite("matrix", values)
    body = _MATRIX_HEADER.pack(MATRIX_MAGIC, n, d) + values.tobytes()
    _check_size(body)
    return body


def decode_matrix(body: bytes, columns: int | None = None) -> Matrix:
    """The matrix `(n, d)` of a request body, read-only; with `columns`, `d` must be that.

    Raises:
        InvalidBody: naming the part that is wrong.
    """
    _check_size(body)
    magic, n, d = _header(_MATRIX_HEADER, body)
    _check_magic(magic, MATRIX_MAGIC)
    if d == 0 or (columns is not None and d != columns):
        raise InvalidBody(
            "d", f"{columns} columns" if columns is not None else "at least 1 column", d
        )
    values = _floats(body, _MATRIX_HEADER.size, n * d, f"{n} x {d}")
    _check_finite("matrix", values)
    return values.reshape(n, d)


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
