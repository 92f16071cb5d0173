"""Vectors with gradients equal those of each text alone, whatever the chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoder.bert import Bert, bert_from_weights
from encoder.training import forward
from tests.encoder.fakes import random_batch, random_weights, tiny_config

LENGTHS = (7, 1, 12, 3, 30, 12, 2)


@pytest.fixture
def model() -> Bert:
    return bert_from_weights(tiny_config(), random_weights(tiny_config()))


@pytest.mark.parametrize("chunk_tokens", [1, 20, 2048])
def test_chunks_and_order_change_nothing(
    model: Bert, monkeypatch: pytest.MonkeyPatch, chunk_tokens: int
) -> None:
    monkeypatch.setitem(forward._CHUNK_TOKENS, "cpu", chunk_tokens)
    ids, lengths = random_batch(tiny_config(), LENGTHS)
    texts = [row[:n] for row, n in zip(ids, lengths, strict=True)]
    with torch.no_grad():
        together = forward.embed(model, texts)
        alone = [
            model(torch.from_numpy(t[None]).long(), torch.ones(1, len(t), dtype=torch.bool)) for t in texts
        ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_no_chunk_is_larger_than_its_limit_unless_it_is_one_text() -> None:
    texts = [np.zeros(n, np.int32) for n in sorted(LENGTHS)]
    chunks = list(forward._chunks(texts, 20))
    assert [len(text) for chunk in chunks for text in chunk] == sorted(LENGTHS)
    assert all(len(chunk) == 1 or len(chunk) * len(chunk[-1]) <= 20 for chunk in chunks)


def test_bfloat16_gives_nearly_the_same_unit_vectors(model: Bert) -> None:
    ids, lengths = random_batch(tiny_config(), LENGTHS)
    texts = [row[:n] for row, n in zip(ids, lengths, strict=True)]
    with torch.no_grad():
        exact, rough = forward.embed(model, texts), forward.embed(model, texts, bf16=True)
    assert rough.dtype == torch.float32
    assert float((exact * rough).sum(-1).min()) > 0.99
