"""Folders of public generators: `config.json`, `model.safetensors`, `tokenizer.json`, and how to use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.errors import CheckpointError
from encoder.checkpoint import CONFIG, read_tensors, read_tokenizer, require_shapes, sealed
from encoder.families import AnyArray
from encoder.generator_config import MODEL_TYPE
from encoder.json_files import read_json
from encoder.public.bart import Bart, bart_config, bart_weights
from encoder.public.decoding import PublicModel
from encoder.public.gpt2 import Gpt2, gpt2_config, gpt2_weights
from encoder.public.t5 import T5, t5_config, t5_weights
from encoder.public.use import GENERATION_CONFIG, PublicUse, read_use

Raw = Mapping[str, Any]
Stored = Mapping[str, AnyArray]
Build = Callable[[Raw, Stored], tuple[nn.Module, Stored]]


@dataclass(frozen=True, slots=True)
class PublicCheckpoint:
    """A loaded folder: the model in evaluation mode, its tokenizer, and how it is used.

    `fingerprint` is a sha256 over all that changes a text.
    """

    model: PublicModel
    tokenizer_json: str
    use: PublicUse
    vocab_size: int
    fingerprint: str


def _gpt2(raw: Raw, stored: Stored) -> tuple[nn.Module, Stored]:
    return Gpt2(gpt2_config(raw)), gpt2_weights(stored)


def _t5(raw: Raw, stored: Stored) -> tuple[nn.Module, Stored]:
    return T5(t5_config(raw, has_head="lm_head.weight" in stored)), t5_weights(stored)


def _bart(raw: Raw, stored: Stored) -> tuple[nn.Module, Stored]:
    config = bart_config(raw, is_marian=raw["model_type"] == "marian")
    return Bart(config), bart_weights(stored, config)


# The model of a public config, without weights, and the stored tensors in its names.
_FAMILIES: Mapping[str, Build] = {"bart": _bart, "gpt2": _gpt2, "marian": _bart, "t5": _t5}


def load_public_checkpoint(folder: Path) -> PublicCheckpoint:
    """Reads a folder in the public format, weights to float32.

    Raises CheckpointError for missing, damaged, pickled or unsupported contents.
    """
    if not folder.is_dir():
        raise CheckpointError(f"The model folder {folder} does not exist.")
    raw = read_json(folder / CONFIG)
    kind = raw.get("model_type")
    if kind not in _FAMILIES:
        raise CheckpointError(
            f"{folder} holds a '{kind}' model, which cannot generate here; supported: "
            f"{MODEL_TYPE}, {', '.join(_FAMILIES)}."
        )
    use = read_use(folder, raw)
    stored, tokenizer_json = read_tensors(folder), read_tokenizer(folder)
    try:
        with torch.device("meta"):
            model, named = _FAMILIES[kind](raw, stored)
    except KeyError as error:
        raise CheckpointError(f"{folder / CONFIG} has no field {error}.") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / CONFIG} is damaged: {error}.") from error
    _fill(folder, model, named)
    behaviour = {"config": raw, "generation": read_json(folder / GENERATION_CONFIG, default={})}
    behaviour["use"] = asdict(use) | {"id": "", "ends": sorted(use.ends)}
    return PublicCheckpoint(
        model,  # type: ignore[arg-type]  # a module's call has no type
        tokenizer_json,
        use,
        raw["vocab_size"],
        sealed(behaviour, stored, tokenizer_json),
    )


def _fill(folder: Path, model: nn.Module, named: Stored) -> None:
    """Gives the model its weights, without a copy where they are float32."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    weights = {name: torch.from_numpy(array).float() for name, array in named.items()}
    require_shapes(folder, shapes, named)  # type: ignore[arg-type]  # of any precision
    unknown = sorted(weights.keys() - shapes.keys())
    if unknown:
        raise CheckpointError(
            f"{folder} has {len(unknown)} tensors that its config does not tell of, such as '{unknown[0]}'."
        )
    model.load_state_dict(weights, assign=True)
    model.eval().requires_grad_(False)
