"""The model that is trained: of BERT's shape, the weights that a mode does not train frozen."""

from __future__ import annotations

from typing import cast

from torch import nn

from core.errors import InvalidInput
from encoder.bert import Bert, Block, bert_from_weights
from encoder.config import ModelConfig, Pooling
from encoder.parameters import Weights
from encoder.training.lora import add_lora
from encoder.training.settings import Mode, TrainSettings


def trainable_bert(config: ModelConfig, weights: Weights) -> Bert:
    """The model in torch. Raises InvalidInput for a ModernBERT, which is only served."""
    if config.modern:
        raise InvalidInput(
            f"'{config.id}' is a ModernBERT, which can be served but not trained or tuned; take an encoder of"
            " BERT's shape, such as the shipped model."
        )
    return bert_from_weights(config, weights)


def choose_trainable(model: Bert, settings: TrainSettings) -> dict[str, nn.Parameter]:
    """Name and parameter of all that is trained; the others get no gradient.

    Raises InvalidInput when the mode needs a class-attention layer that the model has not, and for more last
    layers than it has.
    """
    has_layer = model.config.pooling is Pooling.CLASS_ATTENTION
    if settings.mode is Mode.CLASS_ATTENTION and not has_layer:
        raise InvalidInput(
            f"Mode class_attention trains a layer that '{model.config.id}' (pooling {model.config.pooling}) "
            f"does not have; use lora or full."
        )
    model.requires_grad_(False)
    if settings.mode is Mode.LORA:
        add_lora(_last_blocks(model, settings.last_layers), settings.lora_rank)
    if settings.mode is Mode.FULL:
        for block in _last_blocks(model, settings.last_layers):
            block.requires_grad_(True)
        model.embeddings.requires_grad_(settings.train_embeddings)
    if has_layer:
        model.class_attention.requires_grad_(True)
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _last_blocks(model: Bert, count: int | None) -> list[Block]:
    blocks = cast(list[Block], list(model.encoder.layer))
    if count is not None and count > len(blocks):
        raise InvalidInput(f"last_layers={count}, but '{model.config.id}' has {len(blocks)} blocks.")
    return blocks if count is None else blocks[len(blocks) - count :]
