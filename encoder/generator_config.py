"""Shape of a generator; travels with its weights as `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from core.errors import CheckpointError
from core.generation_types import GenerationTask, TaskStanding

PAD, END = 0, 1  # ids of the two tokens that every vocabulary of ours begins with
MODEL_TYPE = "cognate-generator"


def task_token(task: str) -> str:
    """The token that begins each text of a task; its embedding tells the model what is asked."""
    return f"<task:{task}>"


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Shape of the decoder blocks: V tokens, d width, m heads, f feed-forward width."""

    vocab_size: int
    d: int = 384
    layers: int = 4
    heads: int = 6
    intermediate: int = 1536
    norm_eps: float = 1e-6
    rotary_base: float = 10_000.0
    has_cross_attention: bool = False

    def __post_init__(self) -> None:
        if self.d % self.heads or (self.d // self.heads) % 2:
            raise CheckpointError(
                f"A decoder of d={self.d} with {self.heads} heads: d must be an even multiple of the heads."
            )


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """An encoder-decoder over the states of the encoder `encoder_fingerprint`, which are `encoder_d` wide.

    `source_layers` bidirectional blocks read the source's own tokens over those states. `max_source_tokens`
    and `max_new_tokens` are in tokens of the generator's vocabulary.
    """

    id: str
    decoder: DecoderConfig
    encoder_d: int
    encoder_fingerprint: str
    source_layers: int = 2
    max_source_tokens: int = 192
    max_new_tokens: int = 128
    tasks: tuple[TaskStanding, ...] = field(default=())


def generator_to_json(config: GeneratorConfig) -> dict[str, Any]:
    return {"model_type": MODEL_TYPE, **asdict(config)}


def generator_from_json(content: Mapping[str, Any]) -> GeneratorConfig:
    """Raises CheckpointError for another kind of model and for fields that do not fit."""
    found = content.get("model_type")
    if found != MODEL_TYPE:
        raise CheckpointError(f"Expected a model of type {MODEL_TYPE!r}, found {found!r}.")
    try:
        fields = {name: value for name, value in content.items() if name != "model_type"}
        fields["decoder"] = DecoderConfig(**fields["decoder"])
        fields["tasks"] = tuple(
            TaskStanding(**{**standing, "task": GenerationTask(standing["task"])})
            for standing in fields.get("tasks", ())
        )
        return GeneratorConfig(**fields)
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"config.json does not describe a generator: {error}.") from error
