"""Tiny random generators in float32, and sources for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from encoder.decoder import Decoder
from encoder.encoder_decoder import EncoderDecoder, SourceBatch
from encoder.generator_config import PAD, DecoderConfig, GeneratorConfig

Module = TypeVar("Module", bound=torch.nn.Module)
V, E = 23, 6  # tokens of the vocabulary, width of the encoder


def decoder_config(has_cross_attention: bool = False, layers: int = 3) -> DecoderConfig:
    return DecoderConfig(
        vocab_size=V, d=16, layers=layers, heads=4, intermediate=24, has_cross_attention=has_cross_attention
    )


def generator_config() -> GeneratorConfig:
    return GeneratorConfig("tiny", decoder_config(True), E, "fingerprint of the encoder")


def random_decoder() -> Decoder:
    torch.manual_seed(0)
    return shaken(Decoder(decoder_config())).eval().requires_grad_(False)


def random_generator() -> EncoderDecoder:
    torch.manual_seed(0)
    return shaken(EncoderDecoder(generator_config())).eval().requires_grad_(False)


def shaken(model: Module) -> Module:
    """Weights so large that attention is sharp and no two tokens look alike."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def some_ids(*shape: int, seed: int = 1) -> Tensor:
    """Ids of tokens that are neither padding nor the end."""
    return torch.randint(2, V, shape, generator=torch.Generator().manual_seed(seed))


def some_source(lengths: Sequence[int], seed: int = 2) -> SourceBatch:
    """Sources of these lengths, their task's token among them, padded to the longest."""
    generator = torch.Generator().manual_seed(seed)
    b, s = len(lengths), max(lengths)
    token_ids = torch.full((b, s), PAD)
    states = torch.zeros(b, s, E)
    for row, length in enumerate(lengths):
        token_ids[row, :length] = torch.randint(2, V, (length,), generator=generator)
        states[row, 1:length] = torch.randn(length - 1, E, generator=generator)
    return SourceBatch(token_ids, states)


def alone(batch: SourceBatch, row: int) -> SourceBatch:
    """One source without its padding."""
    length = int((batch.token_ids[row] != PAD).sum())
    return SourceBatch(batch.token_ids[row : row + 1, :length], batch.states[row : row + 1, :length])
