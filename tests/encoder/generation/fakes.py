"""A tiny step model: the distribution of the next token depends on the source and all tokens before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from core.generation_types import GenerationOptions
from core.types import Float32, Int32, Int64
from encoder.generation.ending import Ending

END = 0


@dataclass
class RandomModel:
    """Its sources are numbers. Fails when a row is given a token for another sequence than it has seen."""

    sources: list[int]
    vocab_size: int = 6
    sharpness: float = 1.0
    steps: int = 0
    rows: list[tuple[int, ...]] = field(default_factory=list)  # source, then the tokens so far
    rows_at_step: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = [(source,) for source in self.sources]

    def step(self, tokens: Int32) -> Float32:
        assert tokens.shape == (len(self.rows),)
        self.rows_at_step.append(len(self.rows))
        self.rows = [(*row, int(token)) for row, token in zip(self.rows, tokens, strict=True)]
        return np.stack([self.log_probs(row) for row in self.rows])

    def reorder(self, rows: Int64) -> None:
        self.rows = [self.rows[row] for row in rows]

    def log_probs(self, row: tuple[int, ...]) -> Float32:
        logits = np.random.default_rng(row).normal(size=self.vocab_size) * self.sharpness
        return np.asarray(logits - np.log(np.exp(logits).sum()), np.float32)

    def log_prob(self, source: int, start: int, tokens: Sequence[int]) -> float:
        """Sum over `tokens`, computed one by one."""
        row: tuple[int, ...] = (source, start)
        total = 0.0
        for token in tokens:
            total += float(self.log_probs(row)[token])
            row = (*row, token)
        return total


def letters(tokens: Sequence[int]) -> str:
    """The text of tokens: a letter each, nothing for the end token."""
    return "".join(" abcdefghijklmnopqrstuvwxyz"[token] for token in tokens if token != END)


def ending(max_tokens: int = 8, stops: tuple[str, ...] = ()) -> Ending:
    return Ending(frozenset({END}), max_tokens, letters, stops)


def options(**changes: object) -> GenerationOptions:
    return GenerationOptions(**{"beams": 1, **changes})  # type: ignore[arg-type]  # names of fields


def all_texts(vocab_size: int, max_tokens: int) -> Iterator[tuple[int, ...]]:
    """Every sequence that ends with the end token, or is cut at `max_tokens`."""
    others = range(1, vocab_size)
    for length in range(max_tokens):
        yield from ((*begun, END) for begun in product(others, repeat=length))
    yield from product(others, repeat=max_tokens)
