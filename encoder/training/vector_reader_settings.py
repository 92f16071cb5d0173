"""What the training of a vector reader is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import InvalidInput
from encoder.training.settings import require_limits


@dataclass(frozen=True, slots=True)
class VectorReaderSettings:
    """One training run. It ends after `steps` or `max_seconds`, whichever comes first.

    `files` are JSONL (also .gz) of {"text"}; texts of more than `max_tokens` are left out, and the first
    `dev_texts` in an order drawn by the seed are held out. `start` is the encoder whose vectors are to be
    read. To each vector noise of length `noise` is added, so that vectors of no text, such as means, can be
    read too. A run that was interrupted goes on from its last checkpoint when the settings and the texts are
    the same.
    """

    files: tuple[Path, ...]
    start: Path
    out: Path
    model_id: str = "vector-reader"
    vocab_size: int = 8_192
    d: int = 256
    layers: int = 3
    heads: int = 4
    prefix: int = 8
    max_tokens: int = 32
    steps: int = 20_000
    max_seconds: float | None = None
    batch_size: int = 64
    learning_rate: float = 2e-3
    warmup_share: float = 0.05
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    dropout: float = 0.0
    noise: float = 0.2
    dev_texts: int = 1_000
    dev_every: int = 200
    checkpoint_every: int = 100
    bf16: bool = False
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.files:
            raise InvalidInput("Training needs at least one file of texts.")
        for name in ("steps", "batch_size", "dev_every", "checkpoint_every", "dev_texts", "prefix"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name}={getattr(self, name)} must be at least 1.")
        require_limits(self.learning_rate, self.max_seconds, self.threads, self.seed)

    @property
    def peak_learning_rate(self) -> float:
        return self.learning_rate
