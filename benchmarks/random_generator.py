"""A generator of the shipped shape with random weights: as fast as trained ones, and it says nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.encode import stdlib_docstrings
from core.generation_types import GenerationTask
from core.types import EncoderInfo
from encoder.generator_checkpoint import save_generator
from encoder.generator_config import DecoderConfig, GeneratorConfig
from encoder.generator_parameters import generator_shapes
from encoder.generator_tokenizer import GeneratorTokenizer, train_tokenizer
from encoder.service import load_encoder

VOCAB_SIZE = 8192


def write_in_own_process(folder: Path) -> None:
    """Over the shipped encoder; what it takes to make it is not in the memory of this process."""
    subprocess.run([sys.executable, "-m", "benchmarks.random_generator", str(folder)], check=True)


def write_random_generator(folder: Path, encoder: EncoderInfo, seed: int = 0) -> None:
    """Over the states of `encoder`; its vocabulary is of the docstrings of the standard library."""
    tokenizer_json = train_tokenizer(
        [passage.text for passage in stdlib_docstrings()], VOCAB_SIZE, list(GenerationTask)
    )
    vocab_size = GeneratorTokenizer(tokenizer_json).vocab_size
    decoder = DecoderConfig(vocab_size, has_cross_attention=True)
    config = GeneratorConfig("random", decoder, encoder.dim, encoder.fingerprint)
    rng = np.random.default_rng(seed)
    weights = {
        name: rng.normal(size=shape).astype(np.float32) * shape[-1] ** -0.5
        if len(shape) > 1
        else np.ones(shape, np.float32)
        for name, shape in generator_shapes(config).items()
    }
    save_generator(folder, config, weights, tokenizer_json)


if __name__ == "__main__":
    shipped = load_encoder()
    write_random_generator(Path(sys.argv[1]), shipped.info)
    shipped.close()
