"""Batched greedy decoding on a GPU, beside `transformers` on the same shape, in bf16; random weights.

Called by `python -m benchmarks.generate --device cuda`. Both decode the same number of tokens for the same
number of sources; the peer is a BART of as many layers, of the same width, heads and vocabulary.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console

from core.generation_types import GenerationOptions
from encoder.backends.cuda_backend import require_cuda
from encoder.backends.cuda_generator import Room, StaticSteps
from encoder.backends.openvino_generator import SourceStates
from encoder.encoder_decoder import EncoderDecoder
from encoder.generation.ending import Ending
from encoder.generation.search import generate
from encoder.generator_config import DecoderConfig, GeneratorConfig

ROWS = (1, 32, 256)
TOKENS, SOURCE_TOKENS, ROUNDS = 64, 64, 5
CONFIG = GeneratorConfig("random", DecoderConfig(8192, has_cross_attention=True), 384, "")


def run(_options: argparse.Namespace) -> None:
    """Prints tokens/s of both for each number of rows. Raises StartRefused without a GPU."""
    require_cuda()
    model, peer = EncoderDecoder(CONFIG).to("cuda", torch.bfloat16), _peer()
    Console().print(torch.cuda.get_device_name())
    for rows in ROWS:
        steps = StaticSteps(model, Room(rows, TOKENS, SOURCE_TOKENS))
        sources = _sources(rows)
        ids = torch.as_tensor(np.stack([source.token_ids for source in sources]), device="cuda").long()
        ours = _tokens_per_s(rows, lambda steps=steps, sources=sources: _decode(steps, sources))  # type: ignore[misc]  # a lambda's default
        theirs = _tokens_per_s(rows, lambda ids=ids: _decode_peer(peer, ids))  # type: ignore[misc]
        Console().print(
            f"{rows} rows: {ours:,.0f} tokens/s, transformers {theirs:,.0f}: {ours / theirs:.1f}x"
        )


def _decode(steps: StaticSteps, sources: list[SourceStates]) -> None:
    steps.read(sources)
    ending = Ending(frozenset(), TOKENS, str)
    starts = np.full(len(sources), 2, np.int32)
    generate(steps, starts, ending, GenerationOptions(beams=1, max_new_tokens=TOKENS))


def _decode_peer(peer: Any, ids: torch.Tensor) -> None:
    peer.generate(ids, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, num_beams=1)


def _tokens_per_s(rows: int, decode: Callable[[], None]) -> float:
    decode()  # warms up, and captures the graph
    seconds = []
    for _ in range(ROUNDS):
        torch.cuda.synchronize()
        started = time.perf_counter()
        decode()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return rows * TOKENS / statistics.median(seconds)


def _sources(rows: int) -> list[SourceStates]:
    rng = np.random.default_rng(0)
    shape = (SOURCE_TOKENS, CONFIG.encoder_d)
    return [
        SourceStates(
            rng.integers(20, CONFIG.decoder.vocab_size, SOURCE_TOKENS).astype(np.int32),
            rng.normal(size=shape).astype(np.float32),
        )
        for _ in range(rows)
    ]


def _peer() -> Any:
    from transformers import BartConfig, BartForConditionalGeneration

    shape = CONFIG.decoder
    config = BartConfig(
        vocab_size=shape.vocab_size,
        d_model=shape.d,
        encoder_layers=CONFIG.source_layers,
        decoder_layers=shape.layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.intermediate,
        decoder_ffn_dim=shape.intermediate,
        max_position_embeddings=512,
    )
    return BartForConditionalGeneration(config).to("cuda", torch.bfloat16).eval()
