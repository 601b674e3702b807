"""The binary codec of `rawPredict`."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from vertex.models.raw_predict import (
    MAX_BODY_BYTES,
    InvalidBody,
    Matrix,
    decode_matrix,
    decode_predictions,
    encode_matrix,
    encode_predictions,
)

probabilities = st.floats(0.0, 1.0, width=32)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=finite))
def test_a_matrix_comes_back_bit_for_bit_with_its_names(matrix: Matrix) -> None:
    names = tuple(f"feature_{number * 7}" for number in range(matrix.shape[1]))
    decoded = decode_matrix(encode_matrix(matrix, names))
    assert decoded.matrix.tobytes() == matrix.tobytes()
    assert decoded.names == names


@given(arrays(np.float32, st.integers(0, 20), elements=probabilities))
def test_predictions_come_back_bit_for_bit(predictions: Matrix) -> None:
    assert decode_predictions(encode_predictions(predictions)).tobytes() == predictions.tobytes()


@given(st.binary(max_size=60))
def test_any_other_bytes_are_refused_and_never_crash(body: bytes) -> None:
    for decode in (decode_matrix, decode_predictions):
        with pytest.raises(InvalidBody, match="expected"):
            decode(body)


def test_the_request_is_laid_out_as_documented() -> None:
    body = encode_matrix(np.array([[1.0, 2.0, 3.0]], np.float32), ["ab", "c", "d"])
    assert body == b"FSM2" + struct.pack("<III8s3f", 1, 3, 8, b"ab\nc\nd\n\n", 1.0, 2.0, 3.0)


def test_the_response_is_laid_out_as_documented() -> None:
    assert encode_predictions(np.array([0.5], np.float32)) == b"FSP1" + struct.pack("<If", 1, 0.5)


def test_no_rows_are_a_matrix_too() -> None:
    decoded = decode_matrix(encode_matrix(np.zeros((0, 2), np.float32), ["a", "b"]))
    assert (decoded.matrix.shape, decoded.names) == ((0, 2), ("a", "b"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body: expected at least 16 bytes, got 0"),
        (b"FSP1" + bytes(12), "magic: expected b'FSM2', got b'FSP1'"),
        (
            b"FSM2" + struct.pack("<III4s", 1, 2, 4, b"a\nb\n") + bytes(4),
            "body: expected 28 bytes for 1 x 2 values, got 24",
        ),
        (
            b"FSM2" + struct.pack("<III4s", 1, 2, 4, b"a\nb\n") + bytes(12),
            "body: expected 28 bytes for 1 x 2 values, got 32",
        ),
        (b"FSM2" + struct.pack("<III", 0, 0, 0), "d: expected at least 1 column, got 0"),
        (
            b"FSM2" + struct.pack("<III4s", 0, 2, 4, b"abc\n"),
            "names: expected 2, one a column, got 1",
        ),
        (b"FSM2" + struct.pack("<III4s", 0, 1, 4, b"a\xff\n\n"), "names: expected UTF-8, got "),
        (b"FSM2" + struct.pack("<III", 0, 1, 16_388), "names: expected at most 16384 bytes"),
        (
            b"FSM2" + struct.pack("<III4sf", 1, 1, 4, b"abc\n", float("nan")),
            "matrix: expected finite numbers, got 1 that are",
        ),
        (bytes(MAX_BODY_BYTES + 1), f"body: expected at most {MAX_BODY_BYTES} bytes"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(body: bytes, message: str) -> None:
    with pytest.raises(InvalidBody, match="expected") as refused:
        decode_matrix(body)
    assert str(refused.value).startswith(message)


def test_a_matrix_whose_columns_are_not_all_named_is_never_sent() -> None:
    with pytest.raises(InvalidBody, match="names: expected 2, one a column, got 1"):
        encode_matrix(np.zeros((1, 2), np.float32), ["a"])


def test_an_answer_for_other_rows_is_refused() -> None:
    with pytest.raises(InvalidBody, match="n: expected 3 predictions, got 2"):
        decode_predictions(encode_predictions(np.zeros(2, np.float32)), 3)


def test_what_is_not_finite_is_never_sent() -> None:
    with pytest.raises(InvalidBody, match="finite"):
        encode_matrix(np.array([[np.inf]], np.float32), ["a"])


@pytest.mark.parametrize("number", [-1e-6, 1.000001, 2.0, np.nan, np.inf, -np.inf])
def test_what_is_no_probability_is_neither_sent_nor_taken(number: float) -> None:
    predictions = np.array([0.5, number], np.float32)
    with pytest.raises(InvalidBody, match=r"predictions: expected numbers in \[0, 1\], got 1"):
        encode_predictions(predictions)
    with pytest.raises(InvalidBody, match=r"predictions: expected numbers in \[0, 1\], got 1"):
        decode_predictions(b"FSP1" + struct.pack("<I", 2) + predictions.tobytes())


def test_a_matrix_too_large_for_an_endpoint_is_never_sent() -> None:
    with pytest.raises(InvalidBody, match="at most"):
        encode_matrix(np.zeros((MAX_BODY_BYTES // 4, 1), np.float32), ["a"])
