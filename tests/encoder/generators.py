"""Tiny generators with random weights, over a tiny encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from core.generation_types import GenerationTask, TaskStanding
from core.types import Float32
from encoder.backends.openvino_backend import OpenVinoBackend, Precision
from encoder.backends.openvino_generator import SourceStates
from encoder.checkpoint import Checkpoint
from encoder.encoder_decoder import EncoderDecoder
from encoder.generator_checkpoint import save_generator
from encoder.generator_config import DecoderConfig, GeneratorConfig
from encoder.generator_tokenizer import GeneratorTokenizer, train_tokenizer
from encoder.service import EncoderService
from tests.encoder.fakes import random_weights, tiny_config, word_tokenizer_json

FINGERPRINT = "e" * 64
TASKS = (GenerationTask.TRANSLATE_EN_ES, GenerationTask.ASK)
TEXTS = (
    "The cat sat on the mat.",
    "El gato se sentó en la alfombra.",
    "In 1984 Dr. Ngũgĩ paid 3,250 € for 12 books.",
    "Which of the two is the longer one, and why?",
    "naïve café — 日本語のテキスト, русский текст, عربي 🐈",
)


def tiny_generator(vocab_size: int = 60, encoder_d: int = 16) -> GeneratorConfig:
    decoder = DecoderConfig(vocab_size, 32, 2, 2, 64, has_cross_attention=True)
    standing = TaskStanding(GenerationTask.ASK, True, "ROUGE-L", 0.3, 0.2)
    return GeneratorConfig("tiny", decoder, encoder_d, FINGERPRINT, 1, 80, 24, (standing,))


def random_model(config: GeneratorConfig, seed: int = 0) -> EncoderDecoder:
    """Its norms differ from 1, its embeddings are exact in float16, and its words are far from equal."""
    torch.manual_seed(seed)
    model = EncoderDecoder(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        model.decoder.embedding.weight.mul_(3).copy_(model.decoder.embedding.weight.half())
    return model


def weights_of(model: EncoderDecoder) -> dict[str, Float32]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def random_sources(config: GeneratorConfig, lengths: Sequence[int], seed: int = 1) -> list[SourceStates]:
    """Sources of so many tokens behind the task's, which is 2."""
    rng = np.random.default_rng(seed)
    sources = []
    for n in lengths:
        ids = np.r_[2, rng.integers(5, config.decoder.vocab_size, n)].astype(np.int32)
        states = rng.normal(size=(n + 1, config.encoder_d)).astype(np.float32)
        states[0] = 0
        sources.append(SourceStates(ids, states))
    return sources


def tiny_encoder(fingerprint: str = FINGERPRINT) -> EncoderService:
    """Its words are w0 to w49; all others are w0."""
    config = tiny_config()
    weights = random_weights(config)
    checkpoint = Checkpoint(config, weights, word_tokenizer_json(config.vocab_size), fingerprint, "")
    return EncoderService(checkpoint, OpenVinoBackend(config, weights, Precision.F32, 1))


def write_tiny_generator(folder: Path) -> EncoderDecoder:
    """The model whose folder was written, with the weights that the folder has."""
    tokenizer_json = train_tokenizer(TEXTS, 320, TASKS)
    config = tiny_generator(GeneratorTokenizer(tokenizer_json).vocab_size)
    model = random_model(config).half().float()
    save_generator(folder, config, weights_of(model), tokenizer_json)
    return model
