"""Trained weights to a model folder like the shipped one, and averages of two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from core.errors import CheckpointError
from encoder.bert import Bert
from encoder.calibrate import calibrate, default_texts
from encoder.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, save_reference
from encoder.config import ModelConfig
from encoder.convert_minilm import compute_reference
from encoder.parameters import Weights

_GENERAL_TEXTS = 100  # for the ranges of int8


def weights_of(model: Bert) -> Weights:
    """Float32 copies on the CPU, by their public names. LoRA must have been merged."""
    return {name: tensor.float().cpu().numpy().copy() for name, tensor in model.state_dict().items()}


def average(start: Weights, trained: Weights, alpha: float) -> Weights:
    """(1 - alpha) start + alpha trained (Wortsman et al. 2022, "Robust fine-tuning", section 3)."""
    if start.keys() != trained.keys():
        raise CheckpointError("Only models with the same tensors can be averaged.")
    return {
        name: (1 - np.float32(alpha)) * w + np.float32(alpha) * trained[name] for name, w in start.items()
    }


def average_folders(start: Path, trained: Path, alpha: float, out: Path) -> None:
    """Writes the model folder `out`: `alpha` of the trained model, the rest of the one it started from."""
    a, b = load_checkpoint(start), load_checkpoint(trained)
    write_model(out, b.config, average(a.weights, b.weights, alpha), b.tokenizer_json)


def write_model(
    folder: Path, config: ModelConfig, weights: Weights, tokenizer_json: str, texts: Sequence[str] = ()
) -> Checkpoint:
    """Saves in float16, with reference vectors and int8 ranges of what was saved; returns it as it loads.

    The ranges are measured on `texts`, best those the model is for, and on some of all kinds.
    """
    save_checkpoint(folder, config, {n: w.astype(np.float16) for n, w in weights.items()}, tokenizer_json)
    saved = load_checkpoint(folder)
    save_reference(folder, compute_reference(saved))
    calibrate(folder, [*default_texts(_GENERAL_TEXTS), *texts])
    return saved


def renamed(config: ModelConfig, model_id: str | None) -> ModelConfig:
    return config if model_id is None else replace(config, id=model_id)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
