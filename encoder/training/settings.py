"""What a training run is told: files of pairs, what to train, losses, limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from pathlib import Path

from core.errors import InvalidInput

_MOST_SEED = 2**63 - 1


def require_limits(learning_rate: float | None, max_seconds: float | None, threads: int, seed: int) -> None:
    """Raises InvalidInput for a rate or a time that is not above 0, for fewer threads than none, and for a
    seed that random numbers cannot be drawn by."""
    for name, number in (("learning_rate", learning_rate), ("max_seconds", max_seconds)):
        if number is not None and not 0 < number < inf:
            raise InvalidInput(f"{name}={number} must be above 0 and finite.")
    if threads < 0:
        raise InvalidInput(f"threads={threads} must be 0, for all cores, or more.")
    if not 0 <= seed <= _MOST_SEED:
        raise InvalidInput(f"seed={seed} must lie between 0 and {_MOST_SEED}.")


class Mode(StrEnum):
    """Which weights are trained."""

    CLASS_ATTENTION = "class_attention"  # the pooling layer alone
    LORA = "lora"  # low-rank updates of all linear layers of the blocks, and the pooling layer
    FULL = "full"  # blocks and pooling layer; the embedding tables with `train_embeddings`


@dataclass(frozen=True, slots=True)
class PairFile:
    """A JSONL file of pairs. `weight` is its share of the batches, relative to the other files'.

    `hard_negatives` passages a pair are added to the batch: those given in the file, else those the start
    model finds among the file's passages.
    """

    path: Path
    weight: float = 1.0
    hard_negatives: int = 0
    max_pairs: int | None = None


@dataclass(frozen=True, slots=True)
class LossSettings:
    """Weights of the losses, each 0 to leave it out.

    `contrastive`: InfoNCE at `temperature`. `embedding`: 1 - cosine to the start model's vector.
    `similarity`: KL divergence of the in-batch similarities from the start model's, at `temperature`.
    `prefix_dims` are the shorter vectors that InfoNCE trains too, each with `prefix_weight`.
    """

    contrastive: float = 1.0
    embedding: float = 1.0
    similarity: float = 1.0
    temperature: float = 0.05
    prefix_dims: tuple[int, ...] = (64, 128, 256)
    prefix_weight: float = 0.2

    def __post_init__(self) -> None:
        for name in ("contrastive", "embedding", "similarity", "prefix_weight"):
            if not 0 <= getattr(self, name) < inf:
                raise InvalidInput(
                    f"The weight {name}={getattr(self, name)} must not be negative or infinite."
                )


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One training run. It ends after `steps` or `max_seconds`, whichever comes first.

    `learning_rate` None means 1e-3 for class attention, 2e-4 for LoRA and 2e-5 for full training.
    `last_layers` trains only the uppermost blocks. `start_share` of the start weights is mixed into the
    result. A run that was interrupted goes on from its last checkpoint when the settings are the same.
    """

    start: Path
    files: tuple[PairFile, ...]
    out: Path
    mode: Mode = Mode.LORA
    losses: LossSettings = field(default_factory=LossSettings)
    model_id: str | None = None
    steps: int = 500
    max_seconds: float | None = None
    batch_size: int = 32
    max_tokens: int = 128
    learning_rate: float | None = None
    warmup_share: float = 0.1
    weight_decay: float = 0.0
    max_gradient_norm: float = 1.0
    lora_rank: int = 16
    last_layers: int | None = None
    train_embeddings: bool = False
    start_share: float = 0.0
    max_false_negative: float = 0.95
    dev_pairs: int = 100
    dev_every: int = 100
    checkpoint_every: int = 50
    bf16: bool = False
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.files:
            raise InvalidInput("Training needs at least one file of pairs.")
        if any(not 0 < file.weight < inf for file in self.files):
            raise InvalidInput("The weight of every file of pairs must be a number above 0.")
        if any(file.hard_negatives < 0 for file in self.files):
            raise InvalidInput("The number of hard negatives must not be negative.")
        for name in ("steps", "dev_every", "checkpoint_every", "last_layers", "lora_rank"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise InvalidInput(f"{name}={number} must be at least 1.")
        require_limits(self.learning_rate, self.max_seconds, self.threads, self.seed)
        if self.batch_size < 2:
            raise InvalidInput(f"batch_size={self.batch_size} must be at least 2: others are the negatives.")
        if not 0 <= self.start_share <= 1:
            raise InvalidInput(f"start_share={self.start_share} must lie between 0 and 1.")

    @property
    def peak_learning_rate(self) -> float:
        defaults = {Mode.CLASS_ATTENTION: 1e-3, Mode.LORA: 2e-4, Mode.FULL: 2e-5}
        return defaults[self.mode] if self.learning_rate is None else self.learning_rate


class RerankLoss(StrEnum):
    """What a query's positive and negatives are trained to."""

    LISTWISE = "listwise"  # the positive is the most probable of them: softmax over the list
    BINARY = "binary"  # each pair alone is right or wrong: scores of different queries compare


@dataclass(frozen=True, slots=True)
class RerankSettings:
    """One training run of a reranker: `run`, with `negatives` a query, its hard ones first.

    Held-out positives are ranked among `dev_candidates` passages that the start model puts highest.
    """

    run: TrainSettings
    negatives: int = 7
    loss: RerankLoss = RerankLoss.LISTWISE
    dev_candidates: int = 20

    def __post_init__(self) -> None:
        for name in ("negatives", "dev_candidates"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name}={getattr(self, name)} must be at least 1.")
        for name in ("train_embeddings", "start_share"):
            if getattr(self.run, name):
                raise InvalidInput(f"{name} is for encoders; a reranker is trained without.")


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """One few-shot tuning of adapters. It ends after `steps` or `max_seconds`, whichever comes first.

    A step's batch is `examples_a_label` texts of each of `labels_a_batch` labels. Only the uppermost
    `last_layers` blocks get adapters, so what the others make of the texts is computed once: of at most
    `max_texts_tokens` tokens, texts cut at `max_tokens`. `token_dropout` leaves out tokens, `state_dropout`
    numbers of the states between blocks, so that few texts are not learnt by heart.
    """

    steps: int = 120
    max_seconds: float = 300.0
    labels_a_batch: int = 32
    examples_a_label: int = 2
    lora_rank: int = 8
    last_layers: int = 3
    learning_rate: float = 1e-3
    prototype_learning_rate: float = 1e-2
    temperature: float = 0.1
    token_dropout: float = 0.1
    state_dropout: float = 0.1
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    max_tokens: int = 128
    max_texts_tokens: int = 131_072
    bf16: bool = False
