"""The generator as the rest of Cognate sees it: texts from texts, by task (core.ports.Generator)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np

from core.errors import EncoderMismatch, InvalidInput
from core.generation_types import (
    Generated,
    GenerationOptions,
    GenerationTask,
    GeneratorInfo,
    Piece,
    TaskStanding,
)
from core.memory import return_freed_memory
from core.priority import on_yielding_thread
from core.types import Lane
from encoder.backends.openvino_generator import (
    GeneratorPrecision,
    OpenVinoGenerator,
    OpenVinoSteps,
    SourceStates,
)
from encoder.generation.ending import Ending
from encoder.generation.options import check_options
from encoder.generation.search import generate, rows_a_source, stream
from encoder.generation_turns import GenerationTurns
from encoder.generator_checkpoint import GeneratorCheckpoint, load_generator_checkpoint
from encoder.generator_config import END
from encoder.generator_tokenizer import GeneratorTokenizer, SourceTokens
from encoder.service import EncoderService

_log = logging.getLogger(__name__)

DEFAULT_GENERATOR = "cognate-generator"


@dataclass(frozen=True, slots=True)
class GeneratorLimits:
    """`max_rows` of a model at a time (a source has as many as beams): each has a cache of its own, 1.5 MB at
    128 tokens. Of calls at most `max_waiting` wait, each at most `timeout_s` seconds until it begins."""

    max_rows: int = 16
    max_waiting: int = 64
    timeout_s: float = 60.0


class GeneratorService:
    """Implements core.ports.generation.Generator over the states of a running encoder.

    Calls take turns on one thread that gives way to searches; a call of many sources takes several. All
    generation raises InvalidInput for what cannot be read, Overloaded when too many wait, Unavailable after
    `close`. The encoder stays the caller's to close.
    """

    def __init__(
        self,
        checkpoint: GeneratorCheckpoint,
        model: OpenVinoGenerator,
        encoder: EncoderService,
        limits: GeneratorLimits | None = None,
    ) -> None:
        self._config = checkpoint.config
        self._tokenizer = GeneratorTokenizer(checkpoint.tokenizer_json)
        self._info = describe(checkpoint)
        self._model = model
        self._encoder = encoder
        self._limits = limits = limits or GeneratorLimits()
        self._turns = GenerationTurns(limits.max_waiting, limits.timeout_s)

    @property
    def info(self) -> GeneratorInfo:
        return self._info

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._tokenizer.encode(texts)]

    def generate(
        self, task: GenerationTask, sources: Sequence[str], options: GenerationOptions
    ) -> list[list[Generated]]:
        start, ending = self._checked(task, options)
        read = self._tokenized(sources)
        in_order = sorted(range(len(read)), key=lambda i: len(read[i].token_ids))
        size = max(1, self._limits.max_rows // rows_a_source(options))
        found: dict[int, list[Generated]] = {}
        for at in range(0, len(in_order), size):
            group = in_order[at : at + size]
            work = partial(self._texts, start, [read[i] for i in group], ending, options)
            found.update(zip(group, self._turns.run(work), strict=True))
        return [found[i] for i in range(len(read))]

    def stream(
        self,
        task: GenerationTask,
        source: str,
        options: GenerationOptions,
        ended: Callable[[], None] | None = None,
    ) -> Iterator[Piece]:
        start, ending = self._checked(task, options)
        read = self._tokenized([source])
        return self._turns.stream(lambda: stream(self._read(start, read), start, ending, options), ended)

    def close(self) -> None:
        """Ends after the text in progress; calls that wait fail with Unavailable."""
        self._turns.close()

    def _texts(
        self, start: int, sources: Sequence[SourceTokens], ending: Ending, options: GenerationOptions
    ) -> list[list[Generated]]:
        starts = np.full(len(sources), start, np.int32)
        return generate(self._read(start, sources), starts, ending, options)

    def _read(self, start: int, sources: Sequence[SourceTokens]) -> OpenVinoSteps:
        return self._model.read([self._with_states(start, source) for source in sources])

    def _with_states(self, start: int, source: SourceTokens) -> SourceStates:
        states = self._encoder.states(source.pieces, Lane.BULK)[source.places]  # (s, e)
        of_task = np.zeros((1, states.shape[1]), np.float32)
        ids = np.concatenate([np.array([start], np.int32), source.token_ids])
        return SourceStates(ids, np.concatenate([of_task, states]))

    def _checked(self, task: GenerationTask, options: GenerationOptions) -> tuple[int, Ending]:
        """The token that begins the task, and how its texts end."""
        start = self._tokenizer.task_id(task)
        known = [standing.task for standing in self._info.tasks]
        if start is None or task not in known:
            raise InvalidInput(
                f"The generator {self._info.id} has no task '{task}'; it knows {', '.join(sorted(known))}."
            )
        check_options(options, self._config.max_new_tokens, self._config.decoder.vocab_size)
        ending = Ending(frozenset({END}), options.max_new_tokens, self._tokenizer.decode, tuple(options.stop))
        return start, ending

    def _tokenized(self, sources: Sequence[str]) -> list[SourceTokens]:
        if isinstance(sources, str):
            raise InvalidInput("Expected a sequence of sources, found a single string; wrap it in a list.")
        found = self._tokenizer.align(sources, self._encoder.pieces(sources))
        problems = {
            i: problem
            for i, (text, source) in enumerate(zip(sources, found, strict=True))
            if (problem := self._problem(text, source)) is not None
        }
        if problems:
            message = " ".join(f"Source {i} {problem}" for i, problem in list(problems.items())[:3])
            errors: list[dict[str, object]] = [{"index": i, "reason": p} for i, p in problems.items()]
            raise InvalidInput(message, errors)
        return found

    def _problem(self, text: str, source: SourceTokens) -> str | None:
        if not text.strip():
            return "is empty; there is nothing to generate from."
        if len(source.token_ids) > self._config.max_source_tokens:
            return (
                f"has {len(source.token_ids)} tokens; the generator reads at most "
                f"{self._config.max_source_tokens}. Split it."
            )
        return None


def describe(checkpoint: GeneratorCheckpoint) -> GeneratorInfo:
    """What a generator of this checkpoint says of itself; tasks without a measurement are experimental."""
    config = checkpoint.config
    tokenizer = GeneratorTokenizer(checkpoint.tokenizer_json)
    standings = {standing.task: standing for standing in config.tasks}
    return GeneratorInfo(
        config.id,
        checkpoint.fingerprint,
        config.encoder_fingerprint,
        config.max_source_tokens,
        config.max_new_tokens,
        tuple(
            standings.get(task, TaskStanding(task, False, "", None, None))
            for task in GenerationTask
            if tokenizer.task_id(task) is not None
        ),
    )


def read_generator_info(folder: Path | None = None) -> GeneratorInfo:
    """Of a folder (None: the shipped one), without building its model. Raises CheckpointError."""
    return describe(load_generator_checkpoint(folder or shipped_generator()))


def load_generator(
    folder: Path | None,
    encoder: EncoderService,
    precision: str = GeneratorPrecision.INT8,
    threads: int = 1,
    limits: GeneratorLimits | None = None,
) -> GeneratorService:
    """Loads a generator folder (None: the shipped `cognate-generator`) to read the states of `encoder`.

    One thread leaves the other cores to searches. Raises CheckpointError for a bad folder, and
    EncoderMismatch when the generator was trained on the states of another encoder.
    """
    checkpoint = load_generator_checkpoint(folder or shipped_generator())
    _require_encoder(checkpoint, encoder)
    model = _compiled(checkpoint, GeneratorPrecision(precision), threads)
    _log.info("Generator %s with weights in %s", checkpoint.config.id, precision)
    service = GeneratorService(checkpoint, model, encoder, limits)
    del checkpoint  # the model holds what it needs
    return_freed_memory()
    return service


def _compiled(
    checkpoint: GeneratorCheckpoint, precision: GeneratorPrecision, threads: int
) -> OpenVinoGenerator:
    """On threads that give way: those that OpenVINO starts inherit it."""
    special = GeneratorTokenizer(checkpoint.tokenizer_json).special_ids
    silent = special[special != END]
    return on_yielding_thread(
        lambda: OpenVinoGenerator(checkpoint.config, checkpoint.weights, silent, precision, threads)
    )


def shipped_generator() -> Path:
    """Folder of the generator that comes with the package."""
    return Path(str(files("encoder"))) / "weights" / DEFAULT_GENERATOR


def _require_encoder(checkpoint: GeneratorCheckpoint, encoder: EncoderService) -> None:
    needed, found = checkpoint.config.encoder_fingerprint, encoder.info.fingerprint
    if needed != found:
        raise EncoderMismatch(
            f"The generator {checkpoint.config.id} reads the states of the encoder with the fingerprint "
            f"{needed[:12]}…, but this server runs {encoder.info.id} ({found[:12]}…). Select that encoder "
            "with COGNATE_ENCODER_PATH, or a generator trained on this one with COGNATE_GENERATOR_PATH."
        )
