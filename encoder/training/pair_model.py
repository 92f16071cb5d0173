"""The cross-encoder as it is trained: an encoder, and a new head over its state at CLS."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import InvalidInput
from encoder.bert import Bert, bert_from_weights
from encoder.checkpoint import Checkpoint
from encoder.config import ModelConfig, Pooling
from encoder.cross_checkpoint import CrossEncoderCheckpoint, double_vocabulary
from encoder.parameters import WORD_EMBEDDINGS, Weights, expected_shapes
from encoder.training.export import weights_of

_HEAD_STD = 0.02  # as BERT's new layers start


class PairModel(nn.Module):
    """Pairs as token ids (b, t), those of segment 1 in the second half of the vocabulary, to logits (b,)."""

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        d = bert.config.d
        self.bert = bert
        self.dense = nn.Linear(d, d)
        self.score = nn.Linear(d, 1)
        for linear in (self.dense, self.score):
            nn.init.normal_(linear.weight, std=_HEAD_STD)
            nn.init.zeros_(linear.bias)

    def forward(self, token_ids: Tensor, is_text: Tensor) -> Tensor:
        u = self.bert(token_ids, is_text)  # (b, d)
        logits: Tensor = self.score(torch.tanh(self.dense(u)))  # (b, 1)
        return logits.squeeze(-1)


def cross_config(config: ModelConfig) -> ModelConfig:
    """The config of a cross-encoder over the blocks of an encoder with this one."""
    whole = config.reading(config.at_once)
    return replace(whole, pooling=Pooling.CLS, normalize=False, query_prompt="", passage_prompt="")


def pair_model(start: Checkpoint) -> PairModel:
    """The blocks of `start` and a head of random weights, by torch's random numbers.

    Raises InvalidInput for a start model that is not of BERT's shape with segments.
    """
    config = cross_config(start.config)
    if config.modern or config.relative_buckets or config.type_vocab < 2:
        raise InvalidInput(
            f"'{config.id}' is not of BERT's shape with two segments; start from one that is, such as the "
            "shipped model."
        )
    weights = {name: start.weights[name] for name in expected_shapes(config)}
    return PairModel(bert_from_weights(*double_vocabulary(config, weights)))


def trained_parts(start: Checkpoint, model: PairModel) -> tuple[Weights, Weights]:
    """The encoder's weights, its vocabulary single again, and the head's. LoRA must have been merged.

    The word and segment tables are those of the start: they are not trained.
    """
    encoder = {**weights_of(model.bert), WORD_EMBEDDINGS: start.weights[WORD_EMBEDDINGS]}
    layers = {"dense": model.dense, "score": model.score}
    head = {
        f"{name}.{kind}": getattr(layer, kind).detach().float().cpu().numpy().astype(np.float32)
        for name, layer in layers.items()
        for kind in ("weight", "bias")
    }
    return encoder, head


def load_saved(model: PairModel, saved: CrossEncoderCheckpoint) -> None:
    """Gives `model`, whose LoRA must have been merged, the weights as they were saved, in float16."""
    head = saved.head
    layers = {
        "dense": {"weight": head.dense_weight, "bias": head.dense_bias},
        "score": {"weight": head.score_weight, "bias": head.score_bias},
    }
    weights = {f"bert.{name}": array for name, array in saved.encoder.weights.items()}
    weights |= {f"{layer}.{kind}": array for layer, own in layers.items() for kind, array in own.items()}
    model.load_state_dict({name: torch.from_numpy(np.array(w, np.float32)) for name, w in weights.items()})
