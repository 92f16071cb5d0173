"""Shape and behaviour of a bidirectional encoder; travels with its weights as `config.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.errors import CheckpointError
from encoder.families import BERT_FIELDS, MODERN_BERT, MODERN_BERT_FIELDS, read_shape


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
        return _public_behaviour(folder, max_positions) if own is None else own

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
        fields["activation"] = Activation(fields["activation"])
        fields["pooling"] = Pooling(fields["pooling"])
        if "modern" in fields:
            fields["modern"] = ModernShape(**fields["modern"])
        return ModelConfig(**fields)
    except KeyError as error:
        raise CheckpointError(f"{folder / 'config.json'} has no field {error}.") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'config.json'} is damaged: {error}.") from error


def read_public_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json` as it stands. Raises CheckpointError when it is missing or damaged."""
    raw: dict[str, Any] = read_json(folder / "config.json")
    return raw


def _public_behaviour(folder: Path, max_positions: int) -> dict[str, Any]:
    """Pooling, length and prompts as the sentence-transformers files of the folder state them.

    Vectors are always normalised: the index compares by inner product.
    """
    modules = read_json(folder / "modules.json", default=[])
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    extra = set(kinds) - {"Transformer", "Pooling", "Normalize"}
    if extra:
        raise CheckpointError(f"{folder} adds the modules {sorted(extra)}, which are not supported.")
    sizes = read_json(folder / "sentence_bert_config.json", default={})
    query_prompt, passage_prompt = _public_prompts(folder)
    pooling = _pooling_file(folder, modules)
    if (query_prompt or passage_prompt) and pooling.get("include_prompt") is False:
        raise CheckpointError(f"{folder} pools without its prompts (include_prompt), which is not supported.")
    return {
        "id": folder.name,
        "max_tokens": min(sizes.get("max_seq_length") or max_positions, max_positions),
        "pooling": _public_pooling(folder, pooling),
        "query_prompt": query_prompt,
        "passage_prompt": passage_prompt,
    }


def _public_prompts(folder: Path) -> tuple[str, str]:
    """Of queries and of passages, by the names that sentence-transformers looks for, or the default one."""
    raw = read_json(folder / "config_sentence_transformers.json", default={})
    prompts = {name: prompt for name, prompt in raw.get("prompts", {}).items() if prompt}
    default = prompts.get(raw.get("default_prompt_name"), "")
    of_passages = (prompts[name] for name in ("document", "passage", "corpus") if name in prompts)
    return prompts.get("query", default), next(of_passages, default)


def _pooling_file(folder: Path, modules: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """How the folder says that it pools; a bare encoder, which does not say, is read at CLS."""
    paths = [
        module.get("path", "1_Pooling") for module in modules if str(module["type"]).endswith(".Pooling")
    ]
    bare = None if paths else {"pooling_mode_cls_token": True}
    raw: Mapping[str, Any] = read_json(folder / (paths or ["1_Pooling"])[0] / "config.json", default=bare)
    return raw


def _public_pooling(folder: Path, raw: Mapping[str, Any]) -> Pooling:
    modes = {name for name, chosen in raw.items() if name.startswith("pooling_mode_") and chosen is True}
    if modes == {"pooling_mode_mean_tokens"} or raw.get("pooling_mode") == "mean":
        return Pooling.MEAN
    if modes == {"pooling_mode_cls_token"} or raw.get("pooling_mode") == "cls":
        return Pooling.CLS
    raise CheckpointError(f"{folder} pools by {sorted(modes)}; supported: mean or cls alone.")


def read_json(path: Path, default: Any = None) -> Any:
    """Contents of a file; `default`, unless None, where there is none. Raises CheckpointError."""
    if not path.is_file():
        if default is not None:
            return default
        raise CheckpointError(f"{path} is missing; a model folder needs it.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}.") from error
