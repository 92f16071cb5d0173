"""Which pairs a step trains on, as a function of seed and step alone, and which passages are negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.types import Int64
from encoder.training.mining import NONE
from encoder.training.pairs import NO_LABEL
from encoder.training.sources import Source

_TURNS, _ORDER, _NEGATIVES = 1, 2, 3  # so that no two random streams are the same


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs of one file: `pairs` (b,) and `passages` (c,), of which the first b are the positives.

    `is_negative` (b, c) bool tells which candidates are wrong answers of which query.
    """

    source: int
    pairs: Int64
    passages: Int64
    is_negative: npt.NDArray[np.bool_]


class Batches:
    """Each batch comes from one file; the files take turns at random by their weights.

    A file's pairs come in a new random order each time all have been seen.
    """

    def __init__(self, sources: Sequence[Source], batch_size: int, steps: int, seed: int) -> None:
        self._sources = sources
        self._answers = [source.pairs.answers() for source in sources]
        self._sizes = [min(batch_size, len(source.train)) for source in sources]
        self._seed = seed
        weights = np.array([source.file.weight for source in sources])
        rng = np.random.default_rng([seed, _TURNS])
        self._turns = rng.choice(len(sources), size=steps, p=weights / weights.sum())

    def at(self, step: int) -> Batch:
        """The batch of `step`, counted from 0."""
        source = int(self._turns[step])
        turn = int((self._turns[:step] == source).sum())
        size = self._sizes[source]
        pairs = self._pairs(source, turn * size, size)
        passages = np.concatenate(
            [self._sources[source].pairs.positives[pairs], self._extra(source, pairs, step)]
        )
        return Batch(source, pairs, passages, self._is_negative(source, pairs, passages))

    def dev(self, source: int) -> Batch:
        """The held-out pairs of a file, none of which is ever trained on."""
        pairs = self._sources[source].dev
        passages = self._sources[source].pairs.positives[pairs]
        return Batch(source, pairs, passages, self._is_negative(source, pairs, passages))

    def all_dev(self) -> list[Batch]:
        return [self.dev(source) for source in range(len(self._sources))]

    def _pairs(self, source: int, first: int, size: int) -> Int64:
        """Positions [first, first + size) of the endless row of epochs."""
        epoch, offset = divmod(first, len(self._sources[source].train))
        order = np.concatenate([self._order(source, epoch), self._order(source, epoch + 1)])
        return order[offset : offset + size]

    def _order(self, source: int, epoch: int) -> Int64:
        rng = np.random.default_rng([self._seed, _ORDER, source, epoch])
        return rng.permutation(self._sources[source].train)

    def _extra(self, source: int, pairs: Int64, step: int) -> Int64:
        """Hard negatives of these pairs, each passage once, none that is a positive of the batch."""
        data = self._sources[source]
        rng = np.random.default_rng([self._seed, _NEGATIVES, step])
        chosen: list[int] = []
        for pool in data.pool[pairs]:
            found = pool[pool != NONE]
            k = min(data.file.hard_negatives, len(found))
            chosen += rng.choice(found, size=k, replace=False).tolist() if k else []
        return np.setdiff1d(np.array(chosen, np.int64), data.pairs.positives[pairs])

    def _is_negative(self, source: int, pairs: Int64, passages: Int64) -> npt.NDArray[np.bool_]:
        data = self._sources[source].pairs
        wrong = np.ones((len(pairs), len(passages)), bool)
        for i, pair in enumerate(pairs):
            wrong[i] = ~np.isin(passages, list(self._answers[source][int(data.query_keys[pair])]))
        labels = data.labels[pairs][:, None]  # (b, 1)
        wrong &= (labels == NO_LABEL) | (labels != data.passage_labels[passages])
        return wrong
