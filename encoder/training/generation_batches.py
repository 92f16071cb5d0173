"""Batches of rows: drawn by the shares of the tasks, of like length, within a number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.errors import InvalidInput
from core.types import Float32, Int64
from encoder.encoder_decoder import SourceBatch
from encoder.generator_config import PAD
from encoder.training.generation_settings import GeneratorSettings
from encoder.training.generation_sources import Rows

_DRAWN = 8192  # rows drawn at a time, sorted by length and cut into batches
_SOURCE_WEIGHT = 0.4  # work of a source token beside that of a target token


@dataclass(frozen=True, slots=True)
class GenerationBatch:
    """`inputs` (b, t) are the targets shifted right behind the task's token; padding is `PAD`."""

    source: SourceBatch
    inputs: Tensor
    targets: Tensor
    rows: Int64


class GenerationBatches:
    """The same seed gives the same batches; which rows are held out does not depend on the shares."""

    def __init__(self, rows: Rows, settings: GeneratorSettings) -> None:
        self._rows = rows
        self._settings = settings
        self.dev, train = _held_out(rows, settings)
        self._train, self._chances = train, _chances(rows, train, settings)
        self._drawn: tuple[int, list[Int64]] = (-1, [])
        self._at = 0

    def next(self, state: int) -> tuple[GenerationBatch, int]:
        """The batch at position `state`, and the position after it; the first is 0."""
        number, index = divmod(state, _DRAWN)
        if self._drawn[0] != number:
            self._drawn = (number, self._draw(number))
        batches = self._drawn[1]
        after = state + 1 if index + 1 < len(batches) else (number + 1) * _DRAWN
        return self.batch(batches[index]), after

    def dev_batches(self) -> dict[str, list[GenerationBatch]]:
        """Held-out rows by task."""
        found: dict[str, list[GenerationBatch]] = {}
        for task in sorted(set(self._rows.tasks)):
            mine = np.array([i for i in self.dev if self._rows.tasks[i] == task], np.int64)
            if len(mine):
                found[task] = [self.batch(part) for part in self._cut(mine)]
        return found

    def batch(self, rows: Int64) -> GenerationBatch:
        data = self._rows
        s = max(data.source_length(i) for i in rows)
        t = max(len(data.target_ids[i]) for i in rows)
        source_ids = np.full((len(rows), s), PAD, np.int64)
        states: Float32 = np.zeros((len(rows), s, data.states.shape[1]), np.float32)
        inputs, targets = (np.full((len(rows), t), PAD, np.int64) for _ in range(2))
        for k, i in enumerate(rows):
            begin, end = data.bounds[data.source[i]], data.bounds[data.source[i] + 1]
            source_ids[k, 0] = data.task_ids[i]
            source_ids[k, 1 : 1 + end - begin] = data.source_ids[begin:end]
            states[k, 1 : 1 + end - begin] = data.states[begin:end]
            target = data.target_ids[i]
            targets[k, : len(target)] = target
            inputs[k, 0] = data.task_ids[i]
            inputs[k, 1 : len(target)] = target[:-1]
        source = SourceBatch(torch.from_numpy(source_ids), torch.from_numpy(states))
        return GenerationBatch(source, torch.from_numpy(inputs), torch.from_numpy(targets), rows)

    def _draw(self, number: int) -> list[Int64]:
        rng = np.random.default_rng((self._settings.seed, number))
        chosen = rng.choice(self._train, size=min(_DRAWN, len(self._train) * 4), p=self._chances)
        cut = self._cut(chosen)
        return [cut[i] for i in rng.permutation(len(cut))]

    def _cut(self, rows: Int64) -> list[Int64]:
        """Rows sorted by length, as many in a batch as its number of tokens allows."""
        lengths = [(len(self._rows.target_ids[i]), self._rows.source_length(i)) for i in rows]
        order = sorted(range(len(rows)), key=lambda k: lengths[k])
        batches: list[Int64] = []
        begin = 0
        longest = (0, 0)
        for at, k in enumerate(order):
            grown = (max(longest[0], lengths[k][0]), max(longest[1], lengths[k][1]))
            if at > begin and (at - begin + 1) * _work(grown) > self._settings.batch_tokens:
                batches.append(rows[order[begin:at]])
                begin, grown = at, lengths[k]
            longest = grown
        batches.append(rows[order[begin:]])
        return batches


def _work(lengths: tuple[int, int]) -> float:
    target, source = lengths
    return target + _SOURCE_WEIGHT * source


def _held_out(rows: Rows, settings: GeneratorSettings) -> tuple[Int64, Int64]:
    """Up to `dev_rows` rows of each task, at most a tenth of them, and the others; by source."""
    rng = np.random.default_rng(settings.seed)
    tasks = np.array(rows.tasks)
    dev: set[int] = set()
    for task in sorted(set(rows.tasks)):
        sources = np.unique(rows.source[tasks == task])
        count = min(settings.dev_rows, len(sources) // 10)
        dev.update(int(s) for s in rng.choice(sources, size=count, replace=False))
    is_dev = np.isin(rows.source, sorted(dev))
    first: dict[tuple[str, int], int] = {}  # one target a source is enough
    for i in np.flatnonzero(is_dev):
        first.setdefault((rows.tasks[i], int(rows.source[i])), int(i))
    return np.array(sorted(first.values()), np.int64), np.flatnonzero(~is_dev)


def _chances(rows: Rows, train: Int64, settings: GeneratorSettings) -> Sequence[float]:
    """Of being drawn, so that the target tokens of each task come to its share."""
    tasks = np.array(rows.tasks)[train]
    tokens = np.array([len(rows.target_ids[i]) for i in train], np.float64)
    chances = np.zeros(len(train))
    for task in set(tasks):
        mine = tasks == task
        chances[mine] = settings.shares.get(str(task), 1.0) / tokens[mine].sum()
    if not chances.sum() > 0:
        raise InvalidInput("There is nothing to learn: no row is left, or the shares of all tasks are 0.")
    return list(chances / chances.sum())
