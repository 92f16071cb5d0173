"""Shortening of vectors, and inputs that are too long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from core.embed import EmbedLimits, EmbedService, shorten
from core.errors import TooLarge
from core.types import Int32
from tests.fakes import FakeEncoder


@pytest.mark.parametrize("dimensions", [1, 3, 8])
def test_shortened_vectors_are_the_first_numbers_made_unit_length(dimensions: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    short = shorten(vectors, dimensions)
    assert short.shape == (5, dimensions)
    assert np.allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    for row, whole in zip(short, vectors, strict=True):
        assert np.allclose(row * np.linalg.norm(whole[:dimensions]), whole[:dimensions], atol=1e-6)


def test_a_row_of_zeros_stays_zeros() -> None:
    assert shorten(np.zeros((1, 4), np.float32), 2).tolist() == [[0.0, 0.0]]


class CountingEncoder(FakeEncoder):
    tokenized = 0

    def tokenize(self, texts: Sequence[str]) -> list[Int32]:
        self.tokenized += len(texts)
        return super().tokenize(texts)


def test_an_input_that_is_too_long_is_refused_without_reading_all_that_follow() -> None:
    encoder = CountingEncoder()
    long = "word " * 20_000
    with pytest.raises(TooLarge, match=r"Input 1 has 20,002 tokens"):
        EmbedService(encoder, EmbedLimits()).embed(["short", *[long] * 100])
    assert encoder.tokenized < 10


def test_inputs_of_many_groups_come_back_in_order() -> None:
    encoder = CountingEncoder()
    inputs = [f"{i} " + "word " * 20_000 for i in range(9)] + ["last"]
    together = EmbedService(encoder, EmbedLimits()).embed(inputs, truncate=True)
    assert encoder.tokenized == 10
    assert together.truncated == tuple(range(9))
    alone = [EmbedService(encoder, EmbedLimits()).embed([text], truncate=True).vectors for text in inputs]
    assert np.allclose(together.vectors, np.concatenate(alone), atol=1e-6)
