"""A public model as the rest of Cognate sees it: texts from texts, by task (core.ports.Generator)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.errors import InvalidInput
from core.generation_types import (
    Generated,
    GenerationOptions,
    GenerationTask,
    GeneratorInfo,
    Piece,
    TaskStanding,
)
from core.types import Int32
from encoder.backends.torch_generator import TorchSteps
from encoder.generation.ending import Ending
from encoder.generation.options import check_options
from encoder.generation.search import generate, rows_a_source, stream
from encoder.generation_turns import GenerationTurns
from encoder.generator import GeneratorLimits
from encoder.public.decoding import Decoding
from encoder.public.folder import PublicCheckpoint, load_public_checkpoint
from encoder.public.use import SOURCE
from encoder.tokenizer import load_tokenizer, readable

_log = logging.getLogger(__name__)


class PublicGenerator:
    """Implements core.ports.generation.Generator over a public model in torch, in float32.

    Calls take turns on one thread that gives way to searches. It reads texts alone: its vectors are not those
    of the encoder, so `info.encoder_fingerprint` is empty. Every task is experimental, for none was measured.
    Raises what `encoder.generator.GeneratorService` raises.
    """

    def __init__(
        self,
        checkpoint: PublicCheckpoint,
        device: torch.device,
        threads: int = 0,
        limits: GeneratorLimits | None = None,
    ) -> None:
        """`threads` of 0 leaves torch's own choice."""
        self._limits = limits = limits or GeneratorLimits()
        self._use = use = checkpoint.use
        self._model = checkpoint.model
        self._device = device
        self._tokenizer = load_tokenizer(checkpoint.tokenizer_json)
        known = int(self._tokenizer.get_vocab_size(with_added_tokens=True))
        silent = [*use.silent, *range(known, checkpoint.vocab_size)]  # rows beyond the vocabulary too
        self._silent = torch.tensor(silent, dtype=torch.long, device=device)
        self._vocab_size = checkpoint.vocab_size
        self._turns = GenerationTurns(limits.max_waiting, limits.timeout_s)
        if threads:
            self._turns.run(lambda: torch.set_num_threads(threads))
        self._info = GeneratorInfo(
            use.id,
            checkpoint.fingerprint,
            "",
            self._max_source_tokens(),
            use.max_new_tokens,
            tuple(TaskStanding(task, False, "", None, None) for task in sorted(use.prompts)),
        )

    @property
    def info(self) -> GeneratorInfo:
        return self._info

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._encode(texts, False)]

    def generate(
        self, task: GenerationTask, sources: Sequence[str], options: GenerationOptions
    ) -> list[list[Generated]]:
        ending = self._checked(task, options)
        read = self._prompted(task, sources)
        in_order = sorted(range(len(read)), key=lambda i: len(read[i]))
        size = max(1, self._limits.max_rows // rows_a_source(options))
        found: dict[int, list[Generated]] = {}
        for at in range(0, len(in_order), size):
            group = in_order[at : at + size]
            texts = self._turns.run(
                lambda group=group: generate(  # type: ignore[misc]  # a lambda's default
                    *self._begun([read[i] for i in group]), ending, options
                )
            )
            found.update(zip(group, texts, strict=True))
        return [found[i] for i in range(len(read))]

    def stream(
        self,
        task: GenerationTask,
        source: str,
        options: GenerationOptions,
        ended: Callable[[], None] | None = None,
    ) -> Iterator[Piece]:
        ending = self._checked(task, options)
        read = self._prompted(task, [source])

        def pieces() -> Iterator[Piece]:
            steps, starts = self._begun(read)
            yield from stream(steps, int(starts[0]), ending, options)

        return self._turns.stream(pieces, ended)

    def close(self) -> None:
        """Ends after the text in progress; calls that wait fail with Unavailable."""
        self._turns.close()

    @torch.inference_mode()
    def _begun(self, read: Sequence[Int32]) -> tuple[TorchSteps[Decoding], Int32]:
        """The step model of these sources, and the token of each that comes before its text.

        What else comes before, which is the rest of the prompt where the model goes on with it, is decoded.
        """
        if self._use.starts:
            token_ids, is_text = self._padded(read, before=False)
            decoding = self._model.read(token_ids, is_text)
            starts = np.full(len(read), self._use.starts[-1], np.int32)
            for token in self._use.starts[:-1]:
                _, decoding = self._model(torch.full((len(read), 1), token, device=self._device), decoding)
        else:
            decoding = self._model.read(*self._padded([ids[:-1] for ids in read], before=True))
            starts = np.array([ids[-1] for ids in read], np.int32)
        return TorchSteps(self._advance, decoding, self._vocab_size, self._device.type), starts

    def _advance(self, tokens: Tensor, decoding: Decoding) -> tuple[Tensor, Decoding]:
        logits, decoding = self._model(tokens, decoding)
        last = logits[:, -1].float().index_fill(1, self._silent, -torch.inf)
        return last.log_softmax(-1), decoding

    def _padded(self, read: Sequence[Int32], before: bool) -> tuple[Tensor, Tensor]:
        """Ids (b, s) and where they are text, padded behind or before."""
        b, s = len(read), max(map(len, read))
        token_ids = np.full((b, s), self._use.padding, np.int64)
        is_text = np.zeros((b, s), np.bool_)
        for row, ids in enumerate(read):
            place = slice(s - len(ids), s) if before else slice(len(ids))
            token_ids[row, place] = ids
            is_text[row, place] = True
        return torch.from_numpy(token_ids).to(self._device), torch.from_numpy(is_text).to(self._device)

    def _checked(self, task: GenerationTask, options: GenerationOptions) -> Ending:
        """How the texts of the task end."""
        if task not in self._use.prompts:
            known = ", ".join(sorted(self._use.prompts))
            raise InvalidInput(
                f"The generator {self._use.id} has no prompt for the task '{task}'; it has {known}."
            )
        check_options(options, self._use.max_new_tokens, self._vocab_size)
        stops = (*options.stop, *self._use.stops)
        return Ending(self._use.ends, options.max_new_tokens, self._decode, stops)

    def _prompted(self, task: GenerationTask, sources: Sequence[str]) -> list[Int32]:
        """Ids of the prompts with the sources in them."""
        problems = {
            i: problem
            for i, (text, tokens) in enumerate(zip(sources, self.source_tokens(sources), strict=True))
            if (problem := self._problem(text, tokens)) is not None
        }
        if problems:
            message = " ".join(f"Source {i} {problem}" for i, problem in list(problems.items())[:3])
            errors: list[dict[str, object]] = [{"index": i, "reason": p} for i, p in problems.items()]
            raise InvalidInput(message, errors)
        prompt = self._use.prompts[task]
        return self._encode([prompt.replace(SOURCE, source.strip()) for source in sources], True)

    def _problem(self, text: str, tokens: int) -> str | None:
        if not text.strip():
            return "is empty; there is nothing to generate from."
        if tokens > self._info.max_source_tokens:
            return (
                f"has {tokens} tokens; the generator reads at most {self._info.max_source_tokens}. Split it."
            )
        return None

    def _max_source_tokens(self) -> int:
        """What a prompt leaves for a source, a token less where the two meet."""
        prompts = [prompt.replace(SOURCE, "") for prompt in self._use.prompts.values()]
        left = self._use.max_tokens - max(len(ids) for ids in self._encode(prompts, True)) - 1
        wanted = self._use.max_source_tokens
        return max(1, left if wanted is None else min(wanted, left))

    def _encode(self, texts: Sequence[str], with_special: bool) -> list[Int32]:
        found = self._tokenizer.encode_batch(readable(texts), add_special_tokens=with_special)
        return [np.array(e.ids, np.int32) for e in found]

    def _decode(self, token_ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode([int(i) for i in token_ids], skip_special_tokens=True)
        return text


def load_public_generator(
    folder: Path, threads: int = 0, limits: GeneratorLimits | None = None
) -> PublicGenerator:
    """Loads a folder of GPT-2, T5, BART or Marian, onto CUDA where there is one.

    Raises CheckpointError for a folder that does not fit.
    """
    checkpoint = load_public_checkpoint(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint.model.to(device)
    _log.info("Generator %s of %s on %s", checkpoint.use.id, folder, device)
    return PublicGenerator(checkpoint, device, threads, limits)
