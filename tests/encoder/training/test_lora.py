"""LoRA: no change at first, merging changes no result, and only the chosen layers are touched."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from encoder.bert import Bert, Block, bert_from_weights
from encoder.training.forward import embed
from encoder.training.lora import LoraLinear, add_lora, merge_lora
from tests.encoder.fakes import random_batch, random_weights, tiny_config


def model_with_lora(blocks: int = 2) -> tuple[Bert, list[LoraLinear]]:
    config = tiny_config()
    model = bert_from_weights(config, random_weights(config))
    add_lora(cast(list[Block], list(model.encoder.layer))[-blocks:], rank=3)
    return model, [module for module in model.modules() if isinstance(module, LoraLinear)]


def vectors(model: Bert) -> torch.Tensor:
    ids, lengths = random_batch(model.config, (7, 3, 12))
    with torch.no_grad():
        return embed(model, [row[:n] for row, n in zip(ids, lengths, strict=True)])


def train_a_little(loras: list[LoraLinear]) -> None:
    for lora in loras:
        torch.nn.init.normal_(lora.B, std=0.3)


def test_a_new_update_changes_nothing() -> None:
    config = tiny_config()
    plain = bert_from_weights(config, random_weights(config))
    torch.testing.assert_close(vectors(model_with_lora()[0]), vectors(plain))


def test_query_key_value_output_and_feed_forward_of_each_block_get_an_update() -> None:
    model, loras = model_with_lora(blocks=1)
    assert len(loras) == 6
    names = {name.rpartition(".A")[0] for name, _ in model.named_parameters() if name.endswith(".A")}
    block = "encoder.layer.1"
    parts = {f"{block}.attention.self.{part}" for part in ("query", "key", "value")}
    assert names == parts | {
        f"{block}.attention.output.dense",
        f"{block}.intermediate.dense",
        f"{block}.output.dense",
    }


def test_a_merged_model_gives_the_vectors_of_the_unmerged_one() -> None:
    model, loras = model_with_lora()
    before = vectors(model)
    train_a_little(loras)
    unmerged = vectors(model)
    merge_lora(model)
    assert float((unmerged - before).abs().max()) > 0.01
    torch.testing.assert_close(vectors(model), unmerged, atol=1e-5, rtol=1e-4)


def test_a_merged_model_has_the_tensors_it_had() -> None:
    config = tiny_config()
    model, _ = model_with_lora()
    merge_lora(model)
    state = model.state_dict()
    assert state.keys() == random_weights(config).keys()
    for name, array in random_weights(config).items():
        np.testing.assert_array_equal(state[name].numpy(), array)
