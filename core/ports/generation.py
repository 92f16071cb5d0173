"""Ports of generation: texts from texts, and texts from vectors. Shapes: n items, d dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from core.generation_types import (
    Generated,
    GenerationOptions,
    GenerationTask,
    GeneratorInfo,
    Piece,
    VectorReaderInfo,
)
from core.types import Float32


class Generator(Protocol):
    """Texts from source texts, by task. Safe to call from many threads; works in the bulk lane."""

    @property
    def info(self) -> GeneratorInfo: ...

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of a source each text has; `info.max_source_tokens` are read."""
        ...

    def generate(
        self, task: GenerationTask, sources: Sequence[str], options: GenerationOptions
    ) -> list[list[Generated]]:
        """Up to `options.n` distinct texts a source, best first, in the order of `sources`.

        The encoder reads each source once. Raises InvalidInput for options out of range, a task that the
        generator does not know, and sources longer than it reads.
        """
        ...

    def stream(
        self,
        task: GenerationTask,
        source: str,
        options: GenerationOptions,
        ended: Callable[[], None] | None = None,
    ) -> Iterator[Piece]:
        """Pieces of one text as they are decided, without beams. Raises like `generate`.

        The last one, and no other, says why the text ended.
        `ended` is called once the generator is free for others, which may be before all pieces are read.
        """
        ...


class VectorReader(Protocol):
    """A text whose embedding is near a given one. What it writes is a guess, to be verified."""

    @property
    def info(self) -> VectorReaderInfo: ...

    def read(self, vectors: Float32, max_new_tokens: int) -> list[Generated]:
        """One text a row of `vectors` (n, d), unit rows."""
        ...
