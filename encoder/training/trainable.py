"""Chooses which weights of a model a mode trains, and freezes the rest."""

from __future__ import annotations

from typing import cast

from torch import nn

from core.errors import InvalidInput
from encoder.bert import Bert, Block
from encoder.config import Pooling
from encoder.training.lora import add_lora
from encoder.training.settings import Mode, TrainSettings


def choose_trainable(model: Bert, settings: TrainSettings) -> dict[str, nn.Parameter]:
    """Name and parameter of all that is trained; the others get no gradient.

    Raises InvalidInput when the mode needs a class-attention layer that the model has not.
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
    return blocks if count is None else blocks[max(0, len(blocks) - count) :]
