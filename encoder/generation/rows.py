"""Greedy search and sampling: every row is decoded for itself, and leaves the batch when it is over."""

from __future__ import annotations

import numpy as np

from core.generation_types import GenerationOptions
from core.types import Float32, Int32, Int64
from encoder.generation.choosing import drawn, penalised
from encoder.generation.ending import Ending
from encoder.generation.hypothesis import Hypothesis
from encoder.generation.steps import StepModel


class RowSearch:
    """One text a row of `starts` (r,), the tokens that come before the texts.

    At temperature 0 the most probable token is taken, else row i draws from a generator seeded by
    (`options.seed`, `draws[i]`): what it draws depends on nothing beside it.
    """

    def __init__(
        self,
        model: StepModel,
        starts: Int32,
        ending: Ending,
        options: GenerationOptions,
        draws: Int64 | None = None,
    ) -> None:
        self._model = model
        self._ending = ending
        self._options = options
        self._last = starts
        self._running = np.arange(len(starts))  # rows of the model to places in `starts`
        draws = np.zeros(len(starts), np.int64) if draws is None else draws
        self._random = [np.random.default_rng((options.seed, int(draw))) for draw in draws]
        self._tokens: list[list[int]] = [[] for _ in starts]
        self._log_probs = np.zeros(len(starts))
        self._ended: dict[int, Hypothesis] = {}

    @property
    def is_over(self) -> bool:
        return not len(self._running)

    def tokens(self, row: int) -> list[int]:
        """Decoded so far, the end token included."""
        return self._tokens[row]

    def results(self) -> list[Hypothesis]:
        """Of all rows, once the search is over."""
        return [self._ended[row] for row in range(len(self._tokens))]

    def advance(self) -> None:
        """Decides one more token of each row that is not over."""
        log_probs = self._model.step(self._last)  # (running, V)
        chosen = self._choose(log_probs)
        self._log_probs[self._running] += log_probs[np.arange(len(chosen)), chosen]
        goes_on = []
        for row, token in zip(self._running.tolist(), chosen.tolist(), strict=True):
            self._tokens[row].append(token)
            goes_on.append(not self._end(row))
        kept = np.flatnonzero(goes_on)
        if 0 < len(kept) < len(chosen):
            self._model.reorder(kept)
        self._running = self._running[kept]
        self._last = chosen[kept].astype(np.int32)

    def _choose(self, log_probs: Float32) -> Int64:
        history = np.array([self._tokens[row] for row in self._running], np.int32)
        chosen_from = penalised(log_probs, history, self._options)
        if not self._options.temperature:
            chosen: Int64 = chosen_from.argmax(1)
            return chosen
        uniforms = np.array([self._random[row].random() for row in self._running])
        return drawn(chosen_from, self._options, uniforms)

    def _end(self, row: int) -> bool:
        """Whether the row is over, and then its result is kept."""
        tokens = self._tokens[row]
        finish = self._ending.reason(tokens)
        if finish is None:
            return False
        log_prob = float(self._log_probs[row])
        self._ended[row] = Hypothesis(tuple(tokens), log_prob, log_prob / len(tokens), finish)
        return True
