"""The port of a model being decoded. Shapes: rows are texts in the making, V tokens in the vocabulary."""

from __future__ import annotations

from typing import Protocol

from core.types import Float32, Int32, Int64


class StepModel(Protocol):
    """A batch of sources being decoded; at the beginning one row a source, nothing decoded yet."""

    @property
    def vocab_size(self) -> int: ...

    def step(self, tokens: Int32) -> Float32:
        """Log probabilities (rows, V) of the tokens that follow `tokens` (rows,), which were just chosen."""
        ...

    def reorder(self, rows: Int64) -> None:
        """Goes on with these rows, in this order: some dropped, some repeated. Allowed before any step."""
        ...
