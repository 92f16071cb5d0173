"""Packed texts: the same vectors as padded ones, whatever is added to round shapes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.errors import CheckpointError, InvalidInput
from core.types import Float32
from encoder import packed
from encoder.backends.base import Int32
from encoder.backends.packed_backend import PackedBackend, PlainExecutor
from encoder.backends.torch_backend import TorchBackend
from encoder.config import Activation, ModelConfig, Pooling
from encoder.packed import packed_from_weights, segment_softmax
from encoder.packing import SMALL_TOKENS, bucket, pack, unpad
from tests.encoder.fakes import random_batch, random_weights, tiny_config

MIXED = (7, 1, 40, 3, 1, 12, 2, 5)
BATCHES = (MIXED, (1,), (40,), (2, 2, 2, 2), tuple(range(1, 41)))


def packed_backend(
    config: ModelConfig, is_bucketed: bool = True, dtype: torch.dtype = torch.float32
) -> PackedBackend:
    model = packed_from_weights(config, random_weights(config))
    return PackedBackend(config, PlainExecutor(model, dtype=dtype), is_bucketed)


def tame_weights(config: ModelConfig) -> dict[str, Float32]:
    """Weights a quarter as large, as trained ones are, so that rounding does not grow from layer to layer."""
    return {name: w if "Norm" in name else w / np.float32(4) for name, w in random_weights(config).items()}


def reference(config: ModelConfig, token_ids: Int32, lengths: Int32) -> Float32:
    return TorchBackend(config, random_weights(config)).forward(token_ids, lengths)


@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize("lengths", BATCHES)
def test_packed_texts_have_the_vectors_of_padded_ones_in_their_order(
    pooling: Pooling, lengths: Sequence[int]
) -> None:
    config = tiny_config(pooling)
    batch = random_batch(config, lengths)
    expected = reference(config, *batch)
    assert np.abs(packed_backend(config).forward(*batch) - expected).max() < 1e-5
    assert np.abs(packed_backend(config, is_bucketed=False).forward(*batch) - expected).max() < 1e-5
    if len(set(lengths)) > 1:  # the comparison could tell one order from another
        assert np.abs(expected - expected[::-1]).max() > 0.05


@pytest.mark.parametrize("pooling", Pooling)
def test_what_is_added_to_round_a_shape_up_changes_nothing(pooling: Pooling) -> None:
    config = tiny_config(pooling)
    token_ids, lengths = random_batch(config, MIXED)
    flat = unpad(token_ids, lengths)
    exact = PlainExecutor(packed_from_weights(config, random_weights(config)))
    plain, rounded = pack(flat, lengths, is_bucketed=False), pack(flat, lengths)
    assert rounded.shape.tokens > plain.shape.tokens
    assert rounded.shape.segments > plain.shape.segments + 1
    dirty = pack(flat, lengths)
    dirty.buffer[len(flat) : dirty.shape.tokens] = 17
    expected = exact.start(plain).result()
    for batch in (rounded, dirty):
        np.testing.assert_allclose(exact.start(batch).result(), expected, atol=1e-6)


def test_hidden_states_of_packed_texts_are_those_of_padded_ones() -> None:
    config = tiny_config()
    token_ids, lengths = random_batch(config, MIXED)
    expected = TorchBackend(config, random_weights(config)).states(token_ids, lengths)
    found = packed_backend(config).states(token_ids, lengths)
    assert found.shape == expected.shape
    is_text = np.arange(token_ids.shape[1]) < lengths[:, None]
    assert np.abs(found - expected)[is_text].max() < 1e-5


def test_a_model_with_weights_that_bert_has_not_is_refused_by_their_names() -> None:
    weights = random_weights(tiny_config())
    weights["encoder.relative_attention_bias.weight"] = np.zeros((32, 4), np.float32)
    with pytest.raises(CheckpointError, match=r"'tiny' has weights .*encoder.relative_attention_bias"):
        packed_from_weights(tiny_config(), weights)


def test_a_model_with_relu_packs_too() -> None:
    config = replace(tiny_config(), activation=Activation.RELU)
    batch = random_batch(config, MIXED)
    assert np.abs(packed_backend(config).forward(*batch) - reference(config, *batch)).max() < 1e-5


@pytest.mark.parametrize("pooling", Pooling)
def test_bfloat16_keeps_the_direction_of_every_vector(pooling: Pooling) -> None:
    config = replace(tiny_config(pooling), d=64, heads=2)
    weights = tame_weights(config)
    batch = random_batch(config, tuple(range(1, 41)))
    model = packed_from_weights(config, weights)
    found = PackedBackend(config, PlainExecutor(model, dtype=torch.bfloat16)).forward(*batch)
    expected = TorchBackend(config, weights).forward(*batch)
    assert found.dtype == np.float32
    assert (found * expected).sum(1).min() >= 0.999
    assert (found * expected[::-1]).sum(1).min() < 0.9


@pytest.mark.parametrize("lengths", BATCHES)
def test_flash_attention_gets_whole_segments_no_longer_than_it_was_told(
    lengths: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CUDA branch, its kernel replaced by a loop of the same contract: NaN where it does not write."""

    def varlen(q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int) -> Tensor:
        assert cu_q is cu_k
        assert cu_q.dtype == torch.int32
        out = torch.full_like(q, torch.nan)
        for start, end in pairwise(cu_q.tolist()):
            part = slice(start, min(end, start + max_q))
            scores = torch.einsum("imd,jmd->mij", q[part], k[part]) / q.shape[-1] ** 0.5
            out[part] = torch.einsum("mij,jmd->imd", scores.softmax(-1), v[part])
        assert max_k == max_q
        return out

    def attention(starts: Tensor, segment: Tensor, longest: int) -> packed.Attend:
        return partial(packed._flash_attention, starts, longest)

    monkeypatch.setattr(packed, "varlen_attn", varlen)
    monkeypatch.setattr(packed, "_attention", attention)
    config = tiny_config()
    batch = random_batch(config, lengths)
    assert np.abs(packed_backend(config).forward(*batch) - reference(config, *batch)).max() < 1e-5


@given(st.lists(st.integers(1, 512), min_size=1, max_size=80))
@settings(deadline=None)
def test_every_batch_fits_its_rounded_shape(lengths: list[int]) -> None:
    sizes = np.array(lengths, np.int32)
    batch = pack(np.arange(1, sizes.sum() + 1, dtype=np.int32), sizes)
    shape = batch.shape
    starts = batch.buffer[shape.tokens :]
    parts = np.diff(starts)
    assert len(starts) == shape.segments + 1
    assert starts[0] == 0
    assert starts[-1] == shape.tokens
    np.testing.assert_array_equal(parts[: len(sizes)], sizes)
    assert parts.min() >= 0
    assert parts.max() <= shape.longest
    np.testing.assert_array_equal(batch.buffer[: sizes.sum()], np.arange(1, sizes.sum() + 1))


@pytest.mark.parametrize(
    ("tokens", "waste"), [(100, 0.25), (1000, 0.25), (SMALL_TOKENS + 1, 0.02), (32768, 0.0)]
)
def test_rounding_computes_few_tokens_more(tokens: int, waste: float) -> None:
    assert bucket(tokens, 8, 64).tokens <= tokens * (1 + waste)


def test_few_shapes_occur_for_single_texts() -> None:
    assert len({bucket(tokens, 1, tokens) for tokens in range(1, 513)}) <= 24


def test_a_softmax_over_segments_equals_one_over_each() -> None:
    scores = torch.tensor([[1.0, 200.0], [3.0, 201.0], [-500.0, 0.0]])
    segment = torch.tensor([0, 0, 2])
    found = segment_softmax(scores, segment, 3)
    torch.testing.assert_close(found[:2], scores[:2].softmax(0))
    torch.testing.assert_close(found[2], torch.ones(2))


@pytest.mark.parametrize(
    ("token_ids", "lengths", "message"),
    [
        ([1, 50], [2], "0 to 49"),
        ([-1], [1], "0 to 49"),
        ([1, 2], [2, 0], "1 to 40"),
        ([1] * 41, [41], "1 to 40"),
        ([1, 2, 3], [2], "3 token ids"),
    ],
)
def test_inputs_that_would_break_a_gpu_are_refused(
    token_ids: list[int], lengths: list[int], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        packed_backend(tiny_config()).forward_packed(
            np.array(token_ids, np.int32), np.array(lengths, np.int32)
        )
