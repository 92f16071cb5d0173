"""Model folders: `config.json`, `model.safetensors`, `tokenizer.json`, and vectors to check a backend by.

Reading never imports torch, and pickled weights are refused because loading them runs code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import load_file, save_file

from core.errors import CheckpointError
from core.types import Float32
from encoder.config import ModelConfig, config_to_json, read_config, read_public_config
from encoder.families import AnyArray, own_weights
from encoder.json_files import read_json
from encoder.parameters import Weights, expected_shapes
from encoder.public_folder import in_lower_case, normalised_as_stated
from encoder.tokenizer import greatest_id

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
REFERENCE_TEXTS = "reference.json"
REFERENCE_VECTORS = "reference.safetensors"

StoredWeights = Mapping[str, AnyArray]  # in the precision of the file

_TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "BOOL": np.bool_}
_SHARDS = "model.safetensors.index.json"
_PICKLED = ("pytorch_model.bin", "model.bin", "model.pt", "pytorch_model.pt", "model.ckpt")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded folder. `weights` are float32, whatever they are stored as.

    `fingerprint` is over all that changes a vector, `weights_sha256` over the weights alone.
    """

    config: ModelConfig
    weights: Weights
    tokenizer_json: str
    fingerprint: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class Reference:
    """Texts, cut at `max_tokens`, and their vectors (n, d) float32 by the reference implementation."""

    texts: tuple[str, ...]
    vectors: Float32
    max_tokens: int


def load_checkpoint(folder: Path, max_tokens: int | None = None) -> Checkpoint:
    """Reads a folder of ours, or one in the public format of a family that encoder/families.py names.

    `max_tokens` overrides the folder's input length, and so changes the fingerprint.

    Raises CheckpointError for missing, damaged, pickled or unsupported contents.
    """
    if not folder.is_dir():
        raise CheckpointError(f"The model folder {folder} does not exist.")
    config = read_config(folder)
    if max_tokens is not None:
        config = config.reading(max_tokens)
    raw = read_public_config(folder)
    stored = own_weights(folder, raw, read_tensors(folder))
    tokenizer_json = read_tokenizer(folder)
    if raw.get("cognate") is None:
        tokenizer_json = in_lower_case(folder, normalised_as_stated(folder, tokenizer_json))
    weights = needed_weights(folder, config, stored)
    whole = fingerprint(config, stored, tokenizer_json)
    return Checkpoint(config, weights, tokenizer_json, whole, weights_digest(stored))


def save_checkpoint(folder: Path, config: ModelConfig, weights: StoredWeights, tokenizer_json: str) -> None:
    """Writes the three files; weights keep the precision they have."""
    write_files(folder, config_to_json(config), weights, tokenizer_json)


def write_files(folder: Path, config: Mapping[str, Any], weights: StoredWeights, tokenizer_json: str) -> None:
    """Writes `config.json`, the weights under the names they have, and the tokenizer.

    Raises CheckpointError, and writes nothing, when a weight is no finite number.
    """
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"'{name}' has values that are not finite in {array.dtype}, so {folder} was not written: "
                "training has diverged. Give a lower learning rate."
            )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, folder / WEIGHTS)
    (folder / TOKENIZER).write_text(tokenizer_json, encoding="utf-8")


def save_reference(folder: Path, reference: Reference) -> None:
    """Writes the texts and vectors that `load_reference` reads."""
    about = {"max_tokens": reference.max_tokens, "texts": reference.texts}
    text = json.dumps(about, ensure_ascii=False, indent=2)
    (folder / REFERENCE_TEXTS).write_text(text + "\n", encoding="utf-8")
    save_file({"vectors": reference.vectors}, folder / REFERENCE_VECTORS)


def load_reference(folder: Path) -> Reference | None:
    """None for a folder that carries no reference vectors. Raises CheckpointError when they are damaged."""
    if not (folder / REFERENCE_VECTORS).is_file():
        return None
    stored = _load_safetensors(folder / REFERENCE_VECTORS)
    try:
        about = json.loads(_read_text(folder / REFERENCE_TEXTS))
        texts, max_tokens = tuple(about["texts"]), int(about["max_tokens"])
        vectors = stored["vectors"].astype(np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / REFERENCE_TEXTS} is damaged: {error!r}.") from error
    if len(texts) != len(vectors):
        raise CheckpointError(f"{folder} holds {len(vectors)} reference vectors for {len(texts)} texts.")
    return Reference(texts, vectors, max_tokens)


def fingerprint(config: ModelConfig, weights: StoredWeights, tokenizer_json: str) -> str:
    """sha256 over all that changes a vector: weights, tokenizer, and how the model is used."""
    behaviour = config_to_json(config)
    behaviour["cognate"] = {name: v for name, v in behaviour["cognate"].items() if name != "id"}
    return sealed(behaviour, weights, tokenizer_json)


def sealed(behaviour: Mapping[str, Any], weights: StoredWeights, tokenizer_json: str) -> str:
    """sha256 over a model's weights, its tokenizer, and what of its config changes what it gives."""
    usage = [json.dumps(behaviour, sort_keys=True).encode(), tokenizer_json.encode()]
    return _sha256(chain(usage, _weight_parts(weights)))


def weights_digest(weights: StoredWeights) -> str:
    """sha256 over names, types, shapes and contents."""
    return _sha256(_weight_parts(weights))


def in_float32(stored: StoredWeights) -> dict[str, Float32]:
    return {name: array.astype(np.float32, copy=False) for name, array in stored.items()}


def needed_weights(folder: Path, config: ModelConfig, stored: StoredWeights) -> dict[str, Float32]:
    """Those that a model of this config has, without others such as blocks that it leaves out.

    Raises CheckpointError as `require_shapes` does.
    """
    shapes = expected_shapes(config)
    weights = in_float32({name: stored[name] for name in shapes if name in stored})
    require_shapes(folder, shapes, weights)
    return weights


def _sha256(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _weight_parts(weights: StoredWeights) -> Iterator[bytes]:
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        yield f"{name} {array.dtype} {array.shape}".encode()
        yield array.tobytes()


def read_tensors(folder: Path) -> dict[str, AnyArray]:
    """All tensors of the folder, as they are named and stored there.

    Raises CheckpointError for missing, damaged and pickled weights.
    """
    if (folder / _SHARDS).is_file():
        return _read_shards(folder)
    if not (folder / WEIGHTS).is_file():
        pickled = [name for name in _PICKLED if (folder / name).is_file()]
        if pickled:
            raise CheckpointError(
                f"{folder} holds pickled weights ({', '.join(pickled)}), which can run code when loaded; "
                f"convert them to {WEIGHTS}."
            )
        raise CheckpointError(f"{folder / WEIGHTS} is missing; a model folder needs it.")
    return _load_safetensors(folder / WEIGHTS)


def _read_shards(folder: Path) -> dict[str, AnyArray]:
    """Weights in several files, named by an index. Raises CheckpointError for names outside the folder."""
    names = read_json(folder / _SHARDS).get("weight_map", {})
    tensors: dict[str, AnyArray] = {}
    for file in sorted(set(names.values())):
        if Path(file).name != file:
            raise CheckpointError(f"{folder / _SHARDS} names {file!r}, which is not a file of the folder.")
        if not (folder / file).is_file():
            raise CheckpointError(f"{folder / file} is missing; {_SHARDS} names it.")
        tensors |= _load_safetensors(folder / file)
    return tensors


def _load_safetensors(path: Path) -> dict[str, AnyArray]:
    try:
        with safe_open(path, "np") as file:
            is_known = all(file.get_slice(name).get_dtype() != "BF16" for name in file.keys())  # noqa: SIM118  # not a mapping
        return dict(load_file(path)) if is_known else _widened(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}.") from error


def _widened(path: Path) -> dict[str, AnyArray]:
    """Tensors of a file that has some in bfloat16, which numpy does not know; these in float32."""
    tensors: dict[str, AnyArray] = {}
    for name, tensor in deserialize(path.read_bytes()):  # type: ignore[no-untyped-call]
        data, shape = tensor["data"], tensor["shape"]
        if tensor["dtype"] == "BF16":  # the upper half of a float32
            wide = np.frombuffer(data, np.uint16).astype(np.uint32) << 16
            tensors[name] = wide.view(np.float32).reshape(shape)
        else:
            tensors[name] = np.frombuffer(data, _TYPES[tensor["dtype"]]).reshape(shape)
    return tensors


def require_shapes(folder: Path, shapes: Mapping[str, tuple[int, ...]], weights: Weights) -> None:
    """Raises CheckpointError naming a tensor that is missing or has another shape."""
    for name, shape in shapes.items():
        if name not in weights:
            raise CheckpointError(f"{folder / WEIGHTS} has no tensor '{name}', which its config needs.")
        if weights[name].shape != shape:
            raise CheckpointError(
                f"{folder / WEIGHTS}: '{name}' is {weights[name].shape}, its config says {shape}."
            )


def require_ids(folder: Path, tokenizer_json: str, vocab_size: int) -> None:
    """Raises CheckpointError when the tokenizer has an id beyond the table of word embeddings."""
    greatest = greatest_id(tokenizer_json)
    if greatest >= vocab_size:
        raise CheckpointError(
            f"{folder / TOKENIZER} has the id {greatest}, but the weights have vectors of {vocab_size} ids, "
            "from 0 on; they do not belong together, or tokens were added without training them."
        )


def read_tokenizer(folder: Path) -> str:
    """The folder's `tokenizer.json`. Raises CheckpointError when it is missing or no text."""
    return _read_text(folder / TOKENIZER)


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; a model folder needs it.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8 text: {error}.") from error
