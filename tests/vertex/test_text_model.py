"""The model of texts: from its package alone, the same for the same text."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.text_vectors import TEXT_DIM, TextEncoder
from vertex.text_model import WordLlamaEncoder, load_text_encoder


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return WordLlamaEncoder()


def cosine(encoder: TextEncoder, one: str, other: str) -> float:
    vectors = encoder.encode([one, other])
    return float(vectors[0] @ vectors[1])


@pytest.mark.parametrize(
    ("text", "alike", "unlike"),
    [
        ("gas grill", "charcoal barbecue", "running shoes"),
        (
            "Parliament passes climate law",
            "Senate votes on emissions bill",
            "Recipe for apple pie",
        ),
        ("Gasgrill mit drei Brennern", "Holzkohlegrill rund", "Laufschuhe für Damen"),
        ("parlement stemt over stikstofwet", "kabinet valt over stikstof", "recept appeltaart"),
    ],
)
def test_texts_about_the_same_thing_lie_nearer(
    encoder: TextEncoder, text: str, alike: str, unlike: str
) -> None:
    assert cosine(encoder, text, alike) > cosine(encoder, text, unlike) + 0.2


def test_vectors_have_length_one_and_an_empty_text_has_none(encoder: TextEncoder) -> None:
    vectors = encoder.encode(["gas grill", "", "x" * 10_000])

    assert vectors.shape == (3, TEXT_DIM)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1], atol=1e-6)


def test_the_vector_of_a_text_does_not_depend_on_the_others(encoder: TextEncoder) -> None:
    texts = ["gas grill", "a very much longer title of quite another thing", "烧烤"]

    together = encoder.encode(texts)

    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(encoder.encode([text])[0], vector)


def test_no_text_fails(encoder: TextEncoder) -> None:
    assert np.isfinite(encoder.encode(["\ud800 grill", "\x00", "🔥" * 400, " "])).all()


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    code = "from vertex.text_model import WordLlamaEncoder as E; E().encode(['grill'])"
    closed = dict.fromkeys(["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"], "http://127.0.0.1:1")

    subprocess.run(
        [sys.executable, "-c", code], env=os.environ | closed | {"HOME": str(tmp_path)}, check=True
    )

    assert list(tmp_path.iterdir()) == []


def test_without_the_package_there_is_no_encoder_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load_text_encoder.cache_clear()
    monkeypatch.setitem(sys.modules, "wordllama", None)

    with caplog.at_level(logging.WARNING):
        assert load_text_encoder() is None

    load_text_encoder.cache_clear()
    assert "wordllama" in caplog.text
