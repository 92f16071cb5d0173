"""The torch model: equal to the reference implementation, indifferent to padding and to its batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from core.types import Float32
from encoder.backends.torch_backend import TorchBackend
from encoder.bert import ClassAttention, bert_from_weights
from encoder.config import ModelConfig, Pooling
from encoder.parameters import class_attention_as_mean
from tests.encoder.fakes import random_batch, random_weights, tiny_config

LENGTHS = (7, 1, 12, 3)


def reference_states(config: ModelConfig, weights: dict[str, Float32]) -> BertModel:
    reference = BertModel(
        BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.d,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.intermediate,
            max_position_embeddings=config.max_positions,
            type_vocab_size=config.type_vocab,
            layer_norm_eps=config.layer_norm_eps,
        ),
        add_pooling_layer=False,
    )
    reference.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return reference.eval()


def test_hidden_states_equal_those_of_the_reference_implementation() -> None:
    config = tiny_config(Pooling.MEAN)
    weights = random_weights(config)
    token_ids, lengths = random_batch(config, LENGTHS)
    is_text = torch.from_numpy(np.arange(token_ids.shape[1]) < lengths[:, None])
    ids = torch.from_numpy(token_ids).long()
    with torch.inference_mode():
        ours = bert_from_weights(config, weights).states(ids, is_text)
        theirs = reference_states(config, weights)(ids, attention_mask=is_text.long()).last_hidden_state
    assert float(theirs[is_text].std()) > 0.1
    assert float((ours - theirs)[is_text].abs().max()) < 1e-5


@pytest.mark.parametrize("pooling", Pooling)
def test_a_text_has_the_same_vector_alone_as_in_a_batch(pooling: Pooling) -> None:
    config = tiny_config(pooling)
    backend = TorchBackend(config, random_weights(config))
    token_ids, lengths = random_batch(config, LENGTHS)
    together = backend.forward(token_ids, lengths)
    for row, length, vector in zip(token_ids, lengths, together, strict=True):
        alone = backend.forward(row[None, :length], np.array([length], np.int32))
        np.testing.assert_allclose(vector, alone[0], atol=1e-6)


@pytest.mark.parametrize("pooling", Pooling)
def test_what_stands_in_the_padding_changes_nothing(pooling: Pooling) -> None:
    config = tiny_config(pooling)
    backend = TorchBackend(config, random_weights(config))
    token_ids, lengths = random_batch(config, LENGTHS)
    dirty = np.pad(token_ids, ((0, 0), (0, 9)), constant_values=0)
    dirty[np.arange(dirty.shape[1]) >= lengths[:, None]] = 17
    np.testing.assert_allclose(
        backend.forward(dirty, lengths), backend.forward(token_ids, lengths), atol=1e-6
    )


def test_new_class_attention_is_exactly_mean_pooling() -> None:
    config = tiny_config(Pooling.CLASS_ATTENTION)
    base = random_weights(tiny_config(Pooling.MEAN))
    token_ids, lengths = random_batch(config, LENGTHS)
    mean = TorchBackend(tiny_config(Pooling.MEAN), base).forward(token_ids, lengths)
    attending = TorchBackend(config, base | class_attention_as_mean(config)).forward(token_ids, lengths)
    np.testing.assert_allclose(attending, mean, atol=1e-6)
    trained = TorchBackend(config, random_weights(config)).forward(token_ids, lengths)
    assert np.abs(trained - mean).max() > 0.05


def test_a_module_starts_with_the_weights_that_make_it_mean_pooling() -> None:
    config = tiny_config()
    started = ClassAttention(config).state_dict()
    for name, array in class_attention_as_mean(config).items():
        np.testing.assert_array_equal(started[name.removeprefix("class_attention.")].numpy(), array)


def test_class_attention_equals_the_formula_with_a_key_and_a_value_for_each_token() -> None:
    config = tiny_config()
    weights = random_weights(config)
    model = bert_from_weights(config, weights)
    h = torch.randn(1, 5, config.d, generator=torch.Generator().manual_seed(0))
    is_text = torch.ones(1, 5, dtype=torch.bool)
    with torch.inference_mode():
        u = model.class_attention(h, is_text)[0].numpy()
    q, w_k, w_v, w_o = (
        weights[f"class_attention.{name}"]
        for name in ("query", "key.weight", "value.weight", "output.weight")
    )
    k, v = h[0].numpy() @ w_k.T, h[0].numpy() @ w_v.T  # (t, d)
    d_head = config.d // config.pooling_heads
    heads = []
    for part in (slice(i, i + d_head) for i in range(0, config.d, d_head)):
        scores = k[:, part] @ q[part] / np.sqrt(d_head)
        a = np.exp(scores) / np.exp(scores).sum()
        heads.append(a @ v[:, part])
    np.testing.assert_allclose(u, w_o @ np.concatenate(heads), atol=1e-4, rtol=1e-4)


def test_gradients_reach_every_weight_of_class_attention_from_its_start() -> None:
    config = tiny_config()
    pooling = ClassAttention(config)
    h = torch.randn(2, 5, config.d, generator=torch.Generator().manual_seed(0))
    target = torch.randn(2, config.d, generator=torch.Generator().manual_seed(1))
    (pooling(h, torch.ones(2, 5, dtype=torch.bool)) * target).sum().backward()
    for name in ("query", "value.weight", "output.weight"):
        gradient = pooling.get_parameter(name).grad
        assert gradient is not None
        assert float(gradient.abs().max()) > 1e-4
