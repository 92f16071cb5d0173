"""Public encoder families: how they name their config fields and tensors, turned into our two shapes.

BERT, RoBERTa, XLM-RoBERTa, MPNet and DistilBERT are one shape (encoder/bert.py) once renamed: RoBERTa and
MPNet leave the first rows of the position table unused, MPNet and DistilBERT have no segments, MPNet adds a
bias by relative position. ModernBERT is a shape of its own (encoder/modern_bert.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import CheckpointError

AnyArray = npt.NDArray[np.generic]
MODERN_BERT = "modernbert"
_MOST_LAYERS = 1000  # ten times those of the deepest encoders
_LAYER_KINDS = {"full_attention", "sliding_attention"}
_POSITIONS = "embeddings.position_embeddings.weight"
_SEGMENTS = "embeddings.token_type_embeddings.weight"

# Our field -> the name in the family's `config.json`.
BERT_FIELDS = {
    "vocab_size": "vocab_size",
    "d": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "type_vocab": "type_vocab_size",
    "layer_norm_eps": "layer_norm_eps",
    "activation": "hidden_act",
}
_MPNET_FIELDS = {name: public for name, public in BERT_FIELDS.items() if name != "type_vocab"} | {
    "relative_buckets": "relative_attention_num_buckets"
}
_DISTILBERT_FIELDS = {
    "vocab_size": "vocab_size",
    "d": "dim",
    "layers": "n_layers",
    "heads": "n_heads",
    "intermediate": "hidden_dim",
    "max_positions": "max_position_embeddings",
    "activation": "activation",
}
MODERN_BERT_FIELDS = {name: public for name, public in BERT_FIELDS.items() if name != "type_vocab"} | {
    "layer_norm_eps": "norm_eps",
    "activation": "hidden_activation",
}

_MPNET_NAMES = (
    (r"\.attention\.attn\.q\.", ".attention.self.query."),
    (r"\.attention\.attn\.k\.", ".attention.self.key."),
    (r"\.attention\.attn\.v\.", ".attention.self.value."),
    (r"\.attention\.attn\.o\.", ".attention.output.dense."),
    (r"\.attention\.LayerNorm\.", ".attention.output.LayerNorm."),
)
_DISTILBERT_NAMES = (
    (r"^transformer\.", "encoder."),
    (r"\.attention\.q_lin\.", ".attention.self.query."),
    (r"\.attention\.k_lin\.", ".attention.self.key."),
    (r"\.attention\.v_lin\.", ".attention.self.value."),
    (r"\.attention\.out_lin\.", ".attention.output.dense."),
    (r"\.sa_layer_norm\.", ".attention.output.LayerNorm."),
    (r"\.ffn\.lin1\.", ".intermediate.dense."),
    (r"\.ffn\.lin2\.", ".output.dense."),
    (r"\.output_layer_norm\.", ".output.LayerNorm."),
)
# What the first releases of BERT called them, in any family.
_FIRST_NAMES = ((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias"))


@dataclass(frozen=True, slots=True)
class Family:
    """`prefix` stands before the tensors in some exports; `renames` are patterns and what replaces them.

    `fixed` are our config fields that the family's `config.json` does not state.
    """

    fields: Mapping[str, str]
    prefix: str
    renames: tuple[tuple[str, str], ...] = ()
    fixed: Mapping[str, Any] | None = None
    has_padding_positions: bool = False
    used: tuple[str, ...] = ("embeddings.", "encoder.", "class_attention.")


_FAMILIES = {
    "bert": Family(BERT_FIELDS, "bert."),
    "roberta": Family(BERT_FIELDS, "roberta.", has_padding_positions=True),
    "xlm-roberta": Family(BERT_FIELDS, "roberta.", has_padding_positions=True),
    "mpnet": Family(_MPNET_FIELDS, "mpnet.", _MPNET_NAMES, {"type_vocab": 1}, True),
    "distilbert": Family(
        _DISTILBERT_FIELDS, "distilbert.", _DISTILBERT_NAMES, {"type_vocab": 1, "layer_norm_eps": 1e-12}
    ),
    MODERN_BERT: Family(MODERN_BERT_FIELDS, "model.", used=("embeddings.", "layers.", "final_norm.")),
}


def read_shape(folder: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Our config fields of the shape that a public `config.json` states.

    Raises CheckpointError for an architecture that is not supported, KeyError for a field that is missing.
    """
    family = _family(folder, raw)
    fields = {ours: raw[name] for ours, name in family.fields.items()} | dict(family.fixed or {})
    _require_layers(folder, fields["layers"])
    fields["max_positions"] -= _unused_positions(family, raw)
    if raw["model_type"] == MODERN_BERT:
        fields |= {"type_vocab": 0, "modern": _modern_fields(folder, raw)}
    return fields


def own_weights(folder: Path, raw: Mapping[str, Any], stored: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Tensors in our names and shape, without those that an encoder does not use."""
    family = _family(folder, raw)
    weights: dict[str, AnyArray] = {}
    for public, array in stored.items():
        name = public.removeprefix(family.prefix)
        for pattern, replacement in (*family.renames, *_FIRST_NAMES):
            name = re.sub(pattern, replacement, name)
        if name.startswith(family.used) and not name.endswith("position_ids"):
            weights[name] = array
    if _POSITIONS in weights:
        weights[_POSITIONS] = weights[_POSITIONS][_unused_positions(family, raw) :]
        if family.fixed:
            weights[_SEGMENTS] = np.zeros((1, weights[_POSITIONS].shape[1]), weights[_POSITIONS].dtype)
    return weights


def _family(folder: Path, raw: Mapping[str, Any]) -> Family:
    kind = raw.get("model_type")
    positions = raw.get("position_embedding_type", "absolute")
    if kind not in list(_FAMILIES) or positions != "absolute":
        raise CheckpointError(
            f"{folder} holds a '{kind}' model with {positions} positions; supported: "
            f"{', '.join(_FAMILIES)} with absolute positions."
        )
    decoding = [name for name in ("is_decoder", "add_cross_attention") if raw.get(name)]
    if decoding:
        raise CheckpointError(
            f"{folder} sets {', '.join(decoding)}: its tokens see only those before them. Supported are"
            " encoders, whose tokens see all others."
        )
    return _FAMILIES[kind]


def _require_layers(folder: Path, layers: Any) -> None:
    """Before anything is made for each of them."""
    if isinstance(layers, int) and layers > _MOST_LAYERS:
        raise CheckpointError(f"{folder} states {layers} layers; at most {_MOST_LAYERS} are read.")


def _unused_positions(family: Family, raw: Mapping[str, Any]) -> int:
    """Tokens count from the padding id + 1 in these families; we count from 0."""
    padding_id = raw.get("pad_token_id")
    return (1 if padding_id is None else int(padding_id)) + 1 if family.has_padding_positions else 0


def _modern_fields(folder: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Which layers see all tokens, how far the others see, and the bases of their rotations."""
    biased = [name for name in ("attention_bias", "mlp_bias", "norm_bias") if raw.get(name)]
    if biased:
        raise CheckpointError(f"{folder} sets {', '.join(biased)}; supported: modernbert without biases.")
    every = raw.get("global_attn_every_n_layers", 3)
    kinds = raw.get("layer_types") or [
        "sliding_attention" if i % every else "full_attention" for i in range(raw["num_hidden_layers"])
    ]
    if len(kinds) != raw["num_hidden_layers"] or set(kinds) - _LAYER_KINDS:
        raise CheckpointError(
            f"{folder} has the layer_types {kinds}; expected for each of its "
            f"{raw['num_hidden_layers']} layers: {' or '.join(sorted(_LAYER_KINDS))}."
        )
    rotations = raw.get("rope_parameters") or {}
    if not all(isinstance(rotation, Mapping) for rotation in rotations.values()):
        raise CheckpointError(
            f"{folder} states one rotation for all layers ({rotations}); one a kind is expected."
        )
    scaled = [r for r in rotations.values() if r.get("rope_type", "default") != "default"]
    if scaled:
        raise CheckpointError(f"{folder} scales its rotations ({scaled}); supported: rope_type 'default'.")
    full = rotations.get("full_attention", {}).get("rope_theta", raw.get("global_rope_theta", 160000.0))
    local = rotations.get("sliding_attention", {}).get("rope_theta", raw.get("local_rope_theta", full))
    return {
        "is_global": tuple(kind == "full_attention" for kind in kinds),
        "reach": raw["local_attention"] // 2,
        "global_theta": float(full),
        "local_theta": float(local or full),
    }
