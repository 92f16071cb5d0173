"""A query has one vector, whatever is encoded beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.query_vectors import REMEMBERED, RememberingEncoder
from core.types import Float32, Lane
from tests.fakes import FakeEncoder


class RoundingEncoder(FakeEncoder):
    """Vectors differ with each call, as those of batches of another shape do."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> Float32:
        self.asked.append(list(texts))
        return super().encode_queries(texts, lane) + np.float32(0.001 * len(self.asked))


def test_a_query_keeps_its_vector_alone_in_a_batch_and_twice_in_one() -> None:
    encoder = RoundingEncoder()
    remembering = RememberingEncoder(encoder)
    (alone,) = remembering.encode_queries(["cat"])
    dog, cat, again = remembering.encode_queries(["dog", "cat", "dog"])
    np.testing.assert_array_equal(cat, alone)
    np.testing.assert_array_equal(dog, again)
    assert encoder.asked == [["cat"], ["dog"]]
    cat[:] = 0  # of the caller alone
    np.testing.assert_array_equal(remembering.encode_queries(["cat"])[0], alone)


def test_only_the_last_queries_are_remembered() -> None:
    encoder = RoundingEncoder()
    remembering = RememberingEncoder(encoder)
    for number in range(REMEMBERED + 1):
        remembering.encode_queries([f"query {number}"])
    before = len(encoder.asked)
    remembering.encode_queries([f"query {REMEMBERED}"])
    assert len(encoder.asked) == before
    remembering.encode_queries(["query 0"])
    assert len(encoder.asked) == before + 1


def test_bulk_queries_are_neither_remembered_nor_looked_up() -> None:
    encoder = RoundingEncoder()
    remembering = RememberingEncoder(encoder)
    for _ in range(2):
        remembering.encode_queries(["cat"], Lane.BULK)
    assert len(encoder.asked) == 2
