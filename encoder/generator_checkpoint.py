"""Generator folders: `config.json`, `model.safetensors`, `tokenizer.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import CheckpointError
from encoder.checkpoint import (
    CONFIG,
    StoredWeights,
    in_float32,
    read_tensors,
    read_tokenizer,
    require_shapes,
    sealed,
    write_files,
)
from encoder.generator_config import GeneratorConfig, generator_from_json, generator_to_json
from encoder.generator_parameters import generator_shapes
from encoder.json_files import read_json
from encoder.parameters import Weights


@dataclass(frozen=True, slots=True)
class GeneratorCheckpoint:
    """A loaded folder; `weights` are float32, whatever they are stored as.

    `fingerprint` is over all that changes a text.
    """

    config: GeneratorConfig
    weights: Weights
    tokenizer_json: str
    fingerprint: str


def load_generator_checkpoint(folder: Path) -> GeneratorCheckpoint:
    """Raises CheckpointError for missing, damaged or pickled contents, and for another kind of model."""
    if not folder.is_dir():
        raise CheckpointError(f"The model folder {folder} does not exist.")
    config = generator_from_json(read_json(folder / CONFIG))
    stored, tokenizer_json = read_tensors(folder), read_tokenizer(folder)
    weights = in_float32(stored)
    require_shapes(folder, generator_shapes(config), weights)
    about = generator_to_json(config)
    behaviour = {name: value for name, value in about.items() if name not in ("id", "tasks")}
    return GeneratorCheckpoint(config, weights, tokenizer_json, sealed(behaviour, stored, tokenizer_json))


def save_generator(
    folder: Path, config: GeneratorConfig, weights: StoredWeights, tokenizer_json: str
) -> None:
    """Writes the folder, weights in float16."""
    halved: Mapping[str, np.ndarray] = {name: w.astype(np.float16) for name, w in weights.items()}
    write_files(folder, json.loads(json.dumps(generator_to_json(config))), halved, tokenizer_json)


def write_generator_config(folder: Path, config: GeneratorConfig) -> None:
    """Replaces the folder's `config.json`; the weights stay."""
    (folder / CONFIG).write_text(json.dumps(generator_to_json(config), indent=2) + "\n", encoding="utf-8")
