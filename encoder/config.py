"""Shape and behaviour of a bidirectional encoder; travels with its weights as `config.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.errors import CheckpointError
from encoder.families import BERT_FIELDS, MODERN_BERT, MODERN_BERT_FIELDS, read_shape
from encoder.json_files import read_json
from encoder.public_folder import public_behaviour


class Pooling(StrEnum):
    """How the token states of a text become one vector."""

    CLASS_ATTENTION = "class_attention"
    MEAN = "mean"
    CLS = "cls"


class Activation(StrEnum):
    """Non-linearity of the feed-forward layers; `gelu` is the exact one, with erf."""

    GELU = "gelu"
    RELU = "relu"


@dataclass(frozen=True, slots=True)
class ModernShape:
    """What ModernBERT adds: layers that see all tokens or only those at most `reach` away, and the base of
    the rotation by position of each kind."""

    is_global: tuple[bool, ...]
    reach: int
    global_theta: float
    local_theta: float


_SIZES = ("vocab_size", "d", "layers", "heads", "intermediate", "max_positions", "pooling_heads")
_LEAST = dict.fromkeys(_SIZES, 1) | {"relative_buckets": 0}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything but the weights that decides a vector.

    `d` is the width of the hidden states and of the embedding. `max_tokens` is the default length of an
    input with its special tokens; `max_positions` is the most the position table allows. Inputs longer than
    `window_tokens` are read in windows of so many (encoder/windows.py); 0 reads all of them at once.
    `relative_buckets` is not 0 for a model that adds a bias by relative position to its scores; `modern` is
    None for all families of BERT's shape.
    """

    id: str
    vocab_size: int
    d: int
    layers: int
    heads: int
    intermediate: int
    max_positions: int = 512
    type_vocab: int = 2
    layer_norm_eps: float = 1e-12
    activation: Activation = Activation.GELU
    max_tokens: int = 256
    window_tokens: int = 0
    pooling: Pooling = Pooling.CLASS_ATTENTION
    pooling_heads: int = 12
    normalize: bool = True
    query_prompt: str = ""
    passage_prompt: str = ""
    relative_buckets: int = 0
    modern: ModernShape | None = None

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise CheckpointError(
                    f"Model '{self.id}': {name}={value!r} must be a whole number from {least} on."
                )
        if not isinstance(self.layer_norm_eps, int | float) or not self.layer_norm_eps >= 0:
            raise CheckpointError(
                f"Model '{self.id}': layer_norm_eps={self.layer_norm_eps!r} must be a number from 0 on."
            )
        if self.d % self.heads:
            raise CheckpointError(f"Model '{self.id}': d={self.d} is not a multiple of heads={self.heads}.")
        if self.pooling is Pooling.CLASS_ATTENTION and self.d % self.pooling_heads:
            raise CheckpointError(
                f"Model '{self.id}': d={self.d} is not a multiple of pooling_heads={self.pooling_heads}."
            )
        if self.modern and self.pooling is Pooling.CLASS_ATTENTION:
            raise CheckpointError(f"Model '{self.id}': a modernbert model pools by mean or cls.")
        name = "window_tokens" if self.window_tokens else "max_tokens"
        if not 3 <= self.at_once <= self.max_positions:
            raise CheckpointError(
                f"Model '{self.id}': {name}={self.at_once} must lie between 3 and the "
                f"{self.max_positions} rows of its position table."
            )
        if self.max_tokens < self.window_tokens:
            raise CheckpointError(
                f"Model '{self.id}': max_tokens={self.max_tokens} must not be less than window_tokens="
                f"{self.window_tokens}."
            )

    @property
    def at_once(self) -> int:
        """Tokens of the longest input that the blocks read."""
        return self.window_tokens or self.max_tokens

    def reading(self, max_tokens: int) -> ModelConfig:
        """The same for inputs of at most `max_tokens`."""
        windows = self.window_tokens if max_tokens > self.window_tokens else 0
        return replace(self, max_tokens=max_tokens, window_tokens=windows)


_OWN_NAMES = (
    "id",
    "max_tokens",
    "pooling",
    "pooling_heads",
    "normalize",
    "query_prompt",
    "passage_prompt",
)


def config_to_json(config: ModelConfig) -> dict[str, Any]:
    """The public fields of the config's shape, and ours under the key `cognate`."""
    own = {name: getattr(config, name) for name in _OWN_NAMES}
    if config.window_tokens:
        own["window_tokens"] = config.window_tokens
    if config.relative_buckets:
        own["relative_buckets"] = config.relative_buckets
    if config.modern:
        public = {name: getattr(config, ours) for ours, name in MODERN_BERT_FIELDS.items()}
        return {"model_type": MODERN_BERT, **public, **_modern_to_json(config.modern), "cognate": own}
    public = {name: getattr(config, ours) for ours, name in BERT_FIELDS.items()}
    return {"architectures": ["BertModel"], "model_type": "bert", **public, "cognate": own}


def _modern_to_json(shape: ModernShape) -> dict[str, Any]:
    kinds = ["full_attention" if is_global else "sliding_attention" for is_global in shape.is_global]
    return {
        "layer_types": kinds,
        "local_attention": 2 * shape.reach,
        "global_rope_theta": shape.global_theta,
        "local_rope_theta": shape.local_theta,
    }


def read_config(folder: Path) -> ModelConfig:
    """Config of our folder format, or of the public one (sentence-transformers or a bare encoder).

    Raises CheckpointError for a missing or damaged file and for an architecture that is not supported.
    """
    raw = read_public_config(folder)

    def behaviour(max_positions: int) -> Mapping[str, Any]:
        own: Mapping[str, Any] | None = raw.get("cognate")
        return public_behaviour(folder, max_positions) if own is None else own

    return model_config(folder, raw, behaviour)


def model_config(
    folder: Path, raw: Mapping[str, Any], behaviour: Callable[[int], Mapping[str, Any]]
) -> ModelConfig:
    """The shape that `raw` states, used as `behaviour(max_positions)` says in our names.

    Raises CheckpointError as `read_config` does.
    """
    try:
        fields = read_shape(folder, raw)
        own = behaviour(fields["max_positions"])
        known = (*_OWN_NAMES, "window_tokens", "relative_buckets")
        fields |= {name: own[name] for name in known if own.get(name) is not None}
        fields["activation"] = _activation(folder, fields["activation"])
        fields["pooling"] = Pooling(fields["pooling"])
        if "modern" in fields:
            fields["modern"] = ModernShape(**fields["modern"])
        return ModelConfig(**fields)
    except KeyError as error:
        raise CheckpointError(f"{folder / 'config.json'} has no field {error}.") from error
    except (AttributeError, ArithmeticError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'config.json'} is damaged: {error}.") from error


def _activation(folder: Path, name: str) -> Activation:
    if name not in list(Activation):
        raise CheckpointError(f"{folder} computes '{name}'; supported: {', '.join(Activation)}.")
    return Activation(name)


def read_public_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json` as it stands. Raises CheckpointError when it is missing or damaged."""
    raw: dict[str, Any] = read_json(folder / "config.json")
    return raw
