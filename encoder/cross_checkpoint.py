"""Cross-encoder folders: an encoder, a head over CLS and a tokenizer, in the public layout.

A pair is read as one input, `[CLS] query [SEP] passage [SEP]`, of which BERT tells the parts by segments 0
and 1 (Devlin et al. 2019, section 3). All our backends read ids of segment 0; so the word table gets a
second half, in which each word's vector already holds the difference of the segments, and ids of segment 1
are counted from `vocab_size` up. Every backend then runs cross-encoders unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import CheckpointError
from encoder.checkpoint import (
    Checkpoint,
    StoredWeights,
    fingerprint,
    needed_weights,
    read_tensors,
    read_tokenizer,
    weights_digest,
    write_files,
)
from encoder.config import (
    ModelConfig,
    Pooling,
    config_to_json,
    model_config,
    read_public_config,
)
from encoder.families import own_weights
from encoder.pair_head import LAYOUTS, PairHead, layout_of, read_head
from encoder.parameters import SEGMENTS, WORD_EMBEDDINGS, Weights
from encoder.public_folder import most_tokens, normalised_as_stated

MAX_TOKENS = 512  # unless the folder says less; attention is quadratic, longer documents are cut in chunks


@dataclass(frozen=True, slots=True)
class CrossEncoderCheckpoint:
    """`encoder` gives the pooled state of a pair; of a model with segments its vocabulary is doubled.

    `vocab_size` is the tokenizer's, `has_segments` whether the vocabulary was doubled.
    """

    encoder: Checkpoint
    head: PairHead
    vocab_size: int
    has_segments: bool


def load_cross_encoder(folder: Path) -> CrossEncoderCheckpoint:
    """Reads a folder with one label of a family that encoder/pair_head.py names.

    Raises CheckpointError for missing, damaged, pickled or unsupported contents.
    """
    if not folder.is_dir():
        raise CheckpointError(f"The reranker folder {folder} does not exist.")
    raw = read_public_config(folder)
    layout = layout_of(folder, raw)
    config = read_cross_config(folder, raw)
    tensors = read_tensors(folder)
    stored = own_weights(folder, raw, tensors)
    weights = needed_weights(folder, config, stored)
    head, head_tensors = read_head(folder, layout, tensors, config.d, config.layer_norm_eps)
    tokenizer_json = read_tokenizer(folder)
    if raw.get("cognate") is None:
        tokenizer_json = normalised_as_stated(folder, tokenizer_json)
    whole = {**stored, **head_tensors}
    has_segments = config.type_vocab > 1
    pair_config, pair_weights = double_vocabulary(config, weights) if has_segments else (config, weights)
    encoder = Checkpoint(
        pair_config, pair_weights, tokenizer_json, fingerprint(config, whole, tokenizer_json),
        weights_digest(whole),
    )  # fmt: skip
    return CrossEncoderCheckpoint(encoder, head, config.vocab_size, has_segments)


def read_cross_config(folder: Path, raw: Mapping[str, Any]) -> ModelConfig:
    """The encoder's config, pooling the last state at CLS (ModernBERT: as the folder says), unnormalised."""

    def behaviour(max_positions: int) -> dict[str, Any]:
        own = raw.get("cognate") or {}
        said = own.get("max_tokens") or most_tokens(folder)
        return {
            "id": own.get("id", folder.resolve().name),
            "max_tokens": int(min(said, MAX_TOKENS, max_positions)),
            "pooling": raw.get("classifier_pooling", Pooling.CLS),
            "normalize": False,
            "relative_buckets": own.get("relative_buckets"),
        }

    return model_config(folder, raw, behaviour)


def double_vocabulary(config: ModelConfig, weights: Weights) -> tuple[ModelConfig, Weights]:
    """Row `vocab_size + i` of the word table becomes that of word i in segment 1, seen from segment 0."""
    segments = weights[SEGMENTS]  # (type_vocab, d)
    words = weights[WORD_EMBEDDINGS]  # (vocab, d)
    both = np.concatenate([words, words + (segments[1] - segments[0])])
    return replace(config, vocab_size=2 * config.vocab_size), {**weights, WORD_EMBEDDINGS: both}


def save_cross_encoder(
    folder: Path, config: ModelConfig, encoder: StoredWeights, head: StoredWeights, tokenizer_json: str
) -> None:
    """Writes a folder in the public layout of BERT, which transformers reads too.

    `config` is that of the encoder before `double_vocabulary`; `head` has the names `dense` and `score`.
    """
    layout = LAYOUTS["bert"]
    about = config_to_json(config) | {
        "architectures": [layout.architecture],
        "id2label": {"0": "relevance"},
        "label2id": {"relevance": 0},
    }
    names = {"dense": layout.dense, "score": layout.score}
    tensors = {f"bert.{name}": array for name, array in encoder.items()}
    for name, array in head.items():
        part, _, kind = name.partition(".")
        tensors[f"{names[part]}.{kind}"] = array
    write_files(folder, about, tensors, tokenizer_json)
