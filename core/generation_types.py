"""The nouns of generation: what is asked of a generator, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class GenerationTask(StrEnum):
    """What a generator is asked to make of a source text."""

    CLEAN_QUERY = "clean_query"  # a spoken question with slips -> the question meant
    CONTEXTUAL_QUERY = "contextual_query"  # previous turns and the current one -> a query that stands alone
    SHORTEN_QUESTION = "shorten_question"  # a long question -> a short one
    ASK = "ask"  # a passage -> a question it answers
    SPLIT = "split"  # a long sentence -> two sentences
    SIMPLIFY = "simplify"  # a sentence -> the same in easier words
    PARAPHRASE = "paraphrase"  # a sentence -> the same in other words
    TRANSLATE_EN_ES = "translate_en_es"  # English -> Spanish
    EXPLAIN = "explain"  # two texts and their relation, as "name: text | name: text" -> why


# Public collections of explanations whose rows have the collection's name for a task.
EXPLANATION_SETS: Final = ("comve", "creak", "ecare", "esnli")


class FinishReason(StrEnum):
    """Why a generation ended."""

    STOP = "stop"  # the model ended it, or a stop text was met
    LENGTH = "length"  # `max_new_tokens` were reached


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How a text is chosen. Checked by `encoder.generation`, which raises InvalidInput.

    `beams` above 1 is beam search with scores divided by `length ** length_penalty`; `temperature` above 0
    draws at random (with `top_k`, 0 = all, and `top_p`), else the most probable is taken. `n` distinct texts
    a source, fewer where there are not as many.
    """

    n: int = 1
    beams: int = 4
    length_penalty: float = 1.0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    max_new_tokens: int = 96
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Generated:
    """A text and its score, the mean log probability of its tokens (natural logarithm, at most 0)."""

    text: str
    score: float
    finish: FinishReason
    tokens: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a text that is streamed; `finish` of the last one, which may be empty, says why it ended."""

    text: str
    finish: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class TaskStanding:
    """How well a generator does a task on held-out data, and whether that is good enough to rely on.

    `measure` names the measure, such as "sacreBLEU"; `value` was measured, `required` is the line above which
    the task is stable. A task without a measurement is experimental.
    """

    task: GenerationTask
    is_stable: bool
    measure: str
    value: float | None
    required: float | None


@dataclass(frozen=True, slots=True)
class VectorReaderInfo:
    """Identity of a vector reader, which is experimental; `encoder_fingerprint` is of the encoder it reads.

    `held_out_loss` is in nats a token of texts it was not trained on, `shuffled_loss` the same with the
    vectors of other texts; `similarity` the mean cosine of what was read, encoded again, to what was given.
    None where not measured.
    """

    id: str
    fingerprint: str
    encoder_fingerprint: str
    max_new_tokens: int
    held_out_loss: float | None
    shuffled_loss: float | None
    similarity: float | None


@dataclass(frozen=True, slots=True)
class GeneratorInfo:
    """Identity of a generator; `fingerprint` is a sha256 over all that changes its texts.

    `encoder_fingerprint` is of the encoder whose states it reads.
    """

    id: str
    fingerprint: str
    encoder_fingerprint: str
    max_source_tokens: int
    max_new_tokens: int
    tasks: tuple[TaskStanding, ...]
