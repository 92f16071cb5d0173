"""Adapters: merged in numpy they are what LoRA computes in torch, and encoders that have them are others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import InvalidInput
from core.types import EncoderInfo, Float32
from encoder.adapters import adapted_info, merge, ranges_of, ranges_to_arrays
from encoder.bert import Bert, bert_from_weights
from encoder.int8 import ChannelRange
from encoder.training.few_shot import adapters_of
from encoder.training.forward import embed
from encoder.training.lora import LoraLinear, add_lora
from encoder.training.upper_blocks import blocks_of
from tests.encoder.fakes import random_batch, random_weights, tiny_config

BASE = EncoderInfo("tiny", "f" * 64, 16, 32)
CONFIG = tiny_config()


def tuned_model(rank: int = 3) -> Bert:
    """The upper block and the query of the pooling layer moved at random."""
    torch.manual_seed(0)
    model = bert_from_weights(CONFIG, random_weights(CONFIG)).requires_grad_(False)
    add_lora(blocks_of(model)[-1:], rank)
    for module in model.modules():
        if isinstance(module, LoraLinear):
            torch.nn.init.normal_(module.B, std=0.3)
    model.class_attention.query.add_(0.5)
    return model


def vectors(model: Bert) -> Float32:
    ids, lengths = random_batch(CONFIG, (7, 3, 12))
    with torch.no_grad():
        return embed(model, [row[:n] for row, n in zip(ids, lengths, strict=True)]).numpy()


def test_merged_weights_give_the_vectors_of_the_tuned_model() -> None:
    weights = random_weights(CONFIG)
    adapters = adapters_of(tuned_model(), weights)
    merged = bert_from_weights(CONFIG, merge(weights, adapters))
    assert np.abs(vectors(bert_from_weights(CONFIG, weights)) - vectors(tuned_model())).max() > 0.05
    np.testing.assert_allclose(vectors(merged), vectors(tuned_model()), atol=2e-3)


def test_only_what_was_tuned_is_kept_and_changed() -> None:
    weights = random_weights(CONFIG)
    adapters = adapters_of(tuned_model(), weights)
    merged = merge(weights, adapters)
    changed = {name for name in weights if merged[name] is not weights[name]}
    block = "encoder.layer.1"
    linears = {f"attention.self.{part}" for part in ("query", "key", "value")}
    linears |= {"attention.output.dense", "intermediate.dense", "output.dense"}
    assert changed == {f"{block}.{name}.weight" for name in linears} | {"class_attention.query"}
    assert all(array.dtype == np.float16 for array in adapters.values())


def test_adapters_of_a_model_that_was_not_tuned_change_nothing() -> None:
    weights = random_weights(CONFIG)
    model = bert_from_weights(CONFIG, weights)
    add_lora(blocks_of(model), 2)
    for name, array in merge(weights, adapters_of(model, weights)).items():
        np.testing.assert_array_equal(array, weights[name])


def test_adapters_of_another_shape_of_model_are_refused_by_name() -> None:
    weights = random_weights(CONFIG)
    adapters = adapters_of(tuned_model(), weights)
    del weights["encoder.layer.1.output.dense.weight"]
    with pytest.raises(InvalidInput, match=r"encoder\.layer\.1\.output\.dense\.weight.*Train"):
        merge(weights, adapters)


def test_each_set_of_adapters_makes_an_encoder_of_its_own() -> None:
    adapters = adapters_of(tuned_model(), random_weights(CONFIG))
    info = adapted_info(BASE, adapters)
    assert info == adapted_info(BASE, {name: adapters[name].copy() for name in reversed(adapters)})
    assert (info.dim, info.max_tokens) == (BASE.dim, BASE.max_tokens)
    name = "class_attention.query.difference"
    others = [adapters | {name: adapters[name] * 2}, {}]
    assert (
        len({BASE.fingerprint, info.fingerprint, *(adapted_info(BASE, o).fingerprint for o in others)}) == 4
    )


def test_ranges_travel_with_the_adapters_and_are_no_part_of_the_fingerprint() -> None:
    seen = ChannelRange(np.array([-1, 0], np.float32), np.array([2, 0.5], np.float32))
    adapters = adapters_of(tuned_model(), random_weights(CONFIG))
    whole = adapters | ranges_to_arrays({"encoder.layer.1.output.dense": seen})
    found = ranges_of(whole)["encoder.layer.1.output.dense"]
    np.testing.assert_array_equal(found.low, seen.low)
    np.testing.assert_array_equal(found.high, seen.high)
    assert adapted_info(BASE, whole) == adapted_info(BASE, adapters)
    assert merge(random_weights(CONFIG), whole).keys() == random_weights(CONFIG).keys()
    assert ranges_of(adapters) == {}
