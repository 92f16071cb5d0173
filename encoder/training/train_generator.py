"""Trains a generator: `train_generator(settings)` from files of rows to a loadable folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from core.errors import CheckpointError
from encoder.checkpoint import load_checkpoint
from encoder.encoder_decoder import EncoderDecoder
from encoder.generator_checkpoint import load_generator_checkpoint, save_generator
from encoder.generator_config import DecoderConfig, GeneratorConfig
from encoder.generator_tokenizer import GeneratorTokenizer
from encoder.training.export import device
from encoder.training.generation_batches import GenerationBatches
from encoder.training.generation_curves import draw_generation_curves
from encoder.training.generation_loop import GenerationProgress, GenerationRun, OnStep
from encoder.training.generation_rows import Row, read_rows
from encoder.training.generation_settings import GeneratorSettings
from encoder.training.generation_sources import make_tokenizer, prepare_rows
from encoder.training.state import require_same_run, run_key

_VOCABULARY = "vocabulary.json"


@dataclass(frozen=True, slots=True)
class GeneratorReport:
    """What a run did; `dev` are the held-out losses by task in nats a token, `curves` is the picture."""

    folder: Path
    weights: int
    steps: int
    seconds: float
    tokens: int
    dev: Mapping[str, float]
    progress: tuple[GenerationProgress, ...]
    curves: Path


def train_generator(
    settings: GeneratorSettings,
    on_step: OnStep = lambda _: None,
    on_read: Callable[[int, int], None] = lambda done, total: None,
) -> GeneratorReport:
    """Runs to the end and writes `settings.out`; goes on from a checkpoint that is found there.

    `on_read` is told how many sources of how many the encoder has read. Raises InvalidInput for bad rows or
    settings, CheckpointError for a bad encoder or start folder and for a checkpoint of another run.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    _require_width(settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(settings)
    key = _key(settings)
    require_same_run(settings.out, key)
    tokenizer_json = _vocabulary(settings, key, rows)
    tokenizer = GeneratorTokenizer(tokenizer_json)
    batches = GenerationBatches(prepare_rows(rows, tokenizer, settings, on_read), settings)
    model = start_model(settings, tokenizer).to(device()).train()
    run = GenerationRun(settings, key, model, batches)
    run.to_the_end(on_step)
    save_model(settings.out, model, tokenizer_json)
    return GeneratorReport(
        folder=settings.out,
        weights=sum(parameter.numel() for parameter in model.parameters()),
        steps=run.done,
        seconds=run.seconds,
        tokens=run.tokens,
        dev=run.dev_losses(),
        progress=tuple(run.progress),
        curves=draw_generation_curves(settings.out, run.progress),
    )


def _require_width(settings: GeneratorSettings) -> None:
    """Raises CheckpointError for a start folder that reads states of another width than the encoder's."""
    if not settings.start:
        return
    needed, d = (
        load_generator_checkpoint(settings.start).config.encoder_d,
        load_checkpoint(settings.encoder).config.d,
    )
    if needed != d:
        raise CheckpointError(
            f"{settings.start} reads states of width {needed}, {settings.encoder} gives {d}; start from "
            "another generator or without one."
        )


def start_model(settings: GeneratorSettings, tokenizer: GeneratorTokenizer) -> EncoderDecoder:
    """Random weights, or those of `settings.start`, which may have read another encoder of the same width."""
    encoder = load_checkpoint(settings.encoder)
    if settings.start:
        start = load_generator_checkpoint(settings.start)
        model = EncoderDecoder(
            replace(start.config, encoder_fingerprint=encoder.fingerprint), settings.dropout
        )
        model.load_state_dict({name: torch.from_numpy(w) for name, w in start.weights.items()})
        return model
    shape = settings.shape
    decoder = DecoderConfig(
        tokenizer.vocab_size,
        shape.d,
        shape.layers,
        shape.heads,
        shape.intermediate,
        has_cross_attention=True,
    )
    config = GeneratorConfig(
        settings.model_id or settings.out.name,
        decoder,
        encoder.config.d,
        encoder.fingerprint,
        shape.source_layers,
        settings.max_source_tokens,
        settings.max_target_tokens,
    )
    return EncoderDecoder(config, settings.dropout)


def save_model(folder: Path, model: EncoderDecoder, tokenizer_json: str) -> None:
    """Writes the folder, and gives the model the weights as they are there, in float16."""
    weights = {name: tensor.float().cpu().numpy() for name, tensor in model.state_dict().items()}
    save_generator(folder, model.config, weights, tokenizer_json)
    saved = load_generator_checkpoint(folder).weights
    model.load_state_dict({name: torch.from_numpy(w) for name, w in saved.items()})


def _key(settings: GeneratorSettings) -> str:
    """Equal for runs that may continue each other."""
    start = load_generator_checkpoint(settings.start).fingerprint if settings.start else "no start"
    weights = f"{load_checkpoint(settings.encoder).fingerprint} {start}"
    return run_key(settings.key, weights, (*settings.rows, *settings.texts))


def _vocabulary(settings: GeneratorSettings, key: str, rows: Sequence[Row]) -> str:
    """That of the start folder, of the run that goes on, or a new one of the rows."""
    if settings.start:
        return load_generator_checkpoint(settings.start).tokenizer_json
    kept = settings.out / _VOCABULARY
    if not (kept.is_file() and json.loads(kept.read_text())["key"] == key):
        tokenizer = make_tokenizer(rows, settings.shape.vocab_size)
        kept.write_text(json.dumps({"key": key, "tokenizer": tokenizer.to_json()}))
    found: str = json.loads(kept.read_text())["tokenizer"]
    return found
