"""What a training run of a generator is told: files of rows, shape, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from types import MappingProxyType

from core.errors import InvalidInput
from core.generation_types import GenerationTask
from encoder.training.settings import require_limits

DENOISE = "denoise"  # the task of plain texts: the text from a damaged copy of it
TASKS: tuple[str, ...] = (*GenerationTask, DENOISE)


@dataclass(frozen=True, slots=True)
class GeneratorShape:
    """Of a generator that starts from random weights; see `GeneratorConfig`."""

    vocab_size: int = 4096
    d: int = 256
    layers: int = 4
    heads: int = 4
    intermediate: int = 1024
    source_layers: int = 2


@dataclass(frozen=True, slots=True)
class GeneratorSettings:
    """One training run. It ends after `steps` or `max_seconds`, whichever comes first.

    `rows` are JSONL files (also .gz) of {task, source, target}, `texts` of {text}, which are learnt by
    repairing damaged copies. `shares` of the target tokens go to each task, relative to each other's; a task
    that is not named gets 1. `start` is a generator folder to go on from, with its vocabulary and shape.

    A run that was interrupted or has ended goes on from its last checkpoint when the settings and what the
    files hold are the same; `steps` and `max_seconds` may differ, the learning rate follows the new ones.
    """

    encoder: Path
    rows: tuple[Path, ...]
    out: Path
    texts: tuple[Path, ...] = ()
    shares: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    start: Path | None = None
    shape: GeneratorShape = field(default_factory=GeneratorShape)
    model_id: str | None = None
    steps: int = 20_000
    max_seconds: float | None = None
    batch_tokens: int = 2048
    max_source_tokens: int = 192
    max_target_tokens: int = 128
    learning_rate: float = 1e-3
    warmup_share: float = 0.03
    weight_decay: float = 0.01
    dropout: float = 0.1
    max_gradient_norm: float = 1.0
    dev_rows: int = 64
    dev_every: int = 250
    checkpoint_every: int = 100
    max_texts: int = 40_000
    bf16: bool = False
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.rows:
            raise InvalidInput("Training a generator needs at least one file of rows.")
        for name in ("steps", "dev_every", "checkpoint_every", "batch_tokens", "max_source_tokens"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name}={getattr(self, name)} must be at least 1.")
        require_limits(self.learning_rate, self.max_seconds, self.threads, self.seed)
        for task, share in self.shares.items():
            if task not in TASKS:
                raise InvalidInput(f"A share is given to the task {task!r}; known are {', '.join(TASKS)}.")
            if not 0 <= share < inf:
                raise InvalidInput(f"The share of task {task!r} is {share}; it must be 0 or more.")

    @property
    def key(self) -> str:
        """All but the limits; equal for runs that may continue each other where files and weights are too."""
        names = sorted(
            set(self.__slots__) - {"steps", "max_seconds", "dev_every", "checkpoint_every", "threads"}
        )
        return repr([(name, str(getattr(self, name))) for name in names])
