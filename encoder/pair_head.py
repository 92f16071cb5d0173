"""The head of a cross-encoder: the state at CLS to one relevance, in numpy; and its names in each family."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import CheckpointError
from core.types import Float32
from encoder.checkpoint import StoredWeights, in_float32, require_shapes
from encoder.families import MODERN_BERT

_erf = np.vectorize(math.erf, otypes=[np.float32])


def _gelu(x: Float32) -> Float32:
    return np.asarray(0.5 * x * (1 + _erf(x / np.sqrt(np.float32(2)))), np.float32)


def _relu(x: Float32) -> Float32:
    return np.maximum(x, 0)


@dataclass(frozen=True, slots=True)
class PairHead:
    """`logit = w · norm(activate(W u + b)) + c` of the pooled state u (d,); only ModernBERT has the norm.

    `dense_weight` (d, d), `dense_bias` (d,), `norm_weight` (d,) or None, `score_weight` (1, d),
    `score_bias` (1,).
    """

    activate: Callable[[Float32], Float32]
    dense_weight: Float32
    dense_bias: Float32
    score_weight: Float32
    score_bias: Float32
    norm_weight: Float32 | None = None
    norm_eps: float = 0.0

    def logits(self, u: Float32) -> Float32:
        """(b, 1) of `u` (b, d), both float32."""
        x = self.activate(u @ self.dense_weight.T + self.dense_bias)  # (b, d)
        if self.norm_weight is not None:
            x = _layer_norm(x, self.norm_eps) * self.norm_weight
        return np.asarray(x @ self.score_weight.T + self.score_bias, np.float32)


def _layer_norm(x: Float32, eps: float) -> Float32:
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(x.var(axis=-1, keepdims=True) + eps), np.float32)


@dataclass(frozen=True, slots=True)
class HeadLayout:
    """What a family's class for one label is called, and its tensors."""

    architecture: str
    dense: str
    score: str
    activate: Callable[[Float32], Float32] = np.tanh
    norm: str | None = None


_ROBERTA = ("classifier.dense", "classifier.out_proj")
LAYOUTS: Mapping[str, HeadLayout] = {
    "bert": HeadLayout("BertForSequenceClassification", "bert.pooler.dense", "classifier"),
    "roberta": HeadLayout("RobertaForSequenceClassification", *_ROBERTA),
    "xlm-roberta": HeadLayout("XLMRobertaForSequenceClassification", *_ROBERTA),
    "mpnet": HeadLayout("MPNetForSequenceClassification", *_ROBERTA),
    "distilbert": HeadLayout(
        "DistilBertForSequenceClassification", "pre_classifier", "classifier", activate=_relu
    ),
    MODERN_BERT: HeadLayout(
        "ModernBertForSequenceClassification", "head.dense", "classifier", activate=_gelu, norm="head.norm"
    ),
}


def layout_of(folder: Path, raw: Mapping[str, Any]) -> HeadLayout:
    """The layout of the head that a public `config.json` states.

    Raises CheckpointError for an architecture that is no cross-encoder we know, and for several labels.
    """
    layout = LAYOUTS.get(str(raw.get("model_type")))
    named = raw.get("architectures") or ["unnamed"]
    if not isinstance(named, list):
        raise CheckpointError(f"{folder} has the architectures {named!r}; a list of names is expected.")
    if layout is None or layout.architecture not in named:
        known = ", ".join(layout.architecture for layout in LAYOUTS.values())
        raise CheckpointError(
            f"{folder} holds a model of architecture {', '.join(map(str, named))}; a reranker must be one of "
            f"{known}."
        )
    names = raw.get("id2label") or {"0": "", "1": ""}  # transformers' default is 2
    if not isinstance(names, Mapping):
        raise CheckpointError(f"{folder} has the id2label {names!r}; an object of names is expected.")
    labels = raw.get("num_labels") or len(names)
    if labels != 1:
        raise CheckpointError(f"{folder} has {labels} labels; a reranker must have 1, the relevance.")
    if layout.norm and raw.get("classifier_activation", "gelu") != "gelu":
        raise CheckpointError(
            f"{folder} has the classifier_activation {raw['classifier_activation']!r}; supported: 'gelu'."
        )
    return layout


def read_head(
    folder: Path, layout: HeadLayout, stored: StoredWeights, d: int, norm_eps: float
) -> tuple[PairHead, StoredWeights]:
    """The head, and its tensors as they are stored. Raises CheckpointError for those that are missing."""
    shapes: dict[str, tuple[int, ...]] = {
        f"{layout.dense}.weight": (d, d),
        f"{layout.score}.weight": (1, d),
        f"{layout.score}.bias": (1,),
    }
    if layout.norm:
        shapes[f"{layout.norm}.weight"] = (d,)
    if not layout.norm or f"{layout.dense}.bias" in stored:  # ModernBERT may go without
        shapes[f"{layout.dense}.bias"] = (d,)
    tensors = {name: stored[name] for name in shapes if name in stored}
    weights = in_float32(tensors)
    require_shapes(folder, shapes, weights)
    head = PairHead(
        layout.activate,
        weights[f"{layout.dense}.weight"],
        weights.get(f"{layout.dense}.bias", np.zeros(d, np.float32)),
        weights[f"{layout.score}.weight"],
        weights[f"{layout.score}.bias"],
        weights[f"{layout.norm}.weight"] if layout.norm else None,
        norm_eps,
    )
    return head, tensors
