"""Contrastive tuning of an encoder on few labelled texts, into adapters.

Tunstall et al. 2022, "Efficient few-shot learning without prompts" (SetFit), contrasts pairs of examples.
Here each example is contrasted with one trained vector a label, its prototype (Movshovitz-Attias et al. 2017,
"No fuss distance metric learning using proxies", section 3), so that every step sees all labels.
Shapes: n texts, b of them in a batch, c labels, d dimensions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.types import Float32, Int64
from encoder.adapters import DIFFERENCE, DOWN, UP
from encoder.backends.base import Int32
from encoder.bert import Bert
from encoder.config import ModelConfig, Pooling
from encoder.parameters import Weights
from encoder.training.loop import require_finite
from encoder.training.lora import LoraLinear, add_lora
from encoder.training.settings import TuneSettings
from encoder.training.trainable import trainable_bert
from encoder.training.upper_blocks import blocks_of, lower_states, upper_vectors

Bools = npt.NDArray[np.bool_]
Adapters = dict[str, npt.NDArray[np.float16]]
_QUERY = "class_attention.query"


def tune_adapters(
    config: ModelConfig,
    weights: Weights,
    token_ids: Sequence[Int32],
    truth: Bools,
    settings: TuneSettings,
    seed: int,
    on_progress: Callable[[float], None],
) -> Adapters:
    """Adapters in float16 for texts with `truth` (n, c).

    `on_progress` is told the share done after each step, and may raise. The same seed gives the same
    adapters up to rounding, unless the time runs out first. Raises InvalidInput for a ModernBERT and for a
    loss that is no number.
    """
    torch.manual_seed(seed)
    model = trainable_bert(config, weights).requires_grad_(False)
    rng = np.random.default_rng(seed)
    kept = balanced(truth, [len(ids) for ids in token_ids], settings, rng)
    token_ids, truth = [token_ids[i] for i in kept], truth[kept]
    bf16 = settings.bf16
    last = min(settings.last_layers, len(blocks_of(model)))
    states = lower_states(model, token_ids, last, bf16)
    with torch.no_grad():
        start = upper_vectors(model, states, last, bf16, lambda h: h)
    prototypes = nn.Parameter(start_prototypes(start, torch.from_numpy(truth)))
    trained = _trained(model, last, settings.lora_rank)
    optimizer = _optimizer(trained, prototypes, settings)

    began = time.monotonic()
    for step, batch in zip(range(settings.steps), batches(truth, settings, rng), strict=False):
        share = max(step / settings.steps, (time.monotonic() - began) / settings.max_seconds)
        if share >= 1:
            break
        _set_rate(optimizer, share, settings)
        chosen = [_without_tokens(states[i], settings.token_dropout) for i in batch]
        vectors = upper_vectors(model, chosen, last, bf16, lambda h: F.dropout(h, settings.state_dropout))
        loss = prototype_loss(vectors, torch.from_numpy(truth[batch]), prototypes, settings.temperature)
        require_finite(loss.item(), step + 1, settings.learning_rate)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*trained, prototypes], settings.max_gradient_norm)
        optimizer.step()
        on_progress((step + 1) / settings.steps)
    return adapters_of(model, weights)


def prototype_loss(vectors: Tensor, truth: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """Cross entropy of softmax(cosines with `prototypes` (c, d) / T); several labels share the truth."""
    target = truth.float() / truth.sum(1, keepdim=True).clamp(min=1)
    logits = vectors @ F.normalize(prototypes, dim=-1).T / temperature  # (b, c)
    loss: Tensor = -(target * logits.log_softmax(1)).sum(1).mean()
    return loss


def start_prototypes(vectors: Tensor, truth: Tensor) -> Tensor:
    """The mean direction of each label's examples (c, d)."""
    return F.normalize(truth.float().T @ vectors, dim=-1)


def batches(truth: Bools, settings: TuneSettings, rng: np.random.Generator) -> Iterator[Int64]:
    """Endless rows of examples (b,): labels take turns in random order, however many examples each has."""
    examples = [np.flatnonzero(column) for column in truth.T if column.any()]
    turns: list[int] = []
    while True:
        size = min(settings.labels_a_batch, len(examples))
        if len(turns) < size:
            turns += rng.permutation(len(examples)).tolist()
        labels, turns = dict.fromkeys(turns[:size]), turns[size:]
        picked = [
            rng.choice(examples[i], min(settings.examples_a_label, len(examples[i])), replace=False)
            for i in labels
        ]
        yield np.unique(np.concatenate(picked))


def balanced(truth: Bools, lengths: Sequence[int], settings: TuneSettings, rng: np.random.Generator) -> Int64:
    """Indices of texts, as many as the limit of tokens allows, by turns of the labels; all if they fit."""
    if sum(lengths) <= settings.max_texts_tokens:
        return np.arange(len(truth))
    place = np.full(len(truth), len(truth))  # of each text in the row of its rarest label
    for column in truth.T:
        rows = rng.permutation(np.flatnonzero(column))
        place[rows] = np.minimum(place[rows], np.arange(len(rows)))
    order = np.lexsort([rng.permutation(len(truth)), place])
    total = np.cumsum(np.array(lengths)[order])
    return np.sort(order[: max(2, int((total <= settings.max_texts_tokens).sum()))])


def _trained(model: Bert, last: int, rank: int) -> list[nn.Parameter]:
    """Puts adapters into the uppermost blocks; all that is trained but prototypes."""
    add_lora(blocks_of(model)[-last:], rank)
    if model.config.pooling is Pooling.CLASS_ATTENTION:
        model.class_attention.query.requires_grad_(True)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _optimizer(
    trained: Sequence[nn.Parameter], prototypes: nn.Parameter, settings: TuneSettings
) -> torch.optim.AdamW:
    """`peak` of each group is its greatest learning rate."""
    rate = settings.learning_rate
    matrices = [parameter for parameter in trained if parameter.dim() > 1]
    vectors = [parameter for parameter in trained if parameter.dim() <= 1]
    groups = [
        {"params": matrices, "peak": rate, "weight_decay": settings.weight_decay},
        {"params": vectors, "peak": rate, "weight_decay": 0.0},
        {"params": [prototypes], "peak": settings.prototype_learning_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=rate)


def _set_rate(optimizer: torch.optim.AdamW, share: float, settings: TuneSettings) -> None:
    """Up to the peak while warming up, then down to 0 at the end."""
    warm = settings.warmup_share
    factor = min(1.0, (share + 0.01) / (warm + 0.01)) if share < warm else (1 - share) / (1 - warm)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def _without_tokens(states: Tensor, dropout: float) -> Tensor:
    """Some of the states (t, d) left out, never the first."""
    keep = torch.rand(len(states)) >= dropout
    keep[0] = True
    return states[keep]


def adapters_of(model: Bert, start: Weights) -> Adapters:
    """What was tuned of a model with LoRA, in float16; `start` are the weights it began with."""
    arrays: dict[str, Float32] = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            arrays[f"{name}.weight{DOWN}"] = module.A.detach().numpy()
            arrays[f"{name}.weight{UP}"] = (module.B * module.scale).detach().numpy()
    if model.config.pooling is Pooling.CLASS_ATTENTION:
        arrays[f"{_QUERY}{DIFFERENCE}"] = model.class_attention.query.detach().numpy() - start[_QUERY]
    return {name: array.astype(np.float16) for name, array in arrays.items()}
