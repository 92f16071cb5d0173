"""Beam search with length normalisation.

Shapes: a sources that are not done, w beams a source, c candidates, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.generation_types import FinishReason, GenerationOptions
from core.types import Float32, Int32, Int64
from encoder.generation.choosing import penalised
from encoder.generation.ending import Ending
from encoder.generation.hypothesis import Hypothesis
from encoder.generation.steps import StepModel


@dataclass(slots=True)
class _Beam:
    """A text in the making: its row in the model, sums of log probabilities with penalties and without."""

    row: int
    tokens: tuple[int, ...]
    rank_sum: float
    log_prob: float


def beam_search(
    model: StepModel, starts: Int32, ending: Ending, options: GenerationOptions, width: int
) -> list[list[Hypothesis]]:
    """At most `width` texts for each of the `starts` (n,), best first by `sum / length ** length_penalty`.

    Each step keeps the `width` best continuations of a source. A source is done when it has `width` ended
    texts, or its `options.n` best of them are at least as good as the best one in the making would be if it
    ended now.
    """
    searches = [_SourceSearch(ending, options, width, row) for row in range(len(starts))]
    running = searches
    tokens = starts
    while True:
        log_probs = model.step(tokens)  # (rows, V)
        beams = [beam for search in running for beam in search.beams]
        history = np.array([beam.tokens for beam in beams], np.int32).reshape(len(beams), -1)
        chosen_from = penalised(log_probs, history, options)
        for search in running:
            search.advance(log_probs, chosen_from)
        running = [search for search in running if not search.is_done]
        if not running:
            return [search.results() for search in searches]
        tokens = _take_rows(model, running)


def _take_rows(model: StepModel, running: list[_SourceSearch]) -> Int32:
    """Has the model go on with the rows of all beams; the last tokens of these."""
    beams = [beam for search in running for beam in search.beams]
    model.reorder(np.array([beam.row for beam in beams], np.int64))
    for row, beam in enumerate(beams):
        beam.row = row
    return np.array([beam.tokens[-1] for beam in beams], np.int32)


class _SourceSearch:
    """The beams of one source, and its texts that have ended."""

    def __init__(self, ending: Ending, options: GenerationOptions, width: int, row: int) -> None:
        self._ending = ending
        self._options = options
        self._width = width
        self._ended: list[Hypothesis] = []
        self.beams = [_Beam(row, (), 0.0, 0.0)]

    def advance(self, log_probs: Float32, chosen_from: Float32) -> None:
        """One token more for each beam, by the log probabilities (rows, V) of all rows of the model."""
        kept: list[_Beam] = []
        for place, beam in enumerate(self._candidates(log_probs, chosen_from)):
            finish = self._ending.reason(beam.tokens)
            if finish is None:
                kept.append(beam)
            elif place < self._width:
                self._end(beam, finish)
            if len(kept) == self._width:
                break
        self.beams = kept

    def _candidates(self, log_probs: Float32, chosen_from: Float32) -> Iterator[_Beam]:
        """The best continuations, best first; as many as always leave `width` that did not end."""
        rows = [beam.row for beam in self.beams]
        sums = np.array([beam.rank_sum for beam in self.beams])
        totals = (chosen_from[rows] + sums[:, None]).ravel()  # (w V,)
        vocab_size = chosen_from.shape[1]
        for place in _best(totals, self._width * (1 + len(self._ending.end_tokens))).tolist():
            if totals[place] == -np.inf:
                return
            parent, token = divmod(place, vocab_size)
            beam = self.beams[parent]
            log_prob = beam.log_prob + float(log_probs[beam.row, token])
            yield _Beam(beam.row, (*beam.tokens, token), float(totals[place]), log_prob)

    def _end(self, beam: _Beam, finish: FinishReason) -> None:
        self._ended.append(
            Hypothesis(beam.tokens, beam.log_prob, self._normalised(beam.rank_sum, len(beam.tokens)), finish)
        )

    @property
    def is_done(self) -> bool:
        if not self.beams or len(self._ended) >= self._width:
            return True
        if len(self._ended) < self._options.n:
            return False
        best = self.beams[0]
        worst_wanted = sorted(text.rank for text in self._ended)[-self._options.n]
        return worst_wanted >= self._normalised(best.rank_sum, len(best.tokens))

    def results(self) -> list[Hypothesis]:
        return sorted(self._ended, key=lambda text: -text.rank)[: self._width]

    def _normalised(self, rank_sum: float, length: int) -> float:
        return float(rank_sum / length**self._options.length_penalty)


def _best(totals: Float32, count: int) -> Int64:
    """Places of the `count` largest of `totals`, largest first, the earlier of equal ones first."""
    if count < len(totals):
        places = np.argpartition(-totals, count - 1)[:count]
        places.sort()
    else:
        places = np.arange(len(totals))
    best: Int64 = places[np.argsort(-totals[places], kind="stable")]
    return best
