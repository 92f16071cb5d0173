"""A text that a search has ended, as tokens."""

from __future__ import annotations

from dataclasses import dataclass

from core.generation_types import FinishReason


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """`log_prob` is the sum over `tokens`, the end token included, as the model gave them.

    `rank` is what a search orders by; it has penalties in it.
    """

    tokens: tuple[int, ...]
    log_prob: float
    rank: float
    finish: FinishReason

    @property
    def score(self) -> float:
        """Mean log probability of its tokens."""
        return self.log_prob / len(self.tokens)
